//! The calendar, as one reservation sees it.

use super::*;
use crate::{
    api::calendar::{Booking, HostCalendarStatus},
    reservations::calendar::{Verdict, book},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// A calendar that has another reservation in it.
fn taken(from: &str, until: &str) -> HostCalendarStatus {
    let other = Booking {
        uid: "uid-7".to_owned(),
        name: "portal-7".to_owned(),
        start: Some(Time(at(from))),
        end: Some(Time(at(until))),
    };
    match book(&HostCalendarStatus::default(), &other, at(START)) {
        Verdict::Free(calendar) => *calendar,
        other => panic!("{other:?}"),
    }
}

fn accepted(world: &World) -> (String, String) {
    let status = world.reservation.status.as_ref().unwrap();
    let accepted = status.conditions.iter().find(|c| c.type_ == "Accepted");
    let accepted = accepted.unwrap();
    (accepted.status.clone(), accepted.reason.clone())
}

#[test]
fn nothing_is_claimed_before_the_calendar_has_it() {
    let mut world = World::booked();
    let first = world.pass();
    assert!(matches!(first, Action::WriteCalendar { ref host, .. } if host == "srv"));
    assert_eq!(accepted(&world).0, "False");
    assert_eq!(world.calendar.bookings[0].uid, "uid-101");
    assert_eq!(world.pass(), Action::Claim);
    assert_eq!(accepted(&world), ("True".to_owned(), "Accepted".to_owned()));
}

#[test]
fn one_that_overlaps_waits_is_looked_at_again_and_fails_only_when_its_window_is_over() {
    let mut world = World::booked();
    world.calendar = taken("2026-01-01T09:00:00Z", "2026-01-01T11:00:00Z");
    assert_eq!(world.settle(), []);
    assert_eq!(accepted(&world), ("False".to_owned(), "Overlap".to_owned()));
    assert_eq!(world.phase(), Some(Phase::Pending));
    // Nor does its time limit run meanwhile.
    world.now = at("2026-01-01T10:50:00Z");
    assert_eq!(world.settle(), []);
    assert_eq!(world.look().wake, Some(at("2026-01-01T11:00:00Z")));
    let mut lucky = World::booked();
    lucky.reservation = world.reservation.clone();
    assert_eq!(lucky.settle()[0], Action::Claim);

    world.calendar = taken("2026-01-01T09:00:00Z", "2026-01-01T15:00:00Z");
    world.now = at("2026-01-01T12:00:00Z");
    world.settle();
    assert_eq!(world.phase(), Some(Phase::Failed));
    assert_eq!(world.ready().1, "WindowExpired");
}

#[test]
fn whoever_is_over_leaves_the_calendar_before_the_record_says_so() {
    let mut world = World::active();
    world.want(DesiredState::Released);
    world.settle();
    world.operator_cleans("2026-01-01T11:00:00Z");
    assert_eq!(world.pass(), Action::Free { image: None });
    assert!(matches!(world.pass(), Action::WriteCalendar { .. }));
    assert_eq!(world.phase(), Some(Phase::Releasing));
    assert_eq!(world.calendar.bookings, []);
    world.settle();
    assert_eq!(world.phase(), Some(Phase::Released));
}

#[test]
fn the_next_one_does_not_wait_for_the_grace() {
    let mut world = World::active();
    let mut calendar = taken("2026-01-01T12:00:00Z", "2026-01-01T13:00:00Z");
    calendar.bookings.extend(world.calendar.bookings.clone());
    world.calendar = calendar;
    world.settle();
    assert_eq!(world.look().wake, Some(at("2026-01-01T12:00:00Z")));
    world.now = at("2026-01-01T12:00:00Z");
    assert_eq!(world.settle(), [Action::Clear]);
}

#[test]
fn an_extension_into_the_next_ones_time_does_not_count() {
    let mut world = World::active();
    let mut calendar = taken("2026-01-01T13:00:00Z", "2026-01-01T14:00:00Z");
    calendar.bookings.extend(world.calendar.bookings.clone());
    world.calendar = calendar;
    world.settle();
    world.reservation.spec.window.end = Some(Time(at("2026-01-01T13:30:00Z")));
    assert_eq!(world.settle(), []);
    assert_eq!(accepted(&world).0, "True");
    world.now = at("2026-01-01T12:10:00Z");
    assert_eq!(world.settle(), [Action::Clear]);
    // Where there is room, it does.
    let mut world = World::active();
    world.reservation.spec.window.end = Some(Time(at("2026-01-01T13:30:00Z")));
    world.settle();
    assert_eq!(
        world.calendar.bookings[0].end,
        Some(Time(at("2026-01-01T13:30:00Z")))
    );
}

#[test]
fn the_calendar_says_whose_hands_a_host_is_in_before_the_window_begins() {
    let mut world = World::booked();
    world.calendar = taken("2026-01-01T12:00:00Z", "2026-01-01T13:00:00Z");
    world.now = at("2026-01-01T09:54:00Z");
    world.settle();
    let told = |world: &World| {
        let calendar = world.calendar.clone();
        (calendar.current, calendar.next, calendar.free_from.unwrap())
    };
    let (me, other) = (Some("portal-101".to_owned()), Some("portal-7".to_owned()));
    assert_eq!(told(&world), (None, me.clone(), "now".to_owned()));
    world.now = at("2026-01-01T09:56:00.5Z");
    assert_eq!(world.settle().len(), 2);
    let free = "2026-01-01T13:00:00Z".to_owned();
    assert_eq!(told(&world), (me, other, free));
    let mine = &world.calendar.bookings[0];
    assert_eq!(mine.start, Some(Time(at("2026-01-01T09:56:00Z"))));
    // Nor does it change when the window begins.
    world.now = at(START);
    let before = world.calendar.clone();
    world.settle();
    assert_eq!(world.calendar, before);
}

#[test]
fn an_early_start_takes_no_time_that_another_was_promised() {
    let mut world = World::booked();
    world.calendar = taken("2026-01-01T09:00:00Z", START);
    world.now = at("2026-01-01T09:56:00Z");
    // Free as the host is: who was promised it may still come.
    assert_eq!(world.settle(), []);
    assert_eq!(world.ready().1, "Scheduled");
    assert_eq!(world.look().wake, Some(at(START)));
    let mut early = World::booked();
    early.now = world.now;
    early.reservation = world.reservation.clone();
    assert_eq!(early.settle()[0], Action::Claim);
    world.now = at(START);
    assert_eq!(world.settle()[0], Action::Claim);
}

#[test]
fn what_was_booked_just_before_an_early_start_keeps_its_time_in_the_calendar() {
    let mut world = World::booked();
    world.now = at("2026-01-01T09:56:00Z");
    while world.pass() != Action::Claim {}
    let mut calendar = taken("2026-01-01T09:57:00Z", "2026-01-01T09:59:00Z");
    calendar.bookings.extend(world.calendar.bookings.clone());
    world.calendar = calendar;
    assert!(matches!(world.settle()[..], [Action::Provision(_)]));
    let mine = world.calendar.bookings.iter();
    let mut mine = mine.filter(|booking| booking.uid == "uid-101");
    assert_eq!(mine.next().unwrap().start, Some(Time(at(START))));
    assert_eq!(accepted(&world), ("True".to_owned(), "Accepted".to_owned()));
}

#[test]
fn a_booking_that_moves_leaves_the_one_calendar_and_enters_the_other() {
    let mut world = World::booked();
    world.now = at("2026-01-01T08:00:00Z");
    world.settle();
    assert_eq!(world.calendar.bookings.len(), 1);
    world.host["metadata"]["name"] = json!("other");
    world.reservation.spec.resource.as_mut().unwrap().name = Some("other".to_owned());
    let out = world.pass();
    assert!(matches!(out, Action::WriteCalendar { ref host, .. } if host == "srv"));
    assert_eq!(world.calendar.bookings, []);
    let mut into = world.pass();
    while into == Action::Wait {
        into = world.pass();
    }
    assert!(matches!(into, Action::WriteCalendar { ref host, .. } if host == "other"));
}

#[test]
fn a_claim_that_lands_after_the_end_is_given_back() {
    let mut world = World::booked();
    while world.look().action != Action::Claim {
        world.pass();
    }
    // The claim is sent, its answer lost; then the end comes, and finds nothing held.
    world.reservation.status = Some(world.look().status);
    world.want(DesiredState::Released);
    world.settle();
    assert_eq!(world.phase(), Some(Phase::Released));
    world.host["spec"]["consumerRef"] = json!({
        "apiVersion": "harbormaster.dev/v1", "kind": "Reservation", "name": "portal-101",
        "uid": "uid-101",
    });
    assert_eq!(world.settle(), [Action::Free { image: None }]);
    assert_eq!(world.held_by(), None);
    assert_eq!(world.phase(), Some(Phase::Released));
}
