//! What an event asks of us, or why nothing.
//!
//! Pure: the settings and the time of receipt come in as values. What it lets through
//! names a resource that may safely be looked up, and a window that is one.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::event::{Booking, Event};

/// What an event asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Intent {
    /// Image the host for its user, from `start` on.
    Begin {
        /// What the event says.
        booking: Box<Booking>,
        /// From when until when.
        window: BookedWindow,
    },
    /// Take the host back.
    End {
        /// What the event says.
        booking: Box<Booking>,
        /// From when until when it was booked.
        window: BookedWindow,
    },
    /// Record what the booking is now: its own times will act.
    Schedule {
        /// What the event says.
        booking: Box<Booking>,
        /// From when until when.
        window: BookedWindow,
    },
    /// Take the host back for good: the booking is no more.
    Delete {
        /// What the event says.
        booking: Box<Booking>,
        /// From when until when it was booked.
        window: BookedWindow,
    },
    /// Give back what was recorded of a booking that has moved to a resource which is not
    /// ours; of one that was never recorded, nothing.
    Withdraw {
        /// What the event says.
        booking: Box<Booking>,
        /// From when until when it is booked.
        window: BookedWindow,
        /// Why it isn't ours, as the sender is told.
        reason: String,
    },
    /// Nothing: the reason, as the sender is told.
    Ignore(String),
}

/// A booking's window, to the second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookedWindow {
    /// The booked start, or the time of receipt where the event has none.
    pub start: Timestamp,
    /// The booked end. Open without.
    pub end: Option<Timestamp>,
}

/// Which events are acted on.
#[derive(Clone, Debug, Default)]
pub struct Filters {
    /// The resource types acted on; empty: all.
    pub resource_types: BTreeSet<String>,
}

/// Decides what an event asks for.
pub fn intent(event: Event, filters: &Filters, now: Timestamp) -> Intent {
    asked(event, filters, now).unwrap_or_else(Intent::Ignore)
}

fn asked(event: Event, filters: &Filters, now: Timestamp) -> Result<Intent, String> {
    match event {
        Event::Other(event_type) => Err(format!("Event type '{}' not handled", shown(&event_type))),
        Event::Unusable(reason) => Err(reason.to_owned()),
        Event::Start(booking) => about(booking, filters, now, |booking, window| {
            if window.end.is_some_and(|end| end <= now) {
                return Err("the booking is over".to_owned());
            }
            Ok(Intent::Begin { booking, window })
        }),
        Event::End(booking) => about(booking, filters, now, |booking, window| {
            Ok(Intent::End { booking, window })
        }),
        // One that puts the end into the past is recorded too: the clock acts on it.
        Event::Changed(booking) => about(booking, filters, now, |booking, window| {
            if !booking.has_start() {
                return Err("the booking's start can't be read".to_owned());
            }
            Ok(Intent::Schedule { booking, window })
        }),
        Event::Deleted(booking) => about(booking, filters, now, |booking, window| {
            Ok(Intent::Delete { booking, window })
        }),
    }
}

/// What is asked of a booking that is ours, by its name and window and type.
fn about(
    booking: Booking,
    filters: &Filters,
    now: Timestamp,
    asked: impl FnOnce(Box<Booking>, BookedWindow) -> Result<Intent, String>,
) -> Result<Intent, String> {
    let window = usable(&booking, now)?;
    match filters.excludes(&booking) {
        None => asked(Box::new(booking), window),
        Some(reason) if booking.event_id.is_none() => Err(reason),
        // It may have been on a host of ours before it was moved.
        Some(reason) => Ok(Intent::Withdraw {
            booking: Box::new(booking),
            window,
            reason,
        }),
    }
}

impl Filters {
    /// Why a booking isn't ours to act on.
    fn excludes(&self, booking: &Booking) -> Option<String> {
        let resource_type = booking.resource_type.as_ref()?;
        let excluded =
            !self.resource_types.is_empty() && !self.resource_types.contains(resource_type);
        excluded.then(|| format!("Resource type '{}' not handled", shown(resource_type)))
    }
}

impl Intent {
    /// The booking that it is about.
    pub fn booking(&self) -> Option<&Booking> {
        match self {
            Self::Begin { booking, .. }
            | Self::Delete { booking, .. }
            | Self::End { booking, .. }
            | Self::Schedule { booking, .. }
            | Self::Withdraw { booking, .. } => Some(booking),
            Self::Ignore(_) => None,
        }
    }

    /// Whether it ends what a host is used for, whatever that is.
    pub fn is_minimal_end(&self) -> bool {
        matches!(self, Self::End { booking, .. } if booking.event_id.is_none())
    }
}

fn usable(booking: &Booking, now: Timestamp) -> Result<BookedWindow, String> {
    if let Some(reason) = no_host_name(&booking.resource_name) {
        return Err(format!("the resource name {reason}"));
    }
    let window = window(booking, now);
    if window.end.is_some_and(|end| end <= window.start) {
        return Err("the booking ends before it starts".to_owned());
    }
    Ok(window)
}

/// A start that can't be read is the time of receipt, and then there is no end either:
/// half a window would let the clock act on a guess.
fn window(booking: &Booking, now: Timestamp) -> BookedWindow {
    let instant =
        |time: &Option<super::time::EventTime>| time.as_ref().and_then(|time| time.instant);
    match instant(&booking.start) {
        Some(start) => BookedWindow {
            start,
            end: instant(&booking.end),
        },
        None => BookedWindow {
            start: now
                .checked_sub(SignedDuration::from_nanos(now.subsec_nanosecond().into()))
                .unwrap_or(now),
            end: None,
        },
    }
}

