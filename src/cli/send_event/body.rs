//! The bodies of all senders there have been, each in its own order of fields: what an
//! operator sends for a test is, byte for byte, what that sender would send.
//!
//! Leaves out what isn't there, as they do. Judges nothing: a test may want a wrong event.
//! Called by `send-event` alone.

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use jiff::Timestamp;
use serde::Serialize;

/// Which sender's form, named for its last version where it isn't the current one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Shape {
    /// The event processor's, today
    Flat,
    /// The event processor's, 0.1.17: without a webhook id
    #[value(name = "flat-0.1.17")]
    Flat0117,
    /// The event processor's, up to 0.1.11: without custom parameters either
    #[value(name = "flat-0.1.11")]
    Flat0111,
    /// The event processor's, 0.1.16: several bookings of one user
    #[value(name = "batch-0.1.16")]
    Batch0116,
    /// The event processor's, 0.1.15: without custom parameters
    #[value(name = "batch-0.1.15")]
    Batch0115,
    /// The event processor's, 0.1.13 and 0.1.14: without a webhook id either
    #[value(name = "batch-0.1.14")]
    Batch0114,
    /// The event processor's, 0.1.12: without the user's other bookings either
    #[value(name = "batch-0.1.12")]
    Batch0112,
    /// The portal's own, of a booking that was created, changed or deleted
    Portal,
    /// The portal's own, where it failed to write the booking down
    PortalText,
    /// The portal's button "Test webhook", with the type ALL
    Test,
    /// Type and resource alone
    Minimal,
}

/// What an event tells.
#[derive(Clone, Debug)]
pub(super) struct Told<'a> {
    pub(super) event_type: &'a str,
    pub(super) timestamp: Timestamp,
    pub(super) webhook_id: i64,
    pub(super) user: User<'a>,
    pub(super) bookings: Vec<Booking<'a>>,
}

/// Whom the bookings are for.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct User<'a> {
    pub(super) user_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ssh_public_key: Option<&'a str>,
}

/// What is booked, and when.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Booking<'a> {
    /// Stands elsewhere in the flat shapes.
    #[serde(skip)]
    pub(super) event_id: String,
    #[serde(rename = "eventTitle")]
    pub(super) title: &'a str,
    #[serde(rename = "eventDescription", skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<&'a str>,
    #[serde(rename = "eventStart")]
    pub(super) start: Timestamp,
    #[serde(rename = "eventEnd")]
    pub(super) end: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) custom_parameters: Option<&'a str>,
    #[serde(flatten)]
    pub(super) resource: Resource<'a>,
    pub(super) site_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) site_name: Option<&'a str>,
}

/// The booked resource.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Resource<'a> {
    #[serde(rename = "resourceId")]
    pub(super) id: i64,
    #[serde(rename = "resourceName")]
    pub(super) name: &'a str,
    #[serde(rename = "resourceType")]
    pub(super) kind: &'a str,
    #[serde(rename = "resourceSpecs")]
    pub(super) specs: &'a str,
    #[serde(rename = "resourceLocation")]
    pub(super) location: &'a str,
}

impl Shape {
    fn is_batch(self) -> bool {
        matches!(
            self,
            Self::Batch0112 | Self::Batch0114 | Self::Batch0115 | Self::Batch0116
        )
    }

    /// The body, as this sender would write it.
    pub(super) fn body(self, told: &Told<'_>) -> anyhow::Result<String> {
        if self.is_batch() {
            return json(&Batch::of(self, told));
        }
        let [booking] = told.bookings.as_slice() else {
            bail!("only a batch is about several resources: choose another --shape");
        };
        match self {
            Self::Flat | Self::Flat0117 | Self::Flat0111 => json(&Flat::of(self, told, booking)),
            Self::Portal => json(&Wrapped::of(told, Stored::of(told, booking)?)),
            Self::PortalText => json(&Wrapped::of(told, UNWRITTEN)),
            Self::Test => json(&Wrapped::of(told, Test::of(told))),
            _ => json(&Minimal {
                event_type: told.event_type,
                resource_name: booking.resource.name,
            }),
        }
    }
}

fn json(body: &impl Serialize) -> anyhow::Result<String> {
    serde_json::to_string(body).context("the event can't be written as JSON")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Minimal<'a> {
    event_type: &'a str,
    resource_name: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Flat<'a> {
    event_type: &'a str,
    timestamp: Timestamp,
    event_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_id: Option<i64>,
    #[serde(flatten)]
    user: User<'a>,
    #[serde(flatten)]
    booking: Booking<'a>,
}

