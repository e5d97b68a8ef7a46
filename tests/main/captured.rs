//! The requests captured from the real sender, byte for byte, and the signed vectors: posted
//! to the event door on the real API server, at the time at which each was sent.

use std::{fs, time::Duration};

use axum::{
    body::Body,
    http::{HeaderName, HeaderValue, Request},
};
use harbormaster::{
    api::v1::{DesiredState, Reservation},
    clock::Clock,
    events::{
        intake::{Door, routes},
        intent::Filters,
        metrics::EventMetrics,
        record::Recorder,
        secrets::SecretsDir,
        signature::Secrets,
    },
};
use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::{Value, json};
use tower::ServiceExt;
use xtask::stage::USER;

use crate::stage::{fixture, install_crypto, shared};

const SECRET: &str = "c2VjcmV0LWtleS0zMi1ieXRlcy1sb25nLWV4YW1wbGU=";
const PORTAL_SECRET: &str = "JhHPPQkgS0EA+GmIMFRbF6fjJJgfjQYW1uYzdFnbkcs=";

/// An event door with an empty namespace behind it, and a clock that stands still.
struct Doorway {
    reservations: Api<Reservation>,
}

impl Doorway {
    async fn open(namespace: &str) -> Self {
        let client = shared().control_plane().client();
        let namespaces: Api<Namespace> = Api::all(client);
        let object = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        namespaces
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
        // As the program itself: what anybody else writes is judged as if made by hand.
        let program = shared()
            .control_plane()
            .client_as(USER, &["system:masters"])
            .unwrap();
        Self {
            reservations: Api::namespaced(program, namespace),
        }
    }

    async fn deliver(&self, secret: &str, at: &str, request: Request<Body>) -> (u16, Value) {
        self.deliver_to(Secrets::from_text(secret), at, request)
            .await
    }

