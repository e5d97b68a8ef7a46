//! Who may do what to a host that is held.

use kube_webhook::admission::Operation;
use metal3::names;
use serde_json::{Value, json, value::to_raw_value};

use super::*;
use crate::api::RESOURCE_ID_LABEL;

const OWN: &str = "system:serviceaccount:harbormaster-system:harbormaster";

fn guard() -> HostGuard {
    HostGuard::new(OWN.to_owned(), BTreeSet::from(["operator".to_owned()]))
}

fn held(image: &str) -> Value {
    json!({
        "metadata": {"name": "srv"},
        "spec": {
            "online": true,
            "image": {"url": image},
            "consumerRef": {
                "apiVersion": "harbormaster.dev/v1",
                "kind": "Reservation",
                "namespace": "metal3",
                "name": "portal-101",
                "uid": "1",
            },
        },
    })
}

async fn update(user: &str, old: &Value, new: &Value) -> ValidationResult {
    let cx = AdmissionContext::new(Operation::Update).with_user(user, &[]);
    let old = to_raw_value(old).unwrap();
    let new = serde_json::from_value(new.clone()).unwrap();
    guard().update(&Old::new(&old), &new, &cx).await.unwrap()
}

#[tokio::test]
async fn a_held_hosts_image_is_its_holders_alone() {
    let refused = update("luigi", &held("a"), &held("b")).await;
    assert!(!refused.is_allowed());
    let message = refused.message().unwrap();
    assert!(
        message.contains("held by Reservation portal-101"),
        "{message}"
    );
    assert!(message.contains("spec.image"), "{message}");
    assert!(
        message.ends_with("kubectl delete reservation portal-101 -n metal3"),
        "{message}"
    );
}

#[tokio::test]
async fn nobody_takes_a_held_host_out_of_the_operators_hands_before_it_is_wiped() {
    let mut detached = held("a");
    detached["metadata"]["annotations"] = json!({names::DETACHED: "{}"});
    let mut external = held("a");
    external["spec"]["externallyProvisioned"] = json!(true);
    let mut dirty = held("a");
    dirty["spec"]["automatedCleaningMode"] = json!("disabled");
    for changed in [&detached, &external, &dirty] {
        assert!(!update("luigi", &held("a"), changed).await.is_allowed());
    }
    // Who was detached before, for whatever reason, may be put back.
    assert!(update("luigi", &detached, &held("a")).await.is_allowed());
}

#[tokio::test]
async fn a_held_host_is_not_deleted_but_with_its_namespace() {
    let delete = async |user: &str, host: &Value| {
        let cx = AdmissionContext::new(Operation::Delete).with_user(user, &[]);
        let raw = to_raw_value(host).unwrap();
        guard().delete(&Old::new(&raw), &cx).await.unwrap()
    };
    let refused = delete("luigi", &held("a")).await;
    assert!(!refused.is_allowed());
    assert!(refused.message().unwrap().contains("portal-101"));
    let mut deleting = held("a");
    deleting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert!(delete("luigi", &deleting).await.is_allowed());
    assert!(delete(NAMESPACE_CONTROLLER, &held("a")).await.is_allowed());
    // Whoever may edit a host can give it an owner, and delete that.
    let collector = "system:serviceaccount:kube-system:generic-garbage-collector";
    assert!(!delete(collector, &held("a")).await.is_allowed());
}

#[tokio::test]
async fn a_held_host_keeps_its_names_and_what_its_user_will_notice_is_warned_of() {
    let mut renamed = held("a");
    renamed["metadata"]["labels"] = json!({RESOURCE_ID_LABEL: "7"});
    assert!(!update("luigi", &held("a"), &renamed).await.is_allowed());
    let mut off = held("a");
    off["spec"]["online"] = json!(false);
    let mut paused = held("a");
    paused["metadata"]["annotations"] = json!({names::PAUSED: ""});
    let mut rebooted = held("a");
    rebooted["metadata"]["annotations"] = json!({"reboot.metal3.io": ""});
    for changed in [off, paused, rebooted] {
        let result = update("luigi", &held("a"), &changed).await;
        assert!(result.is_allowed());
        assert_eq!(result.warnings().len(), 1, "{result:?}");
    }
}

#[tokio::test]
async fn we_and_the_operator_are_never_refused() {
    for user in [OWN, "operator"] {
        assert!(update(user, &held("a"), &held("b")).await.is_allowed());
    }
}

#[tokio::test]
async fn not_even_we_take_a_host_from_another() {
    let mut free = held("a");
    free["spec"].as_object_mut().unwrap().remove("consumerRef");
    let mut foreign = free.clone();
    foreign["spec"]["consumerRef"] = json!({"kind": "Metal3Machine", "apiVersion": "x/v1"});
    let mut anothers = held("a");
    anothers["spec"]["consumerRef"]["uid"] = json!("2");
    let mut vague = held("a");
    vague["spec"]["consumerRef"]["uid"] = Value::Null;
    for (old, new, told) in [
        (&foreign, held("a"), "the host is Metal3Machine unknown's"),
        (&anothers, held("a"), "the host is Reservation portal-101's"),
        (&free, vague, "doesn't say which Reservation"),
    ] {
        for user in [OWN, "operator"] {
            let refused = update(user, old, &new).await;
            assert!(!refused.is_allowed());
            assert!(refused.message().unwrap().contains(told), "{refused:?}");
        }
    }
    assert!(update(OWN, &free, &held("a")).await.is_allowed());
    assert!(update(OWN, &held("a"), &free).await.is_allowed());
}

#[tokio::test]
async fn what_does_not_touch_the_disk_passes() {
    let mut labelled = held("a");
    labelled["metadata"]["labels"] = json!({"rack": "1"});
    labelled["spec"]["architecture"] = json!("x86_64");
    labelled["metadata"]["finalizers"] = json!(["baremetalhost.metal3.io"]);
    assert!(update("luigi", &held("a"), &labelled).await.is_allowed());
}

#[tokio::test]
async fn a_claim_is_neither_cleared_nor_taken_nor_made_by_others() {
    let mut free = held("a");
    free["spec"].as_object_mut().unwrap().remove("consumerRef");
    let mut stolen = held("a");
    stolen["spec"]["consumerRef"]["name"] = json!("portal-102");
    for (old, new) in [
        (held("a"), free.clone()),
        (held("a"), stolen),
        (free.clone(), held("a")),
    ] {
        assert!(!update("luigi", &old, &new).await.is_allowed());
    }
    free["spec"]["consumerRef"] = json!({"kind": "Metal3Machine", "apiVersion": "x/v1"});
    assert!(update("luigi", &free, &free).await.is_allowed());
}

#[tokio::test]
async fn a_deletion_under_way_is_not_held_up() {
    let mut deleting = held("b");
    deleting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    assert!(update("luigi", &held("a"), &deleting).await.is_allowed());
}
