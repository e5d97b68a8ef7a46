//! Kubernetes' case K25, as far as it is about subresources: what is sent for each of them.
//!
//! `deployments/rollback` is not among them: it went with `extensions/v1beta1`, in Kubernetes 1.16.

use serde_json::{Value, json};

use super::{
    broken::{Call, answering, review},
    stage::{Served, Stage, rule},
};

/// A request, and what a webhook is to be told of it.
struct Sample {
    method: &'static str,
    path: &'static str,
    body: Value,
    operation: &'static str,
    /// Group, version and plural; the subresource is the path's.
    resource: [&'static str; 3],
    kind: [&'static str; 3],
    has_old: bool,
    options: Option<&'static str>,
}

fn samples() -> Vec<Sample> {
    let connect = |path, resource, kind| Sample {
        method: "GET",
        path,
        body: Value::Null,
        operation: "CONNECT",
        resource: ["", "v1", resource],
        kind: ["", "v1", kind],
        has_old: false,
        options: None,
    };
    let create = |path, resource, kind: [&'static str; 3], rest: Value| {
        let mut body = rest;
        body["apiVersion"] = [kind[0], kind[1]].join("/").trim_start_matches('/').into();
        body["kind"] = kind[2].into();
        Sample {
            method: "POST",
            path,
            body,
            operation: "CREATE",
            resource: ["", "v1", resource],
            kind,
            has_old: false,
            options: Some("CreateOptions"),
        }
    };
    let update = |path, resource: [&'static str; 3], kind, patch| Sample {
        method: "PATCH",
        path,
        body: patch,
        operation: "UPDATE",
        resource,
        kind,
        has_old: true,
        options: Some("UpdateOptions"),
    };
    let named = |rest: Value| {
        let mut object = rest;
        object["metadata"] = json!({"name": "one"});
        object
    };
    let pods = ["", "v1", "pods"];
    let pod = ["", "v1", "Pod"];
    let deployments = ["apps", "v1", "deployments"];
    vec![
        connect(
            "pods/one/exec?command=a&stdout=true",
            "pods",
            "PodExecOptions",
        ),
        connect("pods/one/attach?stdout=true", "pods", "PodAttachOptions"),
        connect("pods/one/portforward", "pods", "PodPortForwardOptions"),
        connect("pods/one/proxy/", "pods", "PodProxyOptions"),
        connect("services/one/proxy/", "services", "ServiceProxyOptions"),
        update(
            "pods/one/status",
            pods,
            pod,
            json!({"status": {"reason": "a"}}),
        ),
        update(
            "pods/one/ephemeralcontainers",
            pods,
            pod,
            json!({"spec": {"ephemeralContainers": [{"name": "c", "image": "d"}]}}),
        ),
        update(
            "deployments/one/status",
            deployments,
            ["apps", "v1", "Deployment"],
            json!({"status": {"observedGeneration": 1}}),
        ),
        update(
            "deployments/one/scale",
            deployments,
            ["autoscaling", "v1", "Scale"],
            json!({"spec": {"replicas": 2}}),
        ),
        create(
            "serviceaccounts/one/token",
            "serviceaccounts",
            ["authentication.k8s.io", "v1", "TokenRequest"],
            json!({"spec": {"audiences": ["a"]}}),
        ),
        create(
            "pods/one/binding",
            "pods",
            ["", "v1", "Binding"],
            named(json!({"target": {"kind": "Node", "name": "a"}})),
        ),
        create(
            "pods/one/eviction",
            "pods",
            ["policy", "v1", "Eviction"],
            named(json!({})),
        ),
    ]
}

impl Sample {
    fn uri(&self) -> String {
        let root = match self.resource {
            ["", version, _] => format!("/api/{version}"),
            [group, version, _] => format!("/apis/{group}/{version}"),
        };
        format!("{root}/namespaces/k25-subresources/{}", self.path)
    }

    fn check(&self, call: &Call) {
        let path = self.path;
        let request = &call.review["request"];
        let subresource = path.split(['/', '?']).nth(2);
        let [group, version, kind] = self.kind;
        let kind_of_it = json!({"group": group, "version": version, "kind": kind});
        let [group, version, resource] = self.resource;
        let resource = json!({"group": group, "version": version, "resource": resource});
        for (field, expected) in [
            ("kind", kind_of_it.clone()),
            ("requestKind", kind_of_it),
            ("resource", resource.clone()),
            ("requestResource", resource),
            ("subResource", json!(subresource)),
            ("requestSubResource", json!(subresource)),
            ("operation", self.operation.into()),
            ("name", "one".into()),
            ("namespace", "k25-subresources".into()),
            ("dryRun", false.into()),
        ] {
            assert_eq!(request[field], expected, "{field} of {path}");
        }
        assert_eq!(request["object"]["kind"], kind, "{path}");
        assert_eq!(request["oldObject"].is_object(), self.has_old, "{path}");
        assert_eq!(request["options"]["kind"], json!(self.options), "{path}");
    }
}

#[tokio::test]
async fn a_subresource_is_sent_with_an_object_of_its_own() {
    // K25
    let stage = Stage::start("k25-subresources").await;
    let pod = json!({"containers": [{"name": "a", "image": "b"}]});
    let labels = json!({"a": "b"});
    for (uri, rest) in [
        ("/api/v1", json!(["pods", {"spec": pod}])),
        (
            "/api/v1",
            json!(["services", {"spec": {"ports": [{"port": 80}]}}]),
        ),
        ("/api/v1", json!(["serviceaccounts", {}])),
        (
            "/apis/apps/v1",
            json!(["deployments", {"spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": pod},
            }}]),
        ),
    ] {
        let plural = rest[0].as_str().unwrap();
        let mut object = rest[1].clone();
        object["metadata"] = json!({"name": "one"});
        let uri = format!("{uri}/namespaces/k25-subresources/{plural}");
        let answer = stage.raw("POST", &uri, Some(&object)).await;
        assert!(answer.status().is_success(), "{}", answer.body());
    }

    let (router, calls) = answering(async |call: Call| review(&call, json!({"allowed": true})));
    let served = Served::start(router);
    let mut everything = rule("*", "*", "*/*", &["*"]);
    everything["scope"] = "Namespaced".into();
    let hook = |path: &str| stage.hook_at(served.client_config(path), everything.clone());
    stage.mutating(vec![hook("/m")]).await;
    stage.validating(vec![hook("/v")]).await;

    for sample in samples() {
        calls.take();
        let body = (!sample.body.is_null()).then_some(&sample.body);
        let answer = stage.raw(sample.method, &sample.uri(), body).await;
        // There are no nodes to connect to.
        if sample.operation != "CONNECT" {
            let is_done = answer.status().is_success();
            assert!(is_done, "{}: {}", sample.path, answer.body());
        }
        let seen = calls.take();
        let mut paths: Vec<_> = seen.iter().map(|call| &*call.path).collect();
        paths.dedup();
        // A change of what the API server's cache is behind with is tried, and asked about, once more.
        let turns = paths.chunks(2).all(|turn| turn == ["/m", "/v"]);
        assert!(
            turns && !paths.is_empty(),
            "{}: {paths:?}, {}",
            sample.path,
            answer.body()
        );
        seen.iter().for_each(|call| sample.check(call));
    }
}
