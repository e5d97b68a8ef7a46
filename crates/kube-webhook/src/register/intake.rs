//! From an HTTP request to the bytes of a review, within limits of size and time. Called by `route`.
//!
//! Refuses other media types (415), content codings (415), bodies over the limit (413) and bodies
//! that don't arrive in time (408), before a byte of them is parsed.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::Fault;

/// The largest bodies taken, in bytes, and how long one may take to arrive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) body_deadline: Duration,
    pub(super) review: usize,
    pub(super) conversion: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_deadline: Duration::from_secs(30),
            review: 7 * MEBIBYTE,
            conversion: 64 * MEBIBYTE,
        }
    }
}

pub(super) async fn body(
    request: Request<Body>,
    limit: usize,
    deadline: Duration,
) -> Result<Bytes, Fault> {
    let headers = request.headers();
    check_media_type(headers)?;
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok())
        .and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit))
    {
        return Err(Fault::too_large(limit));
    }
    let collected = Limited::new(request.into_body(), limit).collect();
    match tokio::time::timeout(deadline, collected).await {
        Err(_) => Err(Fault::too_slow()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            Err(Fault::too_large(limit))
        }
        Ok(Err(error)) => Err(Fault::bad_request(format!("the body broke off: {error}"))),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
    }
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
