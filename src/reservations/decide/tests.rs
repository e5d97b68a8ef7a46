//! The decisions, driven through whole lives: a world of one host, whose operator acts only
//! when it is told to.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use metal3::BareMetalHost;
use serde_json::{Value, json};

use super::*;
use crate::{
    api::v1::{DesiredState, Phase},
    reservations::lookup,
};

use world::World;

const START: &str = "2026-01-01T10:00:00Z";
const IMAGE: &str = "http://images/noble.qcow2";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_booking_claims_then_images_then_is_ready() {
    let mut world = World::booked();
    let actions = world.settle();
    assert!(
        matches!(&actions[..], [Action::Claim, Action::Provision(Deployment::Image(image))] if image.url == IMAGE)
    );
    assert_eq!(world.phase(), Some(Phase::Provisioning));
    world.operator_provisions("2026-01-01T10:01:00Z");
    assert_eq!(world.settle(), []);
    assert_eq!(world.ready(), ("True".to_owned(), "Active".to_owned()));
}

#[test]
fn dropped_keys_are_told_of_until_a_sound_one_comes_and_never_shown() {
    let mut world = World::booked();
    world.settle();
    let keys = |world: &World| {
        let status = world.reservation.status.clone().unwrap();
        let told = status
            .conditions
            .into_iter()
            .find(|it| it.type_ == "KeysAccepted")?;
        Some((told.status, told.reason, told.message))
    };
    assert_eq!(keys(&world), None);
    let annotation = crate::api::REJECTED_KEYS_ANNOTATION.to_owned();
    world
        .reservation
        .annotations_mut()
        .insert(annotation.clone(), "2".to_owned());
    world.pass();
    let (status, reason, message) = keys(&world).unwrap();
    assert_eq!((&*status, &*reason), ("False", "KeyRejected"));
    assert!(message.starts_with("2 of the lines"), "{message}");
    world.reservation.annotations_mut().remove(&annotation);
    world.pass();
    assert_eq!(keys(&world).unwrap().0, "True");
}

#[test]
fn the_claim_is_on_record_before_the_disk_is_touched() {
    let mut world = World::booked();
    while world.pass() != Action::Claim {}
    assert_eq!(world.pass(), Action::Wait);
    let status = world.reservation.status.clone().unwrap();
    assert!(status.claim_time.is_some());
    assert_eq!(status.host_ref.unwrap().uid, "uid-srv");
    assert!(matches!(world.pass(), Action::Provision(_)));
}

#[test]
fn an_end_clears_waits_for_evidence_and_only_then_frees() {
    let mut world = World::active();
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), [Action::Clear]);
    assert_eq!(world.held_by().as_deref(), Some("portal-101"));
    world.operator_cleans("2026-01-01T11:00:00Z");
    assert_eq!(world.settle(), [Action::Free { image: None }]);
    assert_eq!(world.phase(), Some(Phase::Released));
    assert_eq!(world.held_by(), None);
}

#[test]
fn an_available_that_the_operator_has_not_looked_at_is_no_evidence() {
    let mut world = World::booked();
    world.settle();
    // The image was set, and the operator never looked: it is still `available`.
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), [Action::Clear]);
    assert_eq!(world.phase(), Some(Phase::Releasing));
    world.pass_time(149);
    assert_eq!(world.settle(), []);
    world.pass_time(1);
    assert_eq!(world.settle(), [Action::Free { image: None }]);
}

#[test]
fn a_paused_host_stays_held_however_long_it_takes() {
    let mut world = World::active();
    world.want(DesiredState::Released);
    world.settle();
    world.operator_cleans(START);
    world.host["status"]["operationHistory"]["deprovision"] = Value::Null;
    world.host["status"]["poweredOn"] = json!(true);
    world.host["metadata"]["annotations"] = json!({"baremetalhost.metal3.io/paused": ""});
    world.pass_time(86_400);
    assert_eq!(world.settle(), []);
    assert_eq!(world.held_by().as_deref(), Some("portal-101"));
}

#[test]
fn the_previous_tenants_provisioned_is_not_ours() {
    let mut world = World::booked();
    // The same image, left from before, and already seen as deployed.
    world.host["status"]["operationHistory"]["provision"] =
        json!({"start": "2025-12-31T00:00:00Z", "end": "2025-12-31T00:10:00Z"});
    world.settle();
    world.operator_provisions("2025-12-31T00:10:00Z");
    world.settle();
    assert_eq!(world.phase(), Some(Phase::Provisioning));
    world.operator_provisions("2026-01-01T10:05:00Z");
    world.settle();
    assert_eq!(world.phase(), Some(Phase::Active));
}

