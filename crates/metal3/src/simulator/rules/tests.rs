//! The rules, driven by a clock of the test's own.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

use super::*;
use crate::{Bmc, CustomDeploy, Image, SecretReference};

#[test]
fn a_new_host_becomes_available_by_way_of_every_phase() {
    let mut lab = Lab::new("rack1-u07");
    let states = lab.run_until(BareMetalHost::is_available);
    assert_eq!(
        states,
        [
            ProvisioningState::Registering,
            ProvisioningState::Inspecting,
            ProvisioningState::Preparing,
            ProvisioningState::Available,
        ]
    );
    assert_eq!(
        lab.host.metadata.finalizers,
        Some(vec![names::FINALIZER.to_owned()])
    );
    let status = lab.status();
    assert_eq!(status.operational_status.as_deref(), Some("OK"));
    assert_eq!(status.powered_on, Some(false));
    assert_eq!(status.provisioning.id.as_deref(), Some("rack1-u07"));
}

#[test]
fn each_phase_takes_its_time() {
    let mut lab = Lab::new("rack1-u07");
    let begin = lab.now;
    lab.run_until(BareMetalHost::is_available);
    let timings = Timings::realistic();
    let least = timings.registering + timings.inspecting + timings.preparing;
    let took = Duration::try_from(lab.now.duration_since(begin)).unwrap();
    assert!(took >= least && took <= least + 6 * TICK, "took {took:?}");
}

#[test]
fn an_image_is_in_the_status_only_when_it_is_written() {
    let mut lab = Lab::available();
    lab.want("https://images.example/a.raw");
    lab.run_until(|host| *host.state() == ProvisioningState::Provisioning);
    assert_eq!(lab.host.deployed_image_url(), None);
    let begun = lab.host.last_provision().unwrap().clone();
    assert!(begun.start.is_some() && begun.end.is_none());

    lab.run_until(|host| *host.state() == ProvisioningState::Provisioned);
    assert_eq!(lab.status().provisioning.image, lab.host.spec.image);
    let ended = lab.host.last_provision().unwrap();
    assert_eq!(ended.start, begun.start);
    assert_eq!(ended.end, Some(Time(lab.now)));

    // Seen by whoever watches closely: provisioned comes first, the power with the next look.
    assert_eq!(lab.status().powered_on, Some(false));
    lab.run_until(|host| host.status().powered_on == Some(true));
}

#[test]
fn an_image_waits_while_the_host_is_to_be_off() {
    let mut lab = Lab::available();
    lab.want("https://images.example/a.raw");
    lab.host.spec.online = Some(false);
    lab.assert_rests();
    lab.host.spec.online = None;
    lab.assert_rests();
}

#[test]
fn the_same_url_again_is_nothing_whatever_else_changes() {
    let mut lab = Lab::provisioned("https://images.example/a.raw");
    let image = lab.host.spec.image.as_mut().unwrap();
    image.checksum = Some("0123".to_owned());
    image.format = Some("raw".to_owned());
    lab.host.spec.user_data = Some(SecretReference::named("next-tenant"));
    lab.host.spec.network_data = Some(SecretReference::named("next-tenant"));
    lab.assert_rests();
}

#[test]
fn an_image_that_was_cleared_and_set_again_unseen_is_nothing() {
    let mut lab = Lab::provisioned("https://images.example/a.raw");
    lab.host.spec.image = None;
    lab.want("https://images.example/a.raw");
    lab.assert_rests();
}

#[test]
fn a_cleared_image_wipes_the_host() {
    for image in [None, Some(Image::default())] {
        let mut lab = Lab::provisioned("https://images.example/a.raw");
        lab.host.spec.image = image;
        lab.host.spec.online = Some(false);
        lab.run_until(|host| *host.state() == ProvisioningState::Deprovisioning);
        let begun = lab.host.last_deprovision().unwrap().clone();
        assert!(begun.start.is_some() && begun.end.is_none());
        assert!(lab.host.deployed_image_url().is_some());

        lab.run_until(BareMetalHost::is_available);
        assert!(lab.host.last_deprovision().unwrap().end.is_some());
        lab.run_until(|host| host.status.as_ref().unwrap().powered_on == Some(false));
        lab.assert_rests();
    }
}

