//! A body, posted to the examples' hooks, and what must hold of the answer whatever the body is. Run
//! by the fuzz targets, and by the crate's tests on the committed corpus and on mutations of it.

use axum::{
    Router,
    body::{Body, Bytes},
};
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
        if !is_verdict(status, &answer) {
            continue;
        }
        let answer: Value = serde_json::from_slice(&answer).unwrap();
        let sent: Sent<AdmissionRequest> = serde_json::from_slice(body).unwrap();
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
    if !is_verdict(status, &answer) {
        return;
    }
    let answer: Answer<'_> = serde_json::from_slice(&answer).unwrap();
    let sent: Sent<ConversionRequest<'_>> = serde_json::from_slice(body).unwrap();
    assert_eq!(answer.api_version, sent.api_version);
    assert_eq!(answer.kind, "ConversionReview");
    let response = answer.response;
    assert_eq!(response.uid, sent.request.uid);
    if response.result["status"] != "Success" {
        assert_eq!(response.result["status"], "Failure");
        assert!(!response.result["message"].as_str().unwrap().is_empty());
        assert!(response.converted_objects.is_empty());
        return;
    }
    let objects = sent.request.objects.unwrap_or_default();
    assert_eq!(response.converted_objects.len(), objects.len());
    for (object, converted) in objects.into_iter().zip(response.converted_objects) {
        let [object, converted] = [object, converted].map(RawValue::get);
        let Ok(object) = serde_json::from_str::<Value>(object) else {
            continue;
        };
        // An object that a tree can hold has become one.
        let converted: Value = serde_json::from_str(converted).unwrap();
        assert_eq!(converted["apiVersion"], sent.request.desired_api_version);
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
struct Sent<R> {
    api_version: String,
    request: R,
}

#[derive(Deserialize)]
struct AdmissionRequest {
    uid: String,
}

#[derive(Deserialize)]
struct ConversionRequest<'a> {
    uid: String,
    #[serde(rename = "desiredAPIVersion")]
    desired_api_version: String,
    #[serde(borrow, default)]
    objects: Option<Vec<&'a RawValue>>,
}

/// As much of an answer as has to be right. Its objects are as deep as those that were sent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    api_version: String,
    kind: String,
    #[serde(borrow)]
    response: Response<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: String,
    result: Value,
    #[serde(borrow)]
    converted_objects: Vec<&'a RawValue>,
}

/// Whether the answer is a 200; anything else has to be a Status.
fn is_verdict(status: StatusCode, answer: &[u8]) -> bool {
    if status == StatusCode::OK {
        return true;
    }
    let answer: Value = serde_json::from_slice(answer).unwrap();
    assert!(status.is_client_error() || status.is_server_error());
    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{answer}");
    assert_eq!(answer["kind"], "Status");
    assert_eq!(answer["status"], "Failure");
    assert_eq!(answer["code"], status.as_u16());
    assert!(!answer["message"].as_str().unwrap().is_empty());
    false
}

fn post(router: &Router, path: &str, body: &[u8]) -> (StatusCode, Bytes) {
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
        (status, body)
    })
}
