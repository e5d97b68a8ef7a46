//! Owns how long each phase takes. Called by the rules.

use std::time::Duration;

/// How long a host stays in each state.
///
/// The default is fit for tests: a new host is available after about half a second.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Timings {
    /// Trying the BMC.
    pub registering: Duration,
    /// Reading the hardware out.
    pub inspecting: Duration,
    /// Writing RAID and firmware settings.
    pub preparing: Duration,
    /// Writing the image.
    pub provisioning: Duration,
    /// Wiping the disk.
    pub deprovisioning: Duration,
    /// Switching the power off before a host is deleted.
    pub powering_off: Duration,
    /// Dropping the host from Ironic.
    pub deleting: Duration,
    /// Wait after a first failure; it doubles with each further one, up to 64 times of this.
    pub retry: Duration,
}

impl Timings {
    /// No phase takes any time. Failures are still retried a second apart, since a host that always
    /// fails would keep the API server busy otherwise.
    #[must_use]
    pub fn instant() -> Self {
        Self {
            registering: Duration::ZERO,
            inspecting: Duration::ZERO,
            preparing: Duration::ZERO,
            provisioning: Duration::ZERO,
            deprovisioning: Duration::ZERO,
            powering_off: Duration::ZERO,
            deleting: Duration::ZERO,
            retry: Duration::from_secs(1),
        }
    }

    /// Minutes, as real servers take them.
    #[must_use]
    pub fn realistic() -> Self {
        Self {
            registering: Duration::from_secs(30),
            inspecting: Duration::from_secs(5 * 60),
            preparing: Duration::from_secs(2 * 60),
            provisioning: Duration::from_secs(8 * 60),
            deprovisioning: Duration::from_secs(10 * 60),
            powering_off: Duration::from_secs(30),
            deleting: Duration::from_secs(10),
            retry: Duration::from_secs(60),
        }
    }

    /// Wait after so many failures in a row.
    pub(super) fn backoff(&self, failures: i64) -> Duration {
        let doublings = u32::try_from(failures.saturating_sub(1).max(0)).unwrap_or(u32::MAX);
        self.retry
            .saturating_mul(1 << doublings.min(MOST_DOUBLINGS))
    }
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            registering: Duration::from_millis(150),
            inspecting: Duration::from_millis(200),
            preparing: Duration::from_millis(150),
            provisioning: Duration::from_millis(400),
            deprovisioning: Duration::from_millis(400),
            powering_off: Duration::from_millis(100),
            deleting: Duration::from_millis(50),
            retry: Duration::from_secs(1),
        }
    }
}

const MOST_DOUBLINGS: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_with_each_failure_up_to_a_bound() {
        let timings = Timings::instant();
        let waits = [-1, 0, 1, 2, 3, 7, 8, i64::MAX].map(|count| timings.backoff(count).as_secs());
        assert_eq!(waits, [1, 1, 1, 2, 4, 64, 64, 64]);
    }
}
