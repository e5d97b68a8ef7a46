//! What an event says: the shapes of the senders' bodies, told apart by their structure.
//!
//! Takes a [`VerifiedDelivery`] and nothing else, so that no byte is parsed before its
//! signature holds. Refuses what isn't JSON and what is of no known shape, naming the field
//! and never its value. Unknown fields are ignored.

use serde_json::{Map, Value};

use super::{
    json::{self, NotJson},
    signature::VerifiedDelivery,
    time::EventTime,
};

/// What a delivery says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The time of a booking has come to its end.
    End(Booking),
    /// A type that we don't act on: its name.
    Other(String),
    /// The time of a booking has come.
    Start(Booking),
}

/// A booking, as one event of it tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Booking {
    /// The portal's id of the booking. The minimal shape has none.
    pub event_id: Option<String>,
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
        field: &'static str,
        /// What was expected there.
        expected: &'static str,
    },
}

/// Reads a delivery.
pub fn parse(delivery: &VerifiedDelivery) -> Result<Event, Refusal> {
    let Value::Object(root) = json::parse(delivery.body())? else {
        return Err(shape("body", "must be an object"));
    };
    let Some(Value::String(event_type)) = root.get("eventType") else {
        return Err(shape("eventType", "must be a string"));
    };
    if root.contains_key("events") && root.contains_key("resourceName") {
        return Err(shape("events", "can't stand beside resourceName"));
    }
    match event_type.as_str() {
        "EVENT_START" => flat(&root).map(Event::Start),
        "EVENT_END" => flat(&root).map(Event::End),
        other => Ok(Event::Other(other.to_owned())),
    }
}

/// The minimal shape (`eventType`, `resourceName`) and the flat ones of the processor.
fn flat(root: &Map<String, Value>) -> Result<Booking, Refusal> {
    if root.contains_key("events") {
        return Err(shape("events", "the batch shape is not taken"));
    }
    let Some(Value::String(resource_name)) = root.get("resourceName") else {
        return Err(shape("resourceName", "must be a string"));
    };
    Ok(Booking {
        event_id: id(root, "eventId")?,
        webhook_id: integer(root, "webhookId"),
        title: text(root, "eventTitle")?,
        description: text(root, "eventDescription")?,
        user_id: id(root, "userId")?,
        username: text(root, "username")?,
        email: text(root, "email")?,
        ssh_public_key: text(root, "sshPublicKey")?,
        start: root.get("eventStart").and_then(EventTime::from_json),
        end: root.get("eventEnd").and_then(EventTime::from_json),
        custom_parameters: parameters(root),
        resource_name: resource_name.clone(),
        resource_id: integer(root, "resourceId"),
        resource_type: text(root, "resourceType")?,
        resource_specs: text(root, "resourceSpecs")?,
        resource_location: text(root, "resourceLocation")?,
        site_id: id(root, "siteId")?,
        site_name: text(root, "siteName")?,
    })
}

/// Absent, null and empty all mean that the sender doesn't know.
fn text(root: &Map<String, Value>, field: &'static str) -> Result<Option<String>, Refusal> {
    match root.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.trim().is_empty())),
        Some(_) => Err(shape(field, "must be a string")),
    }
}

/// Ids are strings in some versions of the sender and numbers in others.
fn id(root: &Map<String, Value>, field: &'static str) -> Result<Option<String>, Refusal> {
    match root.get(field) {
        Some(Value::Number(number)) if !number.is_f64() => Ok(Some(number.to_string())),
        Some(Value::Number(_)) => Err(shape(field, "must be a string or a whole number")),
        _ => text(root, field),
    }
}

/// A number that the event can do without: one that makes no sense is left out.
fn integer(root: &Map<String, Value>, field: &str) -> Option<i64> {
    let value = match root.get(field)? {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    (value >= 0).then_some(value)
}

/// A string by contract; an object is kept as its text.
fn parameters(root: &Map<String, Value>) -> Option<String> {
    match root.get("customParameters")? {
        Value::Null => None,
        Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        other => Some(other.to_string()),
    }
}

fn shape(field: &'static str, expected: &'static str) -> Refusal {
    Refusal::Shape { field, expected }
}