    async fn deliver_to(&self, secrets: Secrets, at: &str, request: Request<Body>) -> (u16, Value) {
        let door = Door {
            secrets,
            filters: Filters::default(),
            // Several control planes share this machine: slow isn't what is tested here.
            recorder: Recorder::new(self.reservations.clone(), "portal".to_owned())
                .within(Duration::from_secs(30)),
            metrics: EventMetrics::default(),
            clock: Clock::fixed(at.parse().unwrap()),
        };
        let answer = routes(door).oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    async fn only(&self) -> Reservation {
        let mut all = self
            .reservations
            .list(&Default::default())
            .await
            .unwrap()
            .items;
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    async fn is_empty(&self) -> bool {
        self.reservations
            .list(&Default::default())
            .await
            .unwrap()
            .items
            .is_empty()
    }
}

/// A captured request: its head and body as they were, and when it was sent.
fn captured(name: &str) -> (Request<Body>, String) {
    let head = fs::read_to_string(fixture(&format!("{name}.headers"))).unwrap();
    let body = fs::read(fixture(&format!("{name}.body"))).unwrap();
    let mut request = Request::post("/webhook");
    for line in head.lines().skip(1).filter(|line| !line.is_empty()) {
        let (field, value) = line.split_once(": ").unwrap();
        let field: HeaderName = field.parse().unwrap();
        request = request.header(field, HeaderValue::from_str(value).unwrap());
    }
    let json: Value = serde_json::from_slice(&body).unwrap();
    let timestamp = json["timestamp"].as_str().unwrap().to_owned();
    (request.body(Body::from(body)).unwrap(), timestamp)
}

fn vector(body: &'static str, signature: &str) -> Request<Body> {
    Request::post("/webhook")
        .header("x-webhook-signature", signature)
        .body(Body::from(body))
        .unwrap()
}

#[tokio::test]
async fn every_flat_start_of_the_real_sender_becomes_a_reservation() {
    for name in [
        "F0-start-full",
        "F1-start-full",
        "F2-start-full",
        "F2-start-keycloak",
    ] {
        let doorway = Doorway::open(&format!("captured-{}", name.to_lowercase())).await;
        let (request, at) = captured(name);
        let (status, body) = doorway.deliver(SECRET, &at, request).await;
        assert_eq!(status, 200, "{name}: {body}");
        assert_eq!(
            body["message"], "Provisioning initiated for restart-srv01",
            "{name}"
        );

        let reservation = doorway.only().await;
        assert_eq!(reservation.name_any(), "portal-101");
        assert_eq!(reservation.desired_state(), DesiredState::Active);
        assert_eq!(reservation.authorized_keys().len(), 1);
        let source = reservation.spec.source.unwrap();
        assert_eq!(source.title.as_deref(), Some("Prenotazione è 😀"));
        assert_eq!(
            source.description.as_deref(),
            Some("Esercitazione \"reti\" n. 1 \\ prova")
        );
        assert_eq!(source.webhook_id, name.starts_with("F2").then_some(7));
        let requester = reservation.spec.requester.unwrap();
        let is_known = name.ends_with("keycloak");
        assert_eq!(requester.username.is_some(), is_known);
        let os = reservation
            .spec
            .parameters
            .map(|parameters| parameters["os"].clone());
        assert_eq!(os, (!name.starts_with("F0")).then(|| json!("noble")));
    }
}

#[tokio::test]
async fn every_flat_end_of_the_real_sender_ends_its_reservation() {
    for (start, end, id) in [
        ("F0-start-full", "F0-end-full", "101"),
        ("F2-start-full", "F2-end-full", "101"),
        ("F2-start-keycloak", "F2-end-keycloak", "101"),
        ("F2-start-nokey", "F2-end-nokey", "102"),
    ] {
        let doorway = Doorway::open(&format!("captured-{}", end.to_lowercase())).await;
        for name in [start, end] {
            let (request, at) = captured(name);
            let (status, body) = doorway.deliver(SECRET, &at, request).await;
            assert_eq!(
                (status, &body["status"]),
                (200, &json!("success")),
                "{name}: {body}"
            );
        }
        let reservation = doorway.only().await;
        assert_eq!(reservation.name_any(), format!("portal-{id}"));
        assert_eq!(reservation.desired_state(), DesiredState::Released);
    }
}

#[tokio::test]
async fn the_real_senders_unsigned_request_is_taken_only_where_nothing_is_checked() {
    let doorway = Doorway::open("captured-unsigned").await;
    let (request, at) = captured("F2-start-unsigned");
    let (status, _) = doorway.deliver(SECRET, &at, request).await;
    assert_eq!(status, 401);
    assert!(doorway.is_empty().await);
    let (request, at) = captured("F2-start-unsigned");
    let (status, _) = doorway.deliver("", &at, request).await;
    assert_eq!(status, 200);
    assert_eq!(doorway.only().await.name_any(), "portal-102");
}

#[tokio::test]
async fn the_portals_other_events_hold_their_signature_and_are_ignored() {
    let doorway = Doorway::open("captured-portal").await;
    for name in ["T-test", "W-resource-updated"] {
        let (request, at) = captured(name);
        let (status, body) = doorway.deliver(PORTAL_SECRET, &at, request).await;
        assert_eq!(
            (status, &body["status"]),
            (200, &json!("ignored")),
            "{name}: {body}"
        );
    }
    assert!(doorway.is_empty().await);
}

#[tokio::test]
async fn the_portals_own_events_of_a_booking_are_recorded_in_whatever_order() {
    let (created, updated, deleted) = ("W-event-created", "W-event-updated", "W-event-deleted");
    for (number, order) in [
        [created, updated, deleted],
        [updated, created, deleted],
        [created, deleted, updated],
        [deleted, updated, created],
    ]
    .iter()
    .enumerate()
    {
        let doorway = Doorway::open(&format!("captured-life-{number}")).await;
        let mut is_over = false;
        for name in order {
            let (request, at) = captured(name);
            let (status, body) = doorway.deliver(PORTAL_SECRET, &at, request).await;
            assert_eq!(
                (status, &body["status"]),
                (200, &json!("success")),
                "{name}: {body}"
            );
            is_over |= *name == deleted;
            let reservation = doorway.only().await;
            assert_eq!(reservation.name_any(), "portal-10");
            let wanted = if is_over {
                DesiredState::Released
            } else {
                DesiredState::Scheduled
            };
            assert_eq!(reservation.desired_state(), wanted, "{order:?}: {name}");
        }
        let reservation = doorway.only().await;
        let window = reservation.spec.window;
        assert_eq!(window.start.unwrap().0.to_string(), "2030-01-02T10:00:00Z");
        assert_eq!(window.end.unwrap().0.to_string(), "2030-01-02T13:00:00Z");
        let resource = reservation.spec.resource.unwrap();
        assert_eq!(
            (resource.id, resource.type_.as_deref()),
            (Some(12), Some("Server"))
        );
    }
}

#[tokio::test]
async fn the_portal_is_told_what_became_of_its_events() {
    let doorway = Doorway::open("captured-portal-words").await;
    for (name, message) in [
        ("W-event-created", "Reservation recorded for restart-srv01"),
        ("W-event-created", "Already handled for restart-srv01"),
        ("W-event-updated", "Reservation recorded for restart-srv01"),
        ("W-event-created", "Already handled for restart-srv01"),
        (
            "W-event-deleted",
            "Deprovisioning initiated for restart-srv01",
        ),
        ("W-event-deleted", "Already handled for restart-srv01"),
        ("W-event-updated", "Already handled for restart-srv01"),
    ] {
        let (request, at) = captured(name);
        let (status, body) = doorway.deliver(PORTAL_SECRET, &at, request).await;
        assert_eq!((status, &body["message"]), (200, &json!(message)), "{name}");
    }
}

#[tokio::test]
async fn every_batch_of_the_older_senders_becomes_a_reservation_per_item() {
    for (start, end) in [
        ("B1-start-full", None),
        ("B3-start-full", Some("B3-end-full")),
        ("B4-start-keycloak", Some("B4-end-keycloak")),
    ] {
        let doorway = Doorway::open(&format!("captured-{}", start.to_lowercase())).await;
        for (name, message) in [
            (Some(start), "Provisioning initiated for restart-srv01"),
            (end, "Deprovisioning initiated for restart-srv01"),
        ] {
            let Some(name) = name else { continue };
            let (request, at) = captured(name);
            let (status, body) = doorway.deliver(SECRET, &at, request).await;
            assert_eq!(
                (status, &body["status"]),
                (200, &json!("success")),
                "{name}: {body}"
            );
            assert_eq!(
                body["items"][0],
                json!({
                    "eventId": "101",
                    "resourceName": "restart-srv01",
                    "status": "success",
                    "message": message,
                })
            );
            assert_eq!(body["items"].as_array().unwrap().len(), 2, "{body}");
        }
        let wanted = match end {
            Some(_) => DesiredState::Released,
            None => DesiredState::Active,
        };
        let all = doorway
            .reservations
            .list(&Default::default())
            .await
            .unwrap();
        let names: Vec<_> = all.items.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["portal-101", "portal-103"], "{start}");
        for reservation in &all.items {
            assert_eq!(reservation.desired_state(), wanted);
            assert_eq!(reservation.authorized_keys().len(), 1);
        }
    }
}

#[tokio::test]
async fn each_webhook_may_have_a_secret_of_its_own_in_a_folder() {
    let doorway = Doorway::open("captured-folder").await;
    let folder = tempfile::tempdir().unwrap();
    let events = [
        ("F2-start-full", SECRET),
        ("W-event-created", PORTAL_SECRET),
    ];
    for (file, known) in [(None, 0), (Some("7"), 1), (Some("4"), 2)] {
        if let Some(file) = file {
            let secret = if file == "7" { SECRET } else { PORTAL_SECRET };
            fs::write(folder.path().join(file), format!("{secret}\n")).unwrap();
        }
        let dir = SecretsDir::open(folder.path()).await;
        for (number, (name, _)) in events.iter().enumerate() {
            let (request, at) = captured(name);
            let secrets = Secrets::from_text("").and_folder(&dir);
            let (status, body) = doorway.deliver_to(secrets, &at, request).await;
            let wanted = if number < known { 200 } else { 401 };
            assert_eq!(status, wanted, "{known}, {name}: {body}");
        }
    }
    // The setting's secret counts beside those of the folder.
    let dir = SecretsDir::open(folder.path().join("missing")).await;
    for (name, secret) in events {
        let (request, at) = captured(name);
        let secrets = Secrets::from_text(secret).and_folder(&dir);
        let (status, _) = doorway.deliver_to(secrets, &at, request).await;
        assert_eq!(status, 200, "{name}");
    }
}

#[tokio::test]
async fn a_batch_that_cannot_be_stored_is_to_be_sent_again() {
    install_crypto();
    // Discard: nobody listens there.
    let nowhere = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
    let client = kube::Client::try_from(nowhere).unwrap();
    let door = Door {
        secrets: Secrets::default(),
        filters: Filters::default(),
        recorder: Recorder::new(Api::namespaced(client, "default"), "portal".to_owned()),
        metrics: EventMetrics::default(),
        clock: Clock::system(),
    };
    let item = |name: &str| json!({"eventId": "1", "resourceName": name});
    let post = async |items: Value| {
        let body = json!({"eventType": "EVENT_START", "events": items});
        let request = Request::post("/webhook").body(Body::from(body.to_string()));
        routes(door.clone())
            .oneshot(request.unwrap())
            .await
            .unwrap()
    };
    let answer = post(json!([item("a/b"), item("srv")])).await;
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.headers()["retry-after"], "1");
    let answer = post(json!([item("a/b"), 7])).await;
    assert_eq!(answer.status(), 200, "nothing of it is to be stored");
}

