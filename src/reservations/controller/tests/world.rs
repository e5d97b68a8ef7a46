//! The world of those tests: an API server in memory that counts, and a clock.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use axum::http::{Method, Request, Response};
use http_body_util::BodyExt;
use jiff::{SignedDuration, Timestamp};
use kube::{
    Client,
    client::Body,
    runtime::{reflector, watcher::Event},
};
use metal3::BareMetalHost;
use serde_json::{Value, json};

use crate::{
    api::v1::Image,
    clock::Clock,
    reservations::{
        controller::{Context, pass},
        decide::Policy,
    },
};

/// An API server, a clock, and a controller that knows no other.
pub(super) struct World {
    server: Arc<Mutex<Server>>,
    seconds: Arc<AtomicI64>,
    context: Context,
}

#[derive(Default)]
struct Server {
    objects: BTreeMap<String, Value>,
    asked: Vec<(Timestamp, String)>,
    version: u64,
    /// How many writes succeed until one doesn't.
    fails_after: Option<usize>,
}

impl World {
    pub(super) fn new() -> Self {
        let server: Arc<Mutex<Server>> = Arc::default();
        let seconds = Arc::new(AtomicI64::new(at("2026-01-01T09:00:00Z").as_second()));
        let told = seconds.clone();
        let clock = Clock::telling(move || {
            Timestamp::from_second(told.load(Ordering::Relaxed)).expect("a time of this century")
        });
        let (asked, now) = (server.clone(), clock.clone());
        let client = Client::new(
            tower::service_fn(move |request: Request<Body>| {
                let (server, now) = (asked.clone(), now.now());
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await?.to_bytes();
                    let body = serde_json::from_slice(&body).unwrap_or_default();
                    let path = head
                        .uri
                        .path()
                        .rsplit("/metal3/")
                        .next()
                        .unwrap_or_default();
                    let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
                    let (code, answer) = server.handle(now, &head.method, path, &body);
                    let answer = Body::from(answer.to_string().into_bytes());
                    let answer = Response::builder().status(code).body(answer);
                    Ok::<_, kube::Error>(answer.expect("the parts are valid"))
                }
            }),
            "metal3",
        );
        let policy = Policy {
            image: Image {
                url: "http://images/noble.qcow2".to_owned(),
                ..Image::default()
            },
            deprovision_image: None,
            provisioning_timeout: Duration::from_secs(2700),
            end_grace: Duration::from_secs(600),
        };
        let hosts = BareMetalHost::resource();
        Self {
            server,
            seconds,
            context: Context::new(client, "metal3", hosts, policy, clock),
        }
    }

    /// With a watch that has shown these Reservations so far, and nothing since.
    pub(super) fn having_shown(mut self, reservations: &[Value]) -> Self {
        let (store, mut writer) = reflector::store();
        for reservation in reservations {
            let shown = serde_json::from_value(reservation.clone()).unwrap();
            writer.apply_watcher_event(&Event::Apply(shown));
        }
        self.context.seen = Some(store);
        self
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn put(&self, path: &str, object: Value) {
        self.server().store(path, object);
    }

    /// Merges a change into an object; gives back what it was.
    pub(super) fn edit(&self, path: &str, change: &Value) -> Value {
        let mut server = self.server();
        let before = server.objects[path].clone();
        let mut after = before.clone();
        json_patch::merge(&mut after, change);
        server.store(path, after);
        before
    }

    pub(super) fn sleep(&self, span: Duration) {
        // Whole seconds, of which none is lost.
        let span = SignedDuration::try_from(span).unwrap();
        let seconds = span.as_secs() + i64::from(span.subsec_nanos() > 0);
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    pub(super) async fn pass(&self, name: &str) -> Option<Duration> {
        Box::pin(pass(name, &self.context)).await.unwrap()
    }

    /// Passes until one writes nothing; after each, it is in one calendar at most.
    pub(super) async fn settle(&self, name: &str) {
        for _ in 0..30 {
            let version = self.server().version;
            let outcome = Box::pin(pass(name, &self.context)).await;
            assert!(self.booked_on(name).len() <= 1, "booked twice");
            if outcome.is_ok() && self.server().version == version {
                return;
            }
        }
        panic!("it never settles: {:?}", self.asked());
    }

    pub(super) fn fail_write(&self, after: usize) {
        self.server().fails_after = Some(after);
    }

    pub(super) fn forget(&self) {
        self.server().asked.clear();
    }

    pub(super) fn asked(&self) -> Vec<(Timestamp, String)> {
        self.server().asked.clone()
    }

    pub(super) fn calls(&self) -> Vec<String> {
        let asked = self.asked().into_iter();
        asked.map(|(_, call)| call).collect()
    }

    pub(super) fn booked_on(&self, name: &str) -> Vec<String> {
        let server = self.server();
        let all = server.objects.iter();
        all.filter_map(|(path, object)| {
            let host = path.strip_prefix("hostcalendars/")?;
            let bookings = object["status"]["bookings"].as_array()?;
            let is_in = bookings.iter().any(|booking| booking["name"] == name);
            is_in.then(|| host.to_owned())
        })
        .collect()
    }

    pub(super) fn object(&self, path: &str) -> Value {
        self.server().objects[path].clone()
    }

    pub(super) fn ready(&self, name: &str) -> String {
        let server = self.server();
        let object = &server.objects[&format!("reservations/{name}")];
        let conditions = object["status"]["conditions"].as_array().unwrap();
        let ready = conditions.iter().find(|it| it["type"] == "Ready").unwrap();
        ready["reason"].as_str().unwrap().to_owned()
    }

    pub(super) fn holder(&self, host: &str) -> Option<String> {
        let server = self.server();
        let object = &server.objects[&format!("baremetalhosts/{host}")];
        Some(object["spec"]["consumerRef"]["name"].as_str()?.to_owned())
    }
}

impl Server {
    fn store(&mut self, path: &str, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert(path.to_owned(), object.clone());
        object
    }

    fn handle(
        &mut self,
        now: Timestamp,
        method: &Method,
        path: &str,
        body: &Value,
    ) -> (u16, Value) {
        self.asked.push((now, format!("{method} {path}")));
        let key = path.trim_end_matches("/status");
        let stored = self.objects.get(key).cloned();
        if method == Method::GET {
            return match stored {
                Some(stored) => (200, stored),
                None if !path.contains('/') => (200, self.list(path)),
                None => refusal(404),
            };
        }
        match self.fails_after {
            Some(0) => {
                self.fails_after = None;
                return refusal(500);
            }
            Some(more) => self.fails_after = Some(more - 1),
            None => {}
        }
        if method == Method::POST {
            let name = body["metadata"]["name"].as_str().unwrap_or_default();
            let path = format!("{path}/{name}");
            if self.objects.contains_key(&path) {
                return refusal(409);
            }
            let mut made = body.clone();
            made["metadata"]["uid"] = json!(format!("uid-{name}"));
            return (201, self.store(&path, made));
        }
        let Some(mut stored) = stored else {
            return refusal(404);
        };
        if body.is_array() {
            let patch: json_patch::Patch = serde_json::from_value(body.clone()).unwrap();
            return match json_patch::patch(&mut stored, &patch) {
                Ok(()) => (200, self.store(key, stored)),
                Err(_) => refusal(422),
            };
        }
        let version = &body["metadata"]["resourceVersion"];
        if version.is_string() && *version != stored["metadata"]["resourceVersion"] {
            return refusal(409);
        }
        if method == Method::DELETE {
            self.objects.remove(key);
            return (200, stored);
        }
        if path.ends_with("/status") {
            stored["status"] = body["status"].clone();
        } else {
            json_patch::merge(&mut stored, body);
        }
        (200, self.store(key, stored))
    }

    fn list(&self, kind: &str) -> Value {
        let prefix = format!("{kind}/");
        let all = self.objects.range(prefix.clone()..);
        let items: Vec<_> = all
            .take_while(|(path, _)| path.starts_with(&prefix))
            .map(|(_, object)| object)
            .collect();
        json!({"metadata": {"resourceVersion": self.version.to_string()}, "items": items})
    }
}

fn refusal(code: u16) -> (u16, Value) {
    let reason = if code == 404 { "NotFound" } else { "" };
    let status = json!({
        "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": "no",
    });
    (code, status)
}

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}
