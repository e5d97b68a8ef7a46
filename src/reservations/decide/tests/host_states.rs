//! What is done about a host in each of the operator's states, by row: wanted on, then off.

use super::*;

#[test]
fn a_host_that_was_not_looked_at_yet_is_claimed_and_waited_for() {
    let mut world = in_state("");
    assert_eq!(world.settle(), [Action::Claim]);
    assert_eq!(world.ready().1, "WaitingForHost");
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), [Action::Free { image: None }]);
}

#[test]
fn a_host_that_the_operator_can_not_manage_is_given_back_at_the_deadline() {
    let mut world = in_state("unmanaged");
    assert_eq!(world.settle(), [Action::Claim]);
    assert_eq!(world.ready().1, "HostNotManaged");
    world.pass_time(2700);
    assert_eq!(world.settle(), [Action::Free { image: None }]);
    assert_eq!(world.phase(), Some(Phase::Failed));
    assert_eq!(world.ready().1, "DeadlineExceeded");
}

#[test]
fn a_host_that_is_being_made_ready_is_claimed_and_given_back_without_a_wipe() {
    for state in ["registering", "match profile", "inspecting", "preparing"] {
        let mut world = in_state(state);
        assert_eq!(world.settle(), [Action::Claim], "{state}");
        assert_eq!(world.ready().1, "WaitingForHost", "{state}");
        world.want(DesiredState::Released);
        assert_eq!(world.settle(), [Action::Free { image: None }], "{state}");
        assert_eq!(world.phase(), Some(Phase::Released), "{state}");
    }
}

#[test]
fn a_free_host_gets_the_image_once_whatever_failed_on_it_before() {
    for state in ["available", "ready"] {
        let mut world = in_state(state);
        fails(&mut world, "provisioning error");
        world.host["status"]["provisioningFailCount"] = json!(3);
        assert!(
            matches!(world.settle()[..], [Action::Claim, Action::Provision(_)]),
            "{state}"
        );
        // Without a generation, nobody knows whose failure it is.
        assert_eq!(world.ready().1, "ProvisioningFailed", "{state}");
        assert_eq!(world.phase(), Some(Phase::Provisioning), "{state}");
    }
}

#[test]
fn an_operator_that_has_given_up_fails_the_reservation_once_it_has_seen_the_image() {
    let mut world = imaged();
    world.host["metadata"]["generation"] = json!(2);
    world.host["status"]["provisioningFailCount"] = json!(3);
    fails(&mut world, "provisioning error");
    sees(&mut world, 1);
    assert_eq!(world.settle(), []);
    assert_eq!(world.ready().1, "ProvisioningFailed");

    sees(&mut world, 2);
    while world.pass() != Action::Clear {}
    world.host["metadata"]["generation"] = json!(3);
    assert_eq!(world.settle(), []);
    assert_eq!(world.held_by().as_deref(), Some("portal-101"));
    sees(&mut world, 3);
    assert_eq!(world.settle(), [Action::Free { image: None }]);
    assert_eq!(world.phase(), Some(Phase::Failed));
    assert_eq!(world.ready().1, "RetryLimitReached");
}

#[test]
fn a_provisioning_that_fails_is_left_to_the_operators_next_try() {
    let mut world = imaged();
    state(&mut world, "provisioning");
    fails(&mut world, "provisioning error");
    assert_eq!(world.settle(), []);
    assert_eq!(world.ready().1, "ProvisioningFailed");
    recovers(&mut world);
    for next in ["deprovisioning", "available", "provisioning"] {
        state(&mut world, next);
        assert_eq!(world.settle(), [], "{next}");
        assert_eq!(world.ready().1, "Provisioning", "{next}");
    }
    world.operator_provisions("2026-01-01T10:20:00Z");
    assert_eq!(world.settle(), []);
    assert_eq!(world.phase(), Some(Phase::Active));
}

