//! What goes wrong between two writes, or while nobody looks.

use super::*;
use crate::api::v1::AuthorizedKey;

#[test]
fn a_slow_operator_is_not_waited_for_in_a_busy_loop() {
    let mut world = World::active();
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), [Action::Clear]);
    world.host["status"]["provisioning"]["state"] = json!("deprovisioning");
    world.pass_time(3600);
    assert_eq!(world.settle(), []);
    assert_eq!(world.phase(), Some(Phase::Releasing));
    assert_eq!(world.look().wake, None);
}

#[test]
fn an_expired_record_that_others_keep_is_not_looked_at_in_a_busy_loop() {
    let mut world = World::booked();
    world.want(DesiredState::Released);
    world.settle();
    let metadata = &mut world.reservation.metadata;
    metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
        world.now,
    ));
    metadata.finalizers = Some(vec!["example.com/audit".to_owned()]);
    world.now = at("2026-02-01T00:00:00Z");
    let decision = world.look();
    assert_eq!((decision.action, decision.wake), (Action::Wait, None));
}

#[test]
fn a_host_is_pinned_before_it_is_claimed_so_that_a_moved_label_leaves_none_behind() {
    let mut world = World::booked();
    world.reservation.spec.resource.as_mut().unwrap().id = Some(7);
    world.host["metadata"]["labels"] = json!({"harbormaster.dev/resource-id": "7"});
    world.reservation.spec.resource.as_mut().unwrap().name = Some("elsewhere".to_owned());
    world.enter_calendar();
    assert_eq!(world.pass(), Action::Claim);
    // We crash, and the label goes to another host, before the claim is on record.
    world.host["metadata"]["labels"] = json!({});
    world.want(DesiredState::Released);
    world.settle();
    assert_eq!(world.phase(), Some(Phase::Released));
    assert_eq!(world.held_by(), None);
}

#[test]
fn a_host_that_somebody_else_got_first_may_be_another_one_next_time() {
    let mut world = World::booked();
    world.enter_calendar();
    let decision = world.look();
    assert_eq!(decision.action, Action::Claim);
    world.reservation.status = Some(decision.status);
    world.host["spec"]["consumerRef"] = json!({
        "apiVersion": "harbormaster.dev/v1", "kind": "Reservation", "name": "a", "uid": "x",
    });
    assert_eq!(world.settle(), []);
    assert_eq!(world.reservation.status.as_ref().unwrap().host_ref, None);
    // Nor does one that went before it was claimed fail the reservation.
    let mut world = World::booked();
    world.enter_calendar();
    world.reservation.status = Some(world.look().status);
    world.host["metadata"]["uid"] = json!("made-anew");
    assert!(matches!(
        world.settle()[..],
        [Action::Claim, Action::Provision(_)]
    ));
}

#[test]
fn a_new_default_image_leaves_the_hosts_that_have_the_old_one_alone() {
    let mut world = World::active();
    let mut starting = World::booked();
    starting.settle();
    for world in [&mut world, &mut starting] {
        world.policy.image.url = "http://images/newer.qcow2".to_owned();
        assert_eq!(world.settle(), []);
    }
    assert_eq!(world.ready(), ("True".to_owned(), "Active".to_owned()));
    starting.operator_provisions("2026-01-01T10:01:00Z");
    starting.settle();
    assert_eq!(starting.phase(), Some(Phase::Active));
}

#[test]
fn a_release_that_has_begun_is_finished_whatever_the_window_says_then() {
    let mut world = World::active();
    world.now = at("2026-01-01T12:10:00Z");
    assert_eq!(world.settle(), [Action::Clear]);
    let later = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at("2026-01-02T12:00:00Z"));
    world.reservation.spec.window.end = Some(later);
    assert_eq!(world.settle(), []);
    assert_eq!(world.phase(), Some(Phase::Releasing));
    world.operator_cleans("2026-01-01T12:11:00Z");
    assert_eq!(world.settle(), [Action::Free { image: None }]);
    assert_eq!(world.phase(), Some(Phase::Released));
}

