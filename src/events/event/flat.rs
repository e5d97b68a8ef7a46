//! The processor's shapes: one event flat at the root (the minimal one is the least of
//! these), or several of one user as flat items of `events[]`.

use jiff::{SignedDuration, Timestamp};
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
            event_id: fields.identity(EVENT_ID).ok().flatten(),
            resource_name: fields.text("resourceName").ok().flatten(),
            event: identified(fields, user.clone()).map(event),
        }
    });
    Ok(items.collect())
}

/// Whom an event concerns, and when and through which webhook it was sent.
fn user(root: Fields<'_>) -> Result<Booking, Refusal> {
    Ok(Booking {
        revision: root.instant("timestamp").and_then(as_of),
        webhook_id: root.integer("webhookId"),
        user_id: root.id("userId")?,
        username: root.name("username")?,
        email: root.address("email")?,
        ssh_public_key: root.text("sshPublicKey")?,
        ..Booking::default()
    })
}

/// An item of a batch. Only what stands alone may be about a host and no booking: whoever
/// sends several has ids for them, and one without would open a host without an end.
fn identified(fields: Fields<'_>, user: Booking) -> Result<Booking, Refusal> {
    let booking = item(fields, user)?;
    if booking.event_id.is_none() {
        return Err(fields.refusal(EVENT_ID, "must be there in each item of a batch"));
    }
    Ok(booking)
}

fn item(fields: Fields<'_>, user: Booking) -> Result<Booking, Refusal> {
    let Some(Value::String(resource_name)) = fields.value("resourceName") else {
        return Err(fields.refusal("resourceName", "must be a string"));
    };
    let start = fields.time("eventStart");
    let end = fields.time("eventEnd");
    Ok(Booking {
        event_id: fields.identity(EVENT_ID)?,
        title: fields.words("eventTitle")?,
        description: fields.words("eventDescription")?,
        start,
        end,
        custom_parameters: fields.parameters(),
        resource_name: resource_name.clone(),
        resource_id: fields.integer("resourceId"),
        resource_type: fields.name("resourceType")?,
        resource_specs: fields.words("resourceSpecs")?,
        resource_location: fields.words("resourceLocation")?,
        site_id: fields.id("siteId")?,
        site_name: fields.name("siteName")?,
        ..user
    })
}

/// The processor reads all bookings of a tick at once, and posts them one after the other,
/// each when the receivers of the one before have answered: what it sends may be older than
/// a change that the portal has told us of meanwhile.
fn as_of(sent: Timestamp) -> Option<Timestamp> {
    sent.checked_sub(READ_BEFORE_SENT).ok()
}

const READ_BEFORE_SENT: SignedDuration = SignedDuration::from_mins(5);

const EVENT_ID: &str = "eventId";

const MOST_ITEMS: usize = 1000;

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(object) => object,
            value => panic!("{value}"),
        }
    }

    #[test]
    fn what_is_sent_was_read_up_to_five_minutes_before() {
        let event = object(json!({
            "resourceName": "srv",
            "timestamp": "2025-07-03T15:16:00.123456789Z",
        }));
        let booking = booking(Fields::root(&event)).unwrap();
        let revision = booking.revision.map(|revision| revision.to_string());
        assert_eq!(revision.as_deref(), Some("2025-07-03T15:11:00.123456789Z"));
    }

    /// The API server counts characters, and would refuse the event for one too many.
    #[test]
    fn what_a_reservation_has_no_room_for_is_cut_or_left_out() {
        let long = |length: usize| "è".repeat(length);
        let event = object(json!({
            "eventId": long(1024),
            "userId": long(1025),
            "username": long(1025),
            "email": long(1025),
            "eventTitle": long(65_537),
            "eventDescription": long(65_536),
            "resourceName": "srv",
            "resourceType": long(2000),
            "resourceSpecs": long(70_000),
            "resourceLocation": long(70_000),
            "siteId": long(1025),
            "siteName": long(1025),
            "customParameters": long(65_537),
        }));
        let booking = booking(Fields::root(&event)).unwrap();
        let length = |text: &Option<String>| text.as_ref().map(|text| text.chars().count());
        assert_eq!(length(&booking.event_id), Some(1024));
        for (left_out, what) in [
            (&booking.user_id, "userId"),
            (&booking.email, "email"),
            (&booking.site_id, "siteId"),
            (&booking.custom_parameters, "customParameters"),
        ] {
            assert_eq!(*left_out, None, "{what}");
        }
        for (cut, longest) in [
            (&booking.username, 1024),
            (&booking.resource_type, 1024),
            (&booking.site_name, 1024),
            (&booking.title, 65_536),
            (&booking.description, 65_536),
            (&booking.resource_specs, 65_536),
            (&booking.resource_location, 65_536),
        ] {
            assert_eq!(length(cut), Some(longest));
        }
        let event = object(json!({"eventId": long(1025), "resourceName": "srv"}));
        let refusal = super::booking(Fields::root(&event)).unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "eventId: must have at most 1,024 characters"
        );
    }

    #[test]
    fn ids_may_be_numbers_and_a_fault_in_an_item_is_its_own() {
        let root = object(json!({"webhookId": "7", "userId": 3, "sshPublicKey": null}));
        let events = json!([
            {"eventId": 101, "resourceName": "srv", "userId": 4, "username": "other"},
            {"eventId": 1.5, "resourceName": "srv"},
            {"eventId": "102"},
            {"resourceName": "srv"},
            null,
        ]);
        let items = batch(Fields::root(&root), &events, Event::Start).unwrap();
        let Ok(Event::Start(booking)) = &items[0].event else {
            panic!("{items:?}")
        };
        assert_eq!(booking.event_id.as_deref(), Some("101"));
        assert_eq!(booking.user_id.as_deref(), Some("3"));
        assert_eq!((booking.webhook_id, &booking.username), (Some(7), &None));
        let faults = items[1..]
            .iter()
            .map(|item| item.event.clone().unwrap_err());
        let faults: Vec<_> = faults.map(|fault| fault.to_string()).collect();
        assert_eq!(
            faults,
            [
                "eventId: must be a string or a whole number",
                "resourceName: must be a string",
                "eventId: must be there in each item of a batch",
                "item: must be an object",
            ]
        );
    }
}
