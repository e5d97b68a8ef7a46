//! Kubernetes' end-to-end cases of admission for custom kinds: K4, K9, K11, K12 and K65.

use k8s_openapi::{
    api::core::v1::ConfigMap,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::stage::{Stage, config_map, create_crd, eventually, refusal, rule};

/// A CRD of the group `GROUP.example.com`, all of whose versions have the same schema.
fn crd(group: &str, versions: &[&str], schema: &Value) -> Value {
    let versions: Vec<_> = versions
        .iter()
        .enumerate()
        .map(|(index, name)| {
            json!({
                "name": name, "served": true, "storage": index == 0,
                "schema": {"openAPIV3Schema": schema},
            })
        })
        .collect();
    json!({
        "metadata": {"name": format!("things.{group}.example.com")},
        "spec": {
            "group": format!("{group}.example.com"),
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing", "singular": "thing"},
            "versions": versions,
        },
    })
}

fn loose() -> Value {
    json!({"type": "object", "properties": {
        "data": {"type": "object", "additionalProperties": {"type": "string"}},
    }})
}

fn thing(group: &str, version: &str, name: &str, data: &Value) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": format!("{group}.example.com/{version}"),
        "kind": "Thing",
        "metadata": {"name": name},
        "data": data,
    }))
    .unwrap()
}

async fn established(stage: &Stage, crd: &Value, version: &str) -> Api<DynamicObject> {
    create_crd(&stage.client, crd).await;
    let group = crd["spec"]["group"].as_str().unwrap();
    let things = stage.dynamic(group, version, "Thing");
    eventually(async || things.list(&kube::api::ListParams::default()).await.ok()).await;
    things
}

