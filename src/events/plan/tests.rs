//! The plans, event by event; whole orders of them are in `order`.

mod order;

use super::*;
use crate::events::{event::Booking, intent::BookedWindow, time::EventTime};

fn booking() -> Booking {
    Booking {
        event_id: Some("101".to_owned()),
        resource_name: "restart-srv01".to_owned(),
        ..Booking::default()
    }
}

fn window(start: &str) -> BookedWindow {
    BookedWindow {
        start: start.parse().unwrap(),
        end: None,
    }
}

fn timed(booking: Booking, at: &str) -> Booking {
    Booking {
        start: EventTime::from_json(&at.into()),
        ..booking
    }
}

fn start(booking: Booking, at: &str) -> Intent {
    Intent::Begin {
        booking: Box::new(timed(booking, at)),
        window: window(at),
    }
}

fn finish(booking: Booking, at: &str) -> Intent {
    Intent::End {
        booking: Box::new(timed(booking, at)),
        window: window(at),
    }
}

/// What the objects of a booking are after these events, in this order.
fn after(intents: &[Intent]) -> Vec<Reservation> {
    let mut objects: Vec<Reservation> = Vec::new();
    for intent in intents {
        while step(&mut objects, intent) {}
    }
    objects
}

/// Whether there is more to do for the same event.
fn step(objects: &mut Vec<Reservation>, intent: &Intent) -> bool {
    let planned = plan("portal", intent, objects);
    let more = matches!(planned, Plan::Supersede(_) | Plan::Retire(_));
    match planned {
        Plan::Create(object) | Plan::Supersede(object) => objects.push(*object),
        Plan::Replace(object) | Plan::Retire(object) => {
            let name = object.name_any();
            let present = objects.iter_mut().find(|object| object.name_any() == name);
            *present.unwrap() = *object;
        }
        Plan::Done | Plan::Ignore(_) => {}
    }
    more
}

const DAY1: &str = "2025-07-03T15:20:00Z";
const DAY2: &str = "2025-07-04T15:20:00Z";

#[test]
fn an_end_that_comes_first_is_found_by_the_start() {
    let objects = after(&[finish(booking(), DAY1), start(booking(), DAY1)]);
    assert_eq!(objects.len(), 1);
    assert_eq!(objects[0].desired_state(), DesiredState::Released);
}

#[test]
fn events_that_come_again_change_nothing() {
    let once = after(&[start(booking(), DAY1), finish(booking(), DAY1)]);
    let again = after(&[
        start(booking(), DAY1),
        start(booking(), DAY1),
        finish(booking(), DAY1),
        finish(booking(), DAY1),
        start(booking(), DAY1),
    ]);
    assert_eq!(once, again);
}

#[test]
fn a_booking_moved_to_a_later_time_after_its_end_is_a_new_object() {
    let objects = after(&[
        start(booking(), DAY1),
        finish(booking(), DAY1),
        start(booking(), DAY2),
        start(booking(), DAY2),
    ]);
    let names: Vec<_> = objects.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["portal-101", "portal-101.2"]);
}

#[test]
fn each_start_of_the_minimal_shape_after_an_end_is_a_new_booking() {
    let minimal = || Booking {
        event_id: None,
        ..booking()
    };
    let objects = after(&[
        start(minimal(), DAY1),
        start(minimal(), DAY2),
        finish(minimal(), DAY2),
        start(minimal(), DAY2),
    ]);
    let names: Vec<_> = objects.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["host-restart-srv01", "host-restart-srv01.2"]);
}

#[test]
fn a_late_end_of_the_time_before_does_not_end_the_booking_that_was_moved() {
    let moved = [
        start(booking(), DAY1),
        finish(booking(), DAY1),
        start(booking(), DAY2),
    ];
    let late = [finish(booking(), DAY1)];
    let objects = after(&[moved.as_slice(), &late].concat());
    assert_eq!(objects[1].desired_state(), DesiredState::Active);
    let own = [finish(booking(), DAY2)];
    let objects = after(&[moved.as_slice(), &late, &own].concat());
    assert_eq!(objects[1].desired_state(), DesiredState::Released);
}

