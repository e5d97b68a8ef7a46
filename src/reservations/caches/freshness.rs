//! How old the caches are: since when a watch has failed without one that worked again.
//!
//! A connection that dies without a word is found out by its read time limit only, a little
//! under five minutes; until then what is known counts as current.

use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// How old what is known is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Freshness {
    /// Nothing was ever heard of some of it.
    Unknown,
    /// It is as it was then: since then some of it can't be watched.
    AsOf(Timestamp),
    /// It is watched.
    Current,
}

/// The watches of hosts, calendars and Reservations.
#[derive(Debug)]
pub(super) struct Watches(Mutex<[Freshness; 3]>);

impl Default for Watches {
    fn default() -> Self {
        Self(Mutex::new([Freshness::Unknown; 3]))
    }
}

impl Watches {
    pub(super) fn failed(&self, kind: usize, now: Timestamp) {
        self.change(kind, |freshness| match freshness {
            Freshness::Current => Freshness::AsOf(now),
            // Since the first failure: what follows it is more of the same.
            worse => worse,
        });
    }

    pub(super) fn works(&self, kind: usize) {
        self.change(kind, |_| Freshness::Current);
    }

    /// That of the oldest part.
    pub(super) fn freshness(&self) -> Freshness {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().copied().min().unwrap_or(Freshness::Unknown)
    }

    fn change(&self, kind: usize, to: impl Fn(Freshness) -> Freshness) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(freshness) = all.get_mut(kind) {
            *freshness = to(*freshness);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_oldest_part_tells_from_its_first_failure_on() {
        let watches = Watches::default();
        watches.works(0);
        watches.works(1);
        assert_eq!(watches.freshness(), Freshness::Unknown);
        watches.works(2);
        assert_eq!(watches.freshness(), Freshness::Current);
        watches.failed(1, at(20));
        watches.failed(2, at(10));
        watches.failed(2, at(30));
        assert_eq!(watches.freshness(), Freshness::AsOf(at(10)));
        watches.works(2);
        assert_eq!(watches.freshness(), Freshness::AsOf(at(20)));
        watches.works(1);
        assert_eq!(watches.freshness(), Freshness::Current);
    }

    #[test]
    fn what_was_never_known_is_not_known_as_of_a_failure() {
        let watches = Watches::default();
        watches.failed(0, at(1));
        assert_eq!(watches.freshness(), Freshness::Unknown);
    }
}
