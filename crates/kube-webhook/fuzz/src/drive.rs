//! A body, posted to the examples' hooks, and what must hold of the answer whatever the body is. Run
//! by the fuzz targets, and by the crate's tests on the committed corpus and on mutations of it.

use axum::{Router, body::Body};
use http::{Request, StatusCode, header};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tower::ServiceExt;

use crate::{conversion_operator, webhook_operator};

/// Posts to both bare routes of admission, which go all the way from the bytes to a hook.
///
/// # Panics
///
/// If an answer isn't one that the API server can read.
pub(crate) fn admission(body: &[u8]) {
    let router = webhook_operator::webhooks().unwrap().router();
    for path in ["/validate?timeout=1s", "/mutate?timeout=1s"] {
        let (status, answer) = post(&router, path, body);
        let Some(answer) = of_verdict(status, answer) else {
            continue;
        };
        let sent = Sent::read(body);
        assert_eq!(answer["apiVersion"], sent.api_version);
        assert_eq!(answer["kind"], "AdmissionReview");
        let response = &answer["response"];
        assert_eq!(response["uid"], sent.request.uid);
        let allowed = response["allowed"].as_bool().unwrap();
        assert_eq!(allowed, response.get("status").is_none());
        assert_eq!(
            response.get("patch").is_some(),
            response.get("patchType").is_some()
        );
        assert!(!path.starts_with("/validate") || response.get("patch").is_none());
    }
}

/// Posts to the bare route of conversion.
///
/// # Panics
///
/// If the answer isn't one that the API server can read.
pub(crate) fn conversion(body: &[u8]) {
    let router = conversion_operator::webhooks().unwrap().router();
    let (status, answer) = post(&router, "/convert?timeout=30s", body);
    let Some(answer) = of_verdict(status, answer) else {
        return;
    };
    let sent = Sent::read(body);
    assert_eq!(answer["apiVersion"], sent.api_version);
    assert_eq!(answer["kind"], "ConversionReview");
    let response = &answer["response"];
    assert_eq!(response["uid"], sent.request.uid);
    let converted = response["convertedObjects"].as_array().unwrap();
    if response["result"]["status"] != "Success" {
        assert_eq!(response["result"]["status"], "Failure");
        assert!(!response["result"]["message"].as_str().unwrap().is_empty());
        assert!(converted.is_empty());
        return;
    }
    let objects = sent.request.objects.unwrap_or_default();
    assert_eq!(converted.len(), objects.len());
    for (object, converted) in objects.iter().zip(converted) {
        assert_eq!(converted["apiVersion"], sent.request.desired_api_version);
        let Ok(object) = serde_json::from_str::<Value>(object.get()) else {
            continue;
        };
        assert_eq!(converted["kind"], object["kind"]);
        for field in ["name", "namespace", "uid"] {
            assert_eq!(converted["metadata"][field], object["metadata"][field]);
        }
    }
}

/// As much of a review that was understood as its answer has to repeat. Objects stay unread, since
/// they may be nested deeper than a tree can be.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent<'a> {
    api_version: String,
    #[serde(borrow)]
    request: SentRequest<'a>,
}

#[derive(Deserialize)]
struct SentRequest<'a> {
    uid: String,
    #[serde(default, rename = "desiredAPIVersion")]
    desired_api_version: String,
    #[serde(borrow, default)]
    objects: Option<Vec<&'a RawValue>>,
}

impl<'a> Sent<'a> {
    fn read(body: &'a [u8]) -> Self {
        serde_json::from_slice(body).unwrap()
    }
}

/// The answer, if it is a 200; anything else has to be a Status.
fn of_verdict(status: StatusCode, answer: Value) -> Option<Value> {
    if status == StatusCode::OK {
        return Some(answer);
    }
    assert!(status.is_client_error() || status.is_server_error());
    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{answer}");
    assert_eq!(answer["kind"], "Status");
    assert_eq!(answer["status"], "Failure");
    assert_eq!(answer["code"], status.as_u16());
    assert!(!answer["message"].as_str().unwrap().is_empty());
    None
}

fn post(router: &Router, path: &str, body: &[u8]) -> (StatusCode, Value) {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_vec()))
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let response = router.clone().oneshot(request).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    })
}