#[test]
fn a_provisioning_that_is_not_wanted_any_more_is_cleared_at_once_and_waited_out() {
    let mut world = imaged();
    state(&mut world, "provisioning");
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), [Action::Clear]);
    for next in ["provisioning", "deprovisioning"] {
        state(&mut world, next);
        world.pass_time(3600);
        assert_eq!(world.settle(), [], "{next}");
        assert_eq!(world.held_by().as_deref(), Some("portal-101"), "{next}");
    }
    world.operator_cleans("2026-01-01T13:00:00Z");
    assert_eq!(world.settle(), [Action::Free { image: None }]);
}

#[test]
fn a_host_that_somebody_provisioned_by_hand_is_touched_neither_on_nor_off() {
    let mut world = World::booked();
    world.host["spec"]["image"] = json!({"url": "http://by-hand"});
    world.operator_provisions("2025-12-31T00:00:00Z");
    let before = world.host.clone();
    assert_eq!(world.settle(), []);
    assert_eq!(world.ready().1, "HostBusy");
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), []);
    assert_eq!(world.host, before);
}

#[test]
fn an_error_on_an_active_host_is_told_and_nothing_is_done_about_it() {
    let mut world = World::active();
    fails(&mut world, "power management error");
    // Nor when imaging would be late by now.
    world.pass_time(2700);
    assert_eq!(world.settle(), []);
    assert_eq!(world.phase(), Some(Phase::Active));
    assert_eq!(world.ready(), ("False".to_owned(), "HostError".to_owned()));
    recovers(&mut world);
    assert_eq!(world.settle(), []);
    assert_eq!(world.ready(), ("True".to_owned(), "Active".to_owned()));
}

#[test]
fn an_error_without_a_word_is_an_error_all_the_same() {
    for (message, type_, told) in [
        (
            json!(null),
            json!("power management error"),
            "power management error",
        ),
        (
            json!(""),
            json!(null),
            "the operator reports an error, and not which",
        ),
    ] {
        let mut world = World::active();
        fails(&mut world, "");
        world.host["status"]["errorMessage"] = message;
        world.host["status"]["errorType"] = type_;
        assert_eq!(world.settle(), []);
        assert_eq!(world.ready(), ("False".to_owned(), "HostError".to_owned()));
        assert_eq!(message_of(&world, "Ready"), told);
        world.want(DesiredState::Released);
        assert_eq!(world.settle(), [Action::Clear]);
        assert_eq!(message_of(&world, "Released"), told);
    }
}

#[test]
fn a_wipe_that_fails_keeps_the_host_until_the_operator_gets_it_done() {
    let mut world = World::active();
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), [Action::Clear]);
    state(&mut world, "deprovisioning");
    fails(&mut world, "provisioning error");
    world.pass_time(86_400);
    assert_eq!(world.settle(), []);
    assert_eq!(reason(&world, "Released"), "CleaningFailed");
    assert_eq!(world.held_by().as_deref(), Some("portal-101"));
    recovers(&mut world);
    world.operator_cleans("2026-01-02T11:00:00Z");
    assert_eq!(world.settle(), [Action::Free { image: None }]);
}

#[test]
fn a_host_that_others_wrote_is_touched_neither_on_nor_off() {
    let mut world = in_state("externally provisioned");
    world.host["spec"]["externallyProvisioned"] = json!(true);
    let before = world.host.clone();
    assert_eq!(world.settle(), []);
    assert_eq!(world.ready().1, "HostNotReservable");
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), []);
    assert_eq!(world.host, before);
}

#[test]
fn a_held_host_that_is_called_externally_provisioned_gets_no_image_and_stays_held_if_it_has_one() {
    let mut world = claimed();
    world.host["spec"]["externallyProvisioned"] = json!(true);
    state(&mut world, "externally provisioned");
    assert_eq!(world.settle(), []);
    assert_eq!(world.ready().1, "HostNotReservable");
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), [Action::Free { image: None }]);

    let mut world = World::active();
    world.host["spec"]["externallyProvisioned"] = json!(true);
    state(&mut world, "externally provisioned");
    assert_eq!(world.settle(), []);
    assert_eq!(world.ready().1, "HostNotReservable");
    assert_eq!(world.phase(), Some(Phase::Active));
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), [Action::Clear]);
    world.pass_time(86_400);
    assert_eq!(world.settle(), []);
    assert_eq!(reason(&world, "Released"), "CleaningFailed");
    assert_eq!(world.held_by().as_deref(), Some("portal-101"));
}

