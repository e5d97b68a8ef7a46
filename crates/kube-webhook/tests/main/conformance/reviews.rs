//! Kubernetes' cases of what is sent for which request, and what becomes of the answer: K25, K31, K36
//! and K73.

use http::StatusCode;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{ApiResource, DynamicObject, PostParams},
};
use serde_json::{Value, json};

use super::{
    broken::{Call, answering, patching, review},
    stage::{Served, Stage, config_map, create_crd, dry_run, eventually, raw, refusal, rule},
};

/// A kind, where it is, and as little of an object as its validation wants.
struct Sample {
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    kind: &'static str,
    rest: Value,
}

fn samples() -> Vec<Sample> {
    let sample = |group, version, resource, kind, rest| Sample {
        group,
        version,
        resource,
        kind,
        rest,
    };
    let pod = json!({"containers": [{"name": "a", "image": "b"}]});
    let labelled = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod});
    let selector = json!({"matchLabels": {"a": "b"}});
    let workload = json!({"spec": {"selector": selector, "template": labelled}});
    let job = json!({"template": {"spec": {
        "containers": pod["containers"], "restartPolicy": "Never",
    }}});
    vec![
        sample("", "v1", "configmaps", "ConfigMap", json!({})),
        sample("", "v1", "secrets", "Secret", json!({})),
        sample("", "v1", "pods", "Pod", json!({"spec": pod})),
        sample(
            "",
            "v1",
            "services",
            "Service",
            json!({"spec": {"ports": [{"port": 80}]}}),
        ),
        sample("", "v1", "serviceaccounts", "ServiceAccount", json!({})),
        sample("", "v1", "endpoints", "Endpoints", json!({})),
        sample(
            "",
            "v1",
            "limitranges",
            "LimitRange",
            json!({"spec": {"limits": []}}),
        ),
        sample("", "v1", "resourcequotas", "ResourceQuota", json!({})),
        sample(
            "",
            "v1",
            "podtemplates",
            "PodTemplate",
            json!({"template": labelled}),
        ),
        sample("apps", "v1", "deployments", "Deployment", workload.clone()),
        sample("apps", "v1", "replicasets", "ReplicaSet", workload.clone()),
        sample("apps", "v1", "daemonsets", "DaemonSet", workload),
        sample("batch", "v1", "jobs", "Job", json!({"spec": job})),
        sample(
            "batch",
            "v1",
            "cronjobs",
            "CronJob",
            json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": job}}}),
        ),
        sample("coordination.k8s.io", "v1", "leases", "Lease", json!({})),
        sample(
            "networking.k8s.io",
            "v1",
            "networkpolicies",
            "NetworkPolicy",
            json!({"spec": {"podSelector": {}}}),
        ),
        sample(
            "policy",
            "v1",
            "poddisruptionbudgets",
            "PodDisruptionBudget",
            json!({}),
        ),
        sample(
            "rbac.authorization.k8s.io",
            "v1",
            "roles",
            "Role",
            json!({}),
        ),
    ]
}

impl Sample {
    fn uri(&self) -> String {
        let Self {
            group,
            version,
            resource,
            ..
        } = self;
        let root = if group.is_empty() {
            format!("/api/{version}")
        } else {
            format!("/apis/{group}/{version}")
        };
        format!("{root}/namespaces/k25/{resource}")
    }

    fn object(&self) -> Value {
        let mut object = self.rest.clone();
        let group = if self.group.is_empty() { "" } else { "/" };
        object["apiVersion"] = format!("{}{group}{}", self.group, self.version).into();
        object["kind"] = self.kind.into();
        object["metadata"] = json!({"name": "one"});
        object
    }

