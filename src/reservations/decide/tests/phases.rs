//! What a deletion does in each phase, and how a host goes from one tenant to the next.

use super::{host_states::reason, *};

#[test]
fn a_pending_reservation_that_is_deleted_leaves_no_trace_on_a_host() {
    let mut world = World::booked();
    world.now = at("2026-01-01T09:00:00Z");
    world.settle();
    assert_eq!(world.phase(), Some(Phase::Pending));
    let before = world.host.clone();
    assert_eq!(until_forgotten(world, |_| {}), (vec![], before));
}

#[test]
fn a_provisioning_reservation_that_is_deleted_is_wiped_before_its_finalizer_goes() {
    let mut world = World::booked();
    world.settle();
    assert_eq!(world.phase(), Some(Phase::Provisioning));
    assert_eq!(until_forgotten(world, cleans).0, WIPED);
    // One that wrote nothing yet only gives its claim back.
    let mut world = World::booked();
    world.host["status"]["provisioning"]["state"] = json!("inspecting");
    assert_eq!(world.settle(), [Action::Claim]);
    assert_eq!(
        until_forgotten(world, cleans).0,
        [Action::Free { image: None }]
    );
}

#[test]
fn an_active_reservation_that_is_deleted_is_wiped_before_its_finalizer_goes() {
    assert_eq!(until_forgotten(World::active(), cleans).0, WIPED);
}

#[test]
fn a_releasing_reservation_that_is_deleted_keeps_its_finalizer_until_the_host_is_clean() {
    let mut world = World::active();
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), [Action::Clear]);
    world.host["status"]["provisioning"]["state"] = json!("deprovisioning");
    delete(&mut world);
    world.pass_time(86_400);
    assert_eq!(world.settle(), []);
    assert_eq!(world.phase(), Some(Phase::Releasing));
    assert_eq!(world.held_by().as_deref(), Some("portal-101"));
    cleans(&mut world);
    assert_eq!(
        until_forgotten(world, |_| {}).0,
        [Action::Free { image: None }]
    );
}

#[test]
fn whose_host_is_gone_is_told_so_and_what_keeps_its_keys_there() {
    let mut world = World::active();
    world.want(DesiredState::Released);
    world.host["metadata"]["uid"] = json!("made-anew");
    assert!(matches!(world.pass(), Action::WriteCalendar { .. }));
    assert_eq!(world.pass(), Action::Wait);
    assert_eq!(world.phase(), Some(Phase::Releasing));
    assert_eq!(world.ready(), refused("Releasing"));
    let (told, action) = refuse(&mut world);
    assert!(matches!(action, Action::Finish { .. }), "{action:?}");
    assert_eq!(told, refused("HostRefused"));
    assert_eq!(world.settle(), []);
    assert_eq!(world.phase(), Some(Phase::Released));
    assert_eq!(world.ready(), refused("Released"));
}

#[test]
fn who_could_not_give_a_clean_host_back_at_first_is_told_so_and_ends_clean_all_the_same() {
    let mut world = World::active();
    world.want(DesiredState::Released);
    assert_eq!(world.settle(), [Action::Clear]);
    cleans(&mut world);
    let (told, action) = refuse(&mut world);
    assert_eq!(action, Action::Free { image: None });
    assert_eq!(told, refused("HostRefused"));
    // Now it is not.
    world.host["spec"]["consumerRef"].take();
    assert_eq!(world.settle(), []);
    assert_eq!(world.phase(), Some(Phase::Released));
    assert_eq!(reason(&world, "Released"), "Clean");
}

/// A pass whose action is refused, as it was when it was last tried.
fn refuse(world: &mut World) -> ((String, String), Action) {
    let mut decision = world.look();
    assert!(decision.action.may_be_refused());
    let refusal = Refusal {
        reason: reasons::HOST_REFUSED,
        text: "no".to_owned(),
    };
    decision.tell_refusal(&world.reservation, &refusal, world.now);
    world.reservation.status = Some(decision.status);
    (world.ready(), decision.action)
}

fn refused(reason: &str) -> (String, String) {
    ("False".to_owned(), reason.to_owned())
}

