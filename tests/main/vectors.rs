//! The vectors of the senders' contract, by their numbers, through a door that really
//! listens on the real API server. What the hosts then do is told in `hosts`.

use harbormaster::{
    api::v1::{DesiredState, Reservation},
    events::signature::sign,
};
use serde_json::{Value, json};

use crate::listening::{Listening, Reply, S};

/// All fields of the current processor but the description.
pub(crate) fn fl(event_id: &str) -> Value {
    json!({
        "eventType": "EVENT_START", "timestamp": "2025-07-03T15:16:00.123456789Z",
        "eventId": event_id, "webhookId": 7, "userId": "6f1c2f0e-0000-4000-8000-000000000001",
        "username": "mario.rossi", "email": "mario.rossi@example.com", "sshPublicKey": KEY,
        "eventTitle": "Test A", "eventStart": "2025-07-03T15:20:00Z",
        "eventEnd": "2025-07-03T17:20:00Z", "customParameters": "{\"os\":\"noble\"}",
        "resourceId": 1, "resourceName": "restart-srv01", "resourceType": "Server",
        "resourceSpecs": "16 cores, 64GB", "resourceLocation": "Rack 1", "siteId": "site-1",
        "siteName": "Torino",
    })
}

/// The same with other fields; a null takes one away.
pub(crate) fn fl_with(event_id: &str, changes: &Value) -> Value {
    let mut event = fl(event_id);
    for (field, value) in changes.as_object().unwrap() {
        event[field] = value.clone();
        if value.is_null() {
            event.as_object_mut().unwrap().remove(field);
        }
    }
    event
}

/// An event of the portal's own, of a booking of `FL`'s.
pub(crate) fn wrapped(event_type: &str, id: u32) -> Value {
    json!({"eventType": event_type, "timestamp": "2025-07-03T16:00:00Z", "webhookId": "7", "data": {
        "id": id, "start": "2025-07-03T15:20:00Z", "end": "2025-07-03T17:20:00Z",
        "resource": {"id": 1, "name": "restart-srv01", "type": {"name": "Server"}},
        "keycloakId": "6f1c2f0e-0000-4000-8000-000000000001",
    }})
}

pub(crate) async fn recorded(door: &Listening, name: &str) -> Reservation {
    door.reservations.get(name).await.unwrap()
}

pub(crate) async fn post(door: &Listening, event: &Value) -> Reply {
    door.post(event.to_string().as_bytes()).await
}

