//! The conditions of a reservation, and what they say in plain words.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use kube::ResourceExt;

use crate::{
    api::{
        REJECTED_KEYS_ANNOTATION,
        v1::{Reservation, ReservationStatus},
    },
    reservations::reasons,
};

/// Writes conditions, keeping the time of each one's last change.
#[derive(Clone, Copy, Debug)]
pub struct Conditions {
    generation: Option<i64>,
    now: Timestamp,
}

impl Conditions {
    /// Of this generation, as of now.
    pub fn new(generation: Option<i64>, now: Timestamp) -> Self {
        Self { generation, now }
    }

    /// Says whether something holds, and why.
    pub fn set(
        &self,
        status: &mut ReservationStatus,
        type_: &str,
        holds: bool,
        reason: &str,
        message: impl Into<String>,
    ) {
        let value = if holds { "True" } else { "False" };
        let mut condition = Condition {
            last_transition_time: Time(self.now),
            message: message.into(),
            observed_generation: self.generation,
            reason: reason.to_owned(),
            status: value.to_owned(),
            type_: type_.to_owned(),
        };
        match status.conditions.iter_mut().find(|old| old.type_ == type_) {
            Some(old) => {
                if old.status == condition.status {
                    condition.last_transition_time = old.last_transition_time.clone();
                }
                *old = condition;
            }
            None => status.conditions.push(condition),
        }
    }
}

impl Conditions {
    /// Tells of keys that were dropped: never which, since the text may be a private key.
    /// Nothing is said of keys that always were in order.
    pub(super) fn tell_of_keys(&self, reservation: &Reservation, status: &mut ReservationStatus) {
        let rejected = reservation.annotations().get(REJECTED_KEYS_ANNOTATION);
        let told = |condition: &Condition| condition.type_ == KEYS_ACCEPTED;
        match rejected {
            Some(count) => {
                let count: usize = count.parse().unwrap_or(1);
                let message = format!(
                    "{count} of the lines of the user's key are no public SSH keys, or too many; \
                     they were dropped: correct the key in the portal"
                );
                self.set(status, KEYS_ACCEPTED, false, reasons::KEY_REJECTED, message);
            }
            None if status.conditions.iter().any(told) => {
                let message = "all of the user's keys are public SSH keys";
                self.set(status, KEYS_ACCEPTED, true, "KeysAccepted", message);
            }
            None => {}
        }
    }
}

/// Whether it failed earlier, and is only being cleaned up after.
pub(super) fn has_failed(reservation: &Reservation) -> bool {
    reservation
        .status
        .as_ref()
        .is_some_and(|status| failure(status).is_some())
}

/// Why it failed, if it did.
pub fn failure(status: &ReservationStatus) -> Option<&Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == PROVISIONED && FAILURES.contains(&&*condition.reason))
}

pub(super) const ACCEPTED: &str = "Accepted";
pub(super) const KEYS_ACCEPTED: &str = "KeysAccepted";
pub(super) const HOST_CLAIMED: &str = "HostClaimed";
pub(super) const PROVISIONED: &str = "Provisioned";
pub(super) const READY: &str = "Ready";
pub(super) const RELEASED: &str = "Released";

/// What a reservation ends with that didn't get what it was for.
const FAILURES: [&str; 5] = [
    reasons::DEADLINE_EXCEEDED,
    reasons::HOST_DELETING,
    reasons::HOST_GONE,
    reasons::RETRY_LIMIT_REACHED,
    reasons::WINDOW_EXPIRED,
];
