//! The words: bodies as the portal's two endpoints take them, field by field, since it
//! refuses any that it doesn't know.
//!
//! Pure. Ids and names only. A host's own error text stays out: it may name its BMC's
//! address, and users have no use for it.

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::{milestone::Milestone, portal::Channel};
use crate::{
    api::v1::{Reservation, ReservationStatus},
    reservations::{decide::failure, reasons},
};

/// Something to be posted.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) channel: Channel,
    /// Whose secret signs it.
    pub(super) webhook_id: i64,
    /// The bytes that are signed.
    pub(super) body: String,
}

/// All that is to be said of a milestone; nothing of what came through no webhook.
pub(super) fn all(reservation: &Reservation, milestone: Milestone, now: Timestamp) -> Vec<Message> {
    let Some(webhook_id) = reservation
        .spec
        .source
        .as_ref()
        .and_then(|source| source.webhook_id)
    else {
        return Vec::new();
    };
    let facts = Facts::of(reservation);
    let bodies = [
        (Channel::Log, Some(log(webhook_id, milestone, &facts))),
        (
            Channel::Notifications,
            notification(webhook_id, milestone, &facts, now),
        ),
    ];
    let bodies = bodies.into_iter();
    bodies
        .filter_map(|(channel, body)| {
            let body = body?;
            Some(Message {
                channel,
                webhook_id,
                body,
            })
        })
        .collect()
}

/// For the portal's administrators.
fn log(webhook_id: i64, milestone: Milestone, facts: &Facts<'_>) -> String {
    let (event_type, status_code, response) = match milestone {
        Milestone::Started => ("EVENT_START", 200, "Provisioning initiated"),
        Milestone::Completed => ("EVENT_START", 200, "Provisioned"),
        Milestone::Failed => ("EVENT_START", 500, facts.failure),
        Milestone::Released => ("EVENT_END", 200, "Deprovisioned"),
    };
    let payload = json(&Payload {
        event_type,
        event_id: facts.event_id.map(short),
        resource_name: short(facts.resource),
        user_id: facts.user_id.map(short),
        reservation: &facts.name,
    });
    json(&Log {
        webhook_id,
        event_type,
        payload,
        status_code,
        response,
        success: milestone != Milestone::Failed,
        retry_count: 0,
        resource_id: facts.resource_id,
    })
}

/// For the user, of what matters to one.
fn notification(
    webhook_id: i64,
    milestone: Milestone,
    facts: &Facts<'_>,
    now: Timestamp,
) -> Option<String> {
    let name = short(facts.resource);
    let (kind, event_type, message) = match milestone {
        Milestone::Completed => (
            "SUCCESS",
            "PROVISIONING_COMPLETED",
            format!("{name} is ready for you."),
        ),
        Milestone::Failed => (
            "ERROR",
            "PROVISIONING_FAILED",
            format!("{name} is not available to you: {}.", facts.failure),
        ),
        Milestone::Started | Milestone::Released => return None,
    };
    Some(json(&Notification {
        webhook_id,
        // Without one, the portal answers 400.
        user_id: facts.user_id?,
        message: cut(&message, LONGEST_MESSAGE),
        kind,
        event_id: facts.event_id,
        resource_id: facts.resource,
        event_type,
        metadata: Metadata {
            resource_type: "BareMetalHost",
            resource_name: facts.host.unwrap_or(facts.resource),
            timestamp: now.to_string(),
        },
    }))
}

/// What of a reservation may be told.
struct Facts<'a> {
    name: String,
    event_id: Option<&'a str>,
    user_id: Option<&'a str>,
    resource: &'a str,
    resource_id: Option<i64>,
    host: Option<&'a str>,
    failure: &'static str,
}

impl<'a> Facts<'a> {
    fn of(reservation: &'a Reservation) -> Self {
        let (spec, status) = (&reservation.spec, reservation.status.as_ref());
        let source = spec.source.as_ref();
        let resource = spec.resource.as_ref();
        Self {
            name: reservation.name_any(),
            event_id: source.and_then(|source| source.event_id.as_deref()),
            user_id: spec.requester.as_ref().and_then(|user| user.id.as_deref()),
            resource: resource
                .and_then(|resource| resource.name.as_deref())
                .unwrap_or_default(),
            resource_id: resource.and_then(|resource| resource.id),
            host: status.and_then(|status| Some(&*status.host_ref.as_ref()?.name)),
            failure: status.map_or("", why),
        }
    }
}

/// The reason of a failure in words for its user.
fn why(status: &ReservationStatus) -> &'static str {
    match failure(status).map(|failure| &*failure.reason) {
        Some(reasons::DEADLINE_EXCEEDED) => "it could not be prepared in time",
        Some(reasons::HOST_DELETING | reasons::HOST_GONE) => "it was taken out of service",
        Some(reasons::RETRY_LIMIT_REACHED) => "preparing it failed again and again",
        Some(reasons::WINDOW_EXPIRED) => "it was not free during the booked time",
        _ => "it could not be prepared",
    }
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("strings and numbers are JSON")
}

fn short(text: &str) -> String {
    cut(text, LONGEST_NAME)
}

fn cut(text: &str, longest: usize) -> String {
    text.chars().take(longest).collect()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Log<'a> {
    webhook_id: i64,
    event_type: &'a str,
    payload: String,
    status_code: u16,
    response: &'a str,
    success: bool,
    retry_count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_id: Option<i64>,
}

