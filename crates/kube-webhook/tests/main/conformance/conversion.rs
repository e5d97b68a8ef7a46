//! Kubernetes' cases of conversion: K23, K24, K37 and K40 to K42.

use axum::response::Response;
use http::StatusCode;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::{
    broken::{Call, answering, body, review},
    stage::{Served, Stage, create_crd, eventually, raw, refusal},
};
use crate::conformance_server;

/// The CRD that agnhost's converter knows, under another kind for each case.
fn crd(plural: &str, served: &Served, path: &str) -> Value {
    let text = json!({"type": "string"});
    let version = |name: &str, storage: bool, properties: Value| {
        json!({
            "name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}},
            "subresources": {"status": {}, "scale": {
                "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
            }},
        })
    };
    let scaled = json!({"type": "object", "properties": {"replicas": {"type": "integer"}}});
    json!({
        "metadata": {"name": format!("{plural}.stable.example.com")},
        "spec": {
            "group": "stable.example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind(plural)},
            "versions": [
                version("v1", true, json!({
                    "hostPort": text, "spec": scaled, "status": scaled,
                })),
                version("v2", false, json!({
                    "host": text, "port": text, "spec": scaled, "status": scaled,
                    "defaulted": {"type": "string", "default": "by-v2"},
                })),
            ],
            "conversion": {"strategy": "Webhook", "webhook": {
                "clientConfig": served.client_config(path),
                "conversionReviewVersions": ["v1", "v1beta1"],
            }},
        },
    })
}

fn kind(plural: &str) -> String {
    let (first, rest) = plural.split_at(1);
    format!("{}{}", first.to_uppercase(), rest.trim_end_matches('s'))
}

struct Ports {
    stage: Stage,
    plural: &'static str,
    v1: Api<DynamicObject>,
    v2: Api<DynamicObject>,
}

impl Ports {
    async fn start(plural: &'static str, served: &Served, path: &str) -> Self {
        let stage = Stage::start(plural).await;
        create_crd(&stage.client, &crd(plural, served, path)).await;
        let at =
            |version| {
                let kind = kind(plural);
                let mut resource = kube::api::ApiResource::from_gvk(
                    &kube::api::GroupVersionKind::gvk("stable.example.com", version, &kind),
                );
                plural.clone_into(&mut resource.plural);
                Api::namespaced_with(stage.client.clone(), plural, &resource)
            };
        let (v1, v2) = (at("v1"), at("v2"));
        eventually(async || v1.list(&ListParams::default()).await.ok()).await;
        Self {
            v1,
            v2,
            stage,
            plural,
        }
    }

    fn object(&self, version: &str, name: &str, fields: &Value) -> DynamicObject {
        let mut object = fields.clone();
        object["apiVersion"] = format!("stable.example.com/{version}").into();
        object["kind"] = kind(self.plural).into();
        object["metadata"] = json!({"name": name, "labels": {"kept": "yes"}});
        serde_json::from_value(object).unwrap()
    }