/// Why no host can have this name. The characters are those that would change the meaning
/// of a URL that somebody builds from the name without escaping it.
fn no_host_name(name: &str) -> Option<&'static str> {
    if name.trim().is_empty() {
        Some("is empty")
    } else if matches!(name, "." | "..") {
        Some("is a relative path")
    } else if name.chars().count() > LONGEST_NAME {
        Some("is longer than 253 characters")
    } else if name.chars().any(char::is_control) {
        Some("holds a control character")
    } else if name.contains(['/', '\\', '?', '#', '%']) {
        Some("holds one of / \\ ? # %")
    } else {
        None
    }
}

/// A sender's text as it may stand in an answer and in the log: on one line, and short.
pub(super) fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().take(LONGEST_SHOWN).map(plain).collect()
}

const LONGEST_NAME: usize = 253;

const LONGEST_SHOWN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::time::EventTime;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn booking(name: &str, start: &str, end: &str) -> Booking {
        let time = |text: &str| EventTime::from_json(&text.into());
        Booking {
            resource_name: name.to_owned(),
            start: time(start),
            end: time(end),
            ..Booking::default()
        }
    }

    fn start(booking: Booking, now: &str) -> Intent {
        intent(Event::Start(booking), &Filters::default(), at(now))
    }

    #[test]
    fn names_that_no_host_can_have_are_ignored() {
        let long = "x".repeat(254);
        for name in [
            "",
            " ",
            ".",
            "..",
            "../secrets/x",
            "a/b",
            "x?dryRun=All",
            "x#y",
            "x%2fy",
            "a\\b",
            "x\0y",
            "restart-srv01\n",
            &long,
        ] {
            let intent = start(booking(name, "", ""), "2025-07-03T15:00:00Z");
            assert!(matches!(intent, Intent::Ignore(_)), "{name:?}");
        }
    }

    #[test]
    fn a_start_that_cannot_be_read_is_the_time_of_receipt_and_open_ended() {
        let intent = start(
            booking("srv", "yesterday", "2025-07-03T17:20:00Z"),
            "2025-07-03T15:00:00.25Z",
        );
        let Intent::Begin { window, .. } = intent else {
            panic!("{intent:?}")
        };
        assert_eq!(window.start, at("2025-07-03T15:00:00Z"));
        assert_eq!(window.end, None);
    }

    #[test]
    fn an_empty_or_reversed_window_is_ignored_for_start_and_end() {
        for (from, until) in [
            ("2025-07-03T15:20:00Z", "2025-07-03T15:20:00Z"),
            ("2025-07-03T15:20:00Z", "2025-07-03T15:00:00Z"),
        ] {
            let now = at("2025-07-03T14:00:00Z");
            for event in [Event::Start, Event::End] {
                let event = event(booking("srv", from, until));
                assert!(matches!(
                    intent(event, &Filters::default(), now),
                    Intent::Ignore(_)
                ));
            }
        }
    }

    #[test]
    fn a_start_after_its_end_is_ignored_and_an_end_is_not() {
        let over = booking("srv", "2025-07-03T15:20:00Z", "2025-07-03T17:20:00Z");
        let now = at("2025-07-03T17:20:00Z");
        let filters = Filters::default();
        assert!(matches!(
            intent(Event::Start(over.clone()), &filters, now),
            Intent::Ignore(_)
        ));
        assert!(matches!(
            intent(Event::End(over), &filters, now),
            Intent::End { .. }
        ));
    }

    #[test]
    fn what_a_sender_writes_fills_neither_the_answer_nor_the_log() {
        let ignored = |event_type: &str| {
            let event = Event::Other(event_type.to_owned());
            match intent(event, &Filters::default(), at("2025-07-03T15:00:00Z")) {
                Intent::Ignore(reason) => reason,
                intent => panic!("{intent:?}"),
            }
        };
        assert_eq!(
            ignored("EVENT_START "),
            "Event type 'EVENT_START ' not handled"
        );
        let hostile = ignored(&format!("a\nWARN all is lost{}", "x".repeat(1_000_000)));
        assert!(hostile.len() < 100 && !hostile.contains('\n'), "{hostile}");
    }

    #[test]
    fn types_that_are_not_asked_for_are_ignored_unless_the_event_names_none() {
        let filters = Filters {
            resource_types: BTreeSet::from(["Server".to_owned()]),
        };
        let now = at("2025-07-03T15:00:00Z");
        let typed = |resource_type: Option<&str>, event_id: Option<&str>| {
            let booking = Booking {
                event_id: event_id.map(str::to_owned),
                resource_type: resource_type.map(str::to_owned),
                ..booking("srv", "", "")
            };
            intent(Event::Start(booking), &filters, now)
        };
        for taken in [Some("Server"), None] {
            assert!(matches!(typed(taken, None), Intent::Begin { .. }));
        }
        let why = "Resource type 'Switch Port' not handled";
        assert_eq!(
            typed(Some("Switch Port"), None),
            Intent::Ignore(why.to_owned())
        );
        // One that has an id may be known, on a host of ours.
        assert!(matches!(
            typed(Some("Switch Port"), Some("101")),
            Intent::Withdraw { reason, .. } if reason == why
        ));
    }
}
