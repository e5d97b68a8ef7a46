//! Passes against an API server in memory: what is asked for, how often, and in which order
//! it is written.

#![expect(
    clippy::needless_pass_by_value,
    reason = "a literal reads better without a reference"
)]

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use axum::http::{Method, Request, Response};
use http_body_util::BodyExt;
use jiff::SignedDuration;
use kube::{Client, client::Body};
use metal3::ProvisioningState;

use super::*;
use crate::api::v1::Image;

#[tokio::test]
async fn a_finished_record_is_looked_at_once_an_hour_and_deleted_at_its_time() {
    let world = World::new();
    world.put(
        "reservations/wish",
        wish(
            json!({}),
            json!({
                "phase": "Released",
                "releasedTime": "2026-01-01T11:00:00Z",
                "hostRef": {"namespace": "metal3", "name": "a", "uid": "uid-a"},
            }),
        ),
    );
    world.put("baremetalhosts/a", host("a", "1"));
    while let Some(wait) = world.pass("wish").await {
        world.sleep(wait);
    }
    // A week after the window's end, to the second.
    let asked = world.asked();
    let deleted = asked
        .iter()
        .position(|(_, call)| call == "DELETE reservations/wish");
    assert_eq!(asked[deleted.unwrap()].0, at("2026-01-08T12:00:00Z"));
    // One Reservation and its host, each hour of a week and two hours.
    assert!(asked.len() <= 2 * (7 * 24 + 6), "{} requests", asked.len());
}

#[tokio::test]
async fn a_record_that_is_not_over_is_looked_at_every_five_minutes() {
    let world = World::new();
    world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
    world.settle("wish").await;
    assert_eq!(world.pass("wish").await, Some(RESYNC));
}

#[tokio::test]
async fn a_booked_wish_reads_its_own_host_and_calendar_and_nothing_else() {
    let world = World::new();
    world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
    for name in ["a", "b", "c"] {
        world.put(&format!("baremetalhosts/{name}"), host(name, "1"));
    }
    world.settle("wish").await;
    assert_eq!(world.booked_on("wish"), ["a"]);
    world.forget();
    world.pass("wish").await;
    assert_eq!(
        world.calls(),
        [
            "GET reservations/wish",
            "GET hostcalendars/a",
            "GET baremetalhosts/a",
        ]
    );
}

#[tokio::test]
async fn a_booked_wish_keeps_its_place_while_its_host_or_its_calendar_can_not_be_read() {
    let (torn_host, torn_calendar) = (
        json!({"status": {"operationHistory": {"provision": {"end": TEN_DIGITS}}}}),
        json!({"status": {"until": TEN_DIGITS}}),
    );
    for (path, torn) in [
        ("baremetalhosts/a", torn_host),
        ("hostcalendars/a", torn_calendar),
    ] {
        let world = World::new();
        world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
        world.put("baremetalhosts/a", host("a", "1"));
        world.settle("wish").await;
        world.put("baremetalhosts/b", host("b", "1"));
        let whole = world.edit(path, &torn);
        world.settle("wish").await;
        assert_eq!(world.booked_on("wish"), ["a"], "{path}");
        assert_eq!(world.ready("wish"), "Unreadable", "{path}");
        world.put(path, whole);
        world.settle("wish").await;
        assert_eq!(world.booked_on("wish"), ["a"], "{path}");
        assert_eq!(world.ready("wish"), "Scheduled", "{path}");
    }
}

#[tokio::test]
async fn a_wish_that_is_edited_moves_and_is_in_one_calendar_at_most_wherever_it_is_interrupted() {
    for failing in 0..8 {
        let world = World::new();
        world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
        world.put("baremetalhosts/a", host("a", "1"));
        world.put("baremetalhosts/b", host("b", "2"));
        world.settle("wish").await;
        assert_eq!(world.booked_on("wish"), ["a"]);
        world.edit(
            "reservations/wish",
            &json!({
                "metadata": {"generation": 2},
                "spec": {"target": {"selector": {"matchLabels": {"rack": "2"}}}},
            }),
        );
        world.fail_write(failing);
        world.settle("wish").await;
        assert_eq!(world.booked_on("wish"), ["b"], "the write {failing} failed");
        assert_eq!(world.ready("wish"), "Scheduled");
        // Hosts that are labelled anew take nothing back, and neither does the next pass.
        world.edit(
            "baremetalhosts/b",
            &json!({"metadata": {"labels": {"rack": "1"}}}),
        );
        world.settle("wish").await;
        assert_eq!(world.booked_on("wish"), ["b"]);
    }
}

