//! The portal's own shape: the booking as it is stored there, under `data`.
//!
//! It carries neither key nor username nor mail address: an event of the processor brings
//! those. Where the portal fails to write the booking down, `data` is a sentence.

use serde_json::{Map, Value};

use super::{Booking, Event, Fields, Refusal};

/// An event that is about a booking, if `data` is one.
pub(super) fn event(
    root: Fields<'_>,
    data: &Value,
    event: fn(Booking) -> Event,
) -> Result<Event, Refusal> {
    let data = match data {
        Value::Object(data) => Fields::within(data, "data."),
        Value::Null => return Ok(Event::Unusable("the event carries no data")),
        Value::String(_) => return Ok(Event::Unusable("the event's data is a text")),
        _ => return Err(root.refusal("data", "must be an object")),
    };
    let Some(resource) = object(data, "resource")? else {
        return Ok(Event::Unusable("the event names no resource"));
    };
    let resource = Fields::within(resource, "data.resource.");
    let Some(name) = resource.text("name")? else {
        return Ok(Event::Unusable("the event names no resource"));
    };
    let Some(event_id) = data.identity("id")? else {
        return Err(data.refusal("id", "must be a string or a whole number"));
    };
    let resource_type = match object(resource, "type")? {
        Some(of) => Fields::within(of, "data.resource.type.").name("name")?,
        None => None,
    };
    let booking = Booking {
        event_id: Some(event_id),
        revision: data
            .instant("updatedAt")
            .or_else(|| root.instant("timestamp")),
        webhook_id: root.integer("webhookId"),
        title: data.words("title")?,
        description: data.words("description")?,
        user_id: data.id("keycloakId")?,
        start: data.time("start"),
        end: data.time("end"),
        custom_parameters: data.parameters(),
        resource_name: name,
        resource_id: resource.integer("id"),
        resource_type,
        resource_specs: resource.words("specs")?,
        resource_location: resource.words("location")?,
        site_id: resource.id("siteId")?,
        ..Booking::default()
    };
    Ok(event(booking))
}

fn object<'a>(fields: Fields<'a>, field: &str) -> Result<Option<&'a Map<String, Value>>, Refusal> {
    match fields.value(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Object(object)) => Ok(Some(object)),
        Some(_) => Err(fields.refusal(field, "must be an object")),
    }
}