#[tokio::test]
async fn the_signed_vectors_end_as_they_should() {
    let doorway = Doorway::open("vectors").await;
    let now = "2025-07-03T15:16:00Z";
    for (vector, at, message) in [
        (
            vector(M1, M1_MAC),
            now,
            "Provisioning initiated for restart-srv01",
        ),
        (
            vector(M2, M2_MAC),
            now,
            "Deprovisioning initiated for restart-srv01",
        ),
        (
            vector(FL, FL_MAC),
            now,
            "Provisioning initiated for restart-srv01",
        ),
        (vector(FL, FL_MAC), now, "Already handled for restart-srv01"),
        (
            vector(FE, FE_MAC),
            "2025-07-03T17:20:31Z",
            "Deprovisioning initiated for restart-srv01",
        ),
        (vector(T1, T1_MAC), now, "Event type 'ALL' not handled"),
    ] {
        let (status, body) = doorway.deliver(SECRET, at, vector).await;
        assert_eq!((status, &body["message"]), (200, &json!(message)));
    }
    let minimal = doorway
        .reservations
        .get("host-restart-srv01")
        .await
        .unwrap();
    assert_eq!(minimal.desired_state(), DesiredState::Released);
    assert_eq!(minimal.spec.window.end, None);
    let flat = doorway.reservations.get("portal-101").await.unwrap();
    assert_eq!(flat.desired_state(), DesiredState::Released);
    let window = flat.spec.window;
    assert_eq!(window.start.unwrap().0.to_string(), "2025-07-03T15:20:00Z");
    assert_eq!(window.end.unwrap().0.to_string(), "2025-07-03T17:20:00Z");
}

