//! Each rule, kept and broken, on whole objects.

use jiff::Timestamp;
use kube_webhook::admission::Operation;
use serde_json::{Value, json, value::to_raw_value};

use super::*;
use crate::api::calendar::HostCalendar;

const OWN: &str = "system:serviceaccount:harbormaster-system:harbormaster";
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLEKEY01 mario";

fn guard(caches: Caches) -> ReservationGuard {
    let now: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let authorizer = Authorizer::offline();
    ReservationGuard::new(
        OWN.to_owned().into(),
        "portal",
        authorizer,
        caches,
        Clock::fixed(now),
    )
}

fn nothing() -> Caches {
    Caches::offline(&BareMetalHost::resource())
}

fn by_mario() -> Value {
    json!({
        "metadata": {"name": "mine", "uid": "1"},
        "spec": {
            "requester": {"username": "mario"},
            "target": {"hostRef": {"name": "srv"}},
            "window": {"start": "2026-01-02T10:00:00Z", "end": "2026-01-02T12:00:00Z"},
            "access": {"authorizedKeys": [{"key": KEY}]},
        },
    })
}

fn with(mut object: Value, pointer: &str, value: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    object.pointer_mut(parent).unwrap()[field] = value;
    object
}

fn begun(object: Value) -> Value {
    with(object, "/status", json!({"phase": "Active"}))
}

async fn create_as(user: &str, object: &Value, caches: Caches) -> ValidationResult {
    let cx = AdmissionContext::new(Operation::Create)
        .with_user(user, &[])
        .with_object("metal3", "mine");
    let object = serde_json::from_value(object.clone()).unwrap();
    guard(caches).create(&object, &cx).await.unwrap()
}

async fn create(object: &Value) -> ValidationResult {
    create_as("mario", object, nothing()).await
}

async fn update_as(user: &str, old: &Value, new: &Value) -> ValidationResult {
    let cx = AdmissionContext::new(Operation::Update)
        .with_user(user, &[])
        .with_object("metal3", "mine");
    let old = to_raw_value(old).unwrap();
    let new = serde_json::from_value(new.clone()).unwrap();
    let guard = guard(nothing());
    guard.update(&Old::new(&old), &new, &cx).await.unwrap()
}

#[track_caller]
fn refused(result: &ValidationResult, told: &str) {
    let message = result.message().unwrap_or("allowed");
    assert!(message.contains(told), "{message}");
}

#[tokio::test]
async fn a_plain_reservation_for_oneself_passes() {
    let created = create(&by_mario()).await;
    assert!(created.is_allowed(), "{created:?}");
}

#[tokio::test]
async fn each_malformed_field_is_refused_in_words() {
    for (pointer, value, told) in [
        ("/spec/window", json!({}), "spec.window.start: is required"),
        (
            "/spec/window/end",
            json!("2026-01-02T10:00:00Z"),
            "spec.window.end: must be after start",
        ),
        (
            "/spec/window",
            json!({"start": "2025-01-01T00:00:00Z", "end": "2026-01-01T11:59:59Z"}),
            "spec.window.end: is in the past",
        ),
        ("/spec/target", json!({}), "neither hostRef nor selector"),
        (
            "/spec/target",
            json!({"hostRef": {"name": "srv"}, "selector": {}}),
            "both hostRef and selector",
        ),
        ("/spec/target", Value::Null, "spec.target: is required"),
        (
            "/spec/access/authorizedKeys",
            json!([{"key": KEY}, {"key": format!("{KEY}\n- name: evil")}]),
            "spec.access.authorizedKeys[1].key: is no public SSH key",
        ),
        (
            "/spec/lifecycle",
            json!({"leadTime": "soon"}),
            "spec.lifecycle.leadTime: is not a duration",
        ),
        (
            "/spec/provisioning",
            json!({"image": {"url": "http://i"}, "customDeploy": {"method": "m"}}),
            "both image and customDeploy",
        ),
    ] {
        refused(&create(&with(by_mario(), pointer, value)).await, told);
    }
}

#[tokio::test]
async fn all_faults_are_told_at_once_and_never_a_keys_text() {
    let object = with(by_mario(), "/spec/window", json!({}));
    let object = with(object, "/spec/lifecycle", json!({"cleanupTime": "x"}));
    let secret = json!([{"key": "-----BEGIN OPENSSH PRIVATE KEY-----"}]);
    let object = with(object, "/spec/access/authorizedKeys", secret);
    let result = create(&object).await;
    for told in ["window.start", "cleanupTime", "authorizedKeys[0].key"] {
        refused(&result, told);
    }
    assert_eq!(result.code(), Some(422));
    assert!(!result.message().unwrap().contains("BEGIN"), "{result:?}");
}

#[tokio::test]
async fn nobody_forges_a_booking() {
    let forged = json!({"provider": "portal", "eventId": "101"});
    let object = with(by_mario(), "/spec/source", forged);
    refused(
        &create(&object).await,
        "spec.source: is set by Harbormaster",
    );
    refused(
        &update_as("mario", &by_mario(), &object).await,
        "spec.source",
    );
    let label = json!({"harbormaster.dev/event-id": "portal-101"});
    let object = with(by_mario(), "/metadata/labels", label);
    refused(&create(&object).await, "event-id");
    for name in ["portal-101", "host-srv"] {
        let object = with(by_mario(), "/metadata/name", json!(name));
        refused(&create(&object).await, "metadata.name");
    }
}

