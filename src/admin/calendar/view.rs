//! What the page says: a pure function of what the caches hold and the time.
//!
//! People are named here or nowhere, so that no template can name one by mistake.

mod rows;
mod standing;

use std::fmt::Write as _;

use jiff::Timestamp;
use metal3::BareMetalHost;

use self::rows::Looked;
use super::{
    timeline::{Range, Span, Tick},
    times::{Moment, length},
};
use crate::{
    api::{calendar::HostCalendar, v1::Reservation},
    reservations::caches::Freshness,
};

/// What is known.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    pub(super) reservations: Vec<Reservation>,
    pub(super) calendars: Vec<HostCalendar>,
    pub(super) hosts: Vec<BareMetalHost>,
    pub(super) freshness: Freshness,
    pub(super) show_users: bool,
}

/// What the reader asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Choice {
    pub(super) span: Span,
    /// Whether the page is to stay as it is.
    pub(super) is_still: bool,
}

/// The page.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) now: Moment,
    pub(super) notice: Option<Notice>,
    pub(super) counts: Vec<Count>,
    pub(super) ticks: Vec<Tick>,
    pub(super) hosts: Vec<HostRow>,
    pub(super) troubles: Vec<Trouble>,
    pub(super) is_week: bool,
    pub(super) is_still: bool,
    /// Style rules: where each bar is. Numbers only.
    pub(super) places: String,
}

/// What the reader must know before believing the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Notice {
    pub(super) text: &'static str,
    pub(super) since: Option<(Moment, String)>,
}

/// How many hosts or reservations are so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) number: usize,
    pub(super) tag: Tag,
}

/// A word, with the colour that goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) word: String,
    pub(super) class: &'static str,
}

/// A host.
#[derive(Clone, Debug)]
pub(super) struct HostRow {
    pub(super) name: String,
    pub(super) tag: Tag,
    pub(super) note: Option<String>,
    pub(super) now: Option<Holder>,
    pub(super) next: Option<Holder>,
    pub(super) free: Free,
    pub(super) bars: Vec<Bar>,
}

/// Who has a host, or will.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) who: String,
    /// The Reservation, where `who` is a person.
    pub(super) record: Option<String>,
    pub(super) from: Moment,
    pub(super) until: Option<Moment>,
}

/// From when nobody has a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Free {
    At(Moment),
    Words(&'static str),
}

/// A stretch on the timeline.
#[derive(Clone, Debug)]
pub(super) struct Bar {
    pub(super) number: usize,
    pub(super) who: String,
    pub(super) tag: Tag,
    pub(super) goes_on_before: bool,
    pub(super) goes_on_after: bool,
    pub(super) title: String,
}

/// A reservation that waits, or has failed.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) holder: Holder,
    pub(super) host: Option<String>,
    pub(super) tag: Tag,
    pub(super) why: String,
}

impl Choice {
    /// What is not understood is not asked for.
    pub(super) fn read(query: &str) -> Self {
        let is_asked = |word: &str| query.split('&').any(|given| given == word);
        Self {
            span: if is_asked("view=week") {
                Span::Week
            } else {
                Span::Day
            },
            is_still: is_asked("refresh=off"),
        }
    }
}

/// The page, as it is now.
pub(super) fn view(facts: &Facts, choice: Choice, now: Timestamp) -> View {
    let range = Range::around(choice.span, now);
    let looked = Looked::at(facts, &range, now);
    let (hosts, places) = looked.hosts();
    let mut rules = range.rules(now);
    for (number, place) in places.iter().enumerate() {
        let (from, to, lane) = (place.from, place.to, place.lane);
        // Writing to a String doesn't fail.
        let _ = write!(
            rules,
            "#b{number}{{grid-area:{lane}/{from}/{}/{to}}}",
            lane + 1
        );
    }
    let troubles = looked.troubles();
    View {
        now: Moment::new(now, now),
        notice: notice(facts.freshness, now),
        counts: counts(&hosts, &troubles),
        ticks: range.ticks(),
        hosts,
        troubles,
        is_week: choice.span == Span::Week,
        is_still: choice.is_still,
        places: rules,
    }
}

fn notice(freshness: Freshness, now: Timestamp) -> Option<Notice> {
    match freshness {
        Freshness::Current => None,
        Freshness::AsOf(since) => Some(Notice {
            text: "The API server can’t be watched. This is the last that was known:",
            since: Some((
                Moment::new(since, now),
                length(now.as_second() - since.as_second()),
            )),
        }),
        Freshness::Unknown => Some(Notice {
            text: "The API server has not told everything yet: what is here may lack much.",
            since: None,
        }),
    }
}

/// Each word once; what is in trouble last.
fn counts(hosts: &[HostRow], troubles: &[Trouble]) -> Vec<Count> {
    let tags = hosts.iter().map(|host| &host.tag);
    let tags = tags.chain(troubles.iter().map(|trouble| &trouble.tag));
    let mut counts: Vec<Count> = Vec::new();
    for tag in tags {
        match counts.iter_mut().find(|count| count.tag == *tag) {
            Some(count) => count.number += 1,
            None => counts.push(Count {
                number: 1,
                tag: tag.clone(),
            }),
        }
    }
    counts.sort_by_key(|count| CLASSES.iter().position(|class| *class == count.tag.class));
    counts
}

/// The classes of tags, as they follow each other.
const CLASSES: [&str; 8] = [
    "active",
    "preparing",
    "wiping",
    "booked",
    "free",
    "over",
    "waiting",
    "failed",
];

#[cfg(test)]
mod tests;