/// JSON in a string: what came, but for all that is nobody else's business.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Payload<'a> {
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<String>,
    resource_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    reservation: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Notification<'a> {
    webhook_id: i64,
    user_id: &'a str,
    message: String,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    event_id: Option<&'a str>,
    /// The portal's own clients put the machine's name here.
    resource_id: &'a str,
    event_type: &'a str,
    metadata: Metadata<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    resource_type: &'a str,
    resource_name: &'a str,
    timestamp: String,
}

/// One character more is a 500 of the portal's.
const LONGEST_MESSAGE: usize = 500;

/// Several of them fit into the 4,000 characters of a payload, escaped as they may be.
const LONGEST_NAME: usize = 253;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn reservation(changes: &Value) -> Reservation {
        let mut object = json!({
            "apiVersion": "harbormaster.dev/v1", "kind": "Reservation",
            "metadata": {"name": "portal-101"},
            "spec": {
                "source": {"provider": "portal", "eventId": "101", "webhookId": 7},
                "requester": {"id": "u-1", "username": "mario.rossi", "email": "mario@example.com"},
                "resource": {"id": 3, "name": "Lab Server A1"},
                "window": {"start": "2030-01-02T10:00:00Z"},
                "access": {"authorizedKeys": [{"key": "ssh-ed25519 AAAA mario"}]},
            },
            "status": {
                "hostRef": {"namespace": "default", "name": "lab-a1", "uid": "1"},
                "lastHostState": {"errorMessage": "no route to https://192.0.2.9/redfish"},
                "conditions": [{
                    "type": "Provisioned", "status": "False", "reason": "DeadlineExceeded",
                    "message": "no route to 192.0.2.9", "lastTransitionTime": "2030-01-02T10:45:00Z",
                }],
            },
        });
        for (pointer, value) in changes.as_object().unwrap() {
            *object.pointer_mut(pointer).unwrap() = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    fn said(reservation: &Reservation, milestone: Milestone) -> Vec<Value> {
        let now = "2030-01-02T11:00:00Z".parse().unwrap();
        let messages = all(reservation, milestone, now);
        messages
            .iter()
            .map(|message| serde_json::from_str(&message.body).unwrap())
            .collect()
    }

    #[test]
    fn the_portal_is_told_of_a_failure_in_the_fields_that_it_knows() {
        let bodies = said(&reservation(&json!({})), Milestone::Failed);
        assert_eq!(
            bodies[0],
            json!({
                "webhookId": 7, "eventType": "EVENT_START", "statusCode": 500, "success": false,
                "payload": "{\"eventType\":\"EVENT_START\",\"eventId\":\"101\",\"resourceName\":\"Lab Server A1\",\
                    \"userId\":\"u-1\",\"reservation\":\"portal-101\"}",
                "response": "it could not be prepared in time", "retryCount": 0, "resourceId": 3,
            })
        );
        assert_eq!(
            bodies[1],
            json!({
                "webhookId": 7, "userId": "u-1", "type": "ERROR", "eventId": "101",
                "message": "Lab Server A1 is not available to you: it could not be prepared in time.",
                "resourceId": "Lab Server A1", "eventType": "PROVISIONING_FAILED",
                "metadata": {"resourceType": "BareMetalHost", "resourceName": "lab-a1",
                    "timestamp": "2030-01-02T11:00:00Z"},
            })
        );
    }

    #[test]
    fn no_key_no_address_and_no_mail_address_is_told() {
        let reservation = reservation(&json!({}));
        for milestone in [
            Milestone::Started,
            Milestone::Completed,
            Milestone::Failed,
            Milestone::Released,
        ] {
            for body in said(&reservation, milestone) {
                let body = body.to_string();
                for text in ["ssh-", "AAAA", "192.0.2.9", "redfish", "@", "rossi"] {
                    assert!(!body.contains(text), "{text}: {body}");
                }
            }
        }
    }

    #[test]
    fn the_user_is_told_of_what_matters_and_only_one_that_is_known() {
        let known = reservation(&json!({}));
        assert_eq!(said(&known, Milestone::Started).len(), 1);
        assert_eq!(said(&known, Milestone::Completed).len(), 2);
        assert_eq!(
            said(&known, Milestone::Released)[0]["eventType"],
            "EVENT_END"
        );
        let unknown = reservation(&json!({"/spec/requester": {}}));
        assert_eq!(said(&unknown, Milestone::Completed).len(), 1);
        let by_hand = reservation(&json!({"/spec/source": {}}));
        assert!(said(&by_hand, Milestone::Completed).is_empty());
    }

    #[test]
    fn nothing_is_longer_than_the_portal_takes() {
        let long = "\"è".repeat(1000);
        let reservation = reservation(&json!({
            "/spec/source/eventId": long, "/spec/requester/id": long, "/spec/resource/name": long,
        }));
        for milestone in [Milestone::Completed, Milestone::Failed] {
            let bodies = said(&reservation, milestone);
            let length = |value: &Value| value.as_str().unwrap().chars().count();
            assert!(length(&bodies[0]["payload"]) <= 4000);
            assert!(length(&bodies[1]["message"]) <= 500);
        }
    }
}
