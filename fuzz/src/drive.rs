//! What must hold of the event door, whatever is sent. Run by the fuzz targets, and by the
//! program's tests on the committed corpus and on mutations of it.

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, HeaderValue, Request, StatusCode},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use harbormaster::{
    clock::Clock,
    events::{
        intake::{Door, routes},
        intent::Filters,
        metrics::EventMetrics,
        record::Recorder,
        signature::{SIGNATURE_HEADER, Secrets, sign},
        time::EventTime,
    },
};
use hmac::{Hmac, KeyInit, Mac};
use http_body_util::BodyExt;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use sha2::Sha256;
use tower::ServiceExt;

use crate::objects::Objects;

/// Posts the body, signed, and once more: the second time nothing is left to be done. Gives back
/// how many Reservations there are then.
///
/// # Panics
///
/// If an answer isn't one that the sender knows, or what is recorded isn't sound.
pub(crate) fn body(body: &[u8]) -> usize {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(deliver(body))
}

/// Verifies the header before the first newline for the bytes behind it. `BASE64` and `HEX`
/// in it stand for the MAC that is right.
///
/// # Panics
///
/// If it passes in another form than those that are documented, or one of those doesn't.
pub(crate) fn signature(text: &[u8]) {
    let newline = text.iter().position(|&byte| byte == b'\n');
    let (header, body) = match newline {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, &text[..0]),
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    let mac = mac.finalize().into_bytes();
    let base64 = STANDARD.encode(mac);
    let hex: String = mac.iter().map(|byte| format!("{byte:02x}")).collect();
    let header = match std::str::from_utf8(header) {
        Ok(text) => text.replace("BASE64", &base64).replace("HEX", &hex).into(),
        Err(_) => header.to_vec(),
    };
    let Ok(value) = HeaderValue::from_bytes(&header) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.append(SIGNATURE_HEADER, value.clone());
    let verify = |headers: &HeaderMap| {
        let secrets = Secrets::from_text(SECRET);
        let verified = secrets.verify(headers, Bytes::copy_from_slice(body));
        verified.is_ok_and(|delivery| delivery.body() == body)
    };
    let written = value.to_str().map(|text| {
        let text = text.trim_matches([' ', '\t']);
        text.strip_prefix("sha256=").unwrap_or(text)
    });
    let documented = written.is_ok_and(|text| text == base64 || text.eq_ignore_ascii_case(&hex));
    assert_eq!(verify(&headers), documented, "{value:?}");
    headers.append(SIGNATURE_HEADER, value);
    assert!(!verify(&headers), "two of them");
}

/// Reads the text as a time.
///
/// # Panics
///
/// If it is taken for an instant that it doesn't name.
pub(crate) fn time(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
    let Some(time) = EventTime::from_json(&value) else {
        return;
    };
    let Some(instant) = time.instant else {
        return;
    };
    assert_eq!(instant.subsec_nanosecond(), 0);
    assert!((1000..3000).contains(&instant.to_zoned(TimeZone::UTC).year()));
    let again = EventTime::from_json(&json!(instant.to_string())).unwrap();
    assert_eq!(again.instant, Some(instant));
    if time.text.parse::<f64>().is_err() {
        let (_, clock) = time.text.split_once(['T', 't', ' ']).unwrap();
        let has_offset = clock.contains(['Z', 'z', '+', '-']);
        assert!(has_offset, "{value} names no offset");
    }
}

async fn deliver(body: &[u8]) -> usize {
    let objects = Objects::default();
    let door = door(&objects);
    let (status, answer) = post(&door, body).await;
    if status == StatusCode::OK {
        let said = answer["status"].as_str().unwrap();
        assert!(["success", "ignored"].contains(&said), "{answer}");
        assert!(!answer["message"].as_str().unwrap().is_empty());
        assert!(said == "success" || objects.writes() == 0, "{answer}");
    } else {
        let refusals = [StatusCode::BAD_REQUEST, StatusCode::UNPROCESSABLE_ENTITY];
        assert!(refusals.contains(&status), "{status}: {answer}");
        assert!(!answer["detail"].as_str().unwrap().is_empty());
        assert_eq!(objects.writes(), 0);
    }
    for object in objects.all() {
        let window = &object.spec.window;
        let (start, end) = (window.start.as_ref().unwrap(), window.end.as_ref());
        assert!(end.is_none_or(|end| start.0 < end.0), "{window:?}");
        for key in object.authorized_keys() {
            assert!(!key.key.contains(char::is_control), "{key:?}");
        }
    }
    let writes = objects.writes();
    assert_eq!(post(&door, body).await.0, status);
    assert_eq!(objects.writes(), writes, "sent again, it does more");
    objects.all().len()
}

fn door(objects: &Objects) -> Router {
    routes(Door {
        secrets: Secrets::from_text(SECRET),
        filters: Filters {
            resource_types: ["Server".to_owned()].into(),
        },
        recorder: Recorder::new(objects.api(), "portal".to_owned()),
        metrics: EventMetrics::default(),
        clock: Clock::fixed("2025-07-03T15:16:00Z".parse().unwrap()),
    })
}

async fn post(door: &Router, body: &[u8]) -> (StatusCode, Value) {
    let request = Request::post("/webhook")
        .header(SIGNATURE_HEADER, sign(SECRET, body))
        .body(Body::from(body.to_vec()))
        .unwrap();
    let answer = door.clone().oneshot(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

const SECRET: &str = "c2VjcmV0LWtleS0zMi1ieXRlcy1sb25nLWV4YW1wbGU=";
