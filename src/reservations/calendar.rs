//! Which bookings a host's calendar takes: pure.
//!
//! Bookings are half-open: one may begin the moment that another ends. One without an end
//! is in the way only of what is there when it begins; whoever comes while it lasts is
//! accepted, and waits for the host itself. What is found here counts only once it has been
//! written over the very version of the calendar that it was found on.

pub mod store;

use std::time::Duration;

use jiff::{Timestamp, Unit};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::lookup::Lookup;
use crate::api::{
    calendar::{Booking, HostCalendarStatus},
    v1::Reservation,
};

/// What a calendar says to a booking.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// It is in there as it should be.
    Booked,
    /// It would be, once this is written.
    Free(Box<HostCalendarStatus>),
    /// This one has that time.
    Overlap(Booking),
}

/// The host whose calendar a reservation is in; else the one whose it should be in.
pub fn host_of<'a>(reservation: &'a Reservation, found: &'a Lookup) -> Option<&'a str> {
    let status = reservation.status.as_ref();
    let booked = status.and_then(|status| status.calendar.as_deref());
    booked.or_else(|| match found {
        Lookup::Found(host) => Some(host.name()),
        _ => None,
    })
}

/// The stretch of time that a reservation wants, to the second, as it is stored.
pub fn candidate(reservation: &Reservation) -> Booking {
    let cleanup = cleanup_time(reservation);
    let window = &reservation.spec.window;
    let end = window.end.as_ref().map(|end| {
        let free = end.0.checked_add(cleanup).unwrap_or(Timestamp::MAX);
        whole_seconds(free)
    });
    Booking {
        uid: reservation.uid().unwrap_or_default(),
        name: reservation.name_any(),
        start: window.start.as_ref().map(|start| whole_seconds(start.0)),
        end,
    }
}

/// The stretch of time of one that was given its host before its window begins: from then on
/// nobody else has it.
pub fn held_early(reservation: &Reservation) -> Option<Booking> {
    let claimed = reservation.status.as_ref()?.claim_time.as_ref()?.0;
    let candidate = candidate(reservation);
    let is_early = candidate
        .start
        .as_ref()
        .is_some_and(|start| claimed < start.0);
    is_early.then(|| Booking {
        start: Some(whole_seconds(claimed)),
        ..candidate
    })
}

/// What the calendar says to the candidate, in place of what it had booked before.
pub fn book(calendar: &HostCalendarStatus, candidate: &Booking, now: Timestamp) -> Verdict {
    let others = calendar.bookings.iter();
    let mut others = others.filter(|booking| booking.uid != candidate.uid);
    if let Some(other) = others.find(|other| overlaps(candidate, other, now)) {
        return Verdict::Overlap(other.clone());
    }
    let mut bookings = without(calendar, &candidate.uid);
    bookings.push(candidate.clone());
    settled(calendar, bookings, now)
}

/// The calendar as it should read now, if it reads otherwise.
pub fn refreshed(calendar: &HostCalendarStatus, now: Timestamp) -> Option<HostCalendarStatus> {
    match settled(calendar, calendar.bookings.clone(), now) {
        Verdict::Free(next) => Some(*next),
        _ => None,
    }
}

/// The calendar without a reservation, if it was in there.
pub fn unbook(
    calendar: &HostCalendarStatus,
    uid: &str,
    now: Timestamp,
) -> Option<HostCalendarStatus> {
    booking_of(calendar, uid)?;
    Some(summed_up(without(calendar, uid), now))
}

/// What is booked for a reservation.
pub fn booking_of<'a>(calendar: &'a HostCalendarStatus, uid: &str) -> Option<&'a Booking> {
    calendar.bookings.iter().find(|booking| booking.uid == uid)
}

/// Whether the candidate can't have its time because of another booking. What is over by the
/// clock is in nobody's way, even if its host isn't clean yet: the next one waits for that.
pub fn overlaps(candidate: &Booking, other: &Booking, now: Timestamp) -> bool {
    let from = start(candidate).max(now);
    let other_is_over = end(other).is_some_and(|end| end <= from);
    match (end(candidate), end(other)) {
        (Some(until), Some(_)) => !other_is_over && start(other) < until,
        (Some(until), None) => from < start(other) && start(other) < until,
        (None, _) => !other_is_over && start(other) <= from,
    }
}

/// Whether somebody else will have the host for nobody knows how long when the candidate begins:
/// such a booking takes nobody's time, and the host all the same.
pub fn waits_for_an_open_end(
    calendar: &HostCalendarStatus,
    candidate: &Booking,
    now: Timestamp,
) -> bool {
    let mut others = calendar.bookings.iter();
    others.any(|other| other.uid != candidate.uid && has_it_without_an_end(candidate, other, now))
}

