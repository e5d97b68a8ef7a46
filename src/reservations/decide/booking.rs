//! The booking: nothing is done for a reservation whose time another one has.
//!
//! Acceptance is the calendar's: it counts once it is written there, over the version that
//! was decided on, so that of two replicas with two caches only one can book.

use jiff::Timestamp;
use kube::ResourceExt;
use metal3::BareMetalHost;

use super::{Action, Pass, conditions::ACCEPTED, decided_on, timing};
use crate::{
    api::{
        calendar::{Booking, HostCalendarStatus},
        v1::Reservation,
    },
    reservations::{
        calendar::{self, Verdict},
        reasons,
    },
};

/// What the calendar says, once for a pass.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    pub(super) verdict: Verdict,
    /// When the time that we have there is over; `None` if it is open, or nothing is booked.
    pub(super) booked_end: Option<Timestamp>,
    /// When the first of the others begins that come after us.
    pub(super) next_start: Option<Timestamp>,
    /// Whether it is another's time now.
    pub(super) is_anothers_time: bool,
    pub(super) is_booked: bool,
}

impl Slot {
    pub(super) fn new(
        reservation: &Reservation,
        calendar: &HostCalendarStatus,
        now: Timestamp,
    ) -> Self {
        let cleanup = calendar::cleanup_time(reservation);
        let candidate = calendar::candidate(reservation);
        let booked = calendar::booking_of(calendar, &candidate.uid);
        let booked_end = booked.and_then(|booking| Some(booking.end.as_ref()?.0));
        let others = calendar.bookings.iter();
        let others = others.filter(|booking| booking.uid != candidate.uid);
        let early = calendar::held_early(reservation);
        let early = early.map(|early| calendar::book(calendar, &early, now));
        // Its window is its own in any case.
        let early = early.filter(|verdict| !matches!(verdict, Verdict::Overlap(_)));
        Self {
            verdict: early.unwrap_or_else(|| calendar::book(calendar, &candidate, now)),
            booked_end: booked_end.map(|end| timing::earlier(end, cleanup)),
            is_anothers_time: others
                .clone()
                .any(|booking| calendar::is_running(booking, now)),
            next_start: others
                .filter_map(|booking| Some(booking.start.as_ref()?.0))
                .min(),
            is_booked: booked.is_some(),
        }
    }
}

impl Pass<'_> {
    /// Whether the host's calendar has us, or what must be done first.
    pub(super) fn book(&mut self, host: &BareMetalHost) -> Result<(), Action> {
        let looked_at = self.status.calendar.replace(host.name().to_owned());
        if let Some(other) = looked_at.filter(|other| other != host.name()) {
            // It has moved: out of the one calendar before into the other. The other one is
            // looked at in the next pass, which our own write brings about.
            if let Some(action) = self.unbook_from(&other) {
                self.status.calendar = Some(other);
                self.leave_undecided();
                return Err(action);
            }
            self.unaccepted(
                "Moving",
                format!("the booking moves to host {}", host.name()),
            );
            return Err(Action::Wait);
        }
        match self.slot.verdict.clone() {
            Verdict::Booked => {
                self.set(
                    ACCEPTED,
                    true,
                    "Accepted",
                    format!("the host is {}", host.name()),
                );
                Ok(())
            }
            Verdict::Free(status) => {
                if !self.slot.is_booked {
                    self.unaccepted(
                        reasons::BOOKING,
                        "it is being written into the host's calendar",
                    );
                }
                Err(Action::WriteCalendar {
                    host: host.name().to_owned(),
                    status,
                })
            }
            // Who has the host has it. Its own time stays its own: it only gets no more of it.
            Verdict::Overlap(other) if self.has_begun() => {
                let message = format!(
                    "the host is {}; the changed window overlaps {}, and doesn't count",
                    host.name(),
                    described(&other)
                );
                self.set(ACCEPTED, true, "Accepted", message);
                Ok(())
            }
            Verdict::Overlap(other) => {
                let message = format!("overlaps {}", described(&other));
                self.unaccepted(reasons::OVERLAP, message);
                if let Some(end) = &other.end {
                    self.wake_at(end.0);
                }
                if let Some(end) = &self.reservation.spec.window.end {
                    self.wake_at(end.0);
                }
                Err(self.unbook().unwrap_or(Action::Wait))
            }
        }
    }

    /// Until it is out of its calendar it counts as not decided on, so that a crash in between
    /// leaves it as it is found now: in need of another place.
    pub(super) fn leave_undecided(&mut self) {
        self.status.observed_generation = decided_on(self.reservation);
    }

    /// Whether the time that it wants is another's.
    pub(super) fn waits_for_its_time(&self) -> bool {
        matches!(self.slot.verdict, Verdict::Overlap(_)) && !self.has_begun()
    }

    fn has_begun(&self) -> bool {
        self.status.claim_time.is_some() || self.slot.is_booked && self.status.begin_time.is_some()
    }

    /// Out of the calendar that we are in, if we are in one.
    pub(super) fn unbook(&self) -> Option<Action> {
        self.unbook_from(self.status.calendar.as_deref()?)
    }

    fn unbook_from(&self, host: &str) -> Option<Action> {
        let uid = self.reservation.uid()?;
        let status = calendar::unbook(self.calendar, &uid, self.now)?;
        Some(Action::WriteCalendar {
            host: host.to_owned(),
            status: Box::new(status),
        })
    }

    pub(super) fn unaccepted(&mut self, reason: &str, message: impl Into<String>) {
        let message = message.into();
        self.set(ACCEPTED, false, reason, message.clone());
        self.not_ready(reason, message);
    }
}

fn described(other: &Booking) -> String {
    let start = other.start.as_ref().map(|start| start.0);
    let end = other.end.as_ref().map(|end| end.0);
    match (start, end) {
        (Some(start), Some(end)) => {
            format!("Reservation {}, from {start} to {end}", other.name)
        }
        _ => format!("Reservation {}", other.name),
    }
}