#[tokio::test]
async fn a_wish_that_is_edited_to_what_nobody_bears_gives_its_place_up_and_waits() {
    let world = World::new();
    world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
    world.put("baremetalhosts/a", host("a", "1"));
    world.settle("wish").await;
    world.edit(
        "reservations/wish",
        &json!({
            "metadata": {"generation": 2},
            "spec": {"target": {"selector": {"matchLabels": {"rack": "9"}}}},
        }),
    );
    world.settle("wish").await;
    assert_eq!(world.booked_on("wish"), [""; 0]);
    assert_eq!(world.ready("wish"), "HostNotFound");
}

#[tokio::test]
async fn what_was_begun_with_a_host_is_not_chosen_for_again() {
    let world = World::new();
    world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
    world.put("baremetalhosts/a", host("a", "1"));
    world.put("baremetalhosts/b", host("b", "2"));
    world.sleep(Duration::from_secs(2 * 3600));
    world.settle("wish").await;
    assert_eq!(world.holder("a").as_deref(), Some("wish"));
    // As by somebody who broke the glass.
    world.edit(
        "reservations/wish",
        &json!({
            "metadata": {"generation": 2},
            "spec": {"target": {"selector": {"matchLabels": {"rack": "2"}}}},
        }),
    );
    world.settle("wish").await;
    assert_eq!(world.booked_on("wish"), ["a"]);
    assert_eq!(
        (world.holder("a").as_deref(), world.holder("b")),
        (Some("wish"), None)
    );
}

#[tokio::test]
async fn a_wish_takes_a_host_whose_booking_belongs_to_nobody_any_more_and_takes_that_out() {
    for end in [Value::Null, json!("2026-01-01T13:00:00Z")] {
        let world = World::new();
        world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
        world.put("baremetalhosts/a", host("a", "1"));
        world.put("hostcalendars/a", calendar("a", end.clone()));
        world.settle("wish").await;
        assert_eq!(world.booked_on("wish"), ["a"], "until {end}");
        assert_eq!(world.booked_on("ghost"), [""; 0], "until {end}");
    }
}

#[tokio::test]
async fn a_wish_does_not_move_for_a_booking_that_belongs_to_nobody_any_more() {
    let world = World::new();
    world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
    world.put("baremetalhosts/a", host("a", "1"));
    world.settle("wish").await;
    world.put("baremetalhosts/b", host("b", "1"));
    let mut bookings = calendar("a", Value::Null)["status"]["bookings"].clone();
    let own = world.object("hostcalendars/a")["status"]["bookings"][0].clone();
    bookings.as_array_mut().unwrap().push(own);
    world.edit(
        "hostcalendars/a",
        &json!({"status": {"bookings": bookings}}),
    );
    world.settle("wish").await;
    assert_eq!(world.booked_on("wish"), ["a"]);
    assert_eq!(world.booked_on("ghost"), [""; 0]);
}

#[tokio::test]
async fn a_wish_waits_for_no_host_whose_claim_belongs_to_nobody_any_more() {
    let world = World::new();
    world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
    let mut held = host("a", "1");
    held["spec"]["consumerRef"] = json!({
        "apiVersion": "harbormaster.dev/v1", "kind": "Reservation",
        "namespace": "metal3", "name": "ghost", "uid": "uid-ghost",
    });
    world.put("baremetalhosts/a", held);
    world.settle("wish").await;
    assert_eq!(world.ready("wish"), "NoHostFree");
    // As by somebody who broke the glass.
    let free = json!({"spec": {"consumerRef": null}});
    world.edit("baremetalhosts/a", &free);
    world.settle("wish").await;
    assert_eq!(world.booked_on("wish"), ["a"]);
}

#[tokio::test]
async fn an_early_start_waits_for_nobody_who_is_no_more() {
    let world = World::new();
    let mut started = wish(json!({}), json!({}));
    started["spec"]["target"] = json!({"hostRef": {"name": "a"}});
    started["spec"]["lifecycle"] = json!({"desiredState": "Active"});
    world.put("reservations/wish", started);
    world.put("baremetalhosts/a", host("a", "1"));
    world.put("hostcalendars/a", calendar("a", Value::Null));
    world.sleep(Duration::from_secs(56 * 60));
    world.settle("wish").await;
    assert_eq!(world.holder("a").as_deref(), Some("wish"));
    assert_eq!(world.booked_on("ghost"), [""; 0]);
}