#[test]
fn an_end_of_the_minimal_shape_clears_again_once_the_last_one_is_done() {
    let minimal = || Booking {
        event_id: None,
        ..booking()
    };
    let mut objects = after(&[finish(minimal(), DAY1), finish(minimal(), DAY1)]);
    assert_eq!(objects.len(), 1);
    objects[0].status.get_or_insert_default().phase = Some(crate::api::v1::Phase::Released);
    let again = plan("portal", &finish(minimal(), DAY2), &objects);
    let Plan::Create(again) = again else {
        panic!("{again:?}")
    };
    assert_eq!(again.name_any(), "host-restart-srv01.2");
    assert_eq!(again.desired_state(), DesiredState::Released);
}

#[test]
fn a_later_event_fills_in_the_key_and_the_name_that_an_earlier_one_lacked() {
    let bare = start(booking(), DAY1);
    let full = start(
        Booking {
            username: Some("mario.rossi".to_owned()),
            ssh_public_key: Some("ssh-ed25519 AAAA mario".to_owned()),
            ..booking()
        },
        DAY1,
    );
    for order in [[bare.clone(), full.clone()], [full, bare]] {
        let objects = after(&order);
        assert_eq!(objects[0].authorized_keys().len(), 1);
        let requester = objects[0].spec.requester.as_ref().unwrap();
        assert_eq!(requester.username.as_deref(), Some("mario.rossi"));
    }
}

#[test]
fn lines_of_a_key_that_are_none_are_counted_until_a_sound_key_comes() {
    let keyed = |key: &str, minute: i64| {
        let booking = Booking {
            ssh_public_key: Some(key.to_owned()),
            revision: Some(Timestamp::from_second(minute * 60).unwrap()),
            ..booking()
        };
        start(booking, DAY1)
    };
    let noted = |objects: &[Reservation]| {
        let annotation = objects[0]
            .annotations()
            .get(crate::api::REJECTED_KEYS_ANNOTATION);
        (objects[0].authorized_keys().len(), annotation.cloned())
    };
    let bad = keyed("- name: evil\n-----BEGIN", 1);
    let mixed = keyed("ssh-ed25519 AAAA mario\n#cloud-config", 2);
    let good = keyed("ssh-ed25519 AAAA mario", 3);
    let keyless = start(booking(), DAY1);
    let count = |count: &str| Some(count.to_owned());
    for (events, expected) in [
        (vec![&bad], (0, count("2"))),
        (vec![&keyless, &bad], (0, count("2"))),
        (vec![&bad, &keyless], (0, count("2"))),
        (vec![&mixed], (1, count("1"))),
        (vec![&mixed, &bad], (1, count("1"))),
        (vec![&bad, &mixed], (1, count("1"))),
        (vec![&bad, &good], (1, None)),
        (vec![&good, &bad], (1, None)),
        (vec![&good], (1, None)),
    ] {
        let events: Vec<_> = events.into_iter().cloned().collect();
        assert_eq!(noted(&after(&events)), expected, "{events:?}");
    }
}

fn withdrawn(intent: Intent) -> Intent {
    let Intent::Schedule { booking, window } = intent else {
        panic!("{intent:?}")
    };
    Intent::Withdraw {
        booking,
        window,
        reason: "not ours".to_owned(),
    }
}

#[test]
fn a_booking_that_moves_to_a_resource_that_is_not_ours_is_released_until_it_comes_back() {
    let here = |minute| change("restart-srv01", DAY1, minute);
    let away = |minute| withdrawn(change("switch-port-1", DAY1, minute));
    assert!(
        after(&[away(1)]).is_empty(),
        "what isn't known is not recorded"
    );

    let with_key = start(
        Booking {
            ssh_public_key: Some("ssh-ed25519 AAAA mario".to_owned()),
            ..booking()
        },
        DAY1,
    );
    let gone = after(&[here(1), with_key.clone(), away(2), away(2), here(1)]);
    assert_eq!(gone.len(), 1);
    assert_eq!(gone[0].desired_state(), DesiredState::Released);
    let resource = gone[0].spec.resource.as_ref().unwrap();
    assert_eq!(resource.name.as_deref(), Some("restart-srv01"));

    // What is older than what we know says nothing.
    let stays = after(&[here(3), away(2)]);
    assert_eq!(stays[0].desired_state(), DesiredState::Scheduled);

    let back = after(&[here(1), with_key, away(2), here(3), here(3)]);
    let names: Vec<_> = back.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["portal-101", "portal-101.2"]);
    assert_eq!(back[1].desired_state(), DesiredState::Scheduled);
    assert_eq!(
        back[1].authorized_keys().len(),
        1,
        "its key comes back with it"
    );
}

