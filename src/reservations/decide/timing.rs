//! When a reservation begins and when it is over, from its spec and the clock alone.

use std::time::Duration;

use jiff::Timestamp;

use super::{Policy, booking::Slot, conditions};
use crate::{
    api::v1::{DesiredState, Reservation},
    reservations::calendar::Verdict,
};

/// What the spec and the clock want.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Nothing yet.
    Later {
        /// When the clock alone will want the host on.
        begin: Timestamp,
    },
    Off,
    On,
}

pub(super) fn wanted(
    reservation: &Reservation,
    slot: &Slot,
    policy: &Policy,
    now: Timestamp,
) -> Wanted {
    let released = reservation.metadata.deletion_timestamp.is_some()
        || reservation.desired_state() == DesiredState::Released
        || end(reservation, slot, policy).is_some_and(|end| end <= now)
        || conditions::has_failed(reservation)
        || has_release_begun(reservation);
    if released {
        return Wanted::Off;
    }
    // What has begun goes on, whatever happens to its start.
    let begun = reservation
        .status
        .as_ref()
        .is_some_and(|status| status.begin_time.is_some());
    if begun {
        return Wanted::On;
    }
    let start = reservation.spec.window.start.as_ref().map(|start| start.0);
    match (begin(reservation), start) {
        (Some(begin), _) if now < begin => Wanted::Later { begin },
        // Ahead of its window it takes no time that another was promised.
        (_, Some(start)) if now < start && slot.is_anothers_time => Wanted::Later { begin: start },
        _ => Wanted::On,
    }
}

/// There is no way back: the evidence of a wiped disk is told from the history as it stood
/// when the release began, which would be that of an earlier release after a way back.
fn has_release_begun(reservation: &Reservation) -> bool {
    reservation
        .status
        .as_ref()
        .is_some_and(|status| status.release_time.is_some())
}

/// When it begins. A start event is obeyed, but not before the five minutes by which the
/// sender is early. Without one the window's start is; a booking that has no key yet waits
/// a little longer, since a start event on its way would bring one.
fn begin(reservation: &Reservation) -> Option<Timestamp> {
    let start = reservation.spec.window.start.as_ref()?.0;
    if reservation.desired_state() == DesiredState::Active {
        return Some(earlier(start, EARLY_START));
    }
    let lead = lifecycle_span(reservation, |lifecycle| lifecycle.lead_time.as_ref());
    let begin = earlier(start, lead.unwrap_or_default());
    let waits_for_key = is_from_event(reservation) && reservation.authorized_keys().is_empty();
    Some(if waits_for_key {
        later(begin, KEY_GRACE)
    } else {
        begin
    })
}

/// Whether it begins before its window does, as soon as nobody else is promised the time.
pub fn would_begin_early(reservation: &Reservation, now: Timestamp) -> bool {
    let start = reservation.spec.window.start.as_ref().map(|start| start.0);
    begin(reservation).is_some_and(|begin| begin <= now) && start.is_some_and(|start| now < start)
}

/// When it ends by the clock alone. What was made by hand ends when it says; what came from
/// an event is ended by an event, and by us when none came: after a grace, but for one that
/// never had a host, and where the next one waits.
pub(super) fn end(reservation: &Reservation, slot: &Slot, policy: &Policy) -> Option<Timestamp> {
    let status = reservation.status.as_ref();
    let begun = status.is_some_and(|status| status.begin_time.is_some());
    let wanted = reservation.spec.window.end.as_ref().map(|end| end.0);
    let end = match (&slot.verdict, slot.booked_end) {
        // An extension that the calendar has no room for.
        (Verdict::Overlap(_), Some(booked)) if begun => {
            Some(wanted.map_or(booked, |wanted| wanted.min(booked)))
        }
        _ => wanted,
    }?;
    let has_claim = status.is_some_and(|status| status.claim_time.is_some());
    if !is_from_event(reservation) || !has_claim {
        return Some(end);
    }
    let grace_over = later(end, policy.end_grace);
    Some(
        slot.next_start
            .map_or(grace_over, |next| grace_over.min(next.max(end))),
    )
}

/// Until when imaging must have succeeded, counted from when the reservation began.
pub(super) fn deadline(reservation: &Reservation, policy: &Policy, begun: Timestamp) -> Timestamp {
    let timeout = lifecycle_span(reservation, |lifecycle| {
        lifecycle.provision_timeout.as_ref()
    });
    later(begun, timeout.unwrap_or(policy.provisioning_timeout))
}

/// Until when the record of a finished reservation is kept: replays must find it.
pub(super) fn expiry(reservation: &Reservation) -> Option<Timestamp> {
    let status = reservation.status.as_ref()?;
    let finished = status.released_time.as_ref()?.0;
    let end = reservation.spec.window.end.as_ref().map(|end| end.0);
    let ttl = lifecycle_span(reservation, |lifecycle| {
        lifecycle.ttl_after_finished.as_ref()
    });
    Some(later(
        end.map_or(finished, |end| finished.max(end)),
        ttl.unwrap_or(TTL),
    ))
}

/// Whether it was recorded from an event, and not made by hand.
pub(super) fn is_from_event(reservation: &Reservation) -> bool {
    reservation
        .spec
        .source
        .as_ref()
        .is_some_and(|source| source.provider.is_some())
}

pub(super) fn later(instant: Timestamp, span: Duration) -> Timestamp {
    instant.checked_add(span).unwrap_or(Timestamp::MAX)
}

pub(super) fn earlier(instant: Timestamp, span: Duration) -> Timestamp {
    instant.checked_sub(span).unwrap_or(Timestamp::MIN)
}

/// A span that means nothing counts as none: admission refuses it, but an old object may
/// hold it, and must still be released.
fn lifecycle_span(
    reservation: &Reservation,
    field: impl Fn(&crate::api::v1::Lifecycle) -> Option<&crate::api::span::Span>,
) -> Option<Duration> {
    let lifecycle = reservation.spec.lifecycle.as_ref()?;
    field(lifecycle)?.parse().ok()
}

/// The sender posts a start up to five minutes before it is due.
const EARLY_START: Duration = Duration::from_secs(5 * 60);

const KEY_GRACE: Duration = Duration::from_secs(2 * 60);

const TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