#[test]
fn an_operator_that_says_what_it_has_seen_settles_what_stamps_cannot() {
    let seen = |world: &mut World, generation: i64| {
        world.host["metadata"]["generation"] = json!(7);
        world.host["status"]["conditions"] = json!([
            {"type": "Provisioned", "status": "True", "observedGeneration": generation},
        ]);
    };
    // Two provisionings within one second bear the same stamp.
    let mut world = World::booked();
    world.host["status"]["operationHistory"]["provision"] = json!({"start": START, "end": START});
    world.settle();
    world.operator_provisions(START);
    seen(&mut world, 6);
    world.settle();
    assert_eq!(world.phase(), Some(Phase::Provisioning));
    seen(&mut world, 7);
    world.settle();
    assert_eq!(world.phase(), Some(Phase::Active));
    // An image that was taken off before the operator looked leaves no trace in the history.
    let mut world = World::booked();
    world.settle();
    world.want(DesiredState::Released);
    seen(&mut world, 6);
    assert_eq!(world.settle(), [Action::Clear]);
    seen(&mut world, 7);
    assert_eq!(world.settle(), [Action::Free { image: None }]);
}

#[test]
fn a_late_end_never_touches_the_next_tenant() {
    let mut world = World::active();
    world.host["spec"]["consumerRef"]["uid"] = json!("uid-102");
    world.host["spec"]["consumerRef"]["name"] = json!("portal-102");
    let before = world.host.clone();
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), []);
    assert_eq!(world.phase(), Some(Phase::Released));
    assert_eq!(world.host, before);
}

#[test]
fn a_host_that_others_hold_is_waited_for() {
    for (consumer, reason) in [
        (
            json!({"apiVersion": "harbormaster.dev/v1", "kind": "Reservation", "name": "a", "uid": "x"}),
            "HostBusy",
        ),
        (
            json!({"apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1", "kind": "Metal3Machine", "name": "m"}),
            "ClaimedByOther",
        ),
    ] {
        let mut world = World::booked();
        world.host["spec"]["consumerRef"] = consumer;
        assert_eq!(world.settle(), []);
        assert_eq!(world.ready().1, reason);
        world.host["spec"]
            .as_object_mut()
            .unwrap()
            .remove("consumerRef");
        assert_eq!(world.settle()[0], Action::Claim);
    }
}

#[test]
fn a_claimed_host_that_is_still_being_cleaned_is_not_imaged() {
    let mut world = World::booked();
    world.host["status"]["provisioning"]["state"] = json!("deprovisioning");
    assert_eq!(world.settle(), [Action::Claim]);
    world.host["status"]["provisioning"]["state"] = json!("available");
    assert!(matches!(world.settle()[..], [Action::Provision(_)]));
}

#[test]
fn hosts_that_would_not_be_wiped_are_never_lent() {
    let mut paused = World::booked();
    paused.host["metadata"]["annotations"] = json!({"baremetalhost.metal3.io/paused": ""});
    let mut detached = World::booked();
    detached.host["metadata"]["annotations"] = json!({"baremetalhost.metal3.io/detached": "{}"});
    let mut external = World::booked();
    external.host["spec"]["externallyProvisioned"] = json!(true);
    let mut dirty = World::booked();
    dirty.host["spec"]["automatedCleaningMode"] = json!("disabled");
    let mut occupied = World::booked();
    occupied.host["spec"]["image"] = json!({"url": "http://by-hand"});
    for (mut world, reason) in [
        (paused, "HostPaused"),
        (detached, "HostNotReservable"),
        (external, "HostNotReservable"),
        (dirty, "HostNotReservable"),
        (occupied, "HostBusy"),
    ] {
        assert_eq!(world.settle(), [], "{reason}");
        assert_eq!(world.ready().1, reason);
    }
}

#[test]
fn an_early_start_waits_for_the_five_minutes_before_its_time() {
    let mut world = World::booked();
    world.now = at("2026-01-01T09:54:59Z");
    assert_eq!(world.settle(), []);
    assert_eq!(world.look().wake, Some(at("2026-01-01T09:55:00Z")));
    world.pass_time(1);
    assert_eq!(world.settle()[0], Action::Claim);
}

#[test]
fn a_start_that_never_came_is_made_up_for_by_the_clock() {
    let mut world = World::booked();
    world.want(DesiredState::Scheduled);
    world.now = at("2026-01-01T09:59:59Z");
    assert_eq!(world.settle(), []);
    world.pass_time(1);
    assert_eq!(world.settle()[0], Action::Claim);
    // Without a key, one that is on its way is given two minutes.
    let mut keyless = World::booked();
    keyless.want(DesiredState::Scheduled);
    keyless.reservation.spec.access = None;
    assert_eq!(keyless.settle(), []);
    keyless.pass_time(120);
    keyless.settle();
    keyless.operator_provisions("2026-01-01T10:05:00Z");
    keyless.settle();
    assert_eq!(keyless.ready().1, "NoAuthorizedKey");
}

