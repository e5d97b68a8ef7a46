//! Webhooks that answer as no webhook should, and ones that keep what they were asked.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Router,
    body::{Body, to_bytes},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{Request, StatusCode, header};
use serde_json::{Value, json};

/// A call as a webhook sees it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) review: Value,
}

/// Calls, in their order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    pub(crate) fn push(&self, call: Call) {
        self.lock().push(call);
    }

    pub(crate) fn take(&self) -> Vec<Call> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Call>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers whatever comes by `answer`, and keeps it.
pub(crate) fn answering<F, R, A>(answer: F) -> (Router, Calls)
where
    F: Fn(Call) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = A> + Send + 'static,
    A: IntoResponse,
{
    let calls = Calls::default();
    let kept = calls.clone();
    let router = Router::new().fallback(async move |request: Request<Body>| -> Response {
        let (head, body) = request.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let call = Call {
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            review: serde_json::from_slice(&body).unwrap_or_default(),
        };
        kept.push(call.clone());
        answer(call).await.into_response()
    });
    (router, calls)
}

/// A whole answer around a `response`, whose uid is set.
pub(crate) fn review(call: &Call, mut response: Value) -> Response {
    if response.is_object() && response["uid"].is_null() {
        response["uid"] = call.review["request"]["uid"].clone();
    }
    let review = json!({
        "apiVersion": call.review["apiVersion"],
        "kind": call.review["kind"],
        "response": response,
    });
    body(StatusCode::OK, &review)
}

pub(crate) fn body(status: StatusCode, json: &Value) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json")];
    (status, headers, json.to_string()).into_response()
}

/// A response with a patch.
pub(crate) fn patching(patch: &str) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(patch)})
}
