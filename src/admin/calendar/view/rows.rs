//! The rows of the page, from what the caches hold.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use metal3::BareMetalHost;

use super::{
    Bar, Facts, Free, Holder, HostRow, Tag, Trouble,
    standing::{Standing, why},
};
use crate::{
    admin::calendar::{
        timeline::{Place, Range, open_end},
        times::Moment,
    },
    api::{
        GROUP,
        calendar::{Booking, HostCalendarStatus},
        v1::Reservation,
    },
    reservations::{calendar, lookup::named_host},
};

/// The facts, looked at once.
pub(super) struct Looked<'a> {
    facts: &'a Facts,
    range: &'a Range,
    now: Timestamp,
    /// By their start.
    entries: Vec<Entry<'a>>,
    calendars: BTreeMap<String, HostCalendarStatus>,
}

/// A reservation, or a booking whose reservation has not been heard of yet.
struct Entry<'a> {
    standing: Standing,
    name: String,
    host: Option<String>,
    from: Timestamp,
    /// Where it is drawn to.
    to: Timestamp,
    holder: Holder,
    reservation: Option<&'a Reservation>,
}

impl<'a> Looked<'a> {
    pub(super) fn at(facts: &'a Facts, range: &'a Range, now: Timestamp) -> Self {
        let calendars = facts.calendars.iter().map(|calendar| {
            let status = calendar.status.clone().unwrap_or_default();
            // What was written there was right when it was written.
            let status = calendar::refreshed(&status, now).unwrap_or(status);
            (calendar.name_any(), status)
        });
        let mut looked = Self {
            facts,
            range,
            now,
            entries: Vec::new(),
            calendars: calendars.collect(),
        };
        let hosts: BTreeSet<_> = facts.hosts.iter().map(BareMetalHost::name).collect();
        let known: BTreeSet<_> = facts
            .reservations
            .iter()
            .map(ResourceExt::name_any)
            .collect();
        let mut entries: Vec<_> = facts
            .reservations
            .iter()
            .map(|reservation| looked.entry(reservation, &hosts))
            .collect();
        for (host, calendar) in &looked.calendars {
            let unheard = calendar.bookings.iter();
            let unheard = unheard.filter(|booking| !known.contains(&booking.name));
            entries.extend(unheard.map(|booking| looked.unheard(host, booking)));
        }
        entries.sort_by(|a, b| (a.from, &a.name).cmp(&(b.from, &b.name)));
        looked.entries = entries;
        looked
    }

    /// The hosts by name, and where their bars are, in the order of the bars' numbers.
    pub(super) fn hosts(&self) -> (Vec<HostRow>, Vec<Place>) {
        let known = self
            .facts
            .hosts
            .iter()
            .map(|host| (host.name(), Some(host)));
        let mut hosts: BTreeMap<&str, Option<&BareMetalHost>> = known.collect();
        for entry in &self.entries {
            if let Some(host) = entry.host.as_deref().filter(|_| self.is_shown(entry)) {
                hosts.entry(host).or_default();
            }
        }
        let mut places = Vec::new();
        let rows = hosts
            .into_iter()
            .map(|(name, host)| self.host(name, host, &mut places))
            .collect();
        (rows, places)
    }

    /// Those that wait, and those that failed not long ago.
    pub(super) fn troubles(&self) -> Vec<Trouble> {
        let troubles = self.entries.iter().filter_map(|entry| {
            let reservation = entry.reservation?;
            let is_trouble = match entry.standing {
                Standing::Waiting => true,
                Standing::Failed => {
                    let last = last_change(reservation).unwrap_or(entry.to);
                    last + RECENT > self.now
                }
                _ => false,
            };
            is_trouble.then(|| Trouble {
                holder: entry.holder.clone(),
                host: entry
                    .host
                    .clone()
                    .or_else(|| named_host(reservation).map(str::to_owned)),
                tag: entry.standing.tag(),
                why: why(reservation),
            })
        });
        troubles.collect()
    }

    fn host(&self, name: &str, host: Option<&BareMetalHost>, places: &mut Vec<Place>) -> HostRow {
        let entries: Vec<_> = self
            .entries
            .iter()
            .filter(|entry| entry.host.as_deref() == Some(name))
            .collect();
        let now = entries.iter().find(|entry| entry.standing.holds());
        let next = entries
            .iter()
            .find(|entry| entry.standing == Standing::Booked);
        let mut shown: Vec<_> = entries.iter().filter(|it| self.is_shown(it)).collect();
        // What the host is really taken by comes first, and what only asks for it below.
        shown.sort_by_key(|it| matches!(it.standing, Standing::Waiting | Standing::Failed));
        let stretches: Vec<_> = shown.iter().map(|it| (it.from, it.to)).collect();
        let mut bars = Vec::new();
        for (entry, place) in shown.iter().zip(self.range.place(&stretches)) {
            bars.push(entry.bar(places.len(), place));
            places.push(place);
        }
        HostRow {
            name: name.to_owned(),
            tag: match (now, host) {
                (Some(entry), _) => entry.standing.tag(),
                (None, Some(host)) => unheld(host),
                (None, None) => tag("no such host", "failed"),
            },
            note: host.and_then(note),
            now: now.map(|entry| entry.holder.clone()),
            next: next.map(|entry| entry.holder.clone()),
            free: self.free(name, host, now.copied()),
            bars,
        }
    }