#[test]
fn an_image_that_is_on_a_host_in_error_is_not_ready_before_the_error_is_gone() {
    let mut world = imaged();
    fails(&mut world, "power management error");
    world.operator_provisions("2026-01-01T10:01:00Z");
    assert_eq!(world.settle(), []);
    assert_eq!(world.phase(), Some(Phase::Provisioning));
    assert_eq!(world.ready().1, "ProvisioningFailed");
    recovers(&mut world);
    assert_eq!(world.settle(), []);
    assert_eq!(world.phase(), Some(Phase::Active));
}

#[test]
fn a_host_that_is_being_wiped_when_it_is_claimed_is_waited_for_and_imaged_once_it_is_clean() {
    let mut world = in_state("deprovisioning");
    world.host["status"]["provisioning"]["image"] = json!({"url": IMAGE});
    assert_eq!(world.settle(), [Action::Claim]);
    assert_eq!(world.ready().1, "WaitingForHost");
    // What others left there must be gone before it is given back, too.
    let mut given_back = World::booked();
    given_back.reservation = world.reservation.clone();
    given_back.calendar = world.calendar.clone();
    given_back.host = world.host.clone();
    given_back.want(DesiredState::Released);
    assert_eq!(given_back.settle(), []);
    for world in [&mut world, &mut given_back] {
        world.operator_cleans("2026-01-01T10:05:00Z");
    }
    assert!(matches!(world.settle()[..], [Action::Provision(_)]));
    assert_eq!(given_back.settle(), [Action::Free { image: None }]);
}

/// What proves that the operator has acted on our clearing, each thing by itself.
#[test]
fn a_free_host_is_clean_by_one_piece_of_evidence_and_by_none_that_was_there_before() {
    let later = "2026-01-01T11:00:00Z";
    let evidence: [(&str, Value, bool); 5] = [
        ("nothing", json!({}), false),
        (
            "another wipe",
            json!({"operationHistory": {"deprovision": {"start": later, "end": later}}}),
            true,
        ),
        (
            "the wipe before",
            json!({"operationHistory": {"deprovision": {"start": START, "end": later}}}),
            false,
        ),
        ("its power", json!({"poweredOn": false}), true),
        (
            "its generation",
            json!({"conditions": [{"observedGeneration": 2}]}),
            true,
        ),
    ];
    for (what, seen, is_proof) in evidence {
        for (image, is_wiped) in [(Value::Null, true), (json!({"url": IMAGE}), false)] {
            let mut world = World::active();
            world.host["metadata"]["generation"] = json!(2);
            world.host["status"]["operationHistory"]["deprovision"] =
                json!({"start": START, "end": START});
            world.want(DesiredState::Released);
            assert_eq!(world.settle(), [Action::Clear], "{what}");
            state(&mut world, "available");
            world.host["status"]["provisioning"]["image"] = image;
            json_patch::merge(&mut world.host["status"], &seen);
            let is_freed = world.settle() == [Action::Free { image: None }];
            assert_eq!(is_freed, is_proof && is_wiped, "{what}");
        }
    }
}

#[test]
fn a_held_host_that_the_operator_does_not_look_at_gets_no_image_until_it_does() {
    for (annotation, told) in UNATTENDED {
        let mut world = claimed();
        world.host["metadata"]["annotations"] = json!({annotation: ""});
        assert_eq!(world.settle(), [], "{told}");
        assert_eq!(world.ready().1, told);
        world.host["metadata"]["annotations"] = json!({});
        assert!(
            matches!(world.settle()[..], [Action::Provision(_)]),
            "{told}"
        );
        world.host["metadata"]["annotations"] = json!({annotation: ""});
        assert_eq!(world.settle(), [], "{told}");
        assert_eq!(world.ready().1, told);
    }
}