impl<'a> Flat<'a> {
    fn of(shape: Shape, told: &Told<'a>, booking: &'a Booking<'a>) -> Self {
        Self {
            event_type: told.event_type,
            timestamp: told.timestamp,
            event_id: &booking.event_id,
            webhook_id: (shape == Shape::Flat).then_some(told.webhook_id),
            user: told.user,
            booking: Booking {
                custom_parameters: booking
                    .custom_parameters
                    .filter(|_| shape != Shape::Flat0111),
                ..booking.clone()
            },
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Batch<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_id: Option<String>,
    event_type: &'a str,
    timestamp: Timestamp,
    event_count: usize,
    #[serde(flatten)]
    user: User<'a>,
    events: Vec<Item<'a>>,
    /// What else the user has at the time; we say: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    active_resources: Option<[(); 0]>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Item<'a> {
    event_id: &'a str,
    #[serde(flatten)]
    booking: Booking<'a>,
}

impl<'a> Batch<'a> {
    fn of(shape: Shape, told: &'a Told<'a>) -> Self {
        let has_webhook_id = matches!(shape, Shape::Batch0115 | Shape::Batch0116);
        let items = told.bookings.iter().map(|booking| Item {
            event_id: &booking.event_id,
            booking: Booking {
                custom_parameters: booking
                    .custom_parameters
                    .filter(|_| shape == Shape::Batch0116),
                ..booking.clone()
            },
        });
        Self {
            webhook_id: has_webhook_id.then(|| told.webhook_id.to_string()),
            event_type: told.event_type,
            timestamp: told.timestamp,
            event_count: told.bookings.len(),
            user: told.user,
            events: items.collect(),
            active_resources: (shape != Shape::Batch0112).then_some([]),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wrapped<'a, T> {
    event_type: &'a str,
    timestamp: Timestamp,
    webhook_id: String,
    data: T,
}

impl<'a, T> Wrapped<'a, T> {
    fn of(told: &Told<'a>, data: T) -> Self {
        Self {
            event_type: told.event_type,
            timestamp: told.timestamp,
            webhook_id: told.webhook_id.to_string(),
            data,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Test {
    message: &'static str,
    timestamp: Timestamp,
    webhook_id: i64,
}

impl Test {
    fn of(told: &Told<'_>) -> Self {
        Self {
            message: "This is a test event",
            timestamp: told.timestamp,
            webhook_id: told.webhook_id,
        }
    }
}

/// A booking as the portal keeps it, which is neither with a key nor with a name.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stored<'a> {
    created_at: Timestamp,
    updated_at: Timestamp,
    id: u64,
    title: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    start: Timestamp,
    end: Timestamp,
    resource: StoredResource<'a>,
    keycloak_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    custom_parameters: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StoredResource<'a> {
    id: i64,
    name: &'a str,
    specs: &'a str,
    location: &'a str,
    status: &'static str,
    r#type: StoredType<'a>,
    site_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StoredType<'a> {
    id: i64,
    name: &'a str,
    color: &'static str,
    site_id: &'a str,
}

impl<'a> Stored<'a> {
    fn of(told: &Told<'a>, booking: &'a Booking<'a>) -> anyhow::Result<Self> {
        let id = booking.event_id.parse();
        let id = id.context("--event-id must be a number in this shape")?;
        let is_deleted = told.event_type == "EVENT_DELETED";
        let resource = booking.resource;
        let site_id = booking.site_id;
        Ok(Self {
            created_at: told.timestamp,
            updated_at: told.timestamp,
            id,
            title: booking.title,
            description: booking.description,
            start: booking.start,
            end: booking.end,
            resource: StoredResource {
                id: resource.id,
                name: resource.name,
                specs: resource.specs,
                location: resource.location,
                status: "ACTIVE",
                r#type: StoredType {
                    id: 1,
                    name: resource.kind,
                    color: "#1976d2",
                    site_id,
                },
                site_id,
            },
            keycloak_id: told.user.user_id,
            custom_parameters: booking.custom_parameters.filter(|_| !is_deleted),
        })
    }
}

const UNWRITTEN: &str = "the booking could not be written down";

#[cfg(test)]
mod tests;
