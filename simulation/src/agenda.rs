//! What is to be looked at when: one time for each name, found by the name and by the time.
//!
//! The steps of a schedule ask again and again what is next. With many objects that must not
//! mean a look at each of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

/// Names, and when each is due.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agenda {
    times: BTreeMap<String, Timestamp>,
    order: BTreeSet<(Timestamp, String)>,
}

impl Agenda {
    /// Whether it has a time at all.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.times.contains_key(name)
    }

    /// At this time, and at no other.
    pub(crate) fn set(&mut self, name: &str, at: Timestamp) {
        self.remove(name);
        self.times.insert(name.to_owned(), at);
        self.order.insert((at, name.to_owned()));
    }

    /// At this time, unless it is due before that anyhow.
    pub(crate) fn set_by(&mut self, name: &str, at: Timestamp) {
        if self.times.get(name).is_none_or(|due| at < *due) {
            self.set(name, at);
        }
    }

    /// At this time, unless it has one.
    pub(crate) fn set_if_none(&mut self, name: &str, at: Timestamp) {
        if !self.contains(name) {
            self.set(name, at);
        }
    }

    /// Not any more.
    pub(crate) fn remove(&mut self, name: &str) {
        if let Some((name, at)) = self.times.remove_entry(name) {
            self.order.remove(&(at, name));
        }
    }

    /// The earliest, and of those the first by name.
    pub(crate) fn first(&self) -> Option<(Timestamp, &str)> {
        let (at, name) = self.order.first()?;
        Some((*at, name))
    }

    /// All that are due by now, by name.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<&str> {
        let due = self.order.iter().take_while(|(at, _)| *at <= now);
        let mut due: Vec<_> = due.map(|(_, name)| name.as_str()).collect();
        due.sort_unstable();
        due
    }

    /// The name at this place among all, by name.
    pub(crate) fn nth(&self, n: usize) -> Option<&str> {
        self.times.keys().nth(n).map(String::as_str)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.times.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_is_due_comes_by_name_and_the_earliest_first() {
        let mut agenda = Agenda::default();
        for (name, second) in [("c", 1), ("a", 3), ("b", 2), ("d", 9)] {
            agenda.set(name, at(second));
        }
        assert_eq!(agenda.first(), Some((at(1), "c")));
        assert_eq!(agenda.due(at(3)), ["a", "b", "c"]);
        agenda.remove("c");
        assert_eq!(agenda.first(), Some((at(2), "b")));
    }

    #[test]
    fn a_name_has_one_time() {
        let mut agenda = Agenda::default();
        agenda.set("a", at(5));
        agenda.set_by("a", at(7));
        agenda.set_if_none("a", at(1));
        assert_eq!(agenda.first(), Some((at(5), "a")));
        agenda.set_by("a", at(3));
        assert_eq!(agenda.first(), Some((at(3), "a")));
        agenda.set("a", at(8));
        assert_eq!(agenda.due(at(9)), ["a"]);
        assert_eq!((agenda.len(), agenda.nth(0)), (1, Some("a")));
    }
}
