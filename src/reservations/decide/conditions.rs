//! The conditions of a reservation, and what they say in plain words.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use crate::api::v1::{Reservation, ReservationStatus};

/// Writes conditions, keeping the time of each one's last change.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conditions {
    generation: Option<i64>,
    now: Timestamp,
}

impl Conditions {
    pub(super) fn new(generation: Option<i64>, now: Timestamp) -> Self {
        Self { generation, now }
    }

    pub(super) fn set(
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

/// Whether it failed earlier, and is only being cleaned up after.
pub(super) fn has_failed(reservation: &Reservation) -> bool {
    reservation
        .status
        .as_ref()
        .is_some_and(|status| failure(status).is_some())
}

/// Why it failed, if it did.
pub(super) fn failure(status: &ReservationStatus) -> Option<&Condition> {
    status
        .conditions
        .iter()
        .find(|condition| condition.type_ == PROVISIONED && FAILURES.contains(&&*condition.reason))
}

pub(super) const ACCEPTED: &str = "Accepted";
pub(super) const HOST_CLAIMED: &str = "HostClaimed";
pub(super) const PROVISIONED: &str = "Provisioned";
pub(super) const READY: &str = "Ready";
pub(super) const RELEASED: &str = "Released";

pub(super) const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
pub(super) const HOST_GONE: &str = "HostGone";

pub(super) const WINDOW_EXPIRED: &str = "WindowExpired";

const FAILURES: [&str; 3] = [DEADLINE_EXCEEDED, HOST_GONE, WINDOW_EXPIRED];
