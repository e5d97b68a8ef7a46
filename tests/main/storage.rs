//! What is in etcd while versions come and go: a change of the storage version with objects
//! of both, and an outage of the conversion. On a control plane of its own, whose CRD calls
//! the conversion in this process.

use std::net::SocketAddr;

use control_plane::ControlPlane;
use harbormaster::api::{GROUP, convert::ReservationConversion, crd, v1::Reservation};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams, PostParams},
    discovery::ApiResource,
};
use kube_webhook::{Conversion, Server, Target, TlsIdentity, Webhooks};
use serde_json::{Value, json};
use tokio::{sync::oneshot, task::JoinHandle};

use crate::stage::{OWN_CONTROL_PLANE, install_crypto, until};

/// The conversion, up or down.
struct Converter {
    stop: oneshot::Sender<()>,
    served: JoinHandle<std::io::Result<()>>,
}

impl Converter {
    fn start(address: SocketAddr, identity: &TlsIdentity) -> (Self, SocketAddr) {
        let server = Server::bind(address, identity.clone(), registered().router()).unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(server.serve(async {
            let _ = stopped.await;
        }));
        (Self { stop, served }, address)
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.served.await.unwrap().unwrap();
    }
}

fn registered() -> kube_webhook::Registered {
    let conversion = Conversion::new(ReservationConversion).annotation_prefix(GROUP);
    let webhooks = Webhooks::new("harbormaster").domain(GROUP);
    webhooks.add_webhook(conversion).build().unwrap()
}

fn definition(target: &Target, storage: &str) -> CustomResourceDefinition {
    let conversion = registered().conversion(GROUP, "reservations", target);
    let mut crd = crd::reservations(conversion).unwrap();
    for version in &mut crd.spec.versions {
        version.storage = version.name == storage;
    }
    crd
}

struct World {
    control_plane: ControlPlane,
}

impl World {
    fn at(&self, version: &str) -> (Api<DynamicObject>, ApiResource) {
        let kind = ApiResource {
            version: version.to_owned(),
            api_version: format!("{GROUP}/{version}"),
            ..ApiResource::erase::<Reservation>(&())
        };
        let client = self.control_plane.client();
        (Api::namespaced_with(client, "default", &kind), kind)
    }

    async fn store_as(&self, target: &Target, storage: &str) {
        let crds: Api<CustomResourceDefinition> = Api::all(self.control_plane.client());
        let apply = PatchParams::apply("test").force();
        let crd = definition(target, storage);
        let name = crd.metadata.name.clone().unwrap();
        crds.patch(&name, &apply, &Patch::Apply(&crd))
            .await
            .unwrap();
        until("the storage version to be noted", async || {
            self.stored()
                .await
                .contains(&storage.to_owned())
                .then_some(())
        })
        .await;
    }

    async fn stored(&self) -> Vec<String> {
        let crds: Api<CustomResourceDefinition> = Api::all(self.control_plane.client());
        let crd = crds.get("reservations.harbormaster.dev").await.unwrap();
        let status = crd.status.unwrap_or_default();
        status.stored_versions.unwrap_or_default()
    }

    async fn make(&self, version: &str, name: &str, spec: &Value) {
        let (api, kind) = self.at(version);
        let mut object = DynamicObject::new(name, &kind);
        object.data = json!({"spec": spec});
        until(&format!("{name} to be made"), async || {
            api.create(&PostParams::default(), &object).await.ok()
        })
        .await;
    }

    async fn spec(&self, version: &str, name: &str) -> Value {
        self.at(version).0.get(name).await.unwrap().data["spec"].clone()
    }
}

fn hub() -> Value {
    json!({
        "requester": {"username": "mario", "groups": ["lab"]},
        "target": {"selector": {"matchLabels": {"rack": "1"}}},
        "window": {"start": "2030-01-02T10:00:00Z"},
        "lifecycle": {"leadTime": "5m", "cleanupTime": "15m"},
        "access": {"authorizedKeys": [{"name": "a", "key": "k1"}, {"key": "k2"}]},
        "parameters": {"nested": {"numbers": [1, 2.5]}},
    })
}

