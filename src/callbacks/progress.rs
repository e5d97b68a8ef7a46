//! What was posted but is not on record yet, and how often a reservation's news failed.
//!
//! In memory only: it spares the portal repetitions as long as this replica lives. Bounded:
//! it forgets all of it rather than grow, since a repetition does no harm but to the eye.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{milestone::Milestone, portal::Channel};

/// By the reservations' uids.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<HashMap<String, Reached>>);

/// One message of a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step {
    pub(super) milestone: Milestone,
    pub(super) channel: Channel,
}

#[derive(Debug, Default)]
struct Reached {
    /// With the refusal, if it was refused.
    done: BTreeMap<Step, Option<String>>,
    failures: u32,
}

impl Progress {
    pub(super) fn is_done(&self, uid: &str, step: Step) -> bool {
        let reached = self.locked();
        reached
            .get(uid)
            .is_some_and(|reached| reached.done.contains_key(&step))
    }

    pub(super) fn done(&self, uid: &str, step: Step, refusal: Option<String>) {
        let mut all = self.locked();
        if all.len() >= MOST {
            all.clear();
        }
        let reached = all.entry(uid.to_owned()).or_default();
        reached.done.insert(step, refusal);
        reached.failures = 0;
    }

    /// Why one of a milestone's messages was refused, if one was.
    pub(super) fn refusal(&self, uid: &str, milestone: Milestone) -> Option<String> {
        let all = self.locked();
        let mut done = all.get(uid)?.done.iter();
        done.find_map(|(step, refusal)| refusal.clone().filter(|_| step.milestone == milestone))
    }

    /// It failed once more: how long to wait.
    pub(super) fn failed(&self, uid: &str) -> Duration {
        let mut all = self.locked();
        if all.len() >= MOST {
            all.clear();
        }
        let reached = all.entry(uid.to_owned()).or_default();
        reached.failures = reached.failures.saturating_add(1);
        let doubled = 1_u64 << reached.failures.saturating_sub(1).min(11);
        Duration::from_secs(doubled).min(LONGEST_PAUSE)
    }

    /// All of it is on record.
    pub(super) fn forget(&self, uid: &str) {
        self.locked().remove(uid);
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Reached>> {
        // Nothing is half done while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// More reservations than a site has under way at once.
const MOST: usize = 10_000;

const LONGEST_PAUSE: Duration = Duration::from_secs(30 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_done_until_it_is_forgotten_and_pauses_double() {
        let progress = Progress::default();
        let step = Step {
            milestone: Milestone::Completed,
            channel: Channel::Log,
        };
        let pauses: Vec<_> = (0..13).map(|_| progress.failed("a").as_secs()).collect();
        assert_eq!(pauses[..4], [1, 2, 4, 8]);
        assert_eq!(pauses[11..], [1800, 1800]);
        progress.done("a", step, Some("HTTP 400".to_owned()));
        assert!(progress.is_done("a", step) && !progress.is_done("b", step));
        assert_eq!(progress.failed("a").as_secs(), 1);
        let refusal = progress.refusal("a", Milestone::Completed);
        assert_eq!(refusal.as_deref(), Some("HTTP 400"));
        assert_eq!(progress.refusal("a", Milestone::Failed), None);
        progress.forget("a");
        assert!(!progress.is_done("a", step));
    }
}
