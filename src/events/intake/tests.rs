//! The door without a program around it: what it asks of the API server, and what not.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::events::record::Recorder;

/// A door whose API server answers everything with a 500, and how often it was called.
fn door(filters: Filters) -> (Router, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let api_server = tower::service_fn(move |_: Request<kube::client::Body>| {
        counted.fetch_add(1, Ordering::Relaxed);
        let refusal = Response::builder().status(500).body(Body::empty());
        std::future::ready(refusal)
    });
    let client = kube::Client::new(api_server, "default");
    let door = Door {
        secrets: Secrets::from_text(""),
        filters,
        recorder: Recorder::new(kube::Api::default_namespaced(client), "portal".to_owned()),
        metrics: EventMetrics::default(),
        clock: Clock::system(),
    };
    (routes(door), calls)
}

async fn post(door: &Router, event: &Value) -> (StatusCode, Value) {
    let request = Request::post("/webhook")
        .body(Body::from(event.to_string()))
        .unwrap();
    let answer = door.clone().oneshot(request).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap())
}

#[tokio::test]
async fn a_name_that_no_host_can_have_never_reaches_the_api_server() {
    let (door, calls) = door(Filters::default());
    let long = "x".repeat(254);
    for name in [
        "",
        " ",
        ".",
        "..",
        "../secrets/x",
        "a/b",
        "x/status",
        "x?dryRun=All",
        "x#y",
        "x%2fy",
        "x\\y",
        "x\0y",
        "restart-srv01\n",
        &long,
    ] {
        for event_type in ["EVENT_START", "EVENT_END"] {
            let minimal = json!({"eventType": event_type, "resourceName": name});
            let item = json!({"eventId": "1", "resourceName": name});
            let flat = json!({"eventType": event_type, "eventId": "1", "resourceName": name});
            let batch = json!({"eventType": event_type, "events": [item]});
            for event in [minimal, flat] {
                let (status, answer) = post(&door, &event).await;
                assert_eq!(
                    (status, &answer["status"]),
                    (StatusCode::OK, &json!("ignored"))
                );
                let message = answer["message"].as_str().unwrap();
                assert!(message.starts_with("the resource name "), "{message}");
            }
            let (status, answer) = post(&door, &batch).await;
            assert_eq!(
                (status, &answer["items"][0]["status"]),
                (StatusCode::OK, &json!("ignored"))
            );
        }
        let changed = json!({"eventType": "EVENT_UPDATED", "data":
            {"id": 1, "start": "2030-01-02T10:00:00Z", "resource": {"name": name}}});
        let (status, answer) = post(&door, &changed).await;
        assert_eq!(
            (status, &answer["status"]),
            (StatusCode::OK, &json!("ignored"))
        );
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_event_of_no_concern_never_reaches_the_api_server() {
    let filters = Filters {
        resource_types: ["Server".to_owned()].into(),
    };
    let (door, calls) = door(filters);
    for event in [
        json!({"eventType": "ALL", "webhookId": "7", "data": {"webhookId": 7}}),
        json!({"eventType": "FOO", "resourceName": "srv"}),
        json!({"eventType": "RESOURCE_UPDATED", "data": {"name": "srv"}}),
        json!({"eventType": "EVENT_END", "resourceName": "srv", "resourceType": "Switch Port"}),
    ] {
        let (status, answer) = post(&door, &event).await;
        assert_eq!(
            (status, &answer["status"]),
            (StatusCode::OK, &json!("ignored"))
        );
    }
    assert_eq!(calls.load(Ordering::Relaxed), 0);
    let taken = json!({"eventType": "EVENT_END", "resourceName": "srv"});
    assert_eq!(post(&door, &taken).await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_ne!(calls.load(Ordering::Relaxed), 0, "the counter counts");
}
