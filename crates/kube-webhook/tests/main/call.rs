//! Calls of a router as the API server makes them, and reviews to call it with.

use axum::{Router, body::Body};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

/// Posts `body` to `path` and reads the JSON of the answer.
pub(crate) async fn post(
    router: &Router,
    path: &str,
    body: impl Into<Body>,
) -> (StatusCode, Value) {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body.into())
        .unwrap();
    let response = send(router, request).await;
    let status = response.status();
    (status, json_of(response).await)
}

pub(crate) async fn send(router: &Router, request: Request<Body>) -> Response<Body> {
    router.clone().oneshot(request).await.unwrap()
}

pub(crate) async fn json_of(response: Response<Body>) -> Value {
    let body = response.into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

/// The answer's `response`, after the checks that the API server makes of every answer.
pub(crate) async fn admit(router: &Router, path: &str, review: &Value) -> Value {
    let (status, answer) = post(router, path, review.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["apiVersion"], review["apiVersion"]);
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["request"], Value::Null);
    let response = &answer["response"];
    assert_eq!(response["uid"], review["request"]["uid"]);
    assert_eq!(
        response.get("patch").is_some(),
        response.get("patchType").is_some()
    );
    response.clone()
}

/// The operations of the answer's patch; none if it has no patch.
pub(crate) fn patch_of(response: &Value) -> Vec<Value> {
    let Some(patch) = response.get("patch") else {
        return Vec::new();
    };
    assert_eq!(response["patchType"], "JSONPatch");
    let bytes = STANDARD.decode(patch.as_str().unwrap()).unwrap();
    let operations: Vec<Value> = serde_json::from_slice(&bytes).unwrap();
    assert!(!operations.is_empty());
    operations
}

/// A review of `kind` (group, version, kind) as the API server writes it.
pub(crate) fn review(
    operation: &str,
    kind: [&str; 3],
    object: &Value,
    old_object: &Value,
) -> Value {
    let [group, version, kind] = kind;
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
            "kind": {"group": group, "version": version, "kind": kind},
            "resource": {"group": group, "version": version, "resource": format!("{}s", kind.to_lowercase())},
            "requestKind": {"group": group, "version": version, "kind": kind},
            "requestResource": {"group": group, "version": version, "resource": format!("{}s", kind.to_lowercase())},
            "name": "one",
            "namespace": "default",
            "operation": operation,
            "userInfo": {"username": "alice", "groups": ["system:authenticated", "dev\u{e9}s"], "extra": {"team": ["a", "b"]}},
            "object": object,
            "oldObject": old_object,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    })
}