    async fn create(&self, version: &str, name: &str, fields: &Value) {
        let api = if version == "v1" { &self.v1 } else { &self.v2 };
        let object = self.object(version, name, fields);
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    /// Waits until objects are stored at the other version.
    async fn store_v2(&self) {
        let crds: Api<CustomResourceDefinition> = Api::all(self.stage.client.clone());
        let name = format!("{}.stable.example.com", self.plural);
        let flip = json!([
            {"op": "replace", "path": "/spec/versions/0/storage", "value": false},
            {"op": "replace", "path": "/spec/versions/1/storage", "value": true},
        ]);
        let flip = Patch::Json::<()>(serde_json::from_value(flip).unwrap());
        crds.patch(&name, &PatchParams::default(), &flip)
            .await
            .unwrap();
        eventually(async || {
            let stored = crds.get(&name).await.ok()?.status?.stored_versions?;
            stored.contains(&"v2".to_owned()).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn an_object_of_one_version_is_read_as_another() {
    // K23, and labels that stay
    let served = Served::start(conformance_server::conversion().unwrap());
    let ports = Ports::start("k23s", &served, "/crdconvert").await;
    ports
        .create("v1", "one", &json!({"hostPort": "localhost:8080"}))
        .await;
    let view = ports.v2.get("one").await.unwrap();
    assert_eq!(
        (&view.data["host"], &view.data["port"]),
        (&json!("localhost"), &json!("8080"))
    );
    assert_eq!(view.data.get("hostPort"), None);
    assert_eq!(view.metadata.labels.unwrap()["kept"], "yes");

    let unconvertible = ports.object("v1", "two", &json!({"hostPort": "many:ports:here"}));
    ports
        .v1
        .create(&PostParams::default(), &unconvertible)
        .await
        .unwrap();
    let message = refusal(ports.v2.get("two").await).message;
    assert!(
        message.contains("invalid hostPort value `many:ports:here`"),
        "{message}"
    );
    ports
        .v1
        .delete("two", &kube::api::DeleteParams::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn every_version_lists_what_is_stored_at_any() {
    // K24, K37
    let served = Served::start(conformance_server::conversion().unwrap());
    let ports = Ports::start("k24s", &served, "/crdconvert").await;
    ports
        .create("v1", "a", &json!({"hostPort": "a:1", "unknown": 1}))
        .await;
    ports
        .create("v2", "b", &json!({"host": "b", "port": "2"}))
        .await;
    ports.store_v2().await;
    ports.create("v1", "c", &json!({"hostPort": "c:3"})).await;
    ports
        .create(
            "v2",
            "d",
            &json!({"host": "d", "port": "4", "defaulted": "own"}),
        )
        .await;

    let listed = ports.v1.list(&ListParams::default()).await.unwrap();
    let texts: Vec<_> = listed
        .iter()
        .map(|one| one.data["hostPort"].clone())
        .collect();
    assert_eq!(texts, ["a:1", "b:2", "c:3", "d:4"]);
    let listed = ports.v2.list(&ListParams::default()).await.unwrap();
    let texts: Vec<_> = listed
        .iter()
        .map(|one| format!("{}:{}", one.data["host"], one.data["port"]).replace('"', ""))
        .collect();
    assert_eq!(texts, ["a:1", "b:2", "c:3", "d:4"]);
    assert!(listed.iter().all(|one| one.data.get("unknown").is_none()));
    // Filled in when written at v2, but kept only where v2 is what is stored: v1 doesn't know it.
    let defaulted: Vec<_> = listed.iter().map(|one| one.data.get("defaulted")).collect();
    let (default, own) = (json!("by-v2"), json!("own"));
    assert_eq!(defaulted, [None, None, Some(&default), Some(&own)]);

    // Each reads the same at each version, and is rewritten without being changed.
    for name in ["a", "b", "c", "d"] {
        let seen = ports.v2.get(name).await.unwrap();
        let nothing = Patch::Merge(json!({"metadata": {"annotations": {"touched": "yes"}}}));
        ports
            .v1
            .patch(name, &PatchParams::default(), &nothing)
            .await
            .unwrap();
        let again = ports.v2.get(name).await.unwrap();
        assert_eq!(again.data["host"], seen.data["host"]);
        assert_eq!(again.data["port"], seen.data["port"]);
    }
}

/// Converts nothing: answers by `answer` once objects are there that need it.
async fn failing(plural: &'static str, answer: fn(&Call) -> Response) -> (Ports, Served) {
    let (router, _) = answering(move |call: Call| async move { answer(&call) });
    let served = Served::start(router);
    let ports = Ports::start(plural, &served, "/convert").await;
    ports
        .create(
            "v1",
            "one",
            &json!({"hostPort": "a:1", "spec": {"replicas": 1}}),
        )
        .await;
    (ports, served)
}

#[tokio::test]
async fn an_answer_without_objects_is_refused() {
    // K40
    let (ports, _served) = failing("k40s", |call| {
        review(
            call,
            json!({"result": {"status": "Success"}, "convertedObjects": []}),
        )
    })
    .await;
    let message = refusal(ports.v2.get("one").await).message;
    assert!(
        message.contains("returned 0 objects, expected 1"),
        "{message}"
    );
}

#[tokio::test]
async fn a_failure_reaches_the_user_on_every_verb() {
    // K41
    let (ports, _served) = failing("k41s", |call| {
        let message = "not converted, on purpose";
        review(
            call,
            json!({
                "result": {"status": "Failure", "message": message}, "convertedObjects": [],
            }),
        )
    })
    .await;
    let all = "/apis/stable.example.com/v2/namespaces/k41s/k41s";
    let one = format!("{all}/one");
    let status = format!("{one}/status");
    let scale = format!("{one}/scale");
    let object = |name: &str| {
        let object = ports.object("v2", name, &json!({"host": "a", "port": "1"}));
        serde_json::to_value(object).unwrap()
    };
    let scaled = json!({
        "apiVersion": "autoscaling/v1", "kind": "Scale",
        "metadata": {"name": "one", "namespace": "k41s"}, "spec": {"replicas": 2},
    });
    let patch = json!({"spec": {"replicas": 3}});
    for (method, uri, body) in [
        ("GET", &*one, None),
        ("GET", all, None),
        ("POST", all, Some(object("two"))),
        ("PUT", &*one, Some(object("one"))),
        ("PATCH", &*one, Some(patch.clone())),
        ("DELETE", &*one, None),
        ("DELETE", all, None),
        ("GET", &*status, None),
        ("PUT", &*status, Some(object("one"))),
        ("PATCH", &*status, Some(patch.clone())),
        ("GET", &*scale, None),
        ("PUT", &*scale, Some(scaled)),
        ("PATCH", &*scale, Some(patch)),
    ] {
        let answer = raw(&ports.stage.client, method, uri, body.as_ref()).await;
        let text = answer.body().to_string();
        assert_eq!(
            answer.status(),
            StatusCode::INTERNAL_SERVER_ERROR,
            "{method} {uri} {text}"
        );
        assert!(
            text.contains("not converted, on purpose"),
            "{method} {uri} {text}"
        );
    }
    assert_eq!(ports.v1.get("one").await.unwrap().data["hostPort"], "a:1");
}

#[tokio::test]
async fn a_review_version_that_is_not_handled_is_a_rejected_request() {
    // K42
    let (ports, _served) = failing("k42s", |_| {
        body(StatusCode::UNPROCESSABLE_ENTITY, &json!({"no": "status"}))
    })
    .await;
    let message = refusal(ports.v2.get("one").await).message;
    assert!(
        message.contains("the server rejected our request"),
        "{message}"
    );
}
