//! What a case plays on: a namespace of its own, a webhook server, and configurations that the API
//! server is known to have taken up.

use std::{future::Future, net::Ipv4Addr, time::Duration};

use axum::Router;
use base64::{Engine, engine::general_purpose::STANDARD};
use control_plane::ControlPlane;
use k8s_openapi::{
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        core::v1::{ConfigMap, Namespace},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Error, Resource,
    api::{ApiResource, DynamicObject, GroupVersionKind, PostParams},
    core::Status,
    runtime::wait::{await_condition, conditions},
};
use kube_webhook::{Server, TlsIdentity};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::conformance_server;

/// A router served over TLS on the loopback, until the end of the test.
pub(crate) struct Served {
    pub(crate) base: String,
    pub(crate) ca: String,
    _stop: oneshot::Sender<()>,
    _task: JoinHandle<std::io::Result<()>>,
}

impl Served {
    pub(crate) fn start(router: Router) -> Self {
        let (identity, ca) = TlsIdentity::ephemeral(&["127.0.0.1".to_owned()]).unwrap();
        let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), identity, router).unwrap();
        let base = format!("https://{}", server.local_addr());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve(async {
            let _ = stopped.await;
        }));
        Self {
            base,
            ca,
            _stop: stop,
            _task: task,
        }
    }

    pub(crate) fn client_config(&self, path: &str) -> Value {
        json!({
            "url": format!("{}{path}", self.base),
            "caBundle": STANDARD.encode(&self.ca),
        })
    }
}

/// A namespace, and the example server.
pub(crate) struct Stage {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) server: Served,
}

impl Stage {
    /// On the control plane that all tests share.
    pub(crate) async fn start(name: &str) -> Self {
        Self::on(ControlPlane::shared().await.client(), name).await
    }

    pub(crate) async fn on(client: Client, name: &str) -> Self {
        Self::serving(
            client,
            name,
            conformance_server::admission("sidecar:1".to_owned()).unwrap(),
        )
        .await
    }

    pub(crate) async fn serving(client: Client, name: &str, router: Router) -> Self {
        create_namespace(&client, name).await;
        Self {
            client,
            namespace: name.to_owned(),
            server: Served::start(router),
        }
    }

    /// A webhook for objects in the namespace, at a path of the example server.
    pub(crate) fn hook(&self, path: &str, rule: Value) -> Hook {
        self.hook_at(self.server.client_config(path), rule)
    }

    #[allow(clippy::needless_pass_by_value, reason = "they are made in the call")]
    pub(crate) fn hook_at(&self, client_config: Value, rule: Value) -> Hook {
        Hook(json!({
            "clientConfig": client_config,
            "rules": [rule],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1", "v1beta1"],
            "timeoutSeconds": 10,
            "namespaceSelector": {
                "matchLabels": {"kubernetes.io/metadata.name": self.namespace},
            },
            "matchConditions": [{
                "name": "not-the-marker",
                "expression": format!("!has(request.name) || !request.name.startsWith('{MARKER}')"),
            }],
        }))
    }

    pub(crate) async fn validating(&self, hooks: Vec<Hook>) {
        self.register::<ValidatingWebhookConfiguration>("validating", hooks)
            .await;
    }

    pub(crate) async fn mutating(&self, hooks: Vec<Hook>) {
        self.register::<MutatingWebhookConfiguration>("mutating", hooks)
            .await;
    }