#[test]
fn a_released_host_that_the_operator_does_not_look_at_stays_held() {
    for (annotation, told) in UNATTENDED {
        let mut world = World::active();
        world.want(DesiredState::Released);
        assert_eq!(world.settle(), [Action::Clear], "{told}");
        world.host["metadata"]["annotations"] = json!({annotation: ""});
        world.pass_time(86_400);
        assert_eq!(world.settle(), [], "{told}");
        assert_eq!(reason(&world, "Released"), "CleaningFailed", "{told}");
        assert_eq!(world.held_by().as_deref(), Some("portal-101"), "{told}");
    }
}

#[test]
fn a_host_whose_turn_has_not_come_waits_on_and_off() {
    let mut world = imaged();
    world.host["status"]["operationalStatus"] = json!("delayed");
    assert_eq!(world.settle(), []);
    assert_eq!(world.ready().1, "CapacityLimited");

    let mut world = World::active();
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), [Action::Clear]);
    world.host["status"]["operationalStatus"] = json!("delayed");
    assert_eq!(world.settle(), []);
    assert_eq!(reason(&world, "Released"), "Deprovisioning");
}

#[test]
fn a_host_that_can_not_be_reached_is_waited_for_until_the_deadline_and_wiped_after_it() {
    for error in ["registration error", "power management error"] {
        let mut world = imaged();
        fails(&mut world, error);
        assert_eq!(world.settle(), [], "{error}");
        assert_eq!(world.ready().1, "ProvisioningFailed", "{error}");
        world.pass_time(2700);
        assert_eq!(world.settle(), [Action::Clear], "{error}");
        state(&mut world, "deprovisioning");
        assert_eq!(world.settle(), [], "{error}");
        assert_eq!(reason(&world, "Released"), "CleaningFailed", "{error}");
        recovers(&mut world);
        world.operator_cleans("2026-01-01T11:00:00Z");
        assert_eq!(world.settle(), [Action::Free { image: None }], "{error}");
        assert_eq!(world.phase(), Some(Phase::Failed), "{error}");
        assert_eq!(world.ready().1, "DeadlineExceeded", "{error}");
    }
}

/// A booking whose host the operator has brought as far as this.
fn in_state(text: &str) -> World {
    let mut world = World::booked();
    state(&mut world, text);
    world
}

/// The claim is on record, and the image isn't written yet.
pub(super) fn claimed() -> World {
    let mut world = in_state("preparing");
    assert_eq!(world.settle(), [Action::Claim]);
    state(&mut world, "available");
    world
}

/// The image is written, and the operator hasn't looked yet.
pub(super) fn imaged() -> World {
    let mut world = World::booked();
    world.settle();
    assert_eq!(world.phase(), Some(Phase::Provisioning));
    world
}

pub(super) fn state(world: &mut World, text: &str) {
    world.host["status"]["provisioning"]["state"] = json!(text);
}

fn fails(world: &mut World, error: &str) {
    world.host["status"]["operationalStatus"] = json!("error");
    world.host["status"]["errorType"] = json!(error);
    world.host["status"]["errorMessage"] = json!("no answer from the BMC");
}

fn recovers(world: &mut World) {
    world.host["status"]["operationalStatus"] = json!("OK");
    world.host["status"]["errorType"] = json!("");
    world.host["status"]["errorMessage"] = json!("");
}

fn sees(world: &mut World, generation: i64) {
    world.host["status"]["conditions"] = json!([{"observedGeneration": generation}]);
}

pub(super) fn reason(world: &World, type_: &str) -> String {
    let status = world.reservation.status.as_ref().unwrap();
    let found = status.conditions.iter().find(|it| it.type_ == type_);
    found.unwrap().reason.clone()
}

fn message_of(world: &World, type_: &str) -> String {
    let status = world.reservation.status.as_ref().unwrap();
    let found = status.conditions.iter().find(|it| it.type_ == type_);
    found.unwrap().message.clone()
}

pub(super) const UNATTENDED: [(&str, &str); 2] = [
    ("baremetalhost.metal3.io/paused", "HostPaused"),
    ("baremetalhost.metal3.io/detached", "HostDetached"),
];