#[tokio::test]
async fn valid_events_are_taken_in_all_their_forms() {
    let door = Listening::open("vectors-valid").await;
    let nulls: Value = json!({"username": null, "email": null, "siteName": null,
        "sshPublicKey": null, "eventDescription": null});
    let mut explicit = fl("13");
    for field in nulls.as_object().unwrap().keys() {
        explicit[field] = Value::Null;
    }
    let item = |id: &str, host: &str, kind: &str| {
        json!({"eventId": id, "eventTitle": "B", "eventStart": "2025-07-03T15:20:00Z",
            "eventEnd": "2025-07-03T17:20:00Z", "resourceId": id.parse::<i64>().unwrap(),
            "resourceName": host, "resourceType": kind})
    };
    let batch = |events: Value, active: Value| {
        json!({"webhookId": "7", "eventType": "EVENT_START", "timestamp": "2025-07-03T15:16:00Z",
            "eventCount": 1, "userId": "1", "sshPublicKey": KEY, "events": events,
            "activeResources": active})
    };
    let minimal = |event_type: &str| json!({"eventType": event_type, "resourceName": "m"});
    let without_data = json!({"eventType": "EVENT_CREATED", "data": {"id": 23}});
    let as_text = json!({"eventType": "EVENT_DELETED", "data": "Event{id=27}"});
    let other = |event_type: &str| fl_with("28", &json!({"eventType": event_type}));
    for (number, event, said) in [
        (1, minimal("EVENT_START"), "success"),
        (2, minimal("EVENT_END"), "success"),
        (7, fl("7"), "success"),
        (
            8,
            fl_with("7", &json!({"eventType": "EVENT_END"})),
            "success",
        ),
        (9, fl_with("7", &json!({"webhookId": "7"})), "success"),
        (10, fl_with("10", &json!({"webhookId": null})), "success"),
        (
            11,
            fl_with("11", &json!({"webhookId": null, "customParameters": null})),
            "success",
        ),
        (12, fl_with("12", &nulls), "success"),
        (13, explicit, "success"),
        (
            14,
            fl_with("14", &json!({"more": {"and": [{"more": 1.5}]}, "x": true})),
            "success",
        ),
        (
            15,
            batch(json!([item("151", "b1", "Server")]), json!([])),
            "success",
        ),
        (
            16,
            batch(
                json!([
                    item("161", "b1", "Server"),
                    item("162", "b2", "Server"),
                    item("163", "b3", "Server")
                ]),
                json!([item("164", "db", "Database")]),
            ),
            "success",
        ),
        (
            17,
            batch(json!([item("171", "b1", "Server")]), Value::Null),
            "success",
        ),
        (19, batch(json!([]), json!([])), "success"),
        (
            22,
            json!({"eventType": "ALL", "webhookId": "7", "data": {"webhookId": 7}}),
            "ignored",
        ),
        (23, without_data, "ignored"),
        (27, as_text, "ignored"),
        (28, other("FOO"), "ignored"),
        (28, other("event_start"), "ignored"),
        (28, other("EVENT_START "), "ignored"),
        (
            31,
            fl_with(
                "31",
                &json!({"eventTitle": "Prenotazione è 😀", "username": "è"}),
            ),
            "success",
        ),
        (26, wrapped("EVENT_DELETED", 26), "success"),
        (26, fl("26"), "success"),
    ] {
        let reply = post(&door, &event).await;
        assert_eq!(
            (reply.status, reply.said()),
            (200, said),
            "{number}: {reply:?}"
        );
    }

    let of = async |name: &str| recorded(&door, name).await;
    assert_eq!(of("host-m").await.desired_state(), DesiredState::Released);
    // 8, 9: what comes after the end changes nothing.
    assert_eq!(of("portal-7").await.desired_state(), DesiredState::Released);
    assert_eq!(of("portal-7").await.authorized_keys()[0].key, KEY);
    assert_eq!(of("portal-10").await.spec.source.unwrap().webhook_id, None);
    assert_eq!(of("portal-11").await.spec.parameters, None);
    for name in ["portal-12", "portal-13"] {
        let bare = of(name).await;
        assert!(bare.authorized_keys().is_empty());
        assert_eq!(bare.spec.requester.unwrap().username, None);
    }
    assert_eq!(
        of("portal-162").await.spec.requester.unwrap().id.as_deref(),
        Some("1")
    );
    let title = of("portal-31").await.spec.source.unwrap().title;
    assert_eq!(title.as_deref(), Some("Prenotazione è 😀"));
    assert_eq!(
        of("portal-26").await.desired_state(),
        DesiredState::Released
    );
    assert_eq!(
        door.names().await,
        [
            "host-m",
            "portal-10",
            "portal-11",
            "portal-12",
            "portal-13",
            "portal-14",
            "portal-151",
            "portal-161",
            "portal-162",
            "portal-163",
            "portal-171",
            "portal-26",
            "portal-31",
            "portal-7",
        ]
    );
}

