//! What an event says: the shapes of the senders' bodies, told apart by their structure.
//!
//! Takes a [`VerifiedDelivery`] and nothing else, so that no byte is parsed before its
//! signature holds. Refuses what isn't JSON and what is of no known shape, naming the field
//! and never its value. Unknown fields are ignored.

mod event_type;
mod fields;
mod flat;
mod wrapped;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::event_type::EventType;
use self::fields::Fields;
use super::{
    json::{self, NotJson},
    signature::VerifiedDelivery,
    time::EventTime,
};

/// What a delivery is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Its type, if it is one that the senders know.
    pub event_type: Option<EventType>,
    /// What it says.
    pub message: Message,
}

/// What a delivery says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Several events of one user, each sound or broken by itself.
    Batch(Vec<Item>),
    /// One event.
    One(Box<Event>),
}

/// One of several events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The booking's id, as far as it can be read.
    pub event_id: Option<String>,
    /// The machine's name, as far as it can be read.
    pub resource_name: Option<String>,
    /// The event, or what is wrong with it.
    pub event: Result<Event, Refusal>,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A booking was made or changed: this is what it is now.
    Changed(Booking),
    /// A booking is no more.
    Deleted(Booking),
    /// The time of a booking has come to its end.
    End(Booking),
    /// A type that we don't act on: its name.
    Other(String),
    /// The time of a booking has come.
    Start(Booking),
    /// A type that we act on, without what it would take: the reason.
    Unusable(&'static str),
}

/// A booking, as one event of it tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Booking {
    /// The portal's id of the booking. The minimal shape has none.
    pub event_id: Option<String>,
    /// As of when the portal says so. Of two that differ, the later one holds.
    pub revision: Option<Timestamp>,
    /// The webhook through which it came.
    pub webhook_id: Option<i64>,
    /// The booking's title.
    pub title: Option<String>,
    /// The booking's description.
    pub description: Option<String>,
    /// The portal's id of the user.
    pub user_id: Option<String>,
    /// The user's name.
    pub username: Option<String>,
    /// The user's mail address.
    pub email: Option<String>,
    /// The user's public SSH keys, a line each.
    pub ssh_public_key: Option<String>,
    /// When the booking begins.
    pub start: Option<EventTime>,
    /// When the booking ends.
    pub end: Option<EventTime>,
    /// The portal's custom parameters: JSON in a string, or not.
    pub custom_parameters: Option<String>,
    /// The portal's name of the machine. Anything: it becomes part of no URL.
    pub resource_name: String,
    /// The portal's id of the machine.
    pub resource_id: Option<i64>,
    /// The portal's type of the machine.
    pub resource_type: Option<String>,
    /// What the machine has, in words.
    pub resource_specs: Option<String>,
    /// Where the machine stands, in words.
    pub resource_location: Option<String>,
    /// The portal's id of the site.
    pub site_id: Option<String>,
    /// The portal's name of the site.
    pub site_name: Option<String>,
}

impl Booking {
    /// Whether its start was there, and means an instant: without, its window is a guess.
    pub fn has_start(&self) -> bool {
        let start = self.start.as_ref();
        start.is_some_and(|start| start.instant.is_some())
    }
}

/// Why a delivery says nothing to us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Not one JSON document.
    #[error(transparent)]
    NotJson(#[from] NotJson),
    /// JSON, but not of a shape that we know.
    #[error("{field}: {expected}")]
    Shape {
        /// The field that is at fault.
        field: String,
        /// What was expected there.
        expected: &'static str,
    },
}

/// Reads a delivery.
pub fn parse(delivery: &VerifiedDelivery) -> Result<Delivered, Refusal> {
    let Value::Object(root) = json::parse(delivery.body())? else {
        return Err(shape("body", "must be an object"));
    };
    let root = Fields::root(&root);
    let Some(Value::String(event_type)) = root.value("eventType") else {
        return Err(shape("eventType", "must be a string"));
    };
    Ok(Delivered {
        event_type: EventType::parse(event_type),
        message: message(root, event_type)?,
    })
}

fn message(root: Fields<'_>, event_type: &str) -> Result<Message, Refusal> {
    let events = root.value("events");
    if events.is_some() && root.value("resourceName").is_some() {
        return Err(shape("events", "can't stand beside resourceName"));
    }
    let event = match (event_type, events, root.value("data")) {
        ("EVENT_START", Some(events), _) => {
            return flat::batch(root, events, Event::Start).map(Message::Batch);
        }
        ("EVENT_END", Some(events), _) => {
            return flat::batch(root, events, Event::End).map(Message::Batch);
        }
        ("EVENT_START", None, _) => Event::Start(flat::booking(root)?),
        ("EVENT_END", None, _) => Event::End(flat::booking(root)?),
        ("EVENT_CREATED" | "EVENT_UPDATED", None, Some(data)) => {
            wrapped::event(root, data, Event::Changed)?
        }
        ("EVENT_DELETED", None, Some(data)) => wrapped::event(root, data, Event::Deleted)?,
        (other, _, _) => Event::Other(other.to_owned()),
    };
    Ok(Message::One(Box::new(event)))
}

fn shape(field: impl Into<String>, expected: &'static str) -> Refusal {
    Refusal::Shape {
        field: field.into(),
        expected,
    }
}
