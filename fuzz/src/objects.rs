//! Reservations in memory, as far as the event door asks an API server for them: so that what
//! it asks can be looked at, and an event be sent again.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use axum::{
    body::Body,
    http::{Method, Request, Response, StatusCode},
};
use harbormaster::api::v1::Reservation;
use kube::{Api, Client};
use serde_json::{Value, json};

/// All of one namespace.
#[derive(Clone, Debug, Default)]
pub(crate) struct Objects(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    objects: BTreeMap<String, Value>,
    writes: u64,
}

impl Objects {
    /// A client's view.
    pub(crate) fn api(&self) -> Api<Reservation> {
        let objects = self.clone();
        let service = tower::service_fn(move |request| {
            let objects = objects.clone();
            async move { Ok::<_, Infallible>(objects.answer(request).await) }
        });
        Api::namespaced(Client::new(service, NAMESPACE), NAMESPACE)
    }

    /// How often one was written.
    pub(crate) fn writes(&self) -> u64 {
        self.0.lock().unwrap().writes
    }

    /// All of them, read as the program's own type.
    pub(crate) fn all(&self) -> Vec<Reservation> {
        let state = self.0.lock().unwrap();
        let objects = state.objects.values().cloned();
        objects
            .map(|object| serde_json::from_value(object).unwrap())
            .collect()
    }

    async fn answer(&self, request: Request<kube::client::Body>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let rest = head.uri.path().strip_prefix(ROOT);
        let rest = rest.unwrap_or_else(|| panic!("asked for {}", head.uri));
        let name = rest.strip_prefix('/').map(ToOwned::to_owned);
        if let Some(name) = &name {
            assert!(is_name(name), "asked for {}", head.uri);
        }
        let body = body.collect_bytes().await.unwrap();
        let (status, answer) = match (&head.method, name) {
            (&Method::GET, Some(name)) => self.read(&name),
            (&Method::GET, None) => self.list(head.uri.query().unwrap_or_default()),
            (&Method::POST, None) => self.write(&body, None),
            (&Method::PUT, Some(name)) => self.write(&body, Some(&name)),
            (method, _) => panic!("asked to {method} {}", head.uri),
        };
        let answer = Body::from(answer.to_string());
        Response::builder().status(status).body(answer).unwrap()
    }

    fn read(&self, name: &str) -> (StatusCode, Value) {
        match self.0.lock().unwrap().objects.get(name) {
            Some(object) => (StatusCode::OK, object.clone()),
            None => refusal(StatusCode::NOT_FOUND, "NotFound"),
        }
    }

    /// By the label that ties a booking's objects together.
    fn list(&self, query: &str) -> (StatusCode, Value) {
        let mut pairs = query.split('&');
        let selector = pairs.find_map(|pair| pair.strip_prefix("labelSelector="));
        let label = selector.and_then(|text| text.strip_prefix("harbormaster.dev%2Fevent-id%3D"));
        let label = label.unwrap_or_else(|| panic!("asked for all but {query}"));
        let state = self.0.lock().unwrap();
        let ours = |object: &&Value| {
            object["metadata"]["labels"]["harbormaster.dev/event-id"] == json!(label)
        };
        let items: Vec<_> = state.objects.values().filter(ours).collect();
        let list = json!({
            "apiVersion": "harbormaster.dev/v1",
            "kind": "ReservationList",
            "metadata": {"resourceVersion": state.writes.to_string()},
            "items": items,
        });
        (StatusCode::OK, list)
    }

    fn write(&self, body: &[u8], replaced: Option<&str>) -> (StatusCode, Value) {
        assert!(body.len() < LARGEST, "an object of {} bytes", body.len());
        let mut object: Value = serde_json::from_slice(body).unwrap();
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        assert!(is_name(&name), "{name}");
        let mut state = self.0.lock().unwrap();
        let present = state.objects.get(&name);
        let version = |object: &Value| object["metadata"]["resourceVersion"].clone();
        match (replaced, present) {
            (None, Some(_)) => return refusal(StatusCode::CONFLICT, "AlreadyExists"),
            (Some(_), None) => return refusal(StatusCode::NOT_FOUND, "NotFound"),
            (Some(_), Some(present)) if version(present) != version(&object) => {
                return refusal(StatusCode::CONFLICT, "Conflict");
            }
            _ => {}
        }
        state.writes += 1;
        object["metadata"]["resourceVersion"] = json!(state.writes.to_string());
        state.objects.insert(name, object.clone());
        (StatusCode::OK, object)
    }
}

fn refusal(status: StatusCode, reason: &str) -> (StatusCode, Value) {
    let refusal = json!({
        "apiVersion": "v1",
        "kind": "Status",
        "status": "Failure",
        "message": reason,
        "reason": reason,
        "code": status.as_u16(),
    });
    (status, refusal)
}

/// A DNS-1123 subdomain whose first part fits into a label.
fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let parts = name.split('.');
    let sound = |part: &str| {
        part.starts_with(plain)
            && part.ends_with(plain)
            && part.chars().all(|c| plain(c) || c == '-')
            && part.len() <= 63
    };
    name.len() <= 253 && parts.into_iter().all(sound)
}

const NAMESPACE: &str = "hosts";

const ROOT: &str = "/apis/harbormaster.dev/v1/namespaces/hosts/reservations";

/// What etcd takes by default.
const LARGEST: usize = 1_500_000;
