//! The program's rights are those that `generate rbac` prints: enough for whatever it does,
//! and not one more.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

use control_plane::{AuditEvent, ControlPlane};
use harbormaster::api::v1::Phase;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    core::v1::Secret,
    rbac::v1::{ClusterRole, PolicyRule, Role},
};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use xtask::stage::{Cast, Stage, USER, Way};

use crate::door::wrapped;
use crate::stage::{
    OWN_CONTROL_PLANE, flat, hosts, install_crypto, named, namespaced, new_host, post_signed,
    program, reaches, reservations, until,
};

/// On a stage of its own: on the shared one, tests write in the program's name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_life_needs_all_rights_and_no_other() {
    let _turn = OWN_CONTROL_PLANE.lock().await;
    install_crypto();
    let stage = Stage::set(program(), Cast::Simulator, Way::Url)
        .await
        .unwrap();
    live(&stage).await;

    let used = used(stage.control_plane());
    let mut idle = granted();
    idle.retain(|right| !used.contains(right) && right != SOMETIMES);
    let rarely: BTreeSet<_> = RARELY.iter().map(|&(right, _)| right.to_owned()).collect();
    assert_eq!(
        idle, rarely,
        "of what was granted, this was not made use of"
    );
    stage.strike().await.unwrap();
}

/// What there is to do: events, an outage, hands on a held host, a record that expires.
async fn live(stage: &Stage) {
    new_host(stage, "life").await;
    new_host(stage, "held").await;
    for (event_type, revision) in [
        ("EVENT_CREATED", "2026-11-22T05:00:00Z"),
        ("EVENT_UPDATED", "2026-11-22T06:00:00Z"),
    ] {
        post_signed(stage, &wrapped(event_type, 803, "tomorrow", revision)).await;
    }
    post_signed(stage, &flat("EVENT_START", "801", "life")).await;
    reaches(stage, "portal-801", Phase::Active).await;
    post_signed(stage, &flat("EVENT_START", "802", "held")).await;
    reaches(stage, "portal-802", Phase::Active).await;

    // Recorded from the spool, once it is known that the cluster is the same.
    let control_plane = stage.control_plane();
    control_plane.stop_api_server().await.unwrap();
    let answer = post_signed(stage, &flat("EVENT_END", "801", "life")).await;
    assert_eq!(answer.status, 200);
    control_plane.start_api_server().await.unwrap();
    reaches(stage, "portal-801", Phase::Released).await;

    // Somebody's rights are asked about.
    let reason = json!({"metadata": {"annotations": {
        "harbormaster.dev/break-glass": "the rack is being scrapped today",
    }}});
    let params = PatchParams::default();
    let patch = hosts(stage)
        .patch("held", &params, &Patch::Merge(&reason))
        .await;
    patch.unwrap();
    let secret = Secret {
        metadata: named("mine"),
        ..Secret::default()
    };
    let secrets = namespaced::<Secret>(stage);
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    let now = Timestamp::now();
    let soon = now.checked_add(SignedDuration::from_secs(5)).unwrap();
    let reservation = serde_json::from_value(json!({
        "apiVersion": "harbormaster.dev/v1",
        "kind": "Reservation",
        "metadata": {"name": "by-hand"},
        "spec": {
            "window": {"start": now.to_string(), "end": soon.to_string()},
            "target": {"hostRef": {"name": "nowhere"}},
            "access": {"userDataSecretRef": {"name": "mine"}},
            "lifecycle": {"ttlAfterFinished": "1s", "desiredState": "Released"},
        },
    }));
    let reservations = reservations(stage);
    let by_hand = reservation.unwrap();
    reservations
        .create(&PostParams::default(), &by_hand)
        .await
        .unwrap();
    until("the record that expired to go", async || {
        let left = reservations.get_opt("by-hand").await.unwrap();
        left.is_none().then_some(())
    })
    .await;

    // A host of the same name is another, and so is its calendar. (Nothing here collects what
    // the old one owned.)
    let params = DeleteParams::default();
    until("the host to be nobody's, and deleted", async || {
        hosts(stage).delete("life", &params).await.ok()
    })
    .await;
    until("the host to go", async || {
        let left = hosts(stage).get_opt("life").await.unwrap();
        left.is_none().then_some(())
    })
    .await;
    new_host(stage, "life").await;
    post_signed(stage, &flat("EVENT_START", "804", "life")).await;
    reaches(stage, "portal-804", Phase::Active).await;

    // What is deleted goes once its host is clean.
    reservations.delete("portal-802", &params).await.unwrap();
    until("the deleted record to go", async || {
        let left = reservations.get_opt("portal-802").await.unwrap();
        left.is_none().then_some(())
    })
    .await;
}

