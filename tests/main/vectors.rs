//! The vectors of the senders' contract, by their numbers, through a door that really
//! listens on the real API server. What the hosts then do is told in `hosts`.

use harbormaster::{
    api::v1::{DesiredState, Reservation},
    events::{
        intent::Filters,
        secrets::SecretsDir,
        signature::{Secrets, sign},
    },
};
use serde_json::{Value, json};

use crate::listening::{Listening, Reply, S};

/// All fields of the current processor but the description.
fn fl(event_id: &str) -> Value {
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
fn fl_with(event_id: &str, changes: &Value) -> Value {
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
fn wrapped(event_type: &str, id: u32) -> Value {
    json!({"eventType": event_type, "timestamp": "2025-07-03T16:00:00Z", "webhookId": "7", "data": {
        "id": id, "start": "2025-07-03T15:20:00Z", "end": "2025-07-03T17:20:00Z",
        "resource": {"id": 1, "name": "restart-srv01", "type": {"name": "Server"}},
        "keycloakId": "6f1c2f0e-0000-4000-8000-000000000001",
    }})
}

async fn recorded(door: &Listening, name: &str) -> Reservation {
    door.reservations.get(name).await.unwrap()
}

async fn post(door: &Listening, event: &Value) -> Reply {
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
async fn only_the_documented_signatures_are_accepted() {
    let door = Listening::open("vectors-signed").await;
    let url_safe = M2_BASE64.replace('/', "_").replace('+', "-");
    let with_newline = sign(&format!("{S}\n\n"), M1.as_bytes());
    for (number, value, body, status) in [
        (1, M1_BASE64, M1, 200),
        (38, M1_HEX, M1, 200),
        (39, &M1_HEX.to_uppercase(), M1, 200),
        (40, &format!("sha256={M1_HEX}"), M1, 200),
        (41, &format!("sha256={M1_BASE64}"), M1, 200),
        (42, &format!(" \t{M1_BASE64} \t"), M1, 200),
        (44, "", M1, 401),
        (45, M2_BASE64, M1, 401),
        (46, M1_BASE64, M2, 401),
        (48, "cJOyyXvQvRWpOJsNeqdY3MfWqMO0WoGLykX0vz1MwWw=", M1, 401),
        (48, &with_newline, M1, 401),
        (50, &url_safe, M2, 401),
        (50, M1_BASE64.trim_end_matches('='), M1, 401),
        (51, "A5AWBrnUi4nqPlBgvVz1tmwM27o=", M1, 401),
        (57, M1_BASE64, &M1.replace("srv01", "srv00"), 401),
    ] {
        let headers = format!("X-Webhook-Signature: {value}\r\n");
        let reply = door.post_with(&headers, body.as_bytes()).await;
        assert_eq!(reply.status, status, "{number}: {reply:?}");
        if status == 401 {
            assert_eq!(
                reply.body,
                json!({"detail": "Signature verification failed"}),
                "{number}"
            );
        }
    }
    let twice = format!("X-Webhook-Signature: {M1_BASE64}\r\n").repeat(2);
    let beyond_ascii = "X-Webhook-Signature: \u{e8}\r\n";
    for (number, headers) in [(43, ""), (45, &*twice), (45, beyond_ascii)] {
        let reply = door.post_with(headers, M1.as_bytes()).await;
        assert_eq!(reply.status, 401, "{number}: {headers}");
    }
    // 54: neither the address nor the body is a place for it.
    let query = format!(
        "POST /webhook?X-Webhook-Signature={M1_HEX} HTTP/1.1\r\nHost: door\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{M1}",
        M1.len()
    );
    assert_eq!(door.send(query.as_bytes()).await.status, 401);
    assert_eq!(door.names().await, ["host-restart-srv01"]);
}

#[tokio::test]
async fn secrets_may_be_none_or_several() {
    for (number, secret, headers) in [
        (4, "", ""),
        (5, "", "X-Webhook-Signature: garbage\r\n"),
        (6, "\n", ""),
    ] {
        let namespace = format!("vectors-unsigned-{number}");
        let door = Listening::open_with(&namespace, |mut door| {
            door.secrets = Secrets::from_text(secret);
            door
        })
        .await;
        let reply = door.post_with(headers, M1.as_bytes()).await;
        assert_eq!((reply.status, reply.said()), (200, "success"), "{number}");
    }
    let folder = tempfile::tempdir().unwrap();
    for (file, secret) in [("7", "secret one"), ("8", "secret two\n")] {
        std::fs::write(folder.path().join(file), secret).unwrap();
    }
    let secrets = SecretsDir::open(folder.path())
        .await
        .every(std::time::Duration::from_millis(20));
    let door = Listening::open_with("vectors-secrets", |mut door| {
        door.secrets = Secrets::from_text(S).and_folder(&secrets);
        door
    })
    .await;
    let signed = async |event: Value, secret: &str| {
        let body = event.to_string();
        let headers = format!("X-Webhook-Signature: {}\r\n", sign(secret, body.as_bytes()));
        door.post_with(&headers, body.as_bytes()).await
    };
    // 55, 56: whichever signed it, and through whichever webhook it comes, it is one event.
    let mut answers = Vec::new();
    for (webhook, secret) in [(7, "secret one"), (8, "secret two"), (9, S)] {
        let reply = signed(fl_with("56", &json!({"webhookId": webhook})), secret).await;
        assert_eq!((reply.status, reply.said()), (200, "success"), "{webhook}");
        answers.push(reply.body["message"].clone());
    }
    assert_eq!(
        answers,
        [
            "Provisioning initiated for restart-srv01",
            "Already handled for restart-srv01",
            "Already handled for restart-srv01",
        ]
    );
    assert_eq!(door.names().await, ["portal-56"]);
    std::fs::remove_file(folder.path().join("8")).unwrap();
    let watch = tokio::spawn(secrets.watch(std::future::pending()));
    crate::stage::until("the secret to be forgotten", async || {
        let reply = signed(fl("56"), "secret two").await;
        (reply.status == 401).then_some(())
    })
    .await;
    watch.abort();
    // 48: one newline at the end of a setting is an editor's.
    let headers = format!("X-Webhook-Signature: {M1_BASE64}\r\n");
    let door = Listening::open_with("vectors-newline", |mut door| {
        door.secrets = Secrets::from_text(&format!("{S}\n"));
        door
    })
    .await;
    assert_eq!(door.post_with(&headers, M1.as_bytes()).await.status, 200);
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

#[tokio::test]
async fn repeated_late_and_foreign_events_end_as_one_record() {
    let door = Listening::open("vectors-order").await;
    let event = fl("88").to_string();
    let posts = (0..20).map(|_| door.post(event.as_bytes()));
    let answers = futures::future::join_all(posts).await;
    assert!(
        answers.iter().all(|reply| reply.status == 200),
        "88: {answers:?}"
    );
    let initiated = |reply: &&Reply| {
        let message = reply.body["message"].as_str().unwrap_or_default();
        message.starts_with("Provisioning initiated")
    };
    assert_eq!(answers.iter().filter(initiated).count(), 1, "88");

    let again = fl_with("88", &json!({"timestamp": "2025-07-03T15:17:00.5Z"}));
    let known = "Already handled for restart-srv01";
    assert_eq!(post(&door, &again).await.body["message"], known, "89");

    let mut ends = Vec::new();
    for second in 10..22 {
        let timestamp = format!("2025-07-03T17:20:{second}Z");
        let end = fl_with(
            "88",
            &json!({"eventType": "EVENT_END", "timestamp": timestamp}),
        );
        ends.push(post(&door, &end).await.body["message"].clone());
    }
    assert_eq!(ends[0], "Deprovisioning initiated for restart-srv01", "90");
    assert!(
        ends[1..].iter().all(|message| message == known),
        "90: {ends:?}"
    );

    // 91, 97: an END of another booking of the host, known or not, is that booking's alone.
    assert_eq!(post(&door, &fl("93")).await.said(), "success");
    let foreign = fl_with("97", &json!({"eventType": "EVENT_END"}));
    assert_eq!(post(&door, &foreign).await.said(), "success");
    assert_eq!(
        recorded(&door, "portal-93").await.desired_state(),
        DesiredState::Active
    );
    assert_eq!(
        recorded(&door, "portal-97").await.desired_state(),
        DesiredState::Released
    );

    let past = json!({"eventStart": "2025-07-03T10:00:00Z", "eventEnd": "2025-07-03T11:00:00Z"});
    let reply = post(&door, &fl_with("98", &past)).await;
    assert_eq!((reply.status, reply.said()), (200, "ignored"), "98");
    assert_eq!(door.names().await, ["portal-88", "portal-93", "portal-97"]);
}

#[tokio::test]
async fn resource_types_that_are_not_ours_are_given_back_when_a_booking_moves_there() {
    let door = Listening::open_with("vectors-types", |mut door| {
        door.filters = Filters {
            resource_types: ["Server".to_owned()].into(),
        };
        door
    })
    .await;
    // 21: a batch of both.
    let batch = json!({"eventType": "EVENT_START", "events": [
        {"eventId": "211", "resourceName": "srv", "resourceType": "Server"},
        {"eventId": "212", "resourceName": "port", "resourceType": "Switch Port"},
    ]});
    let reply = post(&door, &batch).await;
    let said: Vec<_> = reply.body["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["status"])
        .collect();
    assert_eq!(said, ["success", "ignored"]);

    let of_type = |event_type: &str, minute: u32, kind: &str| {
        let mut event = wrapped(event_type, 24);
        event["data"]["start"] = json!("2030-07-03T15:20:00Z");
        event["data"]["end"] = json!("2030-07-03T17:20:00Z");
        event["data"]["updatedAt"] = json!(format!("2025-07-03T10:{minute:02}:00Z"));
        event["data"]["resource"] =
            json!({"id": minute, "name": format!("r{minute}"), "type": {"name": kind}});
        event
    };
    for (event, message, state) in [
        (
            of_type("EVENT_CREATED", 1, "Server"),
            "Reservation recorded for r1",
            DesiredState::Scheduled,
        ),
        (
            of_type("EVENT_UPDATED", 2, "Switch Port"),
            "Resource type 'Switch Port' not handled; what was reserved is released",
            DesiredState::Released,
        ),
        (
            of_type("EVENT_UPDATED", 2, "Switch Port"),
            "Resource type 'Switch Port' not handled",
            DesiredState::Released,
        ),
        (
            of_type("EVENT_CREATED", 1, "Server"),
            "Already handled for r1",
            DesiredState::Released,
        ),
    ] {
        let reply = post(&door, &event).await;
        assert_eq!(
            (reply.status, &reply.body["message"]),
            (200, &json!(message))
        );
        assert_eq!(
            recorded(&door, "portal-24").await.desired_state(),
            state,
            "{message}"
        );
    }
    let back = post(&door, &of_type("EVENT_UPDATED", 3, "Server")).await;
    assert_eq!(back.body["message"], "Reservation recorded for r3");
    assert_eq!(
        recorded(&door, "portal-24.2").await.desired_state(),
        DesiredState::Scheduled
    );
    assert_eq!(
        door.names().await,
        ["portal-211", "portal-24", "portal-24.2"]
    );
}

/// The bodies that the vectors' signatures are of.
const M1: &str = r#"{"eventType":"EVENT_START","resourceName":"restart-srv01"}"#;
const M1_BASE64: &str = "78cYUV2I07TaYMxuNBMOHM4TpcKmTqCPSjGEQzseIIw=";
const M1_HEX: &str = "efc718515d88d3b4da60cc6e34130e1cce13a5c2a64ea08f4a3184433b1e208c";
const M2: &str = r#"{"eventType":"EVENT_END","resourceName":"restart-srv01"}"#;
const M2_BASE64: &str = "q5xzAorxlIBi/pk5zGp6Wuvy32no3pJVM51Mc+dFD3A=";

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLEKEYEXAMPLEKEYEXAMPLEKEYEXAMPLEKEY01 mario";
