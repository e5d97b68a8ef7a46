//! Owns what a pass over a host must know beside the object. Called by the rules and by whoever drives
//! them.

use std::time::Duration;

use jiff::Timestamp;

use crate::{BareMetalHost, ProvisioningState};

/// What a pass over a host must know beside the object: the time, and since when the object stands
/// where it stands. The stamps in a status are too coarse for phases of less than a second.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Situation {
    now: Timestamp,
    since: Timestamp,
    phase: Phase,
    user_data_missing: bool,
}

impl Situation {
    /// A host seen for the first time: its phase begins now, as after a restart of the operator.
    #[must_use]
    pub fn first(host: &BareMetalHost, now: Timestamp) -> Self {
        Self {
            now,
            since: now,
            phase: Phase::of(host),
            user_data_missing: false,
        }
    }

    /// The host seen again, later: a new phase begins where its state, its count of failures or the
    /// host itself (by uid) is another.
    #[must_use]
    pub fn again(self, host: &BareMetalHost, now: Timestamp) -> Self {
        if self.phase == Phase::of(host) {
            Self { now, ..self }
        } else {
            Self::first(host, now)
        }
    }

    /// Whether the Secret with the user data was looked for and is not there; provisioning fails then.
    #[must_use]
    pub fn with_user_data_missing(self, user_data_missing: bool) -> Self {
        Self {
            user_data_missing,
            ..self
        }
    }

    /// When the present phase began.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.since
    }

    pub(super) fn now(&self) -> Timestamp {
        self.now
    }

    pub(super) fn is_user_data_missing(&self) -> bool {
        self.user_data_missing
    }

    /// What is left of a phase of that length, if anything.
    pub(super) fn remaining(&self, phase: Duration) -> Option<Duration> {
        // A clock that was set back makes the phase last longer, never shorter.
        let elapsed = Duration::try_from(self.now.duration_since(self.since)).unwrap_or_default();
        phase
            .checked_sub(elapsed)
            .filter(|remaining| !remaining.is_zero())
    }
}

/// What makes a phase one and the same.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Phase {
    uid: Option<String>,
    state: ProvisioningState,
    failures: i64,
}

impl Phase {
    fn of(host: &BareMetalHost) -> Self {
        let status = host.status.as_ref();
        Self {
            uid: host.metadata.uid.clone(),
            state: host.state().clone(),
            failures: status
                .and_then(|status| status.error_count)
                .unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn a_phase_begins_anew_with_another_state_another_failure_or_another_host() {
        let mut host = BareMetalHost::new("rack1-u07", &BareMetalHost::resource());
        let mut now = Timestamp::UNIX_EPOCH;
        let mut situation = Situation::first(&host, now);
        let mut later = |host: &BareMetalHost| {
            now += SignedDuration::from_secs(1);
            situation = situation.clone().again(host, now);
            situation.since() == now
        };

        assert!(!later(&host));
        host.metadata.uid = Some("another".to_owned());
        assert!(later(&host));
        host.status.get_or_insert_default().provisioning.state = ProvisioningState::Available;
        assert!(later(&host));
        assert!(!later(&host));
        host.status.get_or_insert_default().error_count = Some(1);
        assert!(later(&host));
        assert!(!later(&host));
    }

    #[test]
    fn a_clock_that_is_set_back_never_ends_a_phase() {
        let host = BareMetalHost::default();
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1);
        let back = Situation::first(&host, now).again(&host, Timestamp::UNIX_EPOCH);
        let phase = Duration::from_secs(1);
        assert_eq!(back.remaining(phase), Some(phase));
    }
}
