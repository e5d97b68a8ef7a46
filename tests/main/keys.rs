//! The Secret with a user's keys: which one they go into, and what is told where somebody else
//! keeps it from being written or deleted.

use std::collections::BTreeMap;

use harbormaster::{
    api::v1::{Phase, Reservation},
    reservations::{host::HostWriter, user_data},
};
use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
        core::v1::Secret,
    },
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use xtask::stage::Stage;

use crate::{
    site::{Site, condition, says},
    stage::{
        create_host, hosts, is_in, namespaced, new_host, reaches, reservation_until, reservations,
        reserve, shared, until,
    },
};

#[tokio::test]
async fn keys_that_cannot_be_written_are_told_of_and_written_once_they_can_be() {
    let stage = shared();
    reserve(stage, "sealed", of_host("sealed")).await;
    let waiting = reservation_until(stage, "sealed", "to be there", |_| true).await;
    // Ours by its owner, and nothing can be written into it.
    let sealed = Secret {
        immutable: Some(true),
        ..user_data::empty_secret(&waiting)
    };
    let params = PostParams::default();
    secrets(stage).create(&params, &sealed).await.unwrap();
    create_host(stage, "sealed").await;
    let told = says("Provisioned", "HostRefused");
    let refused = reservation_until(stage, "sealed", "to be refused", told).await;
    let [_, _, message] = condition(&refused, "Provisioned").unwrap();
    assert!(message.contains("immutable"), "{message}");

    let params = DeleteParams::default();
    let sealed = secrets(stage).delete("sealed-userdata", &params).await;
    sealed.unwrap();
    reaches(stage, "sealed", Phase::Active).await;
    assert!(!keys(stage, "sealed").await.unwrap().is_empty());
}

#[tokio::test]
async fn keys_go_into_the_very_secret_that_was_made_for_them() {
    let stage = shared();
    let writer = HostWriter::new(hosts(stage), secrets(stage));
    let of = |uid: &str| {
        let mut reservation = Reservation::default();
        reservation.metadata.name = Some("namesake".to_owned());
        reservation.metadata.uid = Some(uid.to_owned());
        reservation
    };
    let (one, other) = (of("one"), of("other"));
    let made = writer.make_user_data(&one).await.unwrap();
    writer.remove_user_data(&one).await.unwrap();
    let fill = async |document: &str| {
        let filled = writer.fill_user_data(&one, &made, document.to_owned());
        filled.await.map_err(|error| error.is_conflict())
    };
    assert_eq!(fill("nowhere").await, Err(true));
    // Its own, made once more, is another one, too.
    for next in [&one, &other] {
        let theirs = writer.make_user_data(next).await.unwrap();
        assert_eq!(fill("not theirs").await, Err(true));
        let filled = writer.fill_user_data(next, &theirs, "theirs".to_owned());
        filled.await.unwrap();
        let there = keys(stage, "namesake").await.unwrap();
        assert_eq!(there["userData"].0, b"theirs");
        writer.remove_user_data(next).await.unwrap();
        assert_eq!(keys(stage, "namesake").await, None);
    }
}

#[tokio::test]
async fn keys_that_can_only_be_deleted_are_deleted() {
    let stage = shared();
    active(stage, "frozen").await;
    patch_secret(stage, "frozen", json!({"immutable": true})).await;
    release(stage, "frozen").await;
    reaches(stage, "frozen", Phase::Released).await;
    assert_eq!(keys(stage, "frozen").await, None);
}

#[tokio::test]
async fn a_host_is_held_until_its_keys_are_gone_which_others_keep() {
    let stage = shared();
    active(stage, "kept").await;
    patch_secret(stage, "kept", kept()).await;
    release(stage, "kept").await;
    let told = says("Ready", "HostRefused");
    reservation_until(stage, "kept", "to be refused", told).await;
    let host = hosts(stage).get("kept").await.unwrap();
    assert!(host.consumer().is_some());
    patch_secret(stage, "kept", let_go()).await;
    let released = reaches(stage, "kept", Phase::Released).await;
    assert_eq!(keys(stage, "kept").await, None);
    assert!(says("Released", "Clean")(&released));
}