    /// Applies a configuration, and waits until the API server calls its last webhook, the marker.
    async fn register<C>(&self, sort: &str, hooks: Vec<Hook>)
    where
        C: Resource<DynamicType = (), Scope = kube::core::ClusterResourceScope>
            + Clone
            + std::fmt::Debug
            + DeserializeOwned
            + Serialize,
    {
        let marker = format!("{MARKER}{sort}-{}", self.namespace);
        let mut marking = self
            .hook("/always-deny", rule("", "v1", "configmaps", &["CREATE"]))
            .named("marker");
        marking.0["matchConditions"] = json!([{
            "name": "is-the-marker",
            "expression": format!("request.name == '{marker}'"),
        }]);
        let webhooks: Vec<Value> = hooks
            .into_iter()
            .enumerate()
            .map(|(index, Hook(mut hook))| {
                if hook["name"].is_null() {
                    hook["name"] = format!("hook-{index}.k8s.example.com").into();
                }
                hook
            })
            .chain([marking.0])
            .collect();
        let configuration: C = serde_json::from_value(json!({
            "metadata": {"name": format!("{}-{sort}", self.namespace)},
            "webhooks": webhooks,
        }))
        .unwrap();
        let configurations: Api<C> = Api::all(self.client.clone());
        configurations
            .create(&PostParams::default(), &configuration)
            .await
            .unwrap();
        let config_maps: Api<ConfigMap> = self.api();
        let marker = config_map(&marker, &json!({}));
        eventually(async || {
            let refusal = config_maps.create(&dry_run(), &marker).await.err()?;
            refusal
                .to_string()
                .contains("denies all requests")
                .then_some(())
        })
        .await;
    }

    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) fn dynamic(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk(group, version, kind);
        let resource = ApiResource::from_gvk(&kind);
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Calls the API as it is on the wire.
    pub(crate) async fn raw(
        &self,
        method: &str,
        uri: &str,
        body: Option<&Value>,
    ) -> http::Response<Value> {
        raw(&self.client, method, uri, body).await
    }
}

pub(crate) async fn raw(
    client: &Client,
    method: &str,
    uri: &str,
    body: Option<&Value>,
) -> http::Response<Value> {
    try_raw(client, method, uri, body).await.unwrap()
}

/// As [`raw`], where the connection may be closed without an answer.
pub(crate) async fn try_raw(
    client: &Client,
    method: &str,
    uri: &str,
    body: Option<&Value>,
) -> Result<http::Response<Value>, kube::Error> {
    let content_type = match method {
        "PATCH" => "application/merge-patch+json",
        _ => "application/json",
    };
    let request = http::Request::builder()
        .method(method)
        .uri(uri)
        .header(http::header::CONTENT_TYPE, content_type)
        .body(kube::client::Body::from(
            body.map(Value::to_string).unwrap_or_default().into_bytes(),
        ))
        .unwrap();
    let response = client.send(request).await?;
    let (head, body) = response.into_parts();
    let body = http_body_util::BodyExt::collect(body)
        .await
        .unwrap()
        .to_bytes();
    let body = serde_json::from_slice(&body)
        .unwrap_or_else(|_| String::from_utf8_lossy(&body).into_owned().into());
    Ok(http::Response::from_parts(head, body))
}

/// An entry of a configuration's `webhooks`.
#[derive(Clone)]
pub(crate) struct Hook(pub(crate) Value);

impl Hook {
    pub(crate) fn named(self, name: &str) -> Self {
        self.with("name", format!("{name}.k8s.example.com"))
    }

    pub(crate) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.0[field] = value.into();
        self
    }

    pub(crate) fn condition(mut self, name: &str, expression: &str) -> Self {
        let conditions = self.0["matchConditions"].as_array_mut().unwrap();
        conditions.push(json!({"name": name, "expression": expression}));
        self
    }
}

pub(crate) fn rule(group: &str, version: &str, resource: &str, operations: &[&str]) -> Value {
    json!({
        "apiGroups": [group],
        "apiVersions": [version],
        "resources": [resource],
        "operations": operations,
    })
}

pub(crate) async fn create_namespace(client: &Client, name: &str) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
}

pub(crate) async fn create_crd(client: &Client, crd: &Value) {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let crd: CustomResourceDefinition = serde_json::from_value(crd.clone()).unwrap();
    let name = crd.metadata.name.clone().unwrap();
    crds.create(&PostParams::default(), &crd).await.unwrap();
    let established = await_condition(crds, &name, conditions::is_crd_established());
    tokio::time::timeout(PATIENCE, established)
        .await
        .unwrap()
        .unwrap();
}

pub(crate) fn config_map(name: &str, data: &Value) -> ConfigMap {
    serde_json::from_value(json!({"metadata": {"name": name}, "data": data})).unwrap()
}

pub(crate) fn dry_run() -> PostParams {
    PostParams {
        dry_run: true,
        ..PostParams::default()
    }
}

#[track_caller]
pub(crate) fn refusal<T: std::fmt::Debug>(result: Result<T, Error>) -> Status {
    match result.unwrap_err() {
        Error::Api(status) => *status,
        other => panic!("{other}"),
    }
}

/// Asks until `attempt` has an answer.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    mut attempt: impl FnMut() -> F,
) -> T {
    let asking = async {
        loop {
            if let Some(answer) = attempt().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap()
}

const MARKER: &str = "marker-";
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
