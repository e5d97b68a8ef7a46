//! What went wrong with which reservation: how long to wait before it is tried again, and
//! what its user is told.
//!
//! In memory only: after a restart the first pass that fails tells anew. Called by the
//! controller.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::reservations::{
    decide::Refusal,
    host::{ApiError, is_refusal},
    reasons,
};

/// The reservations whose last pass failed, by uid.
#[derive(Debug, Default)]
pub(super) struct Troubles(Mutex<HashMap<String, Trouble>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Trouble {
    failures: u32,
    refusal: Option<Refusal>,
}

impl Troubles {
    /// A pass went well.
    pub(super) fn clear(&self, uid: &str) {
        self.locked().remove(uid);
    }

    /// A pass failed. Gives back how long to wait.
    pub(super) fn note(&self, uid: &str, error: &ApiError) -> Duration {
        let mut troubles = self.locked();
        let trouble = troubles.entry(uid.to_owned()).or_default();
        trouble.failures = trouble.failures.saturating_add(1);
        trouble.refusal = refusal(error);
        backoff(trouble.failures)
    }

    /// What the API server said to the last write, if it won't say otherwise by itself.
    pub(super) fn refusal(&self, uid: &str) -> Option<Refusal> {
        self.locked().get(uid)?.refusal.clone()
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Trouble>> {
        // Nothing is half done while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The text of whoever refused: the operator's own webhook, a policy, or the schema.
fn refusal(error: &ApiError) -> Option<Refusal> {
    let (reason, text) = match error {
        ApiError::ForeignSecret(_) => (reasons::HOST_REFUSED, error.to_string()),
        ApiError::Kube(kube::Error::Api(status)) if is_refusal(status) => {
            (reasons::HOST_REFUSED, status.message.clone())
        }
        ApiError::UserData(_) => (reasons::TEMPLATE_INVALID, error.to_string()),
        _ => return None,
    };
    let text = text.chars().take(LONGEST_TEXT).collect();
    Some(Refusal { reason, text })
}

/// Doubled each time, from one second to five minutes.
fn backoff(failures: u32) -> Duration {
    let doubled = 1_u64 << failures.saturating_sub(1).min(9);
    Duration::from_secs(doubled).min(LONGEST)
}

const LONGEST: Duration = Duration::from_secs(5 * 60);

/// A condition holds 32,768 characters; a person reads less.
const LONGEST_TEXT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_failure_doubles_the_wait_up_to_five_minutes_and_a_success_forgets_them() {
        let troubles = Troubles::default();
        let waits: Vec<_> = (0..12)
            .map(|_| troubles.note("a", &ApiError::Timeout).as_secs())
            .collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(troubles.note("b", &ApiError::Timeout).as_secs(), 1);
        troubles.clear("a");
        assert_eq!(troubles.note("a", &ApiError::Timeout).as_secs(), 1);
    }

    #[test]
    fn only_what_will_be_said_again_is_told_to_the_user() {
        let troubles = Troubles::default();
        troubles.note("a", &ApiError::ForeignSecret("x-userdata".to_owned()));
        assert!(troubles.refusal("a").unwrap().text.contains("x-userdata"));
        troubles.note("a", &ApiError::Timeout);
        assert_eq!(troubles.refusal("a"), None);
    }
}