#[test]
fn a_window_that_is_over_before_the_host_is_ready_fails_and_gives_it_back_wiped() {
    let mut world = World::booked();
    let window = &mut world.reservation.spec.window;
    window.end = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(
        "2026-01-01T10:20:00Z",
    )));
    world.settle();
    world.host["status"]["provisioning"]["state"] = json!("provisioning");
    world.now = at("2026-01-01T10:29:59Z");
    assert_eq!(world.settle(), []);
    world.pass_time(1);
    assert_eq!(world.settle(), [Action::Clear]);
    cleans(&mut world);
    assert_eq!(world.settle(), [Action::Free { image: None }]);
    assert_eq!(world.phase(), Some(Phase::Failed));
    assert_eq!(world.ready().1, "DeadlineExceeded");
    // Whoever ends it meanwhile has had enough of it: that is no failure.
    let mut ended = World::booked();
    ended.settle();
    ended.want(DesiredState::Released);
    assert_eq!(ended.settle(), [Action::Clear]);
    cleans(&mut ended);
    ended.settle();
    assert_eq!(ended.phase(), Some(Phase::Released));
}

#[test]
fn the_same_image_is_not_handed_over_but_put_on_a_clean_disk() {
    let mut next = World::booked();
    // As the tenant before leaves it: the same image, wanted and written.
    next.host["spec"]["consumerRef"] = json!({
        "apiVersion": "harbormaster.dev/v1", "kind": "Reservation", "namespace": "metal3",
        "name": "portal-100", "uid": "uid-100",
    });
    next.host["spec"]["image"] = json!({"url": IMAGE});
    next.operator_provisions("2026-01-01T08:00:00Z");
    assert_eq!(next.settle(), []);
    assert_eq!(next.ready().1, "HostBusy");

    let spec = next.host["spec"].as_object_mut().unwrap();
    spec.remove("image");
    next.host["status"]["provisioning"]["state"] = json!("deprovisioning");
    assert_eq!(next.settle(), []);
    assert_eq!(next.ready().1, "HostBusy");

    // Freed too early, or by hand: it is held, and still not imaged over what is there.
    let spec = next.host["spec"].as_object_mut().unwrap();
    spec.remove("consumerRef");
    assert_eq!(next.settle(), [Action::Claim]);
    assert_eq!(next.ready().1, "WaitingForHost");
    next.host["status"]["provisioning"]["state"] = json!("available");
    assert_eq!(next.settle(), []);
    assert_eq!(next.ready().1, "WaitingForHost");

    next.operator_cleans("2026-01-01T10:05:00Z");
    assert!(matches!(next.settle()[..], [Action::Provision(_)]));
    // The end of the tenant before's provisioning is no evidence of ours.
    let before = "2026-01-01T08:00:00Z";
    next.operator_provisions(before);
    assert_eq!(next.settle(), []);
    assert_eq!(next.phase(), Some(Phase::Provisioning));
    next.operator_provisions("2026-01-01T10:10:00Z");
    assert_eq!(next.settle(), []);
    assert_eq!(next.phase(), Some(Phase::Active));
}

/// Deletes it; what is done until its finalizer goes, and the host as it is then. `operator`
/// acts when the host was cleared.
fn until_forgotten(mut world: World, operator: impl Fn(&mut World)) -> (Vec<Action>, Value) {
    delete(&mut world);
    let mut actions = Vec::new();
    for _ in 0..20 {
        match world.pass() {
            Action::Forget => {
                assert_eq!(world.held_by(), None);
                return (actions, world.host);
            }
            Action::Finish { .. } | Action::Wait | Action::WriteCalendar { .. } => {}
            Action::Clear => {
                actions.push(Action::Clear);
                assert_eq!(world.pass(), Action::Wait);
                operator(&mut world);
            }
            action => actions.push(action),
        }
    }
    panic!("its finalizer never goes: {actions:?}");
}

fn delete(world: &mut World) {
    let now = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(world.now);
    world.reservation.metadata.deletion_timestamp = Some(now);
}

fn cleans(world: &mut World) {
    world.operator_cleans("2026-01-01T11:00:00Z");
}

const WIPED: [Action; 2] = [Action::Clear, Action::Free { image: None }];