/// The rights that the program made use of; at the end it was refused none.
pub(crate) fn used(control_plane: &ControlPlane) -> BTreeSet<String> {
    let events = control_plane.audit_log().events().unwrap();
    let ours: Vec<_> = events
        .iter()
        .filter(|event| event.user.username == USER)
        .collect();
    // An API server that has just started refuses everybody until it has read the roles, so
    // what counts is the last answer to each question.
    let mut answers = BTreeMap::new();
    for event in &ours {
        let path = event.request_uri.split('?').next();
        answers.insert((&event.verb, path), event.code());
    }
    answers.retain(|_, code| *code == Some(403));
    assert!(answers.is_empty(), "{answers:?}");
    ours.iter().filter_map(|event| right(event)).collect()
}

/// What a request was about, as a right is written here.
fn right(event: &AuditEvent) -> Option<String> {
    let object = event.object_ref.as_ref()?;
    let resource = object.resource.as_ref()?;
    let group = object.api_group.as_deref().unwrap_or_default();
    let subresource = object.subresource.as_ref();
    let subresource = subresource
        .map(|name| format!("/{name}"))
        .unwrap_or_default();
    Some(format!("{} {group}/{resource}{subresource}", event.verb))
}

/// Of those who don't keep the program's certificates; see `certificates.rs` for the others.
fn granted() -> BTreeSet<String> {
    granted_to(&["generate", "rbac", "--cert-manager"])
}

/// What only the self-managed certificates need.
pub(crate) fn of_certificates() -> BTreeSet<String> {
    let all = granted_to(&["generate", "rbac"]);
    all.difference(&granted()).cloned().collect()
}

/// What only the registration by ourselves needs. To make an object by an apply is audited as a patch,
/// and takes the right to create it all the same.
pub(crate) fn of_registration() -> BTreeSet<String> {
    let all = granted_to(&["generate", "rbac", "--cert-manager", "--register"]);
    let usual = granted();
    let more = all.difference(&usual).cloned();
    more.filter(|right| !right.starts_with("create ")).collect()
}

fn granted_to(flags: &[&str]) -> BTreeSet<String> {
    let mut generate = Command::new(program());
    let output = generate.args(flags).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut rights = BTreeSet::new();
    for object in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
        let rules: Option<Vec<PolicyRule>> = match object["kind"].as_str() {
            Some("Role") => serde_json::from_value::<Role>(object).unwrap().rules,
            Some("ClusterRole") => serde_json::from_value::<ClusterRole>(object).unwrap().rules,
            _ => None,
        };
        for rule in rules.into_iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                let group = &rule.api_groups.as_ref().unwrap()[0];
                let verbs = rule.verbs.iter();
                rights.extend(verbs.map(|verb| format!("{verb} {group}/{resource}")));
            }
        }
    }
    rights
}

/// Granted, and not seen in a life, with the reason.
const RARELY: &[(&str, &str)] = &[(
    "update harbormaster.dev/reservations/finalizers",
    "no request: an owner reference that blocks the owner's deletion asks for it",
)];

/// Used where the same Event comes again within minutes, and not otherwise.
const SOMETIMES: &str = "patch events.k8s.io/events";