fn alpha() -> Value {
    json!({
        "startTime": "2030-01-02T12:00:00.5+02:00", "bmhName": "srv",
        "customParameters": "not json",
    })
}

#[tokio::test]
async fn the_storage_version_moves_and_an_outage_of_the_conversion_loses_nothing() {
    let _turn = OWN_CONTROL_PLANE.lock().await;
    install_crypto();
    let (identity, ca) = TlsIdentity::ephemeral(&["127.0.0.1".to_owned()]).unwrap();
    let (converter, address) = Converter::start(([127, 0, 0, 1], 0).into(), &identity);
    let target = Target::Url {
        base: format!("https://{address}"),
        ca_bundle: Some(ca),
    };
    let world = World {
        control_plane: ControlPlane::start().await.unwrap(),
    };

    // As an earlier release had it.
    world.store_as(&target, "v1beta1").await;
    world.make("v1", "old-hub", &hub()).await;
    world.make("v1alpha1", "old-alpha", &alpha()).await;
    // The new one: objects of both storage versions beside each other.
    world.store_as(&target, "v1").await;
    world.make("v1", "new-hub", &hub()).await;
    world.make("v1alpha1", "new-alpha", &alpha()).await;
    for version in ["v1", "v1beta1", "v1alpha1"] {
        let listed = world.at(version).0.list(&Default::default()).await.unwrap();
        assert_eq!(listed.items.len(), 4, "{version}");
    }
    assert_eq!(world.stored().await, ["v1beta1", "v1"]);

    // The migration: each object is written once more as it is, then the list is trimmed.
    let (hubs, _) = world.at("v1");
    for name in ["old-hub", "old-alpha", "new-hub", "new-alpha"] {
        let rewritten = until("the new storage version to be written", async || {
            let before = hubs.get(name).await.unwrap();
            let after = hubs.replace(name, &PostParams::default(), &before).await;
            let after = after.unwrap().metadata.resource_version;
            Some(after != before.metadata.resource_version)
        })
        .await;
        // Only what was stored in the old version has changed in etcd.
        assert_eq!(rewritten, name.starts_with("old"), "{name}");
    }
    let crds: Api<CustomResourceDefinition> = Api::all(world.control_plane.client());
    let trimmed = json!({"status": {"storedVersions": ["v1"]}});
    crds.patch_status(
        "reservations.harbormaster.dev",
        &PatchParams::default(),
        &Patch::Merge(&trimmed),
    )
    .await
    .unwrap();
    assert_eq!(world.stored().await, ["v1"]);
    for age in ["old", "new"] {
        assert_eq!(world.spec("v1", &format!("{age}-hub")).await, hub());
        assert_eq!(
            world.spec("v1alpha1", &format!("{age}-alpha")).await,
            alpha()
        );
    }

    // The outage: what is asked for in its own version is served, the rest fails and says why.
    converter.stop().await;
    assert_eq!(world.spec("v1", "new-hub").await, hub());
    let (alphas, _) = world.at("v1alpha1");
    let change = json!({"spec": {"email": "m@example.com"}});
    let patched = alphas
        .patch("new-hub", &PatchParams::default(), &Patch::Merge(&change))
        .await;
    let refusal = patched.unwrap_err().to_string();
    for told in [
        "conversion webhook for harbormaster.dev/v1",
        "connection refused",
    ] {
        assert!(refusal.contains(told), "{refusal}");
    }
    let (converter, _) = Converter::start(address, &identity);
    until("the conversion to be back", async || {
        alphas.get("new-alpha").await.ok()
    })
    .await;
    for age in ["old", "new"] {
        assert_eq!(world.spec("v1", &format!("{age}-hub")).await, hub());
        assert_eq!(
            world.spec("v1alpha1", &format!("{age}-alpha")).await,
            alpha()
        );
    }
    converter.stop().await;
    world.control_plane.stop().await.unwrap();
}