#[tokio::test]
async fn bodies_are_taken_as_they_are_signed_and_times_in_every_form() {
    let door = Listening::open("vectors-forms").await;
    let times = [
        json!("2025-07-03T15:20:00Z"),
        json!("2025-07-03T15:20:00.1Z"),
        json!("2025-07-03T15:20:00.123456789Z"),
        json!("2025-07-03T17:20:00.000+02:00"),
        json!("2025-07-03T15:20:00-00:00"),
        json!("2025-07-03T17:20:00+02:00[Europe/Rome]"),
        json!(1_751_556_000),
        json!(1_751_556_000.5),
    ];
    for (number, start) in (2900..).zip(times) {
        let reply = post(
            &door,
            &fl_with(&number.to_string(), &json!({"eventStart": start})),
        )
        .await;
        assert_eq!(
            (reply.status, reply.said()),
            (200, "success"),
            "29: {start}"
        );
        let window = recorded(&door, &format!("portal-{number}"))
            .await
            .spec
            .window;
        assert_eq!(
            window.start.unwrap().0.to_string(),
            "2025-07-03T15:20:00Z",
            "29: {start}"
        );
    }
    for (number, start) in (3000..).zip(["2025-07-03 15:20", "yesterday", ""]) {
        let reply = post(
            &door,
            &fl_with(&number.to_string(), &json!({"eventStart": start})),
        )
        .await;
        assert_eq!(
            (reply.status, reply.said()),
            (200, "success"),
            "30: {start}"
        );
        let window = recorded(&door, &format!("portal-{number}"))
            .await
            .spec
            .window;
        assert_eq!(
            window.start.unwrap().0.to_string(),
            "2025-07-03T15:16:00Z",
            "30: {start}"
        );
        assert_eq!(window.end, None, "30: {start}");
    }
    // 33: the signature is over the bytes, not over what they mean.
    let pretty = serde_json::to_string_pretty(&fl("33")).unwrap();
    assert_eq!(door.post(pretty.as_bytes()).await.said(), "success");
    let content_types = [
        "Content-Type: application/json;charset=UTF-8\r\n",
        "Content-Type: application/JSON\r\n",
        "",
        "content-type: text/plain\r\n",
    ];
    for (number, content_type) in (3400..).zip(content_types) {
        let body = fl(&number.to_string()).to_string();
        let signature = sign(S, body.as_bytes());
        let headers = format!("{content_type}x-WEBHOOK-signature: {signature}\r\n");
        let reply = door.post_with(&headers, body.as_bytes()).await;
        assert_eq!(
            (reply.status, reply.said()),
            (200, "success"),
            "34, 37: {content_type}"
        );
    }
}

