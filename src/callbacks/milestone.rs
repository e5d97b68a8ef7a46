//! What a reservation has come to, and which of it the portal has not been told.
//!
//! Pure. The condition `Notified` is the memory: `True` with the last milestone told,
//! `False` with the one that is being told, or that the portal refuses to hear.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::WORTH_TELLING;
use crate::{
    api::v1::{Phase, Reservation, ReservationStatus},
    reservations::decide::{Conditions, failure},
};

/// A step in a reservation's life that the portal wants to know of, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Milestone {
    /// Imaging has begun.
    Started,
    /// The host is ready for its user.
    Completed,
    /// The user will not get the host, or not keep it.
    Failed,
    /// The host was taken back.
    Released,
}

/// What came of telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    /// The portal refuses to hear it: why.
    Refused(String),
    /// The portal knows.
    Told,
    /// Not yet: why.
    Trying(String),
}

/// What the portal is still to be told, unless it is too late to matter to anybody.
pub(super) fn due(reservation: &Reservation, now: Timestamp) -> Vec<Milestone> {
    let Some(status) = &reservation.status else {
        return Vec::new();
    };
    let known = known(status);
    ALL.into_iter()
        .filter(|milestone| known.is_none_or(|known| known < *milestone))
        .filter(|milestone| {
            let reached = milestone.reached(status);
            reached.is_some_and(|reached| is_worth_telling(reached, now))
        })
        .collect()
}

impl Milestone {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::Completed => "Completed",
            Self::Failed => "Failed",
            Self::Released => "Released",
        }
    }

    /// Puts it into the condition; whether that says anything new.
    pub(super) fn note(self, reservation: &mut Reservation, noted: Noted, now: Timestamp) -> bool {
        let generation = reservation.metadata.generation;
        let status = reservation.status.get_or_insert_default();
        let (holds, reason, message) = match noted {
            Noted::Told => (
                true,
                self.name().to_owned(),
                "the portal was told".to_owned(),
            ),
            Noted::Trying(why) => (false, self.name().to_owned(), why),
            Noted::Refused(why) => (false, format!("{}{REFUSED}", self.name()), why),
        };
        let same = notified(status).is_some_and(|present| {
            (present.status == "True", &present.reason, &present.message)
                == (holds, &reason, &message)
        });
        if !same {
            Conditions::new(generation, now).set(status, NOTIFIED, holds, &reason, message);
        }
        !same
    }

    fn reached(self, status: &ReservationStatus) -> Option<Timestamp> {
        let reached = match self {
            Self::Started => status.begin_time.as_ref(),
            Self::Completed => status.active_time.as_ref(),
            Self::Failed => failure(status).map(|failure| &failure.last_transition_time),
            // One that never had a host has none to give back.
            Self::Released => status
                .released_time
                .as_ref()
                .filter(|_| status.phase == Some(Phase::Released) && status.claim_time.is_some()),
        };
        reached.map(|time| time.0)
    }
}

/// The last milestone that need not be told any more.
fn known(status: &ReservationStatus) -> Option<Milestone> {
    let condition = notified(status)?;
    let (name, refused) = match condition.reason.strip_suffix(REFUSED) {
        Some(name) => (name, true),
        None => (&*condition.reason, false),
    };
    let of = ALL.into_iter().find(|milestone| milestone.name() == name)?;
    if refused || condition.status == "True" {
        return Some(of);
    }
    ALL.into_iter().rfind(|milestone| *milestone < of)
}

fn notified(status: &ReservationStatus) -> Option<&Condition> {
    let mut conditions = status.conditions.iter();
    conditions.find(|condition| condition.type_ == NOTIFIED)
}

fn is_worth_telling(reached: Timestamp, now: Timestamp) -> bool {
    let age = now.duration_since(reached);
    SignedDuration::try_from(WORTH_TELLING).is_ok_and(|longest| age < longest)
}

const ALL: [Milestone; 4] = [
    Milestone::Started,
    Milestone::Completed,
    Milestone::Failed,
    Milestone::Released,
];

const NOTIFIED: &str = "Notified";

const REFUSED: &str = "Refused";

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn active() -> Reservation {
        let mut reservation = Reservation::default();
        let status = reservation.status.get_or_insert_default();
        status.begin_time = Some(Time(at(0)));
        status.claim_time = Some(Time(at(1)));
        status.active_time = Some(Time(at(60)));
        reservation
    }

    fn released() -> Reservation {
        let mut reservation = active();
        let status = reservation.status.get_or_insert_default();
        status.phase = Some(Phase::Released);
        status.released_time = Some(Time(at(120)));
        reservation
    }

    #[test]
    fn what_was_told_is_not_told_again_and_what_was_not_is_in_order() {
        use Milestone::{Completed, Released, Started};
        let mut reservation = released();
        assert_eq!(due(&reservation, at(121)), [Started, Completed, Released]);
        assert!(Started.note(&mut reservation, Noted::Told, at(121)));
        assert!(!Started.note(&mut reservation, Noted::Told, at(122)));
        assert_eq!(due(&reservation, at(122)), [Completed, Released]);
        let why = || Noted::Trying("HTTP 503".to_owned());
        assert!(Completed.note(&mut reservation, why(), at(123)));
        assert!(!Completed.note(&mut reservation, why(), at(124)));
        assert_eq!(due(&reservation, at(125)), [Completed, Released]);
        let why = Noted::Refused("HTTP 400".to_owned());
        assert!(Completed.note(&mut reservation, why, at(126)));
        assert_eq!(due(&reservation, at(127)), [Released]);
        assert!(Released.note(&mut reservation, Noted::Told, at(128)));
        assert_eq!(due(&reservation, at(129)), []);
    }

    #[test]
    fn a_first_try_that_failed_is_tried_again() {
        let mut reservation = active();
        Milestone::Started.note(&mut reservation, Noted::Trying("away".to_owned()), at(61));
        assert_eq!(
            due(&reservation, at(62)),
            [Milestone::Started, Milestone::Completed]
        );
    }

    #[test]
    fn nobody_is_told_of_yesterday_or_of_a_host_that_was_never_had() {
        let day = 24 * 60 * 60;
        assert_eq!(due(&released(), at(day + 61)), [Milestone::Released]);
        assert_eq!(due(&released(), at(day + 120)), []);
        let mut tombstone = released();
        let status = tombstone.status.get_or_insert_default();
        (status.begin_time, status.claim_time, status.active_time) = (None, None, None);
        assert_eq!(due(&tombstone, at(121)), []);
        assert_eq!(due(&Reservation::default(), at(0)), []);
    }
}
