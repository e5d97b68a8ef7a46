//! Which bookings are in each other's way, and what a summary says of them.

use proptest::prelude::*;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn booking(uid: &str, from: i64, until: Option<i64>) -> Booking {
    Booking {
        uid: uid.to_owned(),
        name: format!("name-{uid}"),
        start: Some(Time(at(from))),
        end: until.map(|until| Time(at(until))),
    }
}

fn booked(calendar: &HostCalendarStatus, candidate: &Booking, now: i64) -> HostCalendarStatus {
    match book(calendar, candidate, at(now)) {
        Verdict::Free(next) => *next,
        other => panic!("{other:?}"),
    }
}

#[test]
fn bookings_that_touch_are_both_taken_and_those_that_cross_are_not() {
    let calendar = booked(
        &HostCalendarStatus::default(),
        &booking("a", 100, Some(200)),
        0,
    );
    for (from, until, is_taken) in [
        (200, 300, true),
        (0, 100, true),
        (199, 300, false),
        (0, 101, false),
        (120, 130, false),
        (50, 250, false),
    ] {
        let verdict = book(&calendar, &booking("b", from, Some(until)), at(0));
        assert_eq!(
            matches!(verdict, Verdict::Free(_)),
            is_taken,
            "{from}..{until}"
        );
    }
}

#[test]
fn an_open_end_is_in_the_way_only_of_what_is_there_when_it_begins() {
    let open = booking("open", 100, None);
    let calendar = booked(&HostCalendarStatus::default(), &open, 100);
    // It lasts: whoever comes now waits for the host itself.
    assert!(!overlaps(&booking("b", 150, Some(200)), &open, at(120)));
    // It is still to come, and would begin in the midst of this one.
    assert!(overlaps(&booking("b", 50, Some(200)), &open, at(0)));
    let busy = booking("b", 50, Some(200));
    assert!(overlaps(&open, &busy, at(100)));
    assert!(!overlaps(&open, &busy, at(200)));
    assert!(!overlaps(&open, &booking("later", 300, Some(400)), at(100)));
    assert!(overlaps(&booking("second", 110, None), &open, at(110)));
    assert_eq!(calendar.free_from.as_deref(), Some("unknown"));
}

#[test]
fn what_is_over_by_the_clock_is_in_nobodys_way() {
    let calendar = booked(
        &HostCalendarStatus::default(),
        &booking("a", 100, Some(200)),
        0,
    );
    let late = booking("b", 150, Some(300));
    assert!(matches!(
        book(&calendar, &late, at(199)),
        Verdict::Overlap(_)
    ));
    assert!(matches!(book(&calendar, &late, at(200)), Verdict::Free(_)));
}

#[test]
fn the_calendar_tells_who_has_it_who_is_next_and_when_it_is_free() {
    let mut calendar = HostCalendarStatus::default();
    for (uid, from, until) in [("c", 500, 600), ("a", 100, 200), ("b", 200, 300)] {
        calendar = booked(&calendar, &booking(uid, from, Some(until)), 0);
    }
    assert_eq!(calendar.current, None);
    assert_eq!(calendar.next.as_deref(), Some("name-a"));
    assert_eq!(calendar.free_from.as_deref(), Some("now"));
    let calendar = refreshed(&calendar, at(150)).unwrap();
    assert_eq!(calendar.current.as_deref(), Some("name-a"));
    assert_eq!(calendar.until, Some(Time(at(200))));
    assert_eq!(calendar.next.as_deref(), Some("name-b"));
    assert_eq!(calendar.free_from, Some(at(300).to_string()));
    assert_eq!(refreshed(&calendar, at(151)), None);
    let calendar = unbook(&calendar, "b", at(250)).unwrap();
    assert_eq!(calendar.free_from.as_deref(), Some("once clean"));
}

#[test]
fn the_same_booking_again_changes_nothing_and_another_window_takes_its_place() {
    let calendar = booked(
        &HostCalendarStatus::default(),
        &booking("a", 100, Some(200)),
        0,
    );
    let again = book(&calendar, &booking("a", 100, Some(200)), at(0));
    assert_eq!(again, Verdict::Booked);
    let moved = booked(&calendar, &booking("a", 150, Some(250)), 0);
    assert_eq!(moved.bookings, [booking("a", 150, Some(250))]);
}

#[test]
fn two_leaders_whose_clocks_differ_do_not_rewrite_a_summary_in_turns() {
    let wishes = [
        booking("a", 1000, Some(2000)),
        booking("b", 2000, Some(2300)),
    ];
    let mut calendar = HostCalendarStatus::default();
    for wish in &wishes {
        calendar = booked(&calendar, wish, 0);
    }
    // One is five minutes ahead of the other, while the hours go by.
    let mut writes = 0;
    for now in (900..2400).step_by(10) {
        for skew in [300, 0] {
            for wish in &wishes {
                if let Verdict::Free(next) = book(&calendar, wish, at(now + skew)) {
                    calendar = *next;
                    writes += 1;
                }
            }
        }
    }
    assert_eq!(writes, 2, "the first begins, and the last is over");
    // A clock that was a day ahead has written nonsense, which goes at the first look.
    let nonsense = refreshed(&calendar, at(-86_400)).unwrap();
    assert_eq!(nonsense.current, None);
}

proptest! {
    #[test]
    fn no_two_bookings_of_a_calendar_ever_cross(
        wishes in prop::collection::vec((0..9u8, 0..50i64, 1..20i64, 0..60i64), 1..40)
    ) {
        let mut calendar = HostCalendarStatus::default();
        let mut now = 0;
        for (uid, from, length, later) in wishes {
            now = later.max(now);
            let wish = booking(&uid.to_string(), from, Some(from + length));
            if let Verdict::Free(next) = book(&calendar, &wish, at(now)) {
                calendar = *next;
            }
            // What is over by the clock may stay in there while its host is cleaned.
            let runs = |booking: &&Booking| end(booking) > Some(at(now));
            let bookings: Vec<_> = calendar.bookings.iter().filter(runs).collect();
            for (a, b) in bookings.iter().zip(bookings.iter().skip(1)) {
                let (begins, ends) = (start(b).max(at(now)), end(a).unwrap());
                prop_assert!(begins >= ends, "{:?} {:?} {}", a, b, now);
            }
        }
    }
}
