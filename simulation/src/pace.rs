//! Whether anything spins: a controller that does the same again and again without an end may
//! keep every other promise.

use std::time::Duration;

use jiff::Timestamp;

/// How many passes there were of late.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    now: Timestamp,
    at_once: u64,
    since: Timestamp,
    lately: u64,
    most: u64,
    sixes: u64,
}

impl Pace {
    /// None so far.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            now,
            at_once: 0,
            since: now,
            lately: 0,
            most: 0,
            sixes: 1,
        }
    }

    /// For a world with so many bookings.
    pub(crate) fn allow_for(&mut self, bookings: u64) {
        self.sixes = bookings.div_ceil(6).max(1);
    }

    /// One more.
    pub(crate) fn pass(&mut self, now: Timestamp) {
        if now != self.now {
            (self.now, self.at_once) = (now, 0);
        }
        if now >= self.since + SPAN {
            (self.since, self.lately) = (now, 0);
        }
        self.at_once += 1;
        self.lately += 1;
        self.most = self.most.max(self.lately);
    }

    /// The most within ten minutes, since this was last asked.
    pub(crate) fn take_most(&mut self) -> u64 {
        std::mem::take(&mut self.most)
    }

    /// What there is to complain of.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.at_once > MOST_AT_ONCE * self.sixes {
            return Err("it never comes to rest, and time stands still".to_owned());
        }
        if self.lately > MOST_LATELY * self.sixes {
            let lately = self.lately;
            return Err(format!("it spins: {lately} passes within ten minutes"));
        }
        Ok(())
    }
}

const SPAN: Duration = Duration::from_secs(600);

/// More than enough for six bookings of one host, all at once.
const MOST_AT_ONCE: u64 = 2000;

/// A few times what the busiest of many schedules had, of six bookings each.
const MOST_LATELY: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_ten_minutes_are_those_since_they_were_last_asked_for() {
        let mut pace = Pace::new(Timestamp::UNIX_EPOCH);
        for _ in 0..7 {
            pace.pass(Timestamp::UNIX_EPOCH);
        }
        assert_eq!(pace.take_most(), 7);
        pace.pass(Timestamp::UNIX_EPOCH + SPAN);
        assert_eq!(pace.take_most(), 1);
        assert_eq!(pace.take_most(), 0);
    }
}