    /// That each of the calls was about this, and what had to be in it was.
    fn check(&self, calls: &[Call], operation: &str, options: &str, objects: [bool; 2]) {
        let what = format!("{operation} {}", self.resource);
        let mut paths: Vec<_> = calls.iter().map(|call| &*call.path).collect();
        paths.sort_unstable();
        // A delete that meets another write is admitted anew.
        paths.dedup();
        assert_eq!(
            paths,
            ["/m/v1", "/m/v1beta1", "/v/v1", "/v/v1beta1"],
            "{what}"
        );
        for call in calls {
            let Value::Object(request) = &call.review["request"] else {
                panic!("{what}: no request");
            };
            let version = call.path.rsplit('/').next().unwrap();
            assert_eq!(
                call.review["apiVersion"],
                format!("admission.k8s.io/{version}"),
                "{what}"
            );
            let kind = json!({"group": self.group, "version": self.version, "kind": self.kind});
            let resource =
                json!({"group": self.group, "version": self.version, "resource": self.resource});
            assert_eq!(request["kind"], kind, "{what}");
            assert_eq!(request["requestKind"], kind, "{what}");
            assert_eq!(request["resource"], resource, "{what}");
            assert_eq!(request["requestResource"], resource, "{what}");
            assert_eq!(request["operation"], operation, "{what}");
            assert_eq!(request["namespace"], "k25", "{what}");
            assert_eq!(request["dryRun"], false, "{what}");
            assert_eq!(request["userInfo"]["username"], "admin", "{what}");
            assert_eq!(request["options"]["kind"], options, "{what}");
            let present = ["object", "oldObject"].map(|field| request[field].is_object());
            assert_eq!(present, objects, "{what}");
            for field in ["object", "oldObject"] {
                if request[field].is_object() {
                    assert_eq!(request[field]["kind"], self.kind, "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn every_request_is_sent_with_what_belongs_to_it() {
    // K25
    let stage = Stage::start("k25").await;
    let (router, calls) =
        answering(async |call: Call| review(&call, json!({"allowed": true, "warnings": ["seen"]})));
    let served = Served::start(router);
    // Cluster-scoped objects, which have no namespace to select by, are other tests'.
    let mut everything = rule("*", "*", "*", &["*"]);
    everything["scope"] = "Namespaced".into();
    let hooks = |sort: &str| {
        let versions = ["v1", "v1beta1"].into_iter();
        let hooks = versions.map(|version| {
            let config = served.client_config(&format!("/{sort}/{version}"));
            stage
                .hook_at(config, everything.clone())
                .named(version)
                .with("admissionReviewVersions", json!([version]))
        });
        hooks.collect()
    };
    stage.mutating(hooks("m")).await;
    stage.validating(hooks("v")).await;

    for sample in samples() {
        let (all, one) = (sample.uri(), format!("{}/one", sample.uri()));
        calls.take();
        let send = async |method: &str, uri: &str, body: Option<&Value>| {
            let answer = stage.raw(method, uri, body).await;
            assert!(
                answer.status().is_success(),
                "{method} {uri}: {}",
                answer.body()
            );
            let warnings = answer.headers().get_all("warning").iter();
            let warnings: Vec<_> = warnings.filter_map(|text| text.to_str().ok()).collect();
            assert!(
                warnings.iter().any(|text| text.contains("\"seen\"")),
                "{warnings:?}"
            );
            (answer.into_body(), calls.take())
        };
        let (stored, seen) = send("POST", &all, Some(&sample.object())).await;
        sample.check(&seen, "CREATE", "CreateOptions", [true, false]);
        let (mut stored, seen) = {
            let mut put = stored;
            put["metadata"]["annotations"] = json!({"put": "yes"});
            send("PUT", &one, Some(&put)).await
        };
        sample.check(&seen, "UPDATE", "UpdateOptions", [true, true]);
        stored["metadata"] = json!({"annotations": {"patched": "yes"}});
        let patch = json!({"metadata": stored["metadata"]});
        let (_, seen) = send("PATCH", &one, Some(&patch)).await;
        sample.check(&seen, "UPDATE", "UpdateOptions", [true, true]);
        // At once: there are neither kubelets nor a garbage collector here.
        let grace = json!({"gracePeriodSeconds": 0, "propagationPolicy": "Background"});
        let (_, seen) = send("DELETE", &one, Some(&grace)).await;
        sample.check(&seen, "DELETE", "DeleteOptions", [false, true]);

        send("POST", &all, Some(&sample.object())).await;
        let (_, seen) = send("DELETE", &all, Some(&grace)).await;
        let of_one: Vec<Call> = seen
            .into_iter()
            .filter(|call| call.review["request"]["oldObject"]["metadata"]["name"] == "one")
            .collect();
        sample.check(&of_one, "DELETE", "DeleteOptions", [false, true]);
    }
}

#[tokio::test]
async fn duplicate_owners_become_one_with_a_warning() {
    // K31
    let stage = Stage::start("k31").await;
    let (router, _) = answering(async |call: Call| {
        let owner = json!({"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": "1"});
        let patch = json!([
            {"op": "add", "path": "/metadata/ownerReferences", "value": [owner, owner]},
        ]);
        review(&call, patching(&patch.to_string()))
    });
    let served = Served::start(router);
    let created = rule("", "v1", "configmaps", &["CREATE"]);
    stage
        .mutating(vec![stage.hook_at(served.client_config("/"), created)])
        .await;
    let uri = "/api/v1/namespaces/k31/configmaps?dryRun=All";
    let answer = stage
        .raw("POST", uri, Some(&json!({"metadata": {"name": "one"}})))
        .await;
    assert_eq!(answer.status(), StatusCode::CREATED, "{}", answer.body());
    let owners = &answer.body()["metadata"]["ownerReferences"];
    assert_eq!(owners.as_array().map(Vec::len), Some(1), "{owners}");
    let warning = answer.headers()["warning"].to_str().unwrap();
    assert!(
        warning.contains(".metadata.ownerReferences contains duplicate entries"),
        "{warning}"
    );
}

#[tokio::test]
async fn no_webhook_is_asked_about_the_objects_of_admission() {
    // K36, as far as Kubernetes 1.36 has it.
    let stage = Stage::start("k36").await;
    let (router, calls) = answering(async |call: Call| review(&call, json!({"allowed": false})));
    let served = Served::start(router);
    let everything = || {
        let hook = stage.hook_at(served.client_config("/"), rule("*", "*", "*/*", &["*"]));
        // What is cluster-scoped has no namespace to select by.
        hook.condition("of-this-case", "request.name.startsWith('k36')")
    };
    stage.validating(vec![everything()]).await;
    stage
        .mutating(vec![everything().with("name", "all.k36.example.com")])
        .await;
    calls.take();
    let group = "/apis/admissionregistration.k8s.io/v1";
    let constraints = json!({"resourceRules": [rule("", "v1", "nodes", &["DELETE"])]});
    for (resource, rest) in [
        ("validatingwebhookconfigurations", json!({"webhooks": []})),
        ("mutatingwebhookconfigurations", json!({"webhooks": []})),
        (
            "validatingadmissionpolicies",
            json!({"spec": {
                "matchConstraints": constraints, "validations": [{"expression": "true"}],
            }}),
        ),
        (
            "validatingadmissionpolicybindings",
            json!({"spec": {"policyName": "k36-one", "validationActions": ["Audit"]}}),
        ),
    ] {
        let mut object = rest;
        object["metadata"] = json!({"name": "k36-one"});
        let uri = format!("{group}/{resource}");
        let answer = stage.raw("POST", &uri, Some(&object)).await;
        assert_eq!(answer.status(), StatusCode::CREATED, "{}", answer.body());
        let answer = stage.raw("DELETE", &format!("{uri}/k36-one"), None).await;
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.body());
    }
    assert!(calls.take().is_empty());
    // While anything else is.
    let config_maps: Api<ConfigMap> = stage.api();
    refusal(
        config_maps
            .create(&dry_run(), &config_map("k36-one", &json!({})))
            .await,
    );
    assert!(!calls.take().is_empty());
}

#[tokio::test]
async fn the_first_review_version_that_is_known_is_spoken() {
    // K73
    let stage = Stage::start("k73").await;
    let (router, calls) = answering(async |call: Call| {
        let objects = call.review["request"]["objects"].as_array().cloned();
        let converted = objects.unwrap_or_default().into_iter().map(|mut object| {
            object["apiVersion"] = call.review["request"]["desiredAPIVersion"].clone();
            object
        });
        let converted: Vec<Value> = converted.collect();
        review(
            &call,
            json!({"result": {"status": "Success"}, "convertedObjects": converted}),
        )
    });
    let served = Served::start(router);
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": schema},
        })
    };
    let crd = |plural: &str, versions: &[&str]| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.k73.example.com")},
            "spec": {
                "group": "k73.example.com",
                "scope": "Namespaced",
                "names": {"plural": plural, "kind": plural.to_uppercase()},
                "versions": [version("v1", true), version("v2", false)],
                "conversion": {"strategy": "Webhook", "webhook": {
                    "clientConfig": served.client_config("/convert"),
                    "conversionReviewVersions": versions,
                }},
            },
        })
    };
    for (plural, versions, spoken) in [
        ("olds", &["v1beta1"][..], "v1beta1"),
        ("news", &["v2", "v1"], "v1"),
        ("boths", &["v1beta1", "v1"], "v1beta1"),
    ] {
        create_crd(&stage.client, &crd(plural, versions)).await;
        let resource = ApiResource {
            group: "k73.example.com".to_owned(),
            version: "v2".to_owned(),
            api_version: "k73.example.com/v2".to_owned(),
            kind: plural.to_uppercase(),
            plural: plural.to_owned(),
        };
        let things: Api<DynamicObject> =
            Api::namespaced_with(stage.client.clone(), "k73", &resource);
        let mut thing = DynamicObject::new("one", &resource);
        thing.data = json!({"a": "b"});
        calls.take();
        eventually(async || things.create(&PostParams::default(), &thing).await.ok()).await;
        let calls = calls.take();
        assert!(!calls.is_empty(), "{plural}");
        for call in calls {
            assert_eq!(
                call.review["apiVersion"],
                format!("apiextensions.k8s.io/{spoken}"),
                "{plural}"
            );
        }
    }
    let crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    for versions in [&["v2"][..], &[]] {
        let answer = raw(&stage.client, "POST", crds, Some(&crd("nones", versions))).await;
        assert_eq!(
            answer.status(),
            StatusCode::UNPROCESSABLE_ENTITY,
            "{}",
            answer.body()
        );
        let body = answer.into_body().to_string();
        assert!(body.contains("conversionReviewVersions"), "{body}");
    }
}