#[test]
fn another_url_wipes_the_host_and_writes_the_new_image() {
    let mut lab = Lab::provisioned("https://images.example/a.raw");
    lab.want("https://images.example/b.raw");
    let states = lab.run_until(|host| host.deployed_image_url() == host.wanted_image_url());
    assert_eq!(
        states,
        [
            ProvisioningState::Deprovisioning,
            ProvisioningState::Available,
            ProvisioningState::Provisioning,
            ProvisioningState::Provisioned,
        ]
    );
}

#[test]
fn an_image_cleared_while_it_is_written_is_wiped() {
    let mut lab = Lab::available();
    lab.want("https://images.example/a.raw");
    lab.run_until(|host| *host.state() == ProvisioningState::Provisioning);
    lab.host.spec.image = None;
    lab.run_until(|host| *host.state() == ProvisioningState::Deprovisioning);
    lab.run_until(BareMetalHost::is_available);
}

#[test]
fn a_deploy_procedure_is_as_good_as_an_image() {
    let mut lab = Lab::available();
    lab.host.spec.online = Some(true);
    let custom_deploy = Some(CustomDeploy {
        method: "install_coreos".to_owned(),
        ..CustomDeploy::default()
    });
    lab.host.spec.custom_deploy = custom_deploy.clone();
    lab.run_until(|host| host.status().powered_on == Some(true));
    assert_eq!(lab.status().provisioning.custom_deploy, custom_deploy);
    lab.assert_rests();

    lab.host.spec.custom_deploy = None;
    lab.run_until(|host| *host.state() == ProvisioningState::Deprovisioning);
    lab.run_until(|host| *host.state() == ProvisioningState::Available);
    assert_eq!(lab.status().provisioning.custom_deploy, None);
}

#[test]
fn an_externally_provisioned_host_is_only_switched() {
    let mut lab = Lab::new("rack1-u07");
    lab.host.spec.externally_provisioned = Some(true);
    lab.want("https://images.example/a.raw");
    let states = lab.run_until(|host| host.status().powered_on == Some(true));
    let expected = [
        ProvisioningState::Registering,
        ProvisioningState::ExternallyProvisioned,
    ];
    assert_eq!(states, expected);
    assert_eq!(lab.host.deployed_image_url(), None);
    lab.host.spec.image = None;
    lab.assert_rests();
}

#[test]
fn power_follows_the_spec_unless_it_may_not_go_off() {
    let mut lab = Lab::available();
    for online in [true, false, true] {
        lab.host.spec.online = Some(online);
        lab.run_until(|host| host.status().powered_on == Some(online));
        lab.assert_rests();
    }
    lab.host.spec.disable_power_off = Some(true);
    lab.host.spec.online = Some(false);
    lab.assert_rests();
}

#[test]
fn a_paused_host_is_not_looked_at_even_if_it_is_deleted() {
    let mut lab = Lab::provisioned("https://images.example/a.raw");
    lab.annotate(names::PAUSED, "");
    lab.host.spec.image = None;
    lab.delete();
    lab.assert_rests();
    lab.host.metadata.annotations = None;
    lab.run_until_gone();
}

#[test]
fn a_detached_host_is_let_alone_until_it_is_attached_again() {
    let mut lab = Lab::provisioned("https://images.example/a.raw");
    lab.annotate(names::DETACHED, "");
    lab.host.spec.image = None;
    lab.run_until(|host| host.status().operational_status.as_deref() == Some("detached"));
    lab.assert_rests();
    lab.host.metadata.annotations = None;
    lab.run_until(|host| host.status().operational_status.as_deref() == Some("OK"));
    lab.run_until(BareMetalHost::is_available);
}

