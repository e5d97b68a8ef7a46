//! The Secret with a user's keys, where somebody else keeps it from being written or deleted.

use std::collections::BTreeMap;

use harbormaster::{api::v1::Phase, reservations::user_data};
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
use xtask::stage::{NAMESPACE, Stage};

use crate::{
    site::{condition, says},
    stage::{
        create_host, hosts, namespaced, new_host, reaches, reservation_until, reservations,
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
    let kept = json!({"immutable": true, "metadata": {"finalizers": ["example.com/kept"]}});
    patch_secret(stage, "kept", kept).await;
    release(stage, "kept").await;
    is_held_for_its_keys(stage, "kept").await;
    let params = PatchParams::default();
    let let_go = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let let_go = secrets(stage)
        .patch("kept-userdata", &params, &let_go)
        .await;
    let_go.unwrap();
    reaches(stage, "kept", Phase::Released).await;
    assert_eq!(keys(stage, "kept").await, None);
}

#[tokio::test]
async fn a_host_is_held_until_its_keys_are_gone_which_a_policy_guards() {
    let stage = shared();
    active(stage, "guarded-keys").await;
    let policy = guard_secret("guarded-keys-userdata").await;
    until("the policy to be in force", async || {
        let params = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        let touch = Patch::Merge(json!({"metadata": {"labels": {"touched": "yes"}}}));
        let secrets = secrets(stage);
        let touched = secrets.patch("guarded-keys-userdata", &params, &touch);
        touched.await.is_err().then_some(())
    })
    .await;
    release(stage, "guarded-keys").await;
    let message = is_held_for_its_keys(stage, "guarded-keys").await;
    assert!(message.contains("keys are guarded"), "{message}");
    let params = DeleteParams::default();
    policy
        .delete("guarded-keys-userdata", &params)
        .await
        .unwrap();
    reaches(stage, "guarded-keys", Phase::Released).await;
    assert_eq!(keys(stage, "guarded-keys").await, None);
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
    let release = Patch::Merge(json!({"spec": {"lifecycle": {"desiredState": "Released"}}}));
    let all = reservations(stage);
    let params = PatchParams::default();
    all.patch(name, &params, &release).await.unwrap();
}

/// Gives back what is told.
async fn is_held_for_its_keys(stage: &Stage, name: &'static str) -> String {
    let told = says("Released", "HostRefused");
    let refused = reservation_until(stage, name, "to be held", told).await;
    let host = hosts(stage).get(name).await.unwrap();
    assert_eq!(
        host.consumer().and_then(|it| it.name.as_deref()),
        Some(name)
    );
    let [_, _, message] = condition(&refused, "Released").unwrap();
    message
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

/// Lets nobody write to this Secret, as a policy does that says nothing of a reason (422).
async fn guard_secret(name: &str) -> Api<ValidatingAdmissionPolicyBinding> {
    let client = shared().control_plane().client();
    let params = PostParams::default();
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let policy = json!({"metadata": {"name": name}, "spec": {
        "matchConstraints": {"resourceRules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["UPDATE"],
            "resources": ["secrets"], "resourceNames": [name],
        }]},
        "validations": [{"expression": "false", "message": "keys are guarded"}],
    }});
    let policy = serde_json::from_value(policy).unwrap();
    policies.create(&params, &policy).await.unwrap();
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client);
    let binding = json!({"metadata": {"name": name}, "spec": {
        "policyName": name,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector":
            {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}}},
    }});
    let binding = serde_json::from_value(binding).unwrap();
    bindings.create(&params, &binding).await.unwrap();
    bindings
}