#[tokio::test]
async fn nobody_acts_for_another_or_changes_anothers_keys() {
    let result = create_as("luigi", &by_mario(), nothing()).await;
    refused(&result, "is mario, but you are luigi");
    let mine = json!([{"key": "ssh-ed25519 AAAA luigi"}]);
    let changed = with(by_mario(), "/spec/access/authorizedKeys", mine);
    refused(
        &update_as("luigi", &by_mario(), &changed).await,
        "only its requester",
    );
    assert!(update_as("mario", &by_mario(), &changed).await.is_allowed());
    let taken = with(by_mario(), "/spec/requester/username", json!("luigi"));
    refused(
        &update_as("luigi", &by_mario(), &taken).await,
        "spec.requester",
    );
}

#[tokio::test]
async fn what_decides_about_the_disk_is_settled_once_it_has_begun() {
    for (pointer, value) in [
        ("/spec/target", json!({"hostRef": {"name": "other"}})),
        ("/spec/resource", json!({"name": "other"})),
        ("/spec/window/start", json!("2026-01-02T11:00:00Z")),
        ("/spec/access", json!({})),
        ("/spec/provisioning", json!({"image": {"url": "http://i"}})),
    ] {
        let changed = with(by_mario(), pointer, value);
        let early = update_as("mario", &by_mario(), &changed).await;
        assert!(early.is_allowed(), "{early:?}");
        let late = update_as("mario", &begun(by_mario()), &begun(changed)).await;
        refused(&late, "the reservation has begun");
    }
    // The end may move.
    let end = json!("2026-01-02T11:00:00Z");
    let shorter = begun(with(by_mario(), "/spec/window/end", end));
    assert!(
        update_as("mario", &begun(by_mario()), &shorter)
            .await
            .is_allowed()
    );
}

#[tokio::test]
async fn released_stays_released_whatever_version_it_came_through() {
    let released = with(
        by_mario(),
        "/spec/lifecycle",
        json!({"desiredState": "Released"}),
    );
    assert!(
        update_as("mario", &by_mario(), &released)
            .await
            .is_allowed()
    );
    refused(
        &update_as("mario", &released, &by_mario()).await,
        "stays released",
    );
}

#[tokio::test]
async fn an_overlap_is_refused_from_memory_and_a_gap_is_not() {
    let calendar: HostCalendar = serde_json::from_value(json!({
        "metadata": {"name": "srv", "namespace": "metal3"},
        "spec": {},
        "status": {"bookings": [{
            "uid": "2", "name": "theirs",
            "start": "2026-01-02T11:00:00Z", "end": "2026-01-02T13:00:00Z",
        }]},
    }))
    .unwrap();
    let caches = Caches::offline(&BareMetalHost::resource()).with_calendar(calendar);
    let result = create_as("mario", &by_mario(), caches.clone()).await;
    refused(
        &result,
        "srv is reserved by theirs from 2026-01-02T11:00:00Z until 2026-01-02T13:00:00Z",
    );
    let window = json!({"start": "2026-01-02T13:00:00Z", "end": "2026-01-02T14:00:00Z"});
    let later = with(by_mario(), "/spec/window", window);
    assert!(
        create_as("mario", &later, caches.clone())
            .await
            .is_allowed()
    );
    // Labels say which host it is, and no name beside them.
    let target = json!({"selector": {"matchLabels": {"gpu": "yes"}}});
    let wish = with(by_mario(), "/spec/target", target);
    let wish = with(wish, "/spec/resource", json!({"name": "srv"}));
    assert!(create_as("mario", &wish, caches).await.is_allowed());
}

#[tokio::test]
async fn a_secret_that_one_may_not_read_is_not_put_on_a_host() {
    for (pointer, value) in [
        (
            "/spec/access/userDataSecretRef",
            json!({"name": "somebodys"}),
        ),
        (
            "/spec/provisioning",
            json!({"networkDataSecretRef": {"name": "somebodys"}}),
        ),
    ] {
        let result = create(&with(by_mario(), pointer, value)).await;
        refused(&result, "mario may not read Secret somebodys");
    }
}

#[tokio::test]
async fn our_own_writes_finalizers_and_labels_are_never_held_up() {
    let bad = with(by_mario(), "/spec/window", json!({}));
    assert!(create_as(OWN, &bad, nothing()).await.is_allowed());
    let deleting = with(
        bad.clone(),
        "/metadata/deletionTimestamp",
        json!("2026-01-01T00:00:00Z"),
    );
    assert!(update_as("luigi", &bad, &deleting).await.is_allowed());
    let labelled = with(bad.clone(), "/metadata/labels", json!({"rack": "1"}));
    assert!(update_as("luigi", &bad, &labelled).await.is_allowed());
}