#[tokio::test]
async fn hostile_bodies_are_told_apart() {
    let door = Listening::open("vectors-hostile").await;
    let deep = "{\"a\":".repeat(10_000);
    let with = |field: &str, value: &str| {
        let mut text = fl("60").to_string();
        text.insert_str(1, &format!("\"{field}\":{value},"));
        text.into_bytes()
    };
    let many = vec!["{}"; 10_001].join(",");
    let cases: Vec<(u16, Vec<u8>, u16)> = vec![
        (59, Vec::new(), 400),
        (60, b"{}".to_vec(), 422),
        (60, b"[]".to_vec(), 422),
        (60, b"null".to_vec(), 422),
        (60, b"\"x\"".to_vec(), 422),
        (60, b"1".to_vec(), 422),
        (61, M1.as_bytes()[..40].to_vec(), 400),
        (61, format!("{M1}x").into_bytes(), 400),
        (61, format!("{M1}{M1}").into_bytes(), 400),
        (61, format!("\u{feff}{M1}").into_bytes(), 400),
        (
            63,
            b"{\"eventType\":\"EVENT_START\",\"resourceName\":\"a\xff\"}".to_vec(),
            400,
        ),
        (65, with("x", "NaN"), 400),
        (65, with("x", "Infinity"), 400),
        (65, with("x", "1e400"), 400),
        (65, with("x", "007"), 400),
        (67, with("x", &deep), 400),
        (
            67,
            format!("{{\"eventType\":\"EVENT_CREATED\",\"data\":{deep}").into_bytes(),
            400,
        ),
        (73, br#"{"eventType":7,"resourceName":"a"}"#.to_vec(), 422),
        (
            73,
            br#"{"eventType":null,"resourceName":"a"}"#.to_vec(),
            422,
        ),
        (73, br#"{"resourceName":"a"}"#.to_vec(), 422),
        (
            74,
            br#"{"eventType":"EVENT_START","resourceName":7}"#.to_vec(),
            422,
        ),
        (
            74,
            br#"{"eventType":"EVENT_START","resourceName":null}"#.to_vec(),
            422,
        ),
        (
            74,
            br#"{"eventType":"EVENT_START","resourceName":[]}"#.to_vec(),
            422,
        ),
        (
            74,
            br#"{"eventType":"EVENT_START","resourceName":{}}"#.to_vec(),
            422,
        ),
        (
            74,
            br#"{"eventType":"EVENT_START","resourceName":true}"#.to_vec(),
            422,
        ),
        (
            79,
            format!("{{\"eventType\":\"EVENT_START\",\"events\":[{many}]}}").into_bytes(),
            422,
        ),
        (0, with("eventType", "\"EVENT_START\""), 400),
    ];
    for (number, body, status) in cases {
        let reply = door.post(&body).await;
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert_eq!(reply.status, status, "{number}: {shown}: {reply:?}");
        assert!(reply.body["detail"].is_string(), "{number}");
    }
    assert!(door.names().await.is_empty());
    // Bytes of their own, since the MAC of nothing is a constant.
    let nothing = "X-Webhook-Signature: wizMkG/V1BcGrM2mqjNDuDmtld4nd+KhSgrVRmfKtNQ=\r\n";
    assert_eq!(door.post_with(nothing, b"").await.status, 400, "59");
}

#[tokio::test]
async fn odd_fields_lose_nothing_but_themselves() {
    let door = Listening::open("vectors-odd").await;
    let webhook_ids = [
        json!(1.5),
        json!({}),
        json!(-1),
        json!(9_223_372_036_854_775_808_u64),
        json!("abc"),
    ];
    for (number, webhook_id) in (7500..).zip(webhook_ids) {
        let reply = post(
            &door,
            &fl_with(&number.to_string(), &json!({"webhookId": webhook_id})),
        )
        .await;
        assert_eq!(
            (reply.status, reply.said()),
            (200, "success"),
            "75: {webhook_id}"
        );
        let source = recorded(&door, &format!("portal-{number}"))
            .await
            .spec
            .source;
        assert_eq!(source.unwrap().webhook_id, None, "75: {webhook_id}");
    }
    let large = "x".repeat(900_000);
    for (number, text, kept) in [
        (
            7700,
            json!({"os": "{{ evil }}"}),
            json!({"os": "{{ evil }}"}),
        ),
        (7701, json!(""), Value::Null),
        (7702, json!("not json"), json!({"raw": "not json"})),
        (7703, json!("[1]"), json!({"raw": "[1]"})),
        (7704, json!(large), Value::Null),
    ] {
        let reply = post(
            &door,
            &fl_with(&number.to_string(), &json!({"customParameters": text})),
        )
        .await;
        assert_eq!(
            (reply.status, reply.said()),
            (200, "success"),
            "77: {number}"
        );
        let parameters = recorded(&door, &format!("portal-{number}"))
            .await
            .spec
            .parameters;
        assert_eq!(
            serde_json::to_value(parameters).unwrap(),
            kept,
            "77: {number}"
        );
    }
    for (number, key) in [
        (8000, "\n- name: evil".to_owned()),
        (8001, "#cloud-config".to_owned()),
        (
            8002,
            "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----"
                .to_owned(),
        ),
        (8003, format!("ssh-rsa {}", "A".repeat(9000))),
        (8004, "ssh-ed25519 AA\u{7}AA".to_owned()),
        (8005, String::new()),
        (8006, format!("{KEY}\n- name: evil")),
    ] {
        let reply = post(
            &door,
            &fl_with(&number.to_string(), &json!({"sshPublicKey": key})),
        )
        .await;
        assert_eq!(
            (reply.status, reply.said()),
            (200, "success"),
            "80, 81: {number}"
        );
        let reservation = recorded(&door, &format!("portal-{number}")).await;
        assert_eq!(
            reservation.authorized_keys().len(),
            usize::from(number == 8006),
            "80: {number}"
        );
    }
    // 83, 84, 86: looked up as they are, and never turned into something that resembles them.
    for (number, name) in [
        (8300, "Lab Server A1"),
        (8400, "Restart-SRV01"),
        (8600, "6f1c2f0e-0000-4000-8000-000000000001"),
    ] {
        let reply = post(
            &door,
            &fl_with(&number.to_string(), &json!({"resourceName": name})),
        )
        .await;
        assert_eq!((reply.status, reply.said()), (200, "success"), "{name}");
        let resource = recorded(&door, &format!("portal-{number}"))
            .await
            .spec
            .resource;
        assert_eq!(resource.unwrap().name.as_deref(), Some(name));
    }
    let before = door.names().await;
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
        "x\0y",
        "restart-srv01\n",
        &long,
    ] {
        let reply = post(&door, &fl_with("82", &json!({"resourceName": name}))).await;
        assert_eq!(
            (reply.status, reply.said()),
            (200, "ignored"),
            "82: {name:?}"
        );
    }
    assert_eq!(door.names().await, before);
}

const M1: &str = r#"{"eventType":"EVENT_START","resourceName":"restart-srv01"}"#;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLEKEYEXAMPLEKEYEXAMPLEKEYEXAMPLEKEY01 mario";
