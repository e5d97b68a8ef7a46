//! The simulator against a real API server, under this crate's own definition.

use std::time::Duration;

use control_plane::ControlPlane;
use kube::discovery::ApiResource;
use metal3::simulator::{Error, Simulator, Timings};
use metal3::{BareMetalHost, ProvisioningState, SecretReference, names};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::lab::{Lab, install};
use crate::script::{self, annotate, image, is, operational, power};

#[tokio::test(flavor = "multi_thread")]
async fn a_host_lives_its_life_under_our_own_definition() {
    let lab = Lab::shared().await;
    let simulator = Running::start(&lab, |simulator| simulator.timings(Timings::instant()));
    let rests = script::life(&lab).await;
    assert_eq!(rests.len(), 8);
    script::odd_ones(&lab).await;
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_were_there_before_are_taken_up_where_they_stand() {
    let lab = Lab::shared().await;
    lab.add("rack1-u07", |host| {
        host.spec.online = Some(true);
        host.spec.image = serde_json::from_value(image("a")).ok();
    })
    .await;
    for state in [
        ProvisioningState::Registering,
        ProvisioningState::Preparing,
        ProvisioningState::Provisioning,
    ] {
        let simulator = Running::start(&lab, |simulator| simulator);
        lab.wait("rack1-u07", |host| *host.state() >= state).await;
        simulator.stop().await;
    }
    let simulator = Running::start(&lab, |simulator| simulator);
    lab.wait("rack1-u07", |host| power(host) == Some(true))
        .await;
    lab.delete("rack1-u07").await;
    lab.wait("rack1-u07", |host| {
        is(host, &ProvisioningState::Deprovisioning)
    })
    .await;
    simulator.stop().await;

    let simulator = Running::start(&lab, |simulator| simulator);
    lab.wait_until_gone("rack1-u07").await;
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_hosts_are_served_while_others_write_to_them() {
    let lab = Lab::shared().await;
    let simulator = Running::start(&lab, |simulator| simulator);
    let names: Vec<_> = (0..12).map(|number| format!("host-{number}")).collect();
    for name in &names {
        lab.add(name, |host| {
            host.spec.online = Some(true);
            host.spec.image = serde_json::from_value(image("a")).ok();
        })
        .await;
    }
    for round in 0..10 {
        for name in &names {
            let value = Value::String(round.to_string());
            lab.patch(name, annotate("example.com/round", value)).await;
        }
    }
    for name in &names {
        let host = lab.settle(name, |host| power(host) == Some(true)).await;
        assert!(is(&host, &ProvisioningState::Provisioned));
        assert_eq!(host.annotation("example.com/round"), Some("9"));
    }
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_host_is_not_written_to() {
    let lab = Lab::shared().await;
    let simulator = Running::start(&lab, |simulator| simulator.timings(Timings::instant()));
    lab.add("paused", |_| {}).await;
    lab.settle("paused", BareMetalHost::is_available).await;
    lab.patch("paused", annotate(names::PAUSED, json!("")))
        .await;
    let image = image("a");
    let before = lab
        .patch("paused", json!({"spec": {"online": true, "image": image}}))
        .await;

    // Another host's whole life tells that the simulator had its time.
    lab.add("other", |_| {}).await;
    lab.settle("other", BareMetalHost::is_available).await;
    assert_eq!(lab.get("paused").await, before);

    lab.patch("paused", annotate(names::PAUSED, Value::Null))
        .await;
    lab.settle("paused", |host| power(host) == Some(true)).await;
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_data_that_was_read_is_marked() {
    let lab = Lab::shared().await;
    let simulator = Running::start(&lab, |simulator| simulator);
    lab.add_secret("tenant", &json!({"userData": "#cloud-config"}))
        .await;
    for (name, secret) in [("with", "tenant"), ("without", "missing")] {
        lab.add(name, |host| {
            host.spec.online = Some(true);
            host.spec.image = serde_json::from_value(image("a")).ok();
            host.spec.user_data = Some(SecretReference::named(secret));
        })
        .await;
        lab.wait(name, |host| is(host, &ProvisioningState::Provisioned))
            .await;
    }
    let secret = lab.secrets().get("tenant").await.unwrap();
    let labels = secret.metadata.labels.unwrap();
    assert_eq!(labels[names::ENVIRONMENT], names::ENVIRONMENT_BAREMETAL);
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_whose_user_data_is_missing_can_be_made_to_fail() {
    let lab = Lab::shared().await;
    let simulator = Running::start(&lab, |simulator| simulator.require_user_data(true));
    lab.add("rack1-u07", |host| {
        host.spec.online = Some(true);
        host.spec.image = serde_json::from_value(image("a")).ok();
        host.spec.user_data = Some(SecretReference::named("tenant"));
    })
    .await;
    let host = lab.wait("rack1-u07", BareMetalHost::has_error).await;
    let error_type = host.status.unwrap().error_type;
    assert_eq!(error_type.as_deref(), Some("provisioning error"));

    lab.add_secret("tenant", &json!({"userData": "#cloud-config"}))
        .await;
    let host = lab
        .settle("rack1-u07", |host| power(host) == Some(true))
        .await;
    assert_eq!(operational(&host), Some("OK"));
    simulator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_may_be_served_under_another_group() {
    let client = ControlPlane::shared().await.client();
    let resource = ApiResource {
        group: "hosts.example".to_owned(),
        version: "v1alpha1".to_owned(),
        api_version: "hosts.example/v1alpha1".to_owned(),
        kind: "BareMetalHost".to_owned(),
        plural: "metalhosts".to_owned(),
    };
    let mut definition = metal3::crd();
    definition.metadata.name = Some("metalhosts.hosts.example".to_owned());
    definition.spec.group.clone_from(&resource.group);
    definition.spec.names.plural.clone_from(&resource.plural);
    definition.spec.names.short_names = None;
    install(&client, &definition).await;

    let lab = Lab::new(client, &resource).await;
    let simulator = Running::start(&lab, |simulator| simulator.resource(resource));
    lab.add("rack1-u07", |_| {}).await;
    let host = lab.settle("rack1-u07", BareMetalHost::is_available).await;
    assert_eq!(host.api_version.as_deref(), Some("hosts.example/v1alpha1"));
    simulator.stop().await;
}

#[tokio::test]
async fn a_kind_that_is_not_served_is_told_apart_from_one_that_is_not_allowed() {
    let control_plane = ControlPlane::shared().await;
    let lab = Lab::shared().await;
    let mut resource = BareMetalHost::resource();
    resource.plural = "nosuchhosts".to_owned();
    let simulator = Simulator::new(lab.client.clone(), &lab.namespace).resource(resource);
    let error = refusal(simulator).await;
    assert!(matches!(error, Error::NotServed { .. }), "{error:?}");

    let nobody = control_plane.client_as("nobody", &[]).unwrap();
    let simulator = Simulator::new(nobody, &lab.namespace);
    let error = refusal(simulator).await;
    assert!(matches!(error, Error::Forbidden { .. }), "{error:?}");
}

async fn refusal(simulator: Simulator) -> Error {
    let run = simulator.run(std::future::pending());
    let ended = timeout(Duration::from_secs(20), run).await;
    ended.expect("the simulator refuses at once").unwrap_err()
}

/// A simulator in a task of its own.
pub(crate) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), Error>>,
}

impl Running {
    pub(crate) fn start(lab: &Lab, with: impl FnOnce(Simulator) -> Simulator) -> Self {
        let simulator = with(Simulator::new(lab.client.clone(), &lab.namespace));
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(simulator.run(async {
            let _ = stopped.await;
        }));
        Self { stop, task }
    }

    pub(crate) async fn stop(self) {
        drop(self.stop);
        self.task.await.unwrap().unwrap();
    }
}
