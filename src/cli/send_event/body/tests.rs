//! Each shape against a request of its real sender.

use std::{fs, path::Path};

use serde_json::Value;

use super::*;

fn captured(name: &str) -> String {
    let file = format!("tests/fixtures/events/{name}.body");
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

/// What the captured event tells, for our own words.
fn told(event: &Value) -> Told<'_> {
    let time = |value: &Value| value.as_str().unwrap().parse().unwrap();
    let webhook_id = match &event["webhookId"] {
        Value::String(id) => id.parse().unwrap(),
        id => id.as_i64().unwrap_or_default(),
    };
    let items = match &event["events"] {
        Value::Array(items) => items.iter().collect(),
        _ => vec![event],
    };
    let bookings = items.into_iter().map(|item| Booking {
        event_id: item["eventId"].as_str().unwrap().to_owned(),
        title: item["eventTitle"].as_str().unwrap(),
        description: item["eventDescription"].as_str(),
        start: time(&item["eventStart"]),
        end: time(&item["eventEnd"]),
        // Where a shape has none, it must be left out.
        custom_parameters: item["customParameters"].as_str().or(Some("{}")),
        resource: Resource {
            id: item["resourceId"].as_i64().unwrap(),
            name: item["resourceName"].as_str().unwrap(),
            kind: item["resourceType"].as_str().unwrap(),
            specs: item["resourceSpecs"].as_str().unwrap(),
            location: item["resourceLocation"].as_str().unwrap(),
        },
        site_id: item["siteId"].as_str().unwrap(),
        site_name: item["siteName"].as_str(),
    });
    Told {
        event_type: event["eventType"].as_str().unwrap(),
        timestamp: time(&event["timestamp"]),
        webhook_id,
        user: User {
            user_id: event["userId"].as_str().unwrap(),
            username: event["username"].as_str(),
            email: event["email"].as_str(),
            ssh_public_key: event["sshPublicKey"].as_str(),
        },
        bookings: bookings.collect(),
    }
}

#[test]
fn what_the_processor_sent_in_any_version_is_built_byte_for_byte() {
    for (shape, name) in [
        (Shape::Flat, "F2-start-keycloak"),
        (Shape::Flat, "F2-end-full"),
        (Shape::Flat0117, "F1-start-full"),
        (Shape::Flat0111, "F0-start-full"),
        (Shape::Flat0111, "F0-end-full"),
        (Shape::Batch0116, "B4-start-keycloak"),
        (Shape::Batch0116, "B4-end-keycloak"),
        (Shape::Batch0115, "B3-start-full"),
        (Shape::Batch0112, "B1-start-full"),
    ] {
        let sent = captured(name);
        let event: Value = serde_json::from_str(&sent).unwrap();
        let built = shape.body(&told(&event)).unwrap();
        // The captured user had another booking at that time.
        let others = sent.find(",\"activeResources\":");
        let sent = match others {
            Some(at) => format!("{},\"activeResources\":[]}}", &sent[..at]),
            None => sent,
        };
        assert_eq!(built, sent, "{name}");
    }
    let event = serde_json::from_str(&captured("B1-start-full")).unwrap();
    let built = Shape::Batch0114.body(&told(&event)).unwrap();
    let others = ",\"activeResources\":[]}";
    assert_eq!(built.replace(others, "}"), captured("B1-start-full"));
    assert!(built.ends_with(others));
}

/// The names of all fields, in the order in which they were written.
fn names(body: &str) -> Vec<&str> {
    let ends = body.match_indices("\":");
    ends.filter_map(|(at, _)| body[..at].rsplit('"').next())
        .collect()
}

#[test]
fn what_the_portal_sends_is_built_in_its_order_of_fields() {
    let flat = serde_json::from_str(&captured("F2-start-keycloak")).unwrap();
    for (shape, event_type, name) in [
        (Shape::Portal, "EVENT_DELETED", "W-event-deleted"),
        (Shape::Test, "ALL", "T-test"),
    ] {
        let told = Told {
            event_type,
            ..told(&flat)
        };
        let built = shape.body(&told).unwrap();
        assert_eq!(names(&built), names(&captured(name)), "{name}");
    }
    let told = told(&flat);
    let text = Shape::PortalText.body(&told).unwrap();
    let text: Value = serde_json::from_str(&text).unwrap();
    assert!(text["data"].is_string());
    let mut odd = told.clone();
    odd.bookings[0].event_id = "a".to_owned();
    let refusal = Shape::Portal.body(&odd).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "--event-id must be a number in this shape"
    );
}

#[test]
fn only_a_batch_is_about_several_resources() {
    let event = serde_json::from_str(&captured("B4-start-keycloak")).unwrap();
    let told = told(&event);
    for shape in Shape::value_variants() {
        assert_eq!(shape.body(&told).is_ok(), shape.is_batch(), "{shape:?}");
    }
}