#[tokio::test]
async fn a_start_that_comes_after_its_end_is_not_recorded() {
    let doorway = Doorway::open("vectors-late").await;
    let (status, body) = doorway
        .deliver(SECRET, "2025-07-03T17:20:00Z", vector(FL, FL_MAC))
        .await;
    assert_eq!((status, &body["status"]), (200, &json!("ignored")));
    assert!(doorway.is_empty().await);
}

const M1: &str = r#"{"eventType":"EVENT_START","resourceName":"restart-srv01"}"#;
const M1_MAC: &str = "78cYUV2I07TaYMxuNBMOHM4TpcKmTqCPSjGEQzseIIw=";
const M2: &str = r#"{"eventType":"EVENT_END","resourceName":"restart-srv01"}"#;
const M2_MAC: &str = "q5xzAorxlIBi/pk5zGp6Wuvy32no3pJVM51Mc+dFD3A=";
const FL: &str = r#"{"eventType":"EVENT_START","timestamp":"2025-07-03T15:16:00.123456789Z","eventId":"101","webhookId":7,"userId":"6f1c2f0e-0000-4000-8000-000000000001","username":"mario.rossi","email":"mario.rossi@example.com","sshPublicKey":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLEKEYEXAMPLEKEYEXAMPLEKEYEXAMPLEKEY01 mario","eventTitle":"Test A","eventStart":"2025-07-03T15:20:00Z","eventEnd":"2025-07-03T17:20:00Z","customParameters":"{\"os\":\"noble\"}","resourceId":1,"resourceName":"restart-srv01","resourceType":"Server","resourceSpecs":"16 cores, 64GB","resourceLocation":"Rack 1","siteId":"site-1","siteName":"Torino"}"#;
const FL_MAC: &str = "AW2xG1jfQz/rs3jDndZ7LRVKiCtOGc4dZVW7fqSXJmg=";
const FE: &str = r#"{"eventType":"EVENT_END","timestamp":"2025-07-03T17:20:31.5Z","eventId":"101","webhookId":7,"userId":"6f1c2f0e-0000-4000-8000-000000000001","username":"mario.rossi","email":"mario.rossi@example.com","sshPublicKey":"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLEKEYEXAMPLEKEYEXAMPLEKEYEXAMPLEKEY01 mario","eventTitle":"Test A","eventStart":"2025-07-03T15:20:00Z","eventEnd":"2025-07-03T17:20:00Z","customParameters":"{\"os\":\"noble\"}","resourceId":1,"resourceName":"restart-srv01","resourceType":"Server","resourceSpecs":"16 cores, 64GB","resourceLocation":"Rack 1","siteId":"site-1","siteName":"Torino"}"#;
const FE_MAC: &str = "tanptIvxajLiZ1swTn1IoNQnilKiRqnFA2GS3RqdC2I=";
const T1: &str = r#"{"eventType":"ALL","timestamp":"2025-07-03T15:00:00.000000001Z","webhookId":"7","data":{"message":"This is a test event","timestamp":"2025-07-03T15:00:00Z","webhookId":7}}"#;
const T1_MAC: &str = "jgg3mmYE0G0wulbUSoEiv6vqMPkKtgTqUU2zE8fAAy8=";
