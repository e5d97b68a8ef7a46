//! A host that somebody deletes, in each phase of whoever has it.

use super::{
    host_states::{UNATTENDED, claimed, imaged, reason, state},
    *,
};

#[test]
fn a_host_that_is_being_deleted_gets_neither_a_claim_nor_an_image() {
    let mut world = World::booked();
    deletes(&mut world);
    assert_eq!(world.settle(), []);
    assert_eq!(world.ready().1, "HostNotReservable");

    // Nothing was written to it: there is nothing to wait for.
    let mut held = claimed();
    held.policy.deprovision_image = Some("http://idle".to_owned());
    deletes(&mut held);
    assert_eq!(held.settle(), [Action::Free { image: None }]);
    assert_eq!(held.phase(), Some(Phase::Failed));
    assert_eq!(held.ready().1, "HostDeleting");
}

#[test]
fn a_held_host_that_is_being_deleted_fails_its_reservation_untouched_and_for_good_once_it_is_gone()
{
    for mut world in [imaged(), World::active()] {
        deletes(&mut world);
        let before = world.host.clone();
        assert_eq!(world.settle(), []);
        assert_eq!(world.phase(), Some(Phase::Releasing));
        assert_eq!(reason(&world, "Provisioned"), "HostDeleting");
        assert_eq!(reason(&world, "Released"), "HostDeleting");
        for next in ["deprovisioning", "powering off before delete", "deleting"] {
            state(&mut world, next);
            world.pass_time(3600);
            assert_eq!(world.settle(), [], "{next}");
            assert_eq!(world.host["spec"], before["spec"], "{next}");
        }
        world.host["metadata"]["uid"] = json!("made-anew");
        assert_eq!(world.settle(), []);
        assert_eq!(world.phase(), Some(Phase::Failed));
        assert_eq!(world.ready().1, "HostDeleting");
    }
}

#[test]
fn a_held_host_that_is_being_deleted_and_not_looked_at_is_told_of_as_not_being_cleaned() {
    for (annotation, told) in UNATTENDED {
        let mut world = World::active();
        world.host["metadata"]["annotations"] = json!({annotation: ""});
        deletes(&mut world);
        world.pass_time(86_400);
        assert_eq!(world.settle(), [], "{told}");
        assert_eq!(world.held_by().as_deref(), Some("portal-101"), "{told}");
        assert_eq!(reason(&world, "Released"), "CleaningFailed", "{told}");
    }
}

#[test]
fn a_host_that_goes_while_it_is_released_is_released() {
    let mut world = World::active();
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), [Action::Clear]);
    deletes(&mut world);
    for next in ["powering off before delete", "deleting"] {
        state(&mut world, next);
        assert_eq!(world.settle(), [], "{next}");
        assert_eq!(world.phase(), Some(Phase::Releasing), "{next}");
    }
    world.host["metadata"]["uid"] = json!("made-anew");
    assert_eq!(world.settle(), []);
    assert_eq!(world.phase(), Some(Phase::Released));
}

#[test]
fn an_end_leaves_a_host_alone_that_nobody_has_and_that_is_being_deleted() {
    let mut world = World::ended_without_id();
    world.operator_provisions(START);
    deletes(&mut world);
    assert_eq!(world.settle(), []);
    assert_eq!(world.phase(), Some(Phase::Released));
}

fn deletes(world: &mut World) {
    world.host["metadata"]["deletionTimestamp"] = json!("2026-01-01T10:30:00Z");
}