#[test]
fn a_detached_host_is_deleted_with_its_disk_as_it_is() {
    let mut lab = Lab::provisioned("https://images.example/a.raw");
    lab.annotate(names::DETACHED, r#"{"deleteAction": "delay"}"#);
    lab.run_until(|host| host.status().operational_status.as_deref() == Some("detached"));
    lab.delete();
    lab.assert_rests();
    lab.annotate(names::DETACHED, r#"{"deleteAction": "delete"}"#);
    assert_eq!(lab.run_until_gone(), [ProvisioningState::Deleting]);
}

#[test]
fn a_host_in_mid_operation_is_detached_only_by_force() {
    let mut lab = Lab::new("rack1-u07");
    lab.run_until(|host| *host.state() == ProvisioningState::Inspecting);
    lab.annotate(names::DETACHED, "true");
    lab.run_until(|host| *host.state() == ProvisioningState::Preparing);
    lab.annotate(names::DETACHED, r#"{"force": true}"#);
    lab.run_until(|host| host.status().operational_status.as_deref() == Some("detached"));
    assert_eq!(*lab.host.state(), ProvisioningState::Preparing);
}

#[test]
fn a_deleted_host_is_wiped_and_off_before_it_goes() {
    let mut lab = Lab::provisioned("https://images.example/a.raw");
    lab.delete();
    let states = lab.run_until_gone();
    assert_eq!(
        states,
        [
            ProvisioningState::Deprovisioning,
            ProvisioningState::PoweringOffBeforeDelete,
            ProvisioningState::Deleting,
        ]
    );
    assert_eq!(lab.status().powered_on, Some(false));
    assert_eq!(lab.host.deployed_image_url(), None);
    lab.assert_rests();
}

#[test]
fn a_host_deleted_before_it_was_registered_just_goes() {
    let mut lab = Lab::new("rack1-u07");
    lab.run_until(|host| *host.state() == ProvisioningState::Registering);
    lab.delete();
    assert_eq!(lab.run_until_gone(), [ProvisioningState::Deleting]);

    let mut unseen = Lab::new("rack1-u08");
    unseen.delete();
    unseen.assert_rests();
}

#[test]
fn a_host_without_a_bmc_is_unmanaged_until_it_has_one() {
    let mut lab = Lab::new("rack1-u07");
    let bmc = lab.host.spec.bmc.take();
    lab.run_until(|host| *host.state() == ProvisioningState::Unmanaged);
    let status = lab.status();
    assert_eq!(status.operational_status.as_deref(), Some("discovered"));
    lab.assert_rests();
    lab.host.spec.bmc = bmc;
    lab.run_until(BareMetalHost::is_available);
}

#[test]
fn missing_user_data_fails_the_host_until_it_is_there() {
    let mut lab = Lab::available();
    lab.want("https://images.example/a.raw");
    lab.user_data_missing = true;
    lab.run_until(BareMetalHost::has_error);
    let status = lab.status();
    assert_eq!(status.error_type.as_deref(), Some("provisioning error"));
    assert_eq!(*lab.host.state(), ProvisioningState::Provisioning);

    lab.user_data_missing = false;
    let states = lab.run_until(|host| *host.state() == ProvisioningState::Provisioned);
    let expected = [
        ProvisioningState::Deprovisioning,
        ProvisioningState::Available,
        ProvisioningState::Provisioning,
        ProvisioningState::Provisioned,
    ];
    assert_eq!(states, expected);
    assert!(!lab.host.has_error());
    assert_eq!(lab.status().error_count, Some(0));
}

#[test]
fn the_hosts_of_the_demo_get_stuck_where_their_names_say() {
    let stuck = [
        ("demo-registering", ProvisioningState::Registering),
        ("demo-inspecting", ProvisioningState::Inspecting),
        ("demo-preparing", ProvisioningState::Preparing),
        ("demo-provisioning", ProvisioningState::Provisioning),
    ];
    for (name, state) in stuck {
        let mut lab = Lab::new(name);
        lab.want("https://images.example/a.raw");
        lab.run_until(|host| *host.state() == state);
        lab.assert_rests();
    }
}

#[test]
fn the_hosts_of_the_demo_fail_again_and_again_where_their_names_say() {
    let failing = [
        (
            "demo-registration-error",
            ProvisioningState::Registering,
            "registration error",
        ),
        (
            "demo-preparing-error",
            ProvisioningState::Preparing,
            "preparation error",
        ),
        (
            "demo-validation-error",
            ProvisioningState::Provisioning,
            "provisioning error",
        ),
    ];
    for (name, state, error_type) in failing {
        let mut lab = Lab::new(name);
        lab.want("https://images.example/a.raw");
        for _ in 0..3 {
            lab.run_until(|host| host.has_error() && *host.state() == state);
            assert_eq!(lab.status().error_type.as_deref(), Some(error_type));
            let before = lab.status();
            lab.run_until(|host| host.status() != before);
        }
    }
}

#[test]
fn the_conditions_say_which_generation_was_seen_even_if_there_was_nothing_to_do() {
    let mut lab = Lab::provisioned("https://images.example/a.raw");
    for generation in 1..4 {
        lab.host.metadata.generation = Some(generation);
        assert!(matches!(lab.step(), Step::Write(_)));
        lab.run_until(|host| host.observed_generation() == Some(generation));
        lab.assert_rests();
    }
    lab.annotate(names::PAUSED, "");
    lab.host.metadata.generation = Some(9);
    lab.assert_rests();
}

#[test]
fn a_state_of_a_newer_operator_is_let_alone() {
    let mut lab = Lab::available();
    lab.host.status.as_mut().unwrap().provisioning.state = "rebuilding".into();
    lab.assert_rests();
}

#[test]
fn fields_of_the_status_that_are_not_ours_stay() {
    let mut lab = Lab::available();
    let status = lab.host.status.as_mut().unwrap();
    status
        .other
        .insert("hardware".to_owned(), json!({"ramMebibytes": 131_072}));
    status
        .provisioning
        .other
        .insert("bootMode".to_owned(), json!("UEFI"));
    lab.want("https://images.example/a.raw");
    lab.run_until(|host| *host.state() == ProvisioningState::Provisioned);
    assert_eq!(lab.status().other["hardware"]["ramMebibytes"], 131_072);
    assert_eq!(lab.status().provisioning.other["bootMode"], "UEFI");
}

/// A host, the rules and a clock.
struct Lab {
    host: BareMetalHost,
    now: Timestamp,
    situation: Option<Situation>,
    user_data_missing: bool,
}

impl Lab {
    fn new(name: &str) -> Self {
        let mut host = BareMetalHost::new(name, &BareMetalHost::resource());
        host.spec.online = Some(false);
        host.spec.bmc = Some(Bmc {
            address: Some("redfish://192.0.2.7/redfish/v1/Systems/1".to_owned()),
            credentials_name: Some("bmc".to_owned()),
            ..Bmc::default()
        });
        Self {
            host,
            now: "2030-01-01T00:00:00Z".parse().unwrap(),
            situation: None,
            user_data_missing: false,
        }
    }

    fn available() -> Self {
        let mut lab = Self::new("rack1-u07");
        lab.run_until(BareMetalHost::is_available);
        lab
    }

    fn provisioned(url: &str) -> Self {
        let mut lab = Self::available();
        lab.want(url);
        lab.run_until(|host| host.status().powered_on == Some(true));
        lab
    }

    fn want(&mut self, url: &str) {
        let url = url.to_owned();
        self.host.spec.image = Some(Image {
            url,
            ..Image::default()
        });
        self.host.spec.online = Some(true);
    }

    fn annotate(&mut self, key: &str, value: &str) {
        let annotations = self.host.metadata.annotations.get_or_insert_default();
        annotations.insert(key.to_owned(), value.to_owned());
    }

    fn delete(&mut self) {
        self.host.metadata.deletion_timestamp = Some(Time(self.now));
    }

    /// Steps until the condition holds; the states that were entered on the way.
    fn run_until(&mut self, condition: impl Fn(&BareMetalHost) -> bool) -> Vec<ProvisioningState> {
        let mut states = Vec::new();
        for _ in 0..10_000 {
            if condition(&self.host) {
                return states;
            }
            let before = self.host.state().clone();
            self.step().apply(&mut self.host);
            if *self.host.state() != before {
                states.push(self.host.state().clone());
            }
        }
        panic!("not reached; states {states:?}, host {:?}", self.host);
    }

    fn run_until_gone(&mut self) -> Vec<ProvisioningState> {
        self.run_until(|host| !has_finalizer(host))
    }

    fn assert_rests(&mut self) {
        for _ in 0..3 {
            assert_eq!(self.step(), Step::Idle);
        }
    }

    fn step(&mut self) -> Step {
        self.now += SignedDuration::try_from(TICK).unwrap();
        let situation = match self.situation.take() {
            Some(situation) => situation.again(&self.host, self.now),
            None => Situation::first(&self.host, self.now),
        };
        let situation = situation.with_user_data_missing(self.user_data_missing);
        self.situation = Some(situation.clone());
        next(&self.host, &situation, &Timings::realistic())
    }

    fn status(&self) -> BareMetalHostStatus {
        self.host.status()
    }
}

trait Seen {
    fn status(&self) -> BareMetalHostStatus;
}

impl Seen for BareMetalHost {
    fn status(&self) -> BareMetalHostStatus {
        self.status.clone().unwrap_or_default()
    }
}

const TICK: Duration = Duration::from_secs(10);