#[test]
fn an_end_that_never_came_is_made_up_for_after_the_grace() {
    let mut world = World::active();
    world.now = at("2026-01-01T12:09:59Z");
    assert_eq!(world.settle(), []);
    assert_eq!(world.look().wake, Some(at("2026-01-01T12:10:00Z")));
    world.pass_time(1);
    assert_eq!(world.settle(), [Action::Clear]);
}

#[test]
fn what_is_made_by_hand_ends_when_it_says() {
    let mut world = World::active();
    world.reservation.spec.source = None;
    world.now = at("2026-01-01T12:00:00Z");
    assert_eq!(world.settle(), [Action::Clear]);
}

#[test]
fn a_provisioning_that_takes_too_long_fails_and_gives_the_host_back() {
    let mut world = World::booked();
    world.settle();
    world.host["status"]["provisioning"]["state"] = json!("provisioning");
    world.pass_time(2700);
    assert_eq!(world.settle(), [Action::Clear]);
    world.operator_cleans("2026-01-01T11:00:00Z");
    world.settle();
    assert_eq!(world.phase(), Some(Phase::Failed));
    assert_eq!(world.ready().1, "DeadlineExceeded");
    assert_eq!(world.held_by(), None);
}

#[test]
fn a_host_that_is_made_anew_while_held_is_not_touched() {
    let mut world = World::active();
    world.host["metadata"]["uid"] = json!("another");
    let before = world.host.clone();
    assert_eq!(world.settle(), []);
    assert_eq!(world.phase(), Some(Phase::Failed));
    assert_eq!(world.host, before);
}

#[test]
fn an_image_changed_by_others_is_left_alone() {
    let mut world = World::active();
    world.host["spec"]["image"] = json!({"url": "http://rescue"});
    assert_eq!(world.settle(), []);
    assert_eq!(world.ready().1, "ImageChanged");
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), [Action::Clear]);
}

#[test]
fn a_deleted_reservation_gives_its_host_back_before_it_goes() {
    let mut world = World::active();
    world.reservation.metadata.deletion_timestamp = Some(
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now),
    );
    assert_eq!(world.settle(), [Action::Clear]);
    world.operator_cleans("2026-01-01T11:00:00Z");
    assert_eq!(world.pass(), Action::Free { image: None });
    world.pass();
    world.pass();
    assert_eq!(world.look().action, Action::Forget);
}

#[test]
fn the_record_is_kept_a_week_and_then_deleted() {
    let mut world = World::booked();
    world.want(DesiredState::Released);
    world.settle();
    assert_eq!(world.phase(), Some(Phase::Released));
    // Counted from the window's end, which is later than the release.
    assert_eq!(world.look().wake, Some(at("2026-01-08T12:00:00Z")));
    world.now = at("2026-01-08T12:00:00Z");
    assert_eq!(world.look().action, Action::Delete);
}

#[test]
fn a_free_host_may_carry_the_sites_own_image() {
    let mut world = World::booked();
    world.policy.deprovision_image = Some("http://idle".to_owned());
    world.host["spec"]["image"] = json!({"url": "http://idle"});
    world.operator_provisions("2025-12-31T00:00:00Z");
    assert_eq!(world.settle(), [Action::Claim, Action::Clear]);
    world.operator_cleans("2026-01-01T10:01:00Z");
    assert!(matches!(world.settle()[..], [Action::Provision(_)]));
    world.operator_provisions("2026-01-01T10:02:00Z");
    world.settle();
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), [Action::Clear]);
    world.operator_cleans("2026-01-01T11:00:00Z");
    let freed = world.settle();
    assert_eq!(
        freed,
        [Action::Free {
            image: Some("http://idle".to_owned())
        }]
    );
}

#[test]
fn a_minimal_end_clears_a_host_that_nothing_holds_and_no_other() {
    let mut world = World::ended_without_id();
    world.operator_provisions(START);
    assert_eq!(world.settle(), [Action::Claim, Action::Clear]);
    world.operator_cleans("2026-01-01T10:01:00Z");
    assert_eq!(world.settle(), [Action::Free { image: None }]);
    assert_eq!(world.phase(), Some(Phase::Released));

    let mut held = World::ended_without_id();
    held.host["spec"]["image"] = json!({"url": "http://theirs"});
    held.host["spec"]["consumerRef"] = json!({"kind": "Metal3Machine", "apiVersion": "x/v1"});
    assert_eq!(held.settle(), []);
}

mod booking;
mod deleted_hosts;
mod hazards;
mod host_states;
mod phases;
mod world;