#[tokio::test]
async fn an_unwanted_custom_resource_is_neither_created_nor_updated_nor_deleted() {
    // K4
    let stage = Stage::start("k4").await;
    let things = established(&stage, &crd("k4", &["v1"], &loose()), "v1").await;
    let all = rule(
        "k4.example.com",
        "v1",
        "things",
        &["CREATE", "UPDATE", "DELETE"],
    );
    stage
        .validating(vec![stage.hook("/custom-resource", all)])
        .await;

    let unwanted = json!({"webhook-e2e-test": "webhook-disallow"});
    let message = "the custom resource contains unwanted data";
    let create = async |data: &Value| {
        let thing = thing("k4", "v1", "one", data);
        things.create(&PostParams::default(), &thing).await
    };
    assert!(refusal(create(&unwanted).await).message.contains(message));
    create(&json!({"webhook-e2e-test": "webhook-nondeletable"}))
        .await
        .unwrap();
    let parameters = PatchParams::default();
    let patch = Patch::Merge(json!({"data": unwanted}));
    let patched = things.patch("one", &parameters, &patch).await;
    assert!(refusal(patched).message.contains(message));
    let deleted = things.delete("one", &DeleteParams::default()).await;
    let message =
        "the custom resource cannot be deleted because it contains unwanted key and value";
    assert!(refusal(deleted).message.contains(message));

    let fixed = Patch::Merge(json!({"data": {"webhook-e2e-test": null}}));
    things.patch("one", &parameters, &fixed).await.unwrap();
    things
        .delete("one", &DeleteParams::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_custom_resource_goes_through_two_ordered_stages() {
    // K9
    let stage = Stage::start("k9").await;
    let things = established(&stage, &crd("k9", &["v1"], &loose()), "v1").await;
    let create = rule("k9.example.com", "v1", "things", &["CREATE"]);
    stage
        .mutating(vec![
            stage.hook("/mutating-custom-resource", create.clone()),
            stage.hook("/mutating-custom-resource", create),
        ])
        .await;
    let start = thing("k9", "v1", "one", &json!({"mutation-start": "yes"}));
    let created = things.create(&PostParams::default(), &start).await.unwrap();
    assert_eq!(
        created.data["data"],
        json!({
            "mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes",
        })
    );
}

#[tokio::test]
async fn a_custom_resource_is_mutated_whatever_version_is_stored() {
    // K11
    let stage = Stage::start("k11").await;
    let things = established(&stage, &crd("k11", &["v1", "v2"], &loose()), "v1").await;
    let one = thing("k11", "v1", "one", &json!({"a": "b"}));
    things.create(&PostParams::default(), &one).await.unwrap();
    let written = rule("k11.example.com", "v1", "things", &["CREATE", "UPDATE"]);
    stage
        .mutating(vec![stage.hook("/mutating-custom-resource", written)])
        .await;

    let crds: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
    let flip = json!([
        {"op": "replace", "path": "/spec/versions/0/storage", "value": false},
        {"op": "replace", "path": "/spec/versions/1/storage", "value": true},
    ]);
    let name = "things.k11.example.com";
    let parameters = PatchParams::default();
    let flip = Patch::Json::<()>(serde_json::from_value(flip).unwrap());
    crds.patch(name, &parameters, &flip).await.unwrap();
    eventually(async || {
        let stored = crds.get(name).await.ok()?.status?.stored_versions?;
        stored.contains(&"v2".to_owned()).then_some(())
    })
    .await;
    for version in ["v2", "v1"] {
        let things = stage.dynamic("k11.example.com", version, "Thing");
        let undone =
            Patch::Merge(json!({"data": {"mutation-start": null, "mutation-stage-1": null}}));
        things.patch("one", &parameters, &undone).await.unwrap();
        let start = Patch::Merge(json!({"data": {"mutation-start": "yes"}}));
        let patched = things.patch("one", &parameters, &start).await.unwrap();
        assert_eq!(
            patched.data["data"],
            json!({"a": "b", "mutation-start": "yes", "mutation-stage-1": "yes"}),
            "{version}"
        );
    }
}

#[tokio::test]
async fn what_the_schema_does_not_know_is_pruned_after_mutation() {
    // K12
    let stage = Stage::start("k12").await;
    let text = json!({"type": "string"});
    let strict = json!({"type": "object", "properties": {
        "data": {"type": "object", "properties": {
            "mutation-start": text, "mutation-stage-1": text,
        }},
    }});
    let things = established(&stage, &crd("k12", &["v1"], &strict), "v1").await;
    let create = rule("k12.example.com", "v1", "things", &["CREATE"]);
    stage
        .mutating(vec![
            stage.hook("/mutating-custom-resource", create.clone()),
            stage.hook("/mutating-custom-resource", create),
        ])
        .await;
    let start = thing("k12", "v1", "one", &json!({"mutation-start": "yes"}));
    let created = things.create(&PostParams::default(), &start).await.unwrap();
    assert_eq!(
        created.data["data"],
        json!({"mutation-start": "yes", "mutation-stage-1": "yes"})
    );
}

#[tokio::test]
async fn a_label_is_added_to_typed_and_custom_objects() {
    // K65
    let stage = Stage::start("k65").await;
    let things = established(&stage, &crd("k65", &["v1"], &loose()), "v1").await;
    stage
        .mutating(vec![
            stage.hook(
                "/add-label",
                rule("", "v1", "configmaps", &["CREATE", "UPDATE"]),
            ),
            stage.hook(
                "/add-label",
                rule("k65.example.com", "v1", "things", &["CREATE", "UPDATE"]),
            ),
        ])
        .await;
    let plain = thing("k65", "v1", "one", &json!({}));
    let created = things.create(&PostParams::default(), &plain).await.unwrap();
    assert_eq!(created.metadata.labels.unwrap()["added-label"], "yes");

    let config_maps: Api<ConfigMap> = stage.api();
    let plain = config_map("one", &json!({}));
    let created = config_maps
        .create(&PostParams::default(), &plain)
        .await
        .unwrap();
    assert_eq!(created.metadata.labels.unwrap()["added-label"], "yes");
    // Beside labels that are there, over another value, and again when it was removed.
    for labels in [
        json!({"added-label": "no", "own": "a"}),
        json!({"added-label": null}),
    ] {
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        let patched = config_maps
            .patch("one", &PatchParams::default(), &patch)
            .await
            .unwrap();
        assert_eq!(
            json!(patched.metadata.labels),
            json!({"added-label": "yes", "own": "a"})
        );
    }
}