#[test]
fn a_host_whose_image_was_changed_by_others_is_still_somebodys() {
    let mut world = World::active();
    world.host["spec"]["image"] = json!({"url": "http://rescue"});
    world.settle();
    assert_eq!(world.phase(), Some(Phase::Active));
}

#[test]
fn only_an_end_clears_a_host_that_nothing_holds() {
    let mut world = World::new(&json!({
        "source": {"provider": "portal"},
        "resource": {"name": "srv"},
        "window": {"start": "2026-01-02T10:00:00Z"},
    }));
    world.host["spec"]["image"] = json!({"url": "http://by-hand"});
    world.operator_provisions(START);
    world.reservation.metadata.deletion_timestamp = Some(
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now),
    );
    let before = world.host.clone();
    assert_eq!(world.pass(), Action::Wait);
    assert_eq!(world.phase(), Some(Phase::Released));
    assert_eq!(world.host, before);
}

#[test]
fn a_host_that_no_operator_can_reach_is_not_held_for_ever_by_an_end() {
    let mut world = World::ended_without_id();
    world.host["status"]["provisioning"]["state"] = json!("unmanaged");
    world.settle();
    assert_eq!(world.phase(), Some(Phase::Released));
    assert_eq!(world.held_by(), None);
}

#[test]
fn an_end_frees_a_host_that_the_operator_never_brought_as_far_as_an_image() {
    for (state, is_freed) in [
        ("", true),
        ("registering", true),
        ("match profile", true),
        ("inspecting", true),
        ("preparing", true),
        // Here something may be on the disk.
        ("available", false),
        ("provisioning", false),
        ("provisioned", false),
        ("deprovisioning", false),
        ("a state of tomorrow", false),
    ] {
        let mut world = World::ended_without_id();
        world.host["status"]["provisioning"]["state"] = json!(state);
        world.host["status"]["operationalStatus"] = json!("error");
        let cleared = [Action::Claim, Action::Clear];
        let freed = [Action::Claim, Action::Clear, Action::Free { image: None }];
        let expected = if is_freed { &freed[..] } else { &cleared[..] };
        assert_eq!(world.settle(), expected, "{state}");
        let phase = world.phase().unwrap();
        assert_eq!(phase == Phase::Released, is_freed, "{state}");
    }
}

#[test]
fn keys_that_are_none_let_nobody_in() {
    let mut world = World::booked();
    world
        .reservation
        .spec
        .access
        .as_mut()
        .unwrap()
        .authorized_keys = vec![AuthorizedKey {
        name: None,
        key: "- name: evil".to_owned(),
    }];
    world.settle();
    world.operator_provisions("2026-01-01T10:01:00Z");
    world.settle();
    assert_eq!(world.ready().1, "NoAuthorizedKey");
}

#[test]
fn what_is_stored_to_the_second_is_not_stored_again_and_again() {
    let mut world = World::booked();
    world.now = at("2026-01-01T10:00:00.987654321Z");
    let mut stored = 0;
    for _ in 0..20 {
        let before = world.reservation.status.clone();
        world.pass();
        // As it comes back from the API server.
        let text = serde_json::to_string(&world.reservation).unwrap();
        world.reservation = serde_json::from_str(&text).unwrap();
        stored += usize::from(world.reservation.status != before);
        world.pass_time(1);
    }
    assert_eq!(world.phase(), Some(Phase::Provisioning));
    assert!(stored <= 5, "{stored} writes");
    let before = world.reservation.status.clone();
    assert_eq!(Some(world.look().status), before);
}

