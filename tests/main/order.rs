//! The senders' contract on what comes again, late or for somebody else, by its vectors'
//! numbers.

use harbormaster::{api::v1::DesiredState, events::intent::Filters};
use serde_json::json;

use crate::{
    listening::{Listening, Reply},
    vectors::{fl, fl_with, post, recorded, wrapped},
};

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
