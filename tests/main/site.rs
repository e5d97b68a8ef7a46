//! A namespace of a test's own, with a program of its own in it: for settings that the shared
//! one doesn't have, and for objects that would disturb others. What its hosts come to is the
//! test's to write.

use harbormaster::api::v1::Reservation;
use k8s_openapi::{NamespaceResourceScope, api::core::v1::Namespace};
use kube::{
    Api, Resource,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    discovery::ApiResource,
};
use metal3::{BareMetalHost, simulator::Simulator};
use serde_json::{Value, json};
use tempfile::TempDir;
use xtask::stage::USER;

use crate::{
    own::{Own, Settings},
    stage::{KEY, shared, until},
};

/// The namespace, and the folder of its programs.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) namespace: &'static str,
    pub(crate) folder: TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Site {
    pub(crate) async fn new(namespace: &'static str) -> Self {
        let namespaces: Api<Namespace> = Api::all(shared().control_plane().client());
        let object = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        let params = PostParams::default();
        namespaces.create(&params, &object).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        Self {
            namespace,
            folder,
            settings: Vec::new(),
        }
    }

    /// With what plays the operator.
    pub(crate) fn simulated(self) -> Self {
        let simulator = Simulator::new(shared().control_plane().client(), self.namespace);
        tokio::spawn(simulator.run(std::future::pending()));
        self
    }

    /// Settings that all its programs have.
    pub(crate) fn with<const N: usize>(mut self, settings: [(&'static str, String); N]) -> Self {
        self.settings.extend(settings);
        self
    }

    pub(crate) fn run(&self, more: &[(&str, &str)]) -> Own {
        let mut settings = vec![
            ("PROVISION_IMAGE", "https://images.example.com/noble.qcow2"),
            (
                "PROVISION_CHECKSUM",
                "https://images.example.com/noble.sha256",
            ),
        ];
        let own = self.settings.iter();
        settings.extend(own.map(|(name, value)| (*name, value.as_str())));
        settings.extend(more);
        Own::start(&Settings {
            kubeconfig: &shared()
                .control_plane()
                .kubeconfig_for(USER, &["system:masters"])
                .unwrap(),
            namespace: self.namespace,
            folder: self.folder.path(),
            more: &settings,
        })
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Objects of a kind, as the program itself would write them.
    pub(crate) fn all<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(as_program(), self.namespace)
    }

    /// The same, in any shape that the schema lets through.
    pub(crate) fn raw(&self, kind: &ApiResource) -> Api<DynamicObject> {
        Api::namespaced_with(as_program(), self.namespace, kind)
    }

    pub(crate) fn hosts(&self) -> Api<BareMetalHost> {
        Api::namespaced_with(as_program(), self.namespace, &BareMetalHost::resource())
    }

    /// A host that nobody has looked at yet.
    pub(crate) async fn host(&self, name: &str, labels: Value) {
        let host = json!({
            "apiVersion": "metal3.io/v1alpha1",
            "kind": "BareMetalHost",
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "online": false,
                "bootMACAddress": "02:00:00:00:01:01",
                "bmc": {
                    "address": "redfish://192.0.2.9/redfish/v1/Systems/1",
                    "credentialsName": format!("{name}-bmc"),
                },
            },
        });
        let host = serde_json::from_value(host).unwrap();
        let params = PostParams::default();
        self.hosts().create(&params, &host).await.unwrap();
    }

    /// Writes the status of an object, as it is given.
    pub(crate) async fn status(&self, kind: &ApiResource, name: &str, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        let params = PatchParams::default();
        let objects = self.raw(kind);
        objects.patch_status(name, &params, &patch).await.unwrap();
    }

    /// A reservation made by hand, of a host by its name.
    pub(crate) async fn reserve(&self, name: &str, spec: Value) {
        let mut reservation = json!({
            "apiVersion": "harbormaster.dev/v1",
            "kind": "Reservation",
            "metadata": {"name": name},
            "spec": {
                "window": {"start": "2026-01-01T00:00:00Z"},
                "access": {"authorizedKeys": [{"key": KEY}]},
            },
        });
        json_patch::merge(&mut reservation["spec"], &spec);
        let reservation = serde_json::from_value(reservation).unwrap();
        let params = PostParams::default();
        let reservations = self.all::<Reservation>();
        reservations.create(&params, &reservation).await.unwrap();
    }

    pub(crate) async fn reservation_until(
        &self,
        name: &str,
        what: &str,
        is_so: impl Fn(&Reservation) -> bool,
    ) -> Reservation {
        let reservations = self.all::<Reservation>();
        until(&format!("{name} {what}"), async || {
            let reservation = reservations.get_opt(name).await.unwrap()?;
            is_so(&reservation).then_some(reservation)
        })
        .await
    }

    pub(crate) async fn host_until(
        &self,
        name: &str,
        what: &str,
        is_so: impl Fn(&BareMetalHost) -> bool,
    ) -> BareMetalHost {
        let hosts = self.hosts();
        until(&format!("host {name} {what}"), async || {
            let host = hosts.get_opt(name).await.unwrap()?;
            is_so(&host).then_some(host)
        })
        .await
    }
}

/// What a condition says: its status, reason and message.
pub(crate) fn condition(reservation: &Reservation, type_: &str) -> Option<[String; 3]> {
    let conditions = &reservation.status.as_ref()?.conditions;
    let found = conditions.iter().find(|it| it.type_ == type_)?;
    Some([
        found.status.clone(),
        found.reason.clone(),
        found.message.clone(),
    ])
}

/// Whether a condition has this reason.
pub(crate) fn says(type_: &'static str, reason: &'static str) -> impl Fn(&Reservation) -> bool {
    move |reservation| condition(reservation, type_).is_some_and(|[_, said, _]| said == reason)
}

fn as_program() -> kube::Client {
    let control_plane = shared().control_plane();
    control_plane.client_as(USER, &["system:masters"]).unwrap()
}