/// Whether this other one is such a booking.
pub fn has_it_without_an_end(candidate: &Booking, other: &Booking, now: Timestamp) -> bool {
    end(other).is_none() && start(other) <= start(candidate).max(now)
}

/// How long after its window a reservation keeps its host from the next one.
pub fn cleanup_time(reservation: &Reservation) -> Duration {
    let lifecycle = reservation.spec.lifecycle.as_ref();
    let cleanup = lifecycle.and_then(|lifecycle| lifecycle.cleanup_time.as_ref());
    cleanup
        .and_then(|cleanup| cleanup.parse().ok())
        .unwrap_or_default()
}

/// Whether it is the time of this one.
pub fn is_running(booking: &Booking, now: Timestamp) -> bool {
    start(booking) <= now && end(booking).is_none_or(|end| now < end)
}

fn settled(calendar: &HostCalendarStatus, bookings: Vec<Booking>, now: Timestamp) -> Verdict {
    let next = summed_up(bookings, now);
    if next == *calendar || is_ahead(calendar, &next, now) {
        Verdict::Booked
    } else {
        Verdict::Free(Box::new(next))
    }
}

/// Whether the summary is one that ours will be: a leader whose clock is ahead of ours wrote it.
/// Were it put back, the two would go on like that in turns.
fn is_ahead(calendar: &HostCalendarStatus, next: &HostCalendarStatus, now: Timestamp) -> bool {
    if calendar.bookings != next.bookings {
        return false;
    }
    let latest = now.checked_add(CLOCKS_DIFFER).unwrap_or(Timestamp::MAX);
    let bookings = next.bookings.iter();
    let mut turns =
        bookings.flat_map(|booking| [Some(start(booking)), end(booking)].into_iter().flatten());
    turns.any(|turn| {
        now < turn && turn <= latest && summed_up(next.bookings.clone(), turn) == *calendar
    })
}

fn without(calendar: &HostCalendarStatus, uid: &str) -> Vec<Booking> {
    let others = calendar.bookings.iter();
    others
        .filter(|booking| booking.uid != uid)
        .cloned()
        .collect()
}

/// Sorted, and with the answers to what people ask: who has it now, who is next, and when
/// is it free.
fn summed_up(mut bookings: Vec<Booking>, now: Timestamp) -> HostCalendarStatus {
    bookings.sort_by(|a, b| (start(a), &a.uid).cmp(&(start(b), &b.uid)));
    // The earliest of those that have begun: it has the host until it lets go of it.
    let has_begun = bookings.first().is_some_and(|first| start(first) <= now);
    let (current, next) = if has_begun {
        (bookings.first(), bookings.get(1))
    } else {
        (None, bookings.first())
    };
    let free_from = match current {
        None => "now".to_owned(),
        Some(_) => free_from(&bookings, now).map_or_else(
            || "unknown".to_owned(),
            |free| {
                if free <= now {
                    // By the clock it is over; its holder is still being cleaned up after.
                    "once clean".to_owned()
                } else {
                    free.to_string()
                }
            },
        ),
    };
    HostCalendarStatus {
        current: current.map(|booking| booking.name.clone()),
        until: current.and_then(|booking| booking.end.clone()),
        next: next.map(|booking| booking.name.clone()),
        next_start: next.and_then(|booking| booking.start.clone()),
        free_from: Some(free_from),
        bookings,
    }
}

/// The end of the unbroken row of bookings that the first one begins.
fn free_from(bookings: &[Booking], now: Timestamp) -> Option<Timestamp> {
    let mut free = end(bookings.first()?)?;
    for booking in &bookings[1..] {
        if start(booking) > free.max(now) {
            break;
        }
        free = free.max(end(booking)?);
    }
    Some(free)
}

fn start(booking: &Booking) -> Timestamp {
    booking.start.as_ref().map_or(Timestamp::MIN, |time| time.0)
}

fn end(booking: &Booking) -> Option<Timestamp> {
    booking.end.as_ref().map(|time| time.0)
}

/// Stored times have no fractions: one that had would never equal what comes back.
fn whole_seconds(instant: Timestamp) -> Time {
    let rounding = jiff::TimestampRound::new()
        .smallest(Unit::Second)
        .mode(jiff::RoundMode::Trunc);
    Time(instant.round(rounding).unwrap_or(instant))
}

/// By how much another leader's clock may be ahead of ours; what is further ahead is put right.
const CLOCKS_DIFFER: Duration = Duration::from_secs(10 * 60);

#[cfg(test)]
mod tests;
