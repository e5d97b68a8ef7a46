//! Instants as the page shows them: UTC, without the date where it is today's.

use jiff::{Timestamp, tz::TimeZone};

/// An instant, for people and for programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) text: String,
    pub(super) iso: String,
}

impl Moment {
    pub(super) fn new(at: Timestamp, now: Timestamp) -> Self {
        let form = if day(at) == day(now) {
            "%H:%M"
        } else if year(at) == year(now) {
            "%a %-d %b %H:%M"
        } else {
            "%-d %b %Y %H:%M"
        };
        Self {
            text: at.strftime(form).to_string(),
            iso: at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        }
    }
}

/// `2 h 5 min`, `3 d`: roughly, as one says it.
pub(super) fn length(seconds: i64) -> String {
    let minutes = seconds.max(0) / 60;
    match (minutes / (24 * 60), minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => format!("{} s", seconds.max(0)),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, 0) => format!("{hours} h"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, 0, _) => format!("{days} d"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

fn day(at: Timestamp) -> jiff::civil::Date {
    at.to_zoned(TimeZone::UTC).date()
}

fn year(at: Timestamp) -> i16 {
    day(at).year()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_says_as_much_as_is_needed() {
        let now: Timestamp = "2026-11-24T18:00:00Z".parse().unwrap();
        for (at, text) in [
            ("2026-11-24T09:05:07Z", "09:05"),
            ("2026-11-25T00:00:00Z", "Wed 25 Nov 00:00"),
            ("2027-01-02T10:00:00Z", "2 Jan 2027 10:00"),
        ] {
            assert_eq!(Moment::new(at.parse().unwrap(), now).text, text);
        }
        assert_eq!(
            Moment::new("2026-11-24T09:05:07.9Z".parse().unwrap(), now).iso,
            "2026-11-24T09:05:07Z"
        );
        // The ends of what can be told are no panic.
        Moment::new(Timestamp::MAX, now);
        Moment::new(Timestamp::MIN, now);
    }

    #[test]
    fn a_length_is_rough() {
        for (seconds, text) in [
            (-5, "0 s"),
            (59, "59 s"),
            (61, "1 min"),
            (7200, "2 h"),
            (7500, "2 h 5 min"),
            (90_000, "1 d 1 h"),
            (259_260, "3 d"),
        ] {
            assert_eq!(length(seconds), text);
        }
    }
}