/// A change of the booking, as of some minute.
fn change(host: &str, at: &str, minute: i64) -> Intent {
    let booking = Booking {
        revision: Some(Timestamp::from_second(minute * 60).unwrap()),
        resource_name: host.to_owned(),
        ..timed(booking(), at)
    };
    Intent::Schedule {
        booking: Box::new(booking),
        window: window(at),
    }
}

#[test]
fn a_booking_that_has_begun_and_moves_to_another_host_is_released_there_and_begun_here() {
    let mut objects = after(&[start(booking(), DAY1)]);
    assert!(step(&mut objects, &change("other", DAY1, 1)));
    let states: Vec<_> = objects.iter().map(Reservation::desired_state).collect();
    assert_eq!(states, [DesiredState::Active, DesiredState::Active]);
    // Whatever comes next finishes what the recorder didn't get to.
    while step(&mut objects, &change("other", DAY1, 1)) {}
    let states: Vec<_> = objects.iter().map(Reservation::desired_state).collect();
    assert_eq!(states, [DesiredState::Released, DesiredState::Active]);
    let hosts = objects.iter().map(|object| &object.spec.resource);
    let hosts: Vec<_> = hosts
        .flatten()
        .flat_map(|resource| &resource.name)
        .collect();
    assert_eq!(hosts, ["restart-srv01", "other"]);
}

#[test]
fn a_machine_that_was_renamed_is_the_same_machine() {
    let with_id = |intent| match intent {
        Intent::Begin {
            mut booking,
            window,
        } => {
            booking.resource_id = Some(1);
            Intent::Begin { booking, window }
        }
        Intent::Schedule {
            mut booking,
            window,
        } => {
            booking.resource_id = Some(1);
            Intent::Schedule { booking, window }
        }
        intent => intent,
    };
    let renamed = with_id(change("renamed", DAY1, 1));
    let objects = after(&[with_id(start(booking(), DAY1)), renamed]);
    assert_eq!(objects.len(), 1);
    let resource = objects[0].spec.resource.as_ref().unwrap();
    assert_eq!(resource.name.as_deref(), Some("renamed"));
}

#[test]
fn another_persons_key_is_never_kept_or_filled_in() {
    let of = |intent, user: &str, key: Option<&str>| {
        let (Intent::Schedule {
            mut booking,
            window,
        }
        | Intent::Begin {
            mut booking,
            window,
        }) = intent
        else {
            panic!("{intent:?}")
        };
        booking.user_id = Some(user.to_owned());
        booking.ssh_public_key = key.map(str::to_owned);
        (booking, window)
    };
    let (booking, window) = of(start(booking(), DAY1), "1", Some("ssh-ed25519 AAAA mario"));
    let mario = Intent::Begin { booking, window };
    let (booking, window) = of(change("restart-srv01", DAY1, 1), "2", None);
    let anna = Intent::Schedule { booking, window };
    for order in [[mario.clone(), anna.clone()], [anna, mario]] {
        let objects = after(&order);
        let requester = objects[0].spec.requester.as_ref().unwrap();
        assert_eq!(requester.id.as_deref(), Some("2"));
        assert!(objects[0].authorized_keys().is_empty());
    }
}

#[test]
fn an_end_ends_the_object_of_its_own_time() {
    let mut objects = after(&[start(booking(), DAY1)]);
    // The record of the first time never came to its end, by event or by clock.
    objects[0].status.get_or_insert_default().phase = Some(crate::api::v1::Phase::Failed);
    while step(&mut objects, &start(booking(), DAY2)) {}
    assert_eq!(objects.len(), 2);
    while step(&mut objects, &finish(booking(), DAY1)) {}
    let states: Vec<_> = objects.iter().map(Reservation::desired_state).collect();
    assert_eq!(states, [DesiredState::Released, DesiredState::Active]);
    while step(&mut objects, &finish(booking(), DAY2)) {}
    assert_eq!(objects[1].desired_state(), DesiredState::Released);
}
