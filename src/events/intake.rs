//! The HTTP end of the event door: limits and deadlines on what comes in, words for what
//! goes out.
//!
//! Order matters: size and encoding first, then the signature over the raw bytes, and only
//! then is anything parsed or logged. Called by the listeners; knows nothing of hosts.

use std::{
    error::Error,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, HeaderValue, Request, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use tracing::{error, warn};

use super::{
    answer::{Answer, ItemAnswer, Told},
    event::{self, Delivered, Event, EventType, Item, Message, Refusal},
    intent::{Filters, Intent, intent},
    metrics::{EventMetrics, Outcome},
    record::{NotRecorded, Recorder},
    signature::Secrets,
};
use crate::clock::Clock;

/// All that the event door needs.
#[derive(Clone, Debug)]
pub struct Door {
    /// Who may send.
    pub secrets: Secrets,
    /// Which events are acted on.
    pub filters: Filters,
    /// Where they are stored.
    pub recorder: Recorder,
    /// What is counted.
    pub metrics: EventMetrics,
    /// The time of receipt.
    pub clock: Clock,
}

/// The door's routes: `/webhook` and `/healthz`.
pub fn routes(door: Door) -> Router {
    Router::new()
        .route("/webhook", post(receive))
        .route("/healthz", get(healthz))
        .with_state(door)
}

async fn healthz() -> Response {
    reply(StatusCode::OK, &Health { status: "ok" })
}

async fn receive(State(door): State<Door>, request: Request<Body>) -> Response {
    let (head, body) = request.into_parts();
    if head.headers.contains_key(header::CONTENT_ENCODING) {
        return detail(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the body without Content-Encoding",
        );
    }
    let body = match read(&head.headers, body).await {
        Ok(body) => body,
        Err(refusal) => return refusal,
    };
    let begun = Instant::now();
    let answer = match deliver(&door, &head.headers, body).await {
        Ok(answer) | Err(answer) => answer,
    };
    door.metrics.answered(begun.elapsed());
    answer
}

/// The whole body, unless it is too large or too slow.
async fn read(headers: &HeaderMap, body: Body) -> Result<Bytes, Response> {
    let too_large = || {
        detail(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is larger than 1 MiB",
        )
    };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > BODY_LIMIT as u64) {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(BODY_DEADLINE, Limited::new(body, BODY_LIMIT).collect());
    match collected.await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(detail(StatusCode::BAD_REQUEST, "the body broke off")),
        Err(_) => Err(detail(
            StatusCode::REQUEST_TIMEOUT,
            "the body took longer than 30 s",
        )),
    }
}

async fn deliver(door: &Door, headers: &HeaderMap, body: Bytes) -> Result<Response, Response> {
    let delivery = door.secrets.verify(headers, body).map_err(|bad| {
        door.metrics.count(None, Outcome::Unsigned);
        warn!(
            "refused an event: {bad}. If the secret came from a Kubernetes Secret, check that \
             it was not base64-decoded once too often"
        );
        detail(StatusCode::UNAUTHORIZED, &bad.to_string())
    })?;
    let delivered = event::parse(&delivery).map_err(|refusal| {
        door.metrics.count(None, Outcome::Rejected);
        warn!("refused a signed event: {refusal}");
        let status = match refusal {
            Refusal::NotJson(_) => StatusCode::BAD_REQUEST,
            Refusal::Shape { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        };
        detail(status, &refusal.to_string())
    })?;
    let Delivered {
        event_type,
        message,
    } = delivered;
    let answer = match message {
        Message::One(event) => one(door, event_type, *event).await,
        Message::Batch(items) => batch(door, event_type, items).await,
    };
    let answer = answer.map_err(|error| {
        let outcome = if error.is_final() {
            Outcome::Rejected
        } else {
            Outcome::Unstored
        };
        door.metrics.count(event_type, outcome);
        not_stored(&error)
    })?;
    Ok(reply(StatusCode::OK, &answer))
}

async fn one(
    door: &Door,
    event_type: Option<EventType>,
    event: Event,
) -> Result<Answer, NotRecorded> {
    let now = door.clock.now();
    let intent = intent(event, &door.filters, now);
    let recorded = door.recorder.record(&intent, now).await?;
    let told = Told::of(event_type, &intent, &recorded);
    door.metrics.count(event_type, told.outcome);
    Ok(Answer::to_one(told))
}

async fn batch(
    door: &Door,
    event_type: Option<EventType>,
    items: Vec<Item>,
) -> Result<Answer, NotRecorded> {
    let now = door.clock.now();
    // A broken item is told so, and doesn't keep the others out.
    let intents: Vec<_> = items
        .iter()
        .map(|item| match &item.event {
            Ok(event) => intent(event.clone(), &door.filters, now),
            Err(refusal) => Intent::Ignore(refusal.to_string()),
        })
        .collect();
    let recorded = door.recorder.record_all(&intents, now).await?;
    let answers = items.into_iter().zip(intents.iter().zip(&recorded));
    let answers = answers.map(|(item, (intent, recorded))| {
        let told = Told::of_item(event_type, &item, intent, recorded);
        door.metrics.count(event_type, told.outcome);
        ItemAnswer::new(item, told)
    });
    Ok(Answer::to_batch(answers.collect()))
}

fn not_stored(error: &NotRecorded) -> Response {
    error!(
        cause = error.source().map(tracing::field::display),
        "an event could be stored nowhere: {error}"
    );
    if error.is_final() {
        return detail(
            StatusCode::UNPROCESSABLE_ENTITY,
            "the API server refuses the reservation; Harbormaster's log says why",
        );
    }
    let mut refusal = detail(
        StatusCode::SERVICE_UNAVAILABLE,
        "the event could not be stored; send it again",
    );
    refusal
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    refusal
}

fn detail(status: StatusCode, detail: &str) -> Response {
    reply(status, &Detail { detail })
}

fn reply(status: StatusCode, body: &impl Serialize) -> Response {
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    let body = serde_json::to_string(body).expect("strings are JSON");
    (status, content_type, body).into_response()
}

/// What the sender is told of a refusal.
#[derive(Serialize)]
struct Detail<'a> {
    detail: &'a str,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
}

const BODY_LIMIT: usize = 1024 * 1024;

const BODY_DEADLINE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