#[test]
fn a_host_whose_cleaning_was_switched_off_meanwhile_is_not_handed_on() {
    let mut world = World::active();
    world.host["spec"]["automatedCleaningMode"] = json!("disabled");
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), [Action::Clear]);
    world.operator_cleans("2026-01-01T11:00:00Z");
    world.pass_time(86_400);
    assert_eq!(world.settle(), []);
    assert_eq!(world.held_by().as_deref(), Some("portal-101"));
    world.host["spec"]["automatedCleaningMode"] = json!("metadata");
    assert_eq!(world.settle(), [Action::Free { image: None }]);
}

#[test]
fn a_custom_deploy_is_put_there_in_place_of_an_image_and_wiped_like_one() {
    let mut world = World::booked();
    let asked = json!({"customDeploy": {"method": "install_coreos"}});
    world.reservation.spec.provisioning = Some(serde_json::from_value(asked).unwrap());
    let actions = world.settle();
    assert!(
        matches!(&actions[..], [Action::Claim, Action::Provision(Deployment::Method(deploy))]
            if deploy.method == "install_coreos")
    );
    world.operator_provisions("2026-01-01T10:01:00Z");
    world.settle();
    assert_eq!(world.phase(), Some(Phase::Active));
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), [Action::Clear]);
    world.operator_cleans("2026-01-01T11:00:00Z");
    assert_eq!(world.settle(), [Action::Free { image: None }]);
}

#[test]
fn a_claim_that_others_took_off_an_active_host_is_put_back_and_nothing_is_imaged_again() {
    let mut world = World::active();
    let claim = world.host["spec"]["consumerRef"].take();
    let before = world.host.clone();
    assert_eq!(world.settle(), [Action::Claim]);
    assert_eq!(world.host["spec"]["consumerRef"], claim);
    assert_eq!(world.host["spec"]["image"], before["spec"]["image"]);
    assert_eq!(world.phase(), Some(Phase::Active));
    // Not where its disk was taken, too.
    let mut world = World::active();
    world.host["spec"]["consumerRef"] = Value::Null;
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), [Action::Claim, Action::Clear]);
    let mut world = World::active();
    world.host["spec"]["consumerRef"] = Value::Null;
    world.host["spec"]["image"] = json!({"url": "http://rescue"});
    assert_eq!(world.settle(), []);
}

#[test]
fn what_others_are_writing_to_a_held_disk_is_waited_for_before_it_is_handed_on() {
    let mut world = World::booked();
    world.enter_calendar();
    while world.pass() != Action::Claim {}
    assert_eq!(world.held_by().as_deref(), Some("portal-101"));
    // By hand, before we came to image it.
    world.host["status"]["provisioning"]["state"] = json!("provisioning");
    world.want(DesiredState::Released);
    world.settle();
    assert_eq!(world.phase(), Some(Phase::Releasing));
    assert_eq!(world.held_by().as_deref(), Some("portal-101"));
    world.host["status"]["provisioning"]["state"] = json!("available");
    world.settle();
    assert_eq!(world.held_by(), None);
}

#[test]
fn the_keys_of_a_host_that_is_gone_are_deleted_before_the_record_is_over() {
    let mut world = World::active();
    world.host["metadata"]["uid"] = json!("another");
    let mut last = world.pass();
    while !matches!(last, Action::Finish { .. }) {
        assert_eq!(
            world.reservation.status.as_ref().unwrap().released_time,
            None
        );
        last = world.pass();
    }
    let Action::Finish { status } = last else {
        unreachable!()
    };
    assert_eq!(status.phase, Some(Phase::Failed));
    assert_eq!(world.look().action, Action::Wait);
    // Another's Secret, and one that was never made, are not ours to delete.
    let mut world = World::booked();
    let asked = json!({"userDataSecretRef": {"name": "mine"}});
    world.reservation.spec.access = Some(serde_json::from_value(asked).unwrap());
    world.settle();
    world.host["metadata"]["uid"] = json!("another");
    while world.phase() != Some(Phase::Failed) {
        assert!(!matches!(world.pass(), Action::Finish { .. }));
    }
}