    fn free(&self, name: &str, host: Option<&BareMetalHost>, now: Option<&Entry<'_>>) -> Free {
        let calendar = self.calendars.get(name);
        let from = calendar.and_then(|calendar| calendar.free_from.as_deref());
        match (from, now) {
            (None | Some("now"), None) => match host {
                Some(host) if host.is_available() && host.consumer().is_none() => {
                    Free::Words("now")
                }
                _ => Free::Words("not now"),
            },
            (None | Some("now" | "once clean"), _) => Free::Words("once clean"),
            (Some("unknown"), _) => Free::Words("when it is given back"),
            (Some(text), _) => match text.parse() {
                Ok(at) => Free::At(Moment::new(at, self.now)),
                Err(_) => Free::Words("not known"),
            },
        }
    }

    fn is_shown(&self, entry: &Entry<'_>) -> bool {
        self.range.shows(entry.from, entry.to)
    }

    fn entry(&self, reservation: &'a Reservation, hosts: &BTreeSet<&str>) -> Entry<'a> {
        let standing = Standing::of(reservation, self.now);
        let status = reservation.status.clone().unwrap_or_default();
        let window = &reservation.spec.window;
        let booked = window.start.as_ref().map(|start| start.0);
        let begun = status.begin_time.map(|time| time.0);
        let created = reservation.metadata.creation_timestamp.as_ref();
        let from = begun.or(booked).or_else(|| created.map(|time| time.0));
        let from = from.unwrap_or(self.now);
        let until = window.end.as_ref().map(|end| end.0);
        let released = status.released_time.map(|time| time.0);
        let to = match standing {
            Standing::Over | Standing::Failed => released.or(until).unwrap_or(from),
            // Its time may be over, and the host is its own all the same.
            _ if standing.holds() => {
                until.map_or_else(|| open_end(self.range), |to| to.max(self.now))
            }
            _ => until.unwrap_or_else(|| open_end(self.range)),
        };
        let pinned = status.host_ref.map(|host| host.name);
        let host = pinned.or(status.calendar).or_else(|| {
            let asked = named_host(reservation)?.to_owned();
            hosts.contains(asked.as_str()).then_some(asked)
        });
        let name = reservation.name_any();
        let person = reservation.spec.requester.as_ref();
        let person = person.and_then(|person| person.username.clone());
        let person = person.filter(|_| self.facts.show_users);
        Entry {
            standing,
            host,
            from,
            to,
            holder: Holder {
                record: person.is_some().then(|| name.clone()),
                who: person.unwrap_or_else(|| name.clone()),
                from: Moment::new(from, self.now),
                // Seen from its start: what ends on the day it begins has no date twice.
                until: until.map(|until| Moment::new(until, from)),
            },
            name,
            reservation: Some(reservation),
        }
    }

    fn unheard(&self, host: &str, booking: &Booking) -> Entry<'a> {
        let start = booking.start.as_ref().map(|time| time.0);
        let end = booking.end.as_ref().map(|time| time.0);
        let from = start.unwrap_or(self.now);
        Entry {
            standing: Standing::Booked,
            name: booking.name.clone(),
            host: Some(host.to_owned()),
            from,
            to: end.unwrap_or_else(|| open_end(self.range)),
            holder: Holder {
                who: booking.name.clone(),
                record: None,
                from: Moment::new(from, self.now),
                until: end.map(|end| Moment::new(end, from)),
            },
            reservation: None,
        }
    }
}

impl Entry<'_> {
    fn bar(&self, number: usize, place: Place) -> Bar {
        let tag = self.standing.tag();
        let Holder {
            who, from, until, ..
        } = &self.holder;
        let until = until.as_ref().map_or("open", |until| &until.text);
        Bar {
            number,
            title: format!("{who}, {}: {} – {until}", tag.word, from.text),
            who: who.clone(),
            tag,
            goes_on_before: place.goes_on_before,
            goes_on_after: place.goes_on_after,
        }
    }
}

/// What a host is to be called that none of our reservations has.
fn unheld(host: &BareMetalHost) -> Tag {
    let consumer = host.consumer();
    if consumer.is_some_and(|consumer| consumer.group() == Some(GROUP)) {
        // Its record has not been heard of yet, or is gone.
        tag("held", "active")
    } else if consumer.is_some() {
        tag("somebody else’s", "over")
    } else if host.has_error() {
        tag("in error", "failed")
    } else if host.is_available() {
        tag("free", "free")
    } else {
        let state = host.state().as_str();
        tag(if state.is_empty() { "unknown" } else { state }, "over")
    }
}

fn note(host: &BareMetalHost) -> Option<String> {
    let notes = [
        (host.is_deleting(), "being deleted"),
        (host.has_error() && host.consumer().is_some(), "in error"),
        (host.is_paused(), "paused"),
        (host.is_detached(), "detached"),
    ];
    let notes: Vec<_> = notes.iter().filter(|it| it.0).map(|it| it.1).collect();
    (!notes.is_empty()).then(|| notes.join(", "))
}

fn last_change(reservation: &Reservation) -> Option<Timestamp> {
    let conditions = &reservation.status.as_ref()?.conditions;
    let changes = conditions.iter().map(|it| it.last_transition_time.0);
    changes.max()
}

fn tag(word: &str, class: &'static str) -> Tag {
    Tag {
        word: word.to_owned(),
        class,
    }
}

/// For so long a failure is news.
const RECENT: SignedDuration = SignedDuration::from_hours(24);
