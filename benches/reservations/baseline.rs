//! The writes without which no reservation could be served, and nothing else: each phase is
//! recorded, the calendar says who has the host, the host is claimed, imaged, cleared and freed,
//! the keys come and go. No reads: whoever writes them knows everything.

use control_plane::ControlPlane;
use futures::{StreamExt, stream};
use harbormaster::api::{calendar::HostCalendar, v1::Reservation};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use metal3::BareMetalHost;
use serde_json::{Value, json};
use xtask::stage::USER;

/// Gives back how many changes of a phase that was. In a namespace of its own, where neither
/// the program nor the operator looks; as the program's user, whom the guards let do it.
pub(crate) async fn run(control_plane: &ControlPlane, reservations: usize) -> usize {
    let client = control_plane.client_as(USER, &["system:masters"]).unwrap();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = json!({"metadata": {"name": NAMESPACE}});
    let namespace = serde_json::from_value(namespace).unwrap();
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let writes = Writes::new(client);
    stream::iter(0..reservations)
        .map(|id| writes.serve(id))
        .buffer_unordered(8)
        .collect::<Vec<()>>()
        .await;
    reservations * PHASES
}

struct Writes {
    reservations: Api<Reservation>,
    calendars: Api<HostCalendar>,
    hosts: Api<BareMetalHost>,
    secrets: Api<Secret>,
}

impl Writes {
    fn new(client: Client) -> Self {
        let resource = BareMetalHost::resource();
        Self {
            reservations: Api::namespaced(client.clone(), NAMESPACE),
            calendars: Api::namespaced(client.clone(), NAMESPACE),
            hosts: Api::namespaced_with(client.clone(), NAMESPACE, &resource),
            secrets: Api::namespaced(client, NAMESPACE),
        }
    }

    async fn serve(&self, id: usize) {
        let name = &format!("booking-{id}");
        let post = PostParams::default();
        let host = json!({
            "apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost",
            "metadata": {"name": name}, "spec": {"online": false},
        });
        let host = serde_json::from_value(host).unwrap();
        self.hosts.create(&post, &host).await.unwrap();
        let reservation = json!({
            "apiVersion": "harbormaster.dev/v1", "kind": "Reservation",
            "metadata": {"name": name},
            "spec": {
                "requester": {"id": "u1"},
                "target": {"hostRef": {"name": name}},
                "window": {"start": "2030-01-02T10:00:00Z", "end": "2030-01-02T11:00:00Z"},
            },
        });
        let reservation: Reservation = serde_json::from_value(reservation).unwrap();
        let made = self.reservations.create(&post, &reservation).await.unwrap();
        let uid = made.uid().unwrap();

        let mut calendar = HostCalendar::default();
        calendar.metadata.name = Some(name.clone());
        let mut calendar = self.calendars.create(&post, &calendar).await.unwrap();
        let booking = json!({"bookings": [{"uid": uid, "name": name}]});
        calendar.status = serde_json::from_value(booking).unwrap();
        let calendar = self.calendars.replace_status(name, &post, &calendar);
        let mut calendar = calendar.await.unwrap();
        self.phase(name, "Pending").await;

        let consumer = json!({
            "apiVersion": Reservation::api_version(&()), "kind": "Reservation",
            "namespace": NAMESPACE, "name": name, "uid": uid,
        });
        self.host(name, json!({"consumerRef": consumer})).await;
        self.phase(name, "Provisioning").await;
        let mut secret = Secret::default();
        secret.metadata.name = Some(format!("{name}-userdata"));
        self.secrets.create(&post, &secret).await.unwrap();
        let image = json!({"url": "http://images.example.com/noble.qcow2", "checksum": "http://x"});
        let user_data = json!({"name": format!("{name}-userdata")});
        self.host(
            name,
            json!({"image": image, "userData": user_data, "online": true}),
        )
        .await;
        self.phase(name, "Active").await;

        self.phase(name, "Releasing").await;
        self.host(
            name,
            json!({"image": null, "userData": null, "online": false}),
        )
        .await;
        let secret = format!("{name}-userdata");
        let params = DeleteParams::default();
        self.secrets.delete(&secret, &params).await.unwrap();
        self.host(name, json!({"consumerRef": null})).await;
        calendar.status = None;
        let emptied = self.calendars.replace_status(name, &post, &calendar);
        emptied.await.unwrap();
        self.phase(name, "Released").await;
    }

    async fn host(&self, name: &str, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        let params = PatchParams::default();
        let patched = self.hosts.patch(name, &params, &patch);
        patched.await.unwrap();
    }

    async fn phase(&self, name: &str, phase: &str) {
        let patch = Patch::Merge(json!({"status": {"phase": phase}}));
        let params = PatchParams::default();
        let patched = self.reservations.patch_status(name, &params, &patch);
        patched.await.unwrap();
    }
}

const NAMESPACE: &str = "baseline";

/// Pending, Provisioning, Active, Releasing, Released.
const PHASES: usize = 5;