#[tokio::test]
async fn keys_whose_host_is_gone_and_which_others_keep_are_told_of() {
    let stage = shared();
    active(stage, "widowed").await;
    patch_secret(stage, "widowed", kept()).await;
    let reason = json!({"metadata": {"annotations": {
        "harbormaster.dev/break-glass": "the rack is being scrapped today",
    }}});
    let (hosts, params) = (hosts(stage), PatchParams::default());
    let reason = Patch::Merge(reason);
    hosts.patch("widowed", &params, &reason).await.unwrap();
    let params = DeleteParams::default();
    hosts.delete("widowed", &params).await.unwrap();
    let told = says("Ready", "HostRefused");
    let refused = reservation_until(stage, "widowed", "to be told of", told).await;
    let [_, _, message] = condition(&refused, "Ready").unwrap();
    assert!(message.contains("immutable"), "{message}");
    patch_secret(stage, "widowed", let_go()).await;
    reaches(stage, "widowed", Phase::Failed).await;
    assert_eq!(keys(stage, "widowed").await, None);
}

#[tokio::test]
async fn a_host_is_held_until_its_keys_are_gone_which_a_policy_guards() {
    let site = Site::new("guarded-keys").await.simulated();
    site.host("srv", json!({})).await;
    let _own = site.run(&[]);
    site.reserve("one", json!({"target": {"hostRef": {"name": "srv"}}}))
        .await;
    site.reservation_until("one", "to be active", is_in(Phase::Active))
        .await;
    let policy = guard_secrets(site.namespace).await;
    let secrets: Api<Secret> = site.all();
    until("the policy to be in force", async || {
        let params = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        let touch = Patch::Merge(json!({"metadata": {"labels": {"touched": "yes"}}}));
        let touched = secrets.patch("one-userdata", &params, &touch).await;
        touched.is_err().then_some(())
    })
    .await;
    let (all, params) = (site.all::<Reservation>(), PatchParams::default());
    all.patch("one", &params, &released()).await.unwrap();
    let told = says("Ready", "HostRefused");
    let refused = site.reservation_until("one", "to be refused", told).await;
    let [_, _, message] = condition(&refused, "Ready").unwrap();
    assert!(message.contains("keys are guarded"), "{message}");
    let host = site.hosts().get("srv").await.unwrap();
    assert!(host.consumer().is_some());

    let params = DeleteParams::default();
    policy.delete(site.namespace, &params).await.unwrap();
    site.reservation_until("one", "to be released", is_in(Phase::Released))
        .await;
    assert_eq!(secrets.get_opt("one-userdata").await.unwrap(), None);
}

/// What can be neither emptied nor deleted.
fn kept() -> Value {
    json!({"immutable": true, "metadata": {"finalizers": ["example.com/kept"]}})
}

fn let_go() -> Value {
    json!({"metadata": {"finalizers": null}})
}

/// A reservation of a host of the same name, which its user has.
async fn active(stage: &Stage, name: &str) {
    new_host(stage, name).await;
    reserve(stage, name, of_host(name)).await;
    reaches(stage, name, Phase::Active).await;
}

fn of_host(name: &str) -> Value {
    json!({
        "target": {"hostRef": {"name": name}},
        "window": {"start": "2026-01-01T00:00:00Z"},
    })
}

async fn release(stage: &Stage, name: &str) {
    let (all, params) = (reservations(stage), PatchParams::default());
    all.patch(name, &params, &released()).await.unwrap();
}

fn released() -> Patch<Value> {
    Patch::Merge(json!({"spec": {"lifecycle": {"desiredState": "Released"}}}))
}

fn secrets(stage: &Stage) -> Api<Secret> {
    namespaced(stage)
}

async fn keys(stage: &Stage, name: &str) -> Option<BTreeMap<String, ByteString>> {
    let secret = secrets(stage).get_opt(&format!("{name}-userdata")).await;
    secret
        .unwrap()
        .map(|secret| secret.data.unwrap_or_default())
}

async fn patch_secret(stage: &Stage, name: &str, patch: Value) {
    let (name, params) = (format!("{name}-userdata"), PatchParams::default());
    let patch = Patch::Merge(patch);
    let patched = secrets(stage).patch(&name, &params, &patch).await;
    patched.unwrap();
}

/// Lets nobody write to Secrets, as a policy does that says nothing of a reason (422).
async fn guard_secrets(namespace: &str) -> Api<ValidatingAdmissionPolicyBinding> {
    let client = shared().control_plane().client();
    let params = PostParams::default();
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let policy = json!({"metadata": {"name": namespace}, "spec": {
        "matchConstraints": {"resourceRules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"],
            "resources": ["secrets"],
        }]},
        "validations": [{"expression": "false", "message": "keys are guarded"}],
    }});
    let policy = serde_json::from_value(policy).unwrap();
    policies.create(&params, &policy).await.unwrap();
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client);
    let binding = json!({"metadata": {"name": namespace}, "spec": {
        "policyName": namespace,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector":
            {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
    }});
    let binding = serde_json::from_value(binding).unwrap();
    bindings.create(&params, &binding).await.unwrap();
    bindings
}
