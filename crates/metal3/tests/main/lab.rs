//! A namespace of hosts in a real cluster, and the waiting that goes with it.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use kube::discovery::ApiResource;
use kube::{Api, Client};
use metal3::{BareMetalHost, Bmc};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

pub(crate) struct Lab {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    pub(crate) hosts: Api<BareMetalHost>,
    resource: ApiResource,
}

impl Lab {
    /// A namespace of its own in a cluster that serves hosts already.
    pub(crate) async fn new(client: Client, resource: &ApiResource) -> Self {
        let namespace = Namespace {
            metadata: ObjectMeta {
                generate_name: Some("lab-".to_owned()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let namespaces = Api::<Namespace>::all(client.clone());
        let created = namespaces.create(&PostParams::default(), &namespace).await;
        let namespace = created.unwrap().metadata.name.unwrap();
        Self {
            hosts: Api::namespaced_with(client.clone(), &namespace, resource),
            client,
            namespace,
            resource: resource.clone(),
        }
    }

    /// A namespace in the shared control plane, where this crate's own definition is installed.
    pub(crate) async fn shared() -> Self {
        let client = control_plane::ControlPlane::shared().await.client();
        install(&client, &metal3::crd()).await;
        Self::new(client, &BareMetalHost::resource()).await
    }

    /// A host that is off, with a BMC of its own: the operator takes a change of a Secret for new
    /// credentials, and to become its owner it changes it, so that none may be shared.
    pub(crate) async fn add(&self, name: &str, change: impl FnOnce(&mut BareMetalHost)) {
        let credentials = format!("{name}-bmc");
        self.add_secret(&credentials, &json!({"username": "lab", "password": "lab"}))
            .await;
        let mut host = BareMetalHost::new(name, &self.resource);
        host.spec.online = Some(false);
        host.spec.boot_mac_address = Some("52:54:00:00:00:01".to_owned());
        host.spec.bmc = Some(Bmc {
            address: Some("redfish://192.0.2.1/redfish/v1/Systems/1".to_owned()),
            credentials_name: Some(credentials),
            ..Bmc::default()
        });
        change(&mut host);
        let created = self.hosts.create(&PostParams::default(), &host).await;
        created.unwrap();
    }

    pub(crate) async fn add_secret(&self, name: &str, data: &Value) {
        let secret = json!({"metadata": {"name": name}, "stringData": data});
        let created = self
            .secrets()
            .create(
                &PostParams::default(),
                &serde_json::from_value(secret).unwrap(),
            )
            .await;
        created.unwrap();
    }

    pub(crate) fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    pub(crate) async fn get(&self, name: &str) -> BareMetalHost {
        self.hosts.get(name).await.unwrap()
    }

    pub(crate) async fn patch(&self, name: &str, patch: Value) -> BareMetalHost {
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        self.hosts.patch(name, &params, &patch).await.unwrap()
    }

    pub(crate) async fn delete(&self, name: &str) {
        let params = DeleteParams::default();
        self.hosts.delete(name, &params).await.unwrap();
    }

    /// Waits until the host is as the condition wants it.
    pub(crate) async fn wait(
        &self,
        name: &str,
        condition: impl Fn(&BareMetalHost) -> bool,
    ) -> BareMetalHost {
        let host = eventually(
            || async { self.hosts.get_opt(name).await.unwrap() },
            |host| host.as_ref().is_some_and(&condition),
        );
        host.await.expect("the condition was met by a host")
    }

    /// Waits until the host is as the condition wants it, and the operator has nothing more to do.
    pub(crate) async fn settle(
        &self,
        name: &str,
        condition: impl Fn(&BareMetalHost) -> bool,
    ) -> BareMetalHost {
        self.wait(name, |host| {
            host.observed_generation() == host.metadata.generation && condition(host)
        })
        .await
    }

    pub(crate) async fn wait_until_gone(&self, name: &str) {
        eventually(
            || async { self.hosts.get_opt(name).await.unwrap() },
            Option::is_none,
        )
        .await;
    }
}

/// Applies a definition and waits until it is served. May be called by many tests at once.
pub(crate) async fn install(client: &Client, definition: &CustomResourceDefinition) {
    let definitions = Api::<CustomResourceDefinition>::all(client.clone());
    let name = definition.metadata.name.as_deref().unwrap();
    let params = PatchParams::apply("metal3-tests").force();
    let patch = Patch::Apply(definition);
    definitions.patch(name, &params, &patch).await.unwrap();
    eventually(
        || async { definitions.get(name).await.unwrap() },
        |definition| {
            let status = definition.status.as_ref();
            let mut conditions = status
                .and_then(|status| status.conditions.as_ref())
                .into_iter()
                .flatten();
            conditions
                .any(|condition| condition.type_ == "Established" && condition.status == "True")
        },
    )
    .await;
}

async fn eventually<T: Debug, F: Future<Output = T>>(
    look: impl Fn() -> F,
    condition: impl Fn(&T) -> bool,
) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let seen = look().await;
        if condition(&seen) {
            return seen;
        }
        assert!(
            Instant::now() < deadline,
            "not within {DEADLINE:?}; last seen: {seen:#?}"
        );
        sleep(Duration::from_millis(50)).await;
    }
}

const DEADLINE: Duration = Duration::from_secs(60);
