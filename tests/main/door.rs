//! The event door of the running program: signatures, shapes, and what it answers.

use serde_json::json;
use xtask::stage::SECRET;

use crate::stage::{flat, hosts, new_host, post, post_signed, reservations, shared};
use harbormaster::events::signature::sign;

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
    for answer in &answers {
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let taken = answers
        .iter()
        .filter(|answer| answer.body["message"] == "Provisioning initiated for nowhere");
    assert_eq!(taken.count(), 1);
}
