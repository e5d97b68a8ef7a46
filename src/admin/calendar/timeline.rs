//! Where a stretch of time is drawn: columns of a grid, and lanes where stretches cross.

use std::{fmt::Write as _, time::Duration};

use jiff::{SignedDuration, Timestamp, ToSpan, tz::TimeZone};

/// How much is shown at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Span {
    #[default]
    Day,
    Week,
}

/// The stretch that is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) span: Span,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
}

/// A mark on the scale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    pub(super) text: String,
    /// Left out where there is little room.
    pub(super) is_minor: bool,
}

/// A place on the timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) lane: u32,
    pub(super) goes_on_before: bool,
    pub(super) goes_on_after: bool,
}

impl Range {
    /// A day is shown from a little before now on, a week from this day's midnight on.
    pub(super) fn around(span: Span, now: Timestamp) -> Self {
        let hour = now.as_second().div_euclid(3600) * 3600;
        let midnight = now.as_second().div_euclid(86_400) * 86_400;
        let (first, length) = match span {
            Span::Day => (hour - 3 * 3600, 24 * 3600),
            Span::Week => (midnight, 7 * 86_400),
        };
        let start = Timestamp::from_second(first).unwrap_or(Timestamp::MIN);
        let end = start
            .checked_add(SignedDuration::from_secs(length))
            .unwrap_or(Timestamp::MAX);
        Self { span, start, end }
    }

    /// Whether any of it is shown.
    pub(super) fn shows(&self, from: Timestamp, to: Timestamp) -> bool {
        from < self.end && to > self.start
    }

    pub(super) fn columns(&self) -> u32 {
        match self.span {
            Span::Day => 288,
            Span::Week => 336,
        }
    }

    /// How many lines there are between the hours, or the days.
    pub(super) fn divisions(&self) -> u32 {
        match self.span {
            Span::Day => 24,
            Span::Week => 7,
        }
    }

    /// The grid's line at, or just before, an instant.
    pub(super) fn line(&self, at: Timestamp) -> u32 {
        let seconds = at.as_second() - self.start.as_second();
        let whole = self.end.as_second() - self.start.as_second();
        let columns = i64::from(self.columns());
        let line = seconds * columns / whole.max(1);
        u32::try_from(line.clamp(0, columns)).unwrap_or_default() + 1
    }

    pub(super) fn ticks(&self) -> Vec<Tick> {
        let (count, step) = match self.span {
            Span::Day => (8, 3.hours()),
            Span::Week => (7, 24.hours()),
        };
        let mut at = self.start;
        let mut ticks = Vec::new();
        for n in 0..count {
            let civil = at.to_zoned(TimeZone::UTC).datetime();
            // The label nearest to a midnight says which day it is the first hours of.
            let is_new_day = self.span == Span::Week || n > 0 && civil.hour() < 3;
            let text = match (self.span, is_new_day) {
                (Span::Week, _) => at.strftime("%a %-d").to_string(),
                (Span::Day, true) => at.strftime("%a %H:%M").to_string(),
                (Span::Day, false) => at.strftime("%H:%M").to_string(),
            };
            ticks.push(Tick {
                text,
                is_minor: n % 2 == 1,
            });
            at = at.checked_add(step).unwrap_or(Timestamp::MAX);
        }
        ticks
    }

    /// Places stretches so that none covers another: the first come highest.
    pub(super) fn place(&self, stretches: &[(Timestamp, Timestamp)]) -> Vec<Place> {
        let mut lanes: Vec<Vec<(u32, u32)>> = Vec::new();
        let place = |&(from, to): &(Timestamp, Timestamp)| {
            let first = self.line(from).min(self.columns());
            let last = self.line(to).max(first + 1);
            let is_free = |lane: &Vec<(u32, u32)>| {
                let mut taken = lane.iter();
                taken.all(|(from, to)| last <= *from || *to <= first)
            };
            let lane = lanes.iter().position(is_free).unwrap_or(lanes.len());
            if lane == lanes.len() {
                lanes.push(Vec::new());
            }
            lanes[lane].push((first, last));
            Place {
                from: first,
                to: last,
                lane: u32::try_from(lane).unwrap_or_default() + 1,
                goes_on_before: from < self.start,
                goes_on_after: to > self.end,
            }
        };
        stretches.iter().map(place).collect()
    }

    /// The style rules that don't depend on what is shown.
    pub(super) fn rules(&self, now: Timestamp) -> String {
        let mut rules = String::new();
        // Writing to a String doesn't fail.
        let _ = write!(
            rules,
            ".track{{--columns:{};--divisions:{}}}.now{{left:{:.2}%}}",
            self.columns(),
            self.divisions(),
            f64::from(self.line(now) - 1) * 100.0 / f64::from(self.columns()),
        );
        rules
    }
}

/// The end of a stretch that has none.
pub(super) fn open_end(range: &Range) -> Timestamp {
    range
        .end
        .checked_add(Duration::from_secs(1))
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn day() -> Range {
        Range::around(Span::Day, at("2026-11-24T18:20:00Z"))
    }

    #[test]
    fn a_day_begins_a_little_before_now_and_a_week_with_today() {
        assert_eq!(day().start, at("2026-11-24T15:00:00Z"));
        assert_eq!(day().end, at("2026-11-25T15:00:00Z"));
        let week = Range::around(Span::Week, at("2026-11-24T18:20:00Z"));
        assert_eq!(week.start, at("2026-11-24T00:00:00Z"));
        assert_eq!(week.end, at("2026-12-01T00:00:00Z"));
        let ticks = |range: &Range| {
            let ticks = range.ticks().into_iter();
            ticks.map(|tick| tick.text).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            ticks(&day()),
            "15:00 18:00 21:00 Wed 00:00 03:00 06:00 09:00 12:00"
        );
        assert_eq!(
            ticks(&week),
            "Tue 24 Wed 25 Thu 26 Fri 27 Sat 28 Sun 29 Mon 30"
        );
    }

    #[test]
    fn what_crosses_gets_lanes_and_what_follows_does_not() {
        let stretches = [
            (at("2026-11-24T10:00:00Z"), at("2026-11-24T19:00:00Z")),
            (at("2026-11-24T18:00:00Z"), at("2026-11-24T20:00:00Z")),
            (at("2026-11-24T19:00:00Z"), at("2026-11-26T00:00:00Z")),
        ];
        let places = day().place(&stretches);
        let lanes: Vec<_> = places.iter().map(|place| place.lane).collect();
        assert_eq!(lanes, [1, 2, 1]);
        assert_eq!((places[0].from, places[0].to), (1, 49));
        assert!(places[0].goes_on_before && !places[0].goes_on_after);
        assert_eq!(places[2].to, 289);
        assert!(places[2].goes_on_after);
    }

    #[test]
    fn the_shortest_and_the_longest_stretch_stay_on_the_grid() {
        let range = day();
        let (first, last) = (Timestamp::MIN, Timestamp::MAX);
        for stretch in [(first, last), (last, last), (first, first)] {
            let place = range.place(&[stretch])[0];
            assert!(place.from >= 1 && place.from < place.to && place.to <= 289);
        }
    }
}
