//! From an HTTP request to the bytes of a review, within limits of size and time. Called by `route`.
//!
//! Refuses other media types (415), content codings (415), bodies over the limit (413) and bodies
//! that don't arrive in time (408), and sheds what doesn't fit in beside the others (429), before a
//! byte of it is parsed.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::BodyExt;

use super::gate::{Gate, Room, Share};
use crate::Fault;

/// What is taken, in bytes, in time and at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) body_deadline: Duration,
    pub(super) review: usize,
    pub(super) conversion: usize,
    pub(super) in_flight: usize,
    pub(super) bytes_in_flight: usize,
    pub(super) conversion_threads: Option<usize>,
    pub(super) slow_review: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_deadline: Duration::from_secs(30),
            review: 7 * MEBIBYTE,
            conversion: 64 * MEBIBYTE,
            in_flight: 1_024,
            bytes_in_flight: 128 * MEBIBYTE,
            conversion_threads: None,
            slow_review: Duration::from_secs(1),
        }
    }
}

/// The body, and its share of what may be in flight, to be held until the answer is there.
pub(super) async fn body(
    request: Request<Body>,
    gate: &Gate,
    limit: usize,
    deadline: Duration,
) -> Result<(Bytes, Share), Fault> {
    let headers = request.headers();
    check_media_type(headers)?;
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<u64>().ok())
        .map_or(0, |length| usize::try_from(length).unwrap_or(usize::MAX));
    if announced > limit {
        return Err(Fault::too_large(limit));
    }
    gate.look(announced)?;
    let mut room = gate.room();
    let collected = collect(request.into_body(), announced, limit, &mut room);
    let body = tokio::time::timeout(deadline, collected)
        .await
        .map_err(|_| Fault::too_slow())??;
    Ok((body, room.enter()?))
}

/// Into one buffer: frames kept and joined at the end would take twice the memory of the body. A body
/// that comes in one piece, as most do, isn't copied.
async fn collect(
    mut body: Body,
    announced: usize,
    limit: usize,
    room: &mut Room<'_>,
) -> Result<Bytes, Fault> {
    let mut collected = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Fault::bad_request(format!("the body broke off: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        let length = collected.len() + data.len();
        if length > limit {
            return Err(Fault::too_large(limit));
        }
        room.grow(length)?;
        if collected.is_empty() {
            if data.len() == announced {
                return Ok(data);
            }
            collected.reserve(announced.min(LARGEST_RESERVATION));
        }
        collected.extend_from_slice(&data);
    }
    Ok(collected.into())
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Fault> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let media_type = text(header::CONTENT_TYPE).and_then(|value| value.split(';').next());
    if !media_type.is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case(JSON)) {
        return Err(Fault::unsupported_media_type(
            "send a review as application/json",
        ));
    }
    match text(header::CONTENT_ENCODING) {
        None | Some("identity") => Ok(()),
        Some(_) => Err(Fault::unsupported_media_type(
            "send a review without content coding",
        )),
    }
}

pub(super) const JSON: &str = "application/json";
const MEBIBYTE: usize = 1024 * 1024;
/// What is announced isn't believed beyond this.
const LARGEST_RESERVATION: usize = MEBIBYTE;
