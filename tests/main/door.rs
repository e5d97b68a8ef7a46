//! The event door of the running program: signatures, shapes, and what it answers.

use serde_json::json;
use xtask::stage::SECRET;

use crate::stage::{flat, hosts, new_host, post, post_signed, reservations, scrape, shared, until};
use harbormaster::{api::v1::DesiredState, events::signature::sign};

#[tokio::test]
async fn a_wrong_signature_is_refused_and_changes_nothing() {
    let stage = shared();
    let host = new_host(stage, "unsigned").await;
    let body = flat("EVENT_START", "301", "unsigned").to_string();
    let stranger = sign("another secret", body.as_bytes());
    for signature in [None, Some(""), Some("garbage"), Some(&*stranger)] {
        let answer = post(stage, &body, signature).await;
        assert_eq!(answer.status, 401, "{signature:?}");
        assert_eq!(
            answer.body,
            json!({"detail": "Signature verification failed"})
        );
    }
    assert!(
        reservations(stage)
            .get_opt("portal-301")
            .await
            .unwrap()
            .is_none()
    );
    let after = hosts(stage).get("unsigned").await.unwrap();
    assert_eq!(after.metadata.generation, host.metadata.generation);
}

#[tokio::test]
async fn what_is_no_event_is_answered_as_such() {
    let stage = shared();
    for (body, status) in [
        ("", 400),
        ("{", 400),
        (
            r#"{"eventType":"EVENT_START","eventType":"EVENT_END"}"#,
            400,
        ),
        ("{}", 422),
        ("[]", 422),
        (r#"{"eventType":7}"#, 422),
        (r#"{"eventType":"EVENT_START"}"#, 422),
        (r#"{"eventType":"EVENT_START","resourceName":7}"#, 422),
        (
            r#"{"eventType":"EVENT_START","resourceName":"a","events":[]}"#,
            422,
        ),
        (r#"{"eventType":"EVENT_START","events":{}}"#, 422),
        (r#"{"eventType":"EVENT_START","events":[],"email":7}"#, 422),
        (r#"{"eventType":"EVENT_CREATED","data":[]}"#, 422),
        (
            r#"{"eventType":"EVENT_CREATED","data":{"resource":{"name":7}}}"#,
            422,
        ),
        (
            r#"{"eventType":"EVENT_CREATED","data":{"resource":{"name":"a"}}}"#,
            422,
        ),
    ] {
        let answer = post(stage, body, Some(&sign(SECRET, body.as_bytes()))).await;
        assert_eq!(answer.status, status, "{body}: {answer:?}");
        assert!(answer.body["detail"].is_string(), "{body}");
    }
}

#[tokio::test]
async fn what_asks_for_nothing_is_ignored_with_the_reason() {
    let stage = shared();
    let answer = post_signed(stage, &json!({"eventType": "FOO", "resourceName": "srv"})).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        json!({"status": "ignored", "message": "Event type 'FOO' not handled"})
    );
    for name in ["", "..", "a/b", "x?dryRun=All", "x%2fy", "srv\n"] {
        let answer = post_signed(stage, &flat("EVENT_START", "302", name)).await;
        assert_eq!(
            (answer.status, &answer.body["status"]),
            (200, &json!("ignored")),
            "{name:?}"
        );
    }
    assert!(
        reservations(stage)
            .get_opt("portal-302")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn one_event_sent_twenty_times_at_once_is_one_reservation() {
    let stage = shared();
    let event = flat("EVENT_START", "303", "nowhere");
    let answers = futures::future::join_all((0..20).map(|_| post_signed(stage, &event))).await;
    let taken = "Provisioning initiated for nowhere";
    for answer in &answers {
        assert_eq!(answer.status, 200, "{answer:?}");
        // An API server that takes longer than the sender waits is answered for by the spool, which
        // knows of no other delivery's fate.
        let message = &answer.body["message"];
        assert!(
            message == taken || message == "Already handled for nowhere",
            "{answer:?}"
        );
    }
    assert!(answers.iter().any(|it| it.body["message"] == taken));
    // Whatever waits there may still become a second one.
    until("the spool to be empty", async || {
        let metrics = scrape(stage, "/metrics").await;
        let is_empty = metrics.contains("\nharbormaster_spooled_events 0\n");
        is_empty.then_some(())
    })
    .await;
    let reservations = reservations(stage);
    let reservation = reservations.get("portal-303").await.unwrap();
    assert_eq!(reservation.metadata.generation, Some(1));
    let second = reservations.get_opt("portal-303.2").await.unwrap();
    assert!(second.is_none());
}

#[tokio::test]
async fn a_broken_item_of_a_batch_is_rejected_and_the_others_are_taken() {
    let stage = shared();
    let item = |event_id: &str, name: serde_json::Value| {
        let mut item = flat("EVENT_START", event_id, "");
        item["resourceName"] = name;
        item
    };
    let mut other_type = item("306", json!("switch"));
    other_type["resourceName"] = json!("a/b");
    let batch = json!({
        "eventType": "EVENT_START",
        "timestamp": jiff::Timestamp::now().to_string(),
        "username": "mario.rossi",
        "events": [item("304", json!("nowhere-1")), item("305", json!(7)), other_type, 7,
            item("307", json!("nowhere-2")), item("307", json!("nowhere-2"))],
        "activeResources": [item("308", json!("nowhere-3"))],
    });
    let answer = post_signed(stage, &batch).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.body["status"], "success");
    assert_eq!(
        answer.body["message"],
        "6 events: 3 taken, 1 ignored, 2 rejected"
    );
    let items = answer.body["items"].as_array().unwrap();
    let told: Vec<_> = items
        .iter()
        .map(|item| (item["eventId"].as_str(), item["status"].as_str().unwrap()))
        .collect();
    assert_eq!(
        told,
        [
            (Some("304"), "success"),
            (Some("305"), "rejected"),
            (Some("306"), "ignored"),
            (None, "rejected"),
            (Some("307"), "success"),
            (Some("307"), "success"),
        ]
    );
    assert_eq!(items[1]["message"], "resourceName: must be a string");
    assert_eq!(items[5]["message"], "Already handled for nowhere-2");
    let reservations = reservations(stage);
    let taken = reservations.get("portal-304").await.unwrap();
    let username = taken.spec.requester.unwrap().username;
    assert_eq!(username.as_deref(), Some("mario.rossi"));
    // Whose key stands in an item is nobody's: the user is the root's alone.
    assert_eq!(taken.spec.access, None);
    for name in ["portal-305", "portal-306", "portal-308"] {
        assert!(
            reservations.get_opt(name).await.unwrap().is_none(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_batch_may_be_empty_but_not_larger_than_a_thousand() {
    let stage = shared();
    let batch = |items: usize| json!({"eventType": "EVENT_END", "events": vec![json!({"eventId": "1", "resourceName": "a/b"}); items]});
    for (items, status) in [(0, 200), (1000, 200), (1001, 422)] {
        let answer = post_signed(stage, &batch(items)).await;
        assert_eq!(answer.status, status, "{items}");
        if status == 200 {
            assert_eq!(answer.body["items"].as_array().unwrap().len(), items);
        }
    }
    let other = json!({"eventType": "EVENT_CREATED", "events": []});
    assert_eq!(post_signed(stage, &other).await.body["status"], "ignored");
}

/// The portal's own body, for a booking of tomorrow.
pub(crate) fn wrapped(
    event_type: &str,
    event_id: u32,
    host: &str,
    revision: &str,
) -> serde_json::Value {
    let start = jiff::Timestamp::now()
        .checked_add(jiff::SignedDuration::from_hours(24))
        .unwrap();
    let end = start
        .checked_add(jiff::SignedDuration::from_hours(2))
        .unwrap();
    json!({
        "eventType": event_type,
        "timestamp": "2026-11-22T05:00:00Z",
        "webhookId": "4",
        "data": {
            "updatedAt": revision,
            "id": event_id,
            "title": "Prenotazione",
            "start": start.to_string(),
            "end": end.to_string(),
            "resource": {"name": host, "type": {"name": "Server"}, "siteId": 1},
            "keycloakId": "15652327-ac7f-4022-ad7b-ec68a04bc710",
        },
    })
}

#[tokio::test]
async fn a_booking_moves_to_another_host_until_it_begins_and_then_as_a_new_reservation() {
    let stage = shared();
    let reservations = reservations(stage);
    let host_of = async |name: &str| {
        let reservation = reservations.get(name).await.unwrap();
        let host = reservation.spec.resource.clone().unwrap().name.unwrap();
        (host, reservation.desired_state())
    };
    let old = "2026-11-22T04:00:00Z";
    let new = "2026-11-22T04:00:00.000000002Z";
    let newer = "2026-11-22T04:00:01Z";
    let recorded = |host: &str| format!("Reservation recorded for {host}");
    let answer = post_signed(stage, &wrapped("EVENT_CREATED", 310, "nowhere-a", old)).await;
    assert_eq!(answer.body["message"], recorded("nowhere-a"));
    let answer = post_signed(stage, &wrapped("EVENT_UPDATED", 310, "nowhere-b", new)).await;
    assert_eq!(answer.body["message"], recorded("nowhere-b"));
    let scheduled = ("nowhere-b".to_owned(), DesiredState::Scheduled);
    assert_eq!(host_of("portal-310").await, scheduled);
    // One that was overtaken changes nothing.
    let answer = post_signed(stage, &wrapped("EVENT_UPDATED", 310, "nowhere-a", old)).await;
    assert_eq!(answer.body["message"], "Already handled for nowhere-a");
    assert_eq!(host_of("portal-310").await, scheduled);

    let mut start = flat("EVENT_START", "310", "nowhere-b");
    start["timestamp"] = json!(new);
    start["resourceId"] = json!(null);
    start["userId"] = json!("15652327-ac7f-4022-ad7b-ec68a04bc710");
    let answer = post_signed(stage, &start).await;
    assert_eq!(
        answer.body["message"],
        "Provisioning initiated for nowhere-b"
    );
    let answer = post_signed(stage, &wrapped("EVENT_UPDATED", 310, "nowhere-c", newer)).await;
    assert_eq!(answer.body["message"], recorded("nowhere-c"));
    let before = ("nowhere-b".to_owned(), DesiredState::Released);
    assert_eq!(host_of("portal-310").await, before);
    let now = ("nowhere-c".to_owned(), DesiredState::Active);
    assert_eq!(host_of("portal-310.2").await, now);
    let key = reservations.get("portal-310.2").await.unwrap();
    assert_eq!(
        key.authorized_keys().len(),
        1,
        "the key goes with the booking"
    );
}

#[tokio::test]
async fn of_changes_that_come_at_once_the_newest_holds() {
    let stage = shared();
    let changes: Vec<_> = [3, 1, 5, 2, 4]
        .map(|nanosecond| {
            let revision = format!("2026-11-22T04:00:00.00000000{nanosecond}Z");
            let host = format!("nowhere-{nanosecond}");
            wrapped("EVENT_UPDATED", 313, &host, &revision)
        })
        .into();
    let answers = futures::future::join_all(changes.iter().map(|it| post_signed(stage, it))).await;
    for answer in &answers {
        assert_eq!(answer.body["status"], "success", "{answer:?}");
    }
    // A slow API server's changes come after the answers, which the spool gave.
    let reservations = reservations(stage);
    until("the newest change to hold", async || {
        let reservation = reservations.get_opt("portal-313").await.unwrap()?;
        (reservation.spec.resource?.name? == "nowhere-5").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_start_after_the_deletion_of_its_booking_is_not_obeyed() {
    let stage = shared();
    let deleted = wrapped("EVENT_DELETED", 311, "nowhere-d", "2026-11-22T04:00:00Z");
    let answer = post_signed(stage, &deleted).await;
    assert_eq!(
        (answer.status, &answer.body["status"]),
        (200, &json!("success"))
    );
    let mut later = wrapped("EVENT_UPDATED", 311, "nowhere-d", "2026-11-22T04:00:01Z");
    later["data"]["start"] = json!("2030-01-02T10:00:00Z");
    later["data"]["end"] = json!("2030-01-02T12:00:00Z");
    for event in [flat("EVENT_START", "311", "nowhere-d"), later] {
        let answer = post_signed(stage, &event).await;
        assert_eq!(answer.body["message"], "Already handled for nowhere-d");
    }
    let reservations = reservations(stage);
    let reservation = reservations.get("portal-311").await.unwrap();
    assert_eq!(reservation.desired_state(), DesiredState::Released);
    assert!(
        reservations
            .get_opt("portal-311.2")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn portal_events_without_a_usable_booking_are_ignored_with_the_reason() {
    let stage = shared();
    let mut no_start = wrapped("EVENT_CREATED", 312, "nowhere", "2026-11-22T04:00:00Z");
    no_start["data"]["start"] = json!("tomorrow");
    for (event, reason) in [
        (
            json!({"eventType": "EVENT_DELETED", "data": "Could not be serialised"}),
            "the event's data is a text",
        ),
        (
            json!({"eventType": "EVENT_UPDATED", "data": {"id": 312}}),
            "the event names no resource",
        ),
        (
            json!({"eventType": "EVENT_UPDATED", "data": null}),
            "the event carries no data",
        ),
        (
            json!({"eventType": "RESOURCE_DELETED", "data": {"name": "srv"}}),
            "Event type 'RESOURCE_DELETED' not handled",
        ),
        (no_start, "the booking's start can't be read"),
    ] {
        let answer = post_signed(stage, &event).await;
        assert_eq!(
            (answer.status, &answer.body),
            (200, &json!({"status": "ignored", "message": reason}))
        );
    }
}

/// What no Reservation has room for is cut: the API server's own schema must not be what
/// loses an event.
#[tokio::test]
async fn an_event_with_more_words_than_a_reservation_holds_is_recorded_all_the_same() {
    let stage = shared();
    let long = |length: usize| "è".repeat(length);
    let mut event = flat("EVENT_START", "320", "nowhere");
    event["eventTitle"] = json!(long(66_000));
    event["eventDescription"] = json!(long(66_000));
    event["username"] = json!(long(2000));
    event["userId"] = json!(long(2000));
    event["siteName"] = json!(long(2000));
    event["customParameters"] = json!(format!("{{\"a\":\"{}\"}}", long(66_000)));
    let answer = post_signed(stage, &event).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let taken = reservations(stage).get("portal-320").await.unwrap();
    let title = taken.spec.source.unwrap().title.unwrap();
    assert_eq!(title.chars().count(), 65_536);
    let requester = taken.spec.requester.unwrap();
    assert_eq!((requester.id, requester.username), (None, Some(long(1024))));
    assert_eq!(taken.spec.parameters, None);

    event["eventId"] = json!(long(1024));
    assert_eq!(post_signed(stage, &event).await.status, 200);
    event["eventId"] = json!(long(1025));
    let answer = post_signed(stage, &event).await;
    assert_eq!(
        (answer.status, &answer.body["detail"]),
        (422, &json!("eventId: must have at most 1,024 characters"))
    );
}