/// An API server, a clock, and a controller that knows no other.
struct World {
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
    fn new() -> Self {
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

    fn server(&self) -> std::sync::MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, path: &str, object: Value) {
        self.server().store(path, object);
    }

    /// Merges a change into an object; gives back what it was.
    fn edit(&self, path: &str, change: &Value) -> Value {
        let mut server = self.server();
        let before = server.objects[path].clone();
        let mut after = before.clone();
        json_patch::merge(&mut after, change);
        server.store(path, after);
        before
    }

    fn sleep(&self, span: Duration) {
        // Whole seconds, of which none is lost.
        let span = SignedDuration::try_from(span).unwrap();
        let seconds = span.as_secs() + i64::from(span.subsec_nanos() > 0);
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    async fn pass(&self, name: &str) -> Option<Duration> {
        Box::pin(pass(name, &self.context)).await.unwrap()
    }

    /// Passes until one writes nothing; after each, it is in one calendar at most.
    async fn settle(&self, name: &str) {
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

    fn fail_write(&self, after: usize) {
        self.server().fails_after = Some(after);
    }

    fn forget(&self) {
        self.server().asked.clear();
    }

    fn asked(&self) -> Vec<(Timestamp, String)> {
        self.server().asked.clone()
    }

    fn calls(&self) -> Vec<String> {
        let asked = self.asked().into_iter();
        asked.map(|(_, call)| call).collect()
    }

    fn booked_on(&self, name: &str) -> Vec<String> {
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

    fn object(&self, path: &str) -> Value {
        self.server().objects[path].clone()
    }

    fn ready(&self, name: &str) -> String {
        let server = self.server();
        let object = &server.objects[&format!("reservations/{name}")];
        let conditions = object["status"]["conditions"].as_array().unwrap();
        let ready = conditions.iter().find(|it| it["type"] == "Ready").unwrap();
        ready["reason"].as_str().unwrap().to_owned()
    }

    fn holder(&self, host: &str) -> Option<String> {
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
            return (201, self.store(&path, body.clone()));
        }
        let Some(mut stored) = stored else {
            return refusal(404);
        };
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

fn wish(labels: Value, status: Value) -> Value {
    json!({
        "apiVersion": "harbormaster.dev/v1",
        "kind": "Reservation",
        "metadata": {
            "name": "wish", "namespace": "metal3", "uid": "uid-wish", "generation": 1,
            "finalizers": ["harbormaster.dev/release"],
        },
        "spec": {
            "target": {"selector": {"matchLabels": labels}},
            "window": {"start": "2026-01-01T10:00:00Z", "end": "2026-01-01T12:00:00Z"},
        },
        "status": status,
    })
}

fn host(name: &str, rack: &str) -> Value {
    json!({
        "apiVersion": "metal3.io/v1alpha1",
        "kind": "BareMetalHost",
        "metadata": {
            "name": name, "namespace": "metal3", "uid": format!("uid-{name}"),
            "labels": {"rack": rack},
        },
        "spec": {"online": false},
        "status": {
            "operationalStatus": "OK",
            "provisioning": {"state": ProvisioningState::Available.as_str(), "ID": "1"},
        },
    })
}

/// A calendar with the booking of a Reservation that is not there.
fn calendar(host: &str, end: Value) -> Value {
    let mut booking = json!({
        "uid": "uid-ghost", "name": "ghost", "start": "2026-01-01T08:00:00Z", "end": end,
    });
    if end.is_null() {
        booking.as_object_mut().unwrap().remove("end");
    }
    json!({
        "apiVersion": "harbormaster.dev/v1",
        "kind": "HostCalendar",
        "metadata": {"name": host, "namespace": "metal3", "ownerReferences": [{
            "apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost",
            "name": host, "uid": format!("uid-{host}"),
        }]},
        "spec": {},
        "status": {"bookings": [booking]},
    })
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// A time that no timestamp of ours has room for.
const TEN_DIGITS: &str = "2026-01-01T10:00:00.1234567890Z";
