//! The processor's shapes: one event flat at the root (the minimal one is the least of
//! these), or several of one user as flat items of `events[]`.

use serde_json::Value;

use super::{Booking, Event, Fields, Item, Refusal};

/// An event at the root.
pub(super) fn booking(root: Fields<'_>) -> Result<Booking, Refusal> {
    let user = user(root)?;
    item(root, user)
}

/// A batch: who it is for stands at the root alone, and a fault there is everybody's. A
/// fault in an item is that item's own.
pub(super) fn batch(
    root: Fields<'_>,
    events: &Value,
    event: fn(Booking) -> Event,
) -> Result<Vec<Item>, Refusal> {
    let Value::Array(events) = events else {
        return Err(root.refusal("events", "must be an array"));
    };
    if events.len() > MOST_ITEMS {
        return Err(root.refusal("events", "must have at most 1,000 items"));
    }
    let user = user(root)?;
    let items = events.iter().map(|value| {
        let Value::Object(fields) = value else {
            return Item {
                event_id: None,
                resource_name: None,
                event: Err(super::shape("item", "must be an object")),
            };
        };
        let fields = Fields::root(fields);
        Item {
            event_id: fields.id("eventId").ok().flatten(),
            resource_name: fields.text("resourceName").ok().flatten(),
            event: item(fields, user.clone()).map(event),
        }
    });
    Ok(items.collect())
}

/// Whom an event concerns, and when and through which webhook it was sent.
fn user(root: Fields<'_>) -> Result<Booking, Refusal> {
    Ok(Booking {
        revision: root.instant("timestamp"),
        webhook_id: root.integer("webhookId"),
        user_id: root.id("userId")?,
        username: root.text("username")?,
        email: root.text("email")?,
        ssh_public_key: root.text("sshPublicKey")?,
        ..Booking::default()
    })
}

fn item(fields: Fields<'_>, user: Booking) -> Result<Booking, Refusal> {
    let Some(Value::String(resource_name)) = fields.value("resourceName") else {
        return Err(fields.refusal("resourceName", "must be a string"));
    };
    let start = fields.time("eventStart");
    let end = fields.time("eventEnd");
    Ok(Booking {
        event_id: fields.id("eventId")?,
        title: fields.text("eventTitle")?,
        description: fields.text("eventDescription")?,
        start,
        end,
        custom_parameters: fields.parameters(),
        resource_name: resource_name.clone(),
        resource_id: fields.integer("resourceId"),
        resource_type: fields.text("resourceType")?,
        resource_specs: fields.text("resourceSpecs")?,
        resource_location: fields.text("resourceLocation")?,
        site_id: fields.id("siteId")?,
        site_name: fields.text("siteName")?,
        ..user
    })
}

const MOST_ITEMS: usize = 1000;
