//! What to do to the Reservation objects so that they say what an intent asks.
//!
//! Pure and order-proof: START before END, after it, twice or alone, the objects end the
//! same. Called by the recorder with the newest object of the booking, again after each
//! conflict.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{ResourceExt, api::ObjectMeta};
use serde_json::Value;

use super::{
    event::Booking,
    identity::BaseName,
    intent::{BookedWindow, Intent},
};
use crate::{
    api::{
        self,
        v1::{
            Access, AuthorizedKey, BookedResource, DesiredState, Lifecycle, Requester, Reservation,
            ReservationSpec, Source, Window,
        },
    },
    ssh::KeyLines,
};

/// One step that brings the objects to what an intent asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// They say so already.
    Done,
    /// Nothing is to be done: the reason.
    Ignore(String),
    /// Make a new object.
    Create(Box<Reservation>),
    /// Replace the newest object, as long as it is still the one that was looked at.
    Replace(Box<Reservation>),
}

/// Plans for an intent, given the newest object of its booking.
pub fn plan(provider: &str, intent: &Intent, newest: Option<&Reservation>) -> Plan {
    match intent {
        Intent::Ignore(reason) => Plan::Ignore(reason.clone()),
        Intent::Begin { booking, window } => begin(provider, booking, *window, newest),
        Intent::End { booking, window } => end(provider, booking, *window, newest),
    }
}

fn begin(
    provider: &str,
    booking: &Booking,
    window: BookedWindow,
    newest: Option<&Reservation>,
) -> Plan {
    let base = BaseName::of(provider, booking);
    let Some(newest) = newest else {
        let first = reservation(provider, booking, window, base.nth(1), DesiredState::Active);
        return Plan::Create(Box::new(first));
    };
    let over = newest.desired_state() == DesiredState::Released
        || newest.metadata.deletion_timestamp.is_some()
        || newest.is_finished();
    if over {
        // The minimal shape has no times: each START after an END is another booking. A
        // booking with an id is another one only if it was moved to a later time.
        let later = newest
            .spec
            .window
            .start
            .as_ref()
            .is_none_or(|start| start.0 < window.start);
        if booking.event_id.is_some() && !later {
            return Plan::Done;
        }
        let number = base.number(&newest.name_any()).unwrap_or(1);
        let name = base.nth(number.saturating_add(1));
        let next = reservation(provider, booking, window, name, DesiredState::Active);
        return Plan::Create(Box::new(next));
    }
    let mut replacement = newest.clone();
    fill_in(&mut replacement.spec, spec(provider, booking, window));
    let lifecycle = replacement.spec.lifecycle.get_or_insert_default();
    lifecycle.desired_state = Some(DesiredState::Active);
    unless_same(newest, replacement)
}

fn end(
    provider: &str,
    booking: &Booking,
    window: BookedWindow,
    newest: Option<&Reservation>,
) -> Plan {
    let base = BaseName::of(provider, booking);
    let tombstone = |name| {
        let released = reservation(provider, booking, window, name, DesiredState::Released);
        Plan::Create(Box::new(released))
    };
    let Some(newest) = newest else {
        // Recorded all the same: a START that comes late must find that it is over.
        return tombstone(base.nth(1));
    };
    let number = base.number(&newest.name_any()).unwrap_or(1);
    if booking.event_id.is_none() && newest.is_finished() {
        // The host may have got another image since, from nobody that we know of.
        return tombstone(base.nth(number.saturating_add(1)));
    }
    if booking.event_id.is_some() && number > 1 && starts_after(newest, window) {
        // An end is sent again and again; this one is of the time before the booking was
        // moved, and must not end the one that it became.
        return Plan::Done;
    }
    let mut replacement = newest.clone();
    let lifecycle = replacement.spec.lifecycle.get_or_insert_default();
    lifecycle.desired_state = Some(DesiredState::Released);
    unless_same(newest, replacement)
}

fn starts_after(newest: &Reservation, window: BookedWindow) -> bool {
    let start = newest.spec.window.start.as_ref();
    start.is_some_and(|start| start.0 > window.start)
}

fn unless_same(newest: &Reservation, replacement: Reservation) -> Plan {
    if replacement.spec == newest.spec {
        Plan::Done
    } else {
        Plan::Replace(Box::new(replacement))
    }
}

/// What one event lacks, another of the same booking may bring.
fn fill_in(spec: &mut ReservationSpec, news: ReservationSpec) {
    let had_key = spec
        .access
        .as_ref()
        .is_some_and(|access| !access.authorized_keys.is_empty());
    if !had_key && news.access.is_some() {
        spec.access = news.access;
    }
    if let Some(news) = news.requester {
        let requester = spec.requester.get_or_insert_default();
        fill(&mut requester.id, news.id);
        fill(&mut requester.username, news.username);
        fill(&mut requester.email, news.email);
    }
    if let Some(news) = news.source {
        let source = spec.source.get_or_insert_default();
        fill(&mut source.webhook_id, news.webhook_id);
        fill(&mut source.title, news.title);
        fill(&mut source.description, news.description);
    }
}

fn fill<T>(field: &mut Option<T>, news: Option<T>) {
    if field.is_none() {
        *field = news;
    }
}

fn reservation(
    provider: &str,
    booking: &Booking,
    window: BookedWindow,
    name: String,
    desired_state: DesiredState,
) -> Reservation {
    let base = BaseName::of(provider, booking);
    let mut spec = spec(provider, booking, window);
    spec.lifecycle = Some(Lifecycle {
        desired_state: Some(desired_state),
        ..Lifecycle::default()
    });
    Reservation {
        metadata: ObjectMeta {
            name: Some(name),
            labels: Some(BTreeMap::from([(
                api::EVENT_ID_LABEL.to_owned(),
                base.to_string(),
            )])),
            finalizers: Some(vec![api::FINALIZER.to_owned()]),
            ..ObjectMeta::default()
        },
        spec,
        status: None,
    }
}

fn spec(provider: &str, booking: &Booking, window: BookedWindow) -> ReservationSpec {
    let booking = booking.clone();
    let keys = KeyLines::parse(booking.ssh_public_key.as_deref().unwrap_or_default());
    let authorized_keys: Vec<_> = keys
        .keys
        .iter()
        .map(|key| AuthorizedKey {
            name: None,
            key: key.as_str().to_owned(),
        })
        .collect();
    ReservationSpec {
        source: Some(Source {
            provider: Some(provider.to_owned()),
            event_id: booking.event_id,
            webhook_id: booking.webhook_id,
            title: booking.title,
            description: booking.description,
        }),
        requester: Some(Requester {
            id: booking.user_id,
            username: booking.username,
            email: booking.email,
            groups: Vec::new(),
        })
        .filter(|requester| *requester != Requester::default()),
        resource: Some(BookedResource {
            id: booking.resource_id,
            name: Some(booking.resource_name),
            type_: booking.resource_type,
            specs: booking.resource_specs,
            location: booking.resource_location,
            site_id: booking.site_id,
            site_name: booking.site_name,
        }),
        target: None,
        window: Window {
            start: Some(time(window.start)),
            end: window.end.map(time),
        },
        lifecycle: None,
        access: (!authorized_keys.is_empty()).then_some(Access { authorized_keys }),
        provisioning: None,
        parameters: booking.custom_parameters.map(parameters),
    }
}

/// A JSON object in a string; any other text is kept as it is.
fn parameters(text: String) -> BTreeMap<String, Value> {
    match serde_json::from_str(&text) {
        Ok(parameters) => parameters,
        Err(_) => BTreeMap::from([("raw".to_owned(), Value::String(text))]),
    }
}

fn time(instant: Timestamp) -> Time {
    Time(instant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn booking() -> Booking {
        Booking {
            event_id: Some("101".to_owned()),
            resource_name: "restart-srv01".to_owned(),
            ..Booking::default()
        }
    }

    fn window(start: &str) -> BookedWindow {
        BookedWindow {
            start: start.parse().unwrap(),
            end: None,
        }
    }

    fn start(booking: Booking, at: &str) -> Intent {
        Intent::Begin {
            booking: Box::new(booking),
            window: window(at),
        }
    }

    fn finish(booking: Booking, at: &str) -> Intent {
        Intent::End {
            booking: Box::new(booking),
            window: window(at),
        }
    }

    /// What the objects of a booking are after these events, in this order.
    fn after(intents: &[Intent]) -> Vec<Reservation> {
        let mut objects: Vec<Reservation> = Vec::new();
        for intent in intents {
            match plan("portal", intent, objects.last()) {
                Plan::Create(object) => objects.push(*object),
                Plan::Replace(object) => {
                    objects.pop();
                    objects.push(*object);
                }
                Plan::Done | Plan::Ignore(_) => {}
            }
        }
        objects
    }

    const DAY1: &str = "2025-07-03T15:20:00Z";
    const DAY2: &str = "2025-07-04T15:20:00Z";

    #[test]
    fn an_end_that_comes_first_is_found_by_the_start() {
        let objects = after(&[finish(booking(), DAY1), start(booking(), DAY1)]);
        assert_eq!(objects.len(), 1);
        assert_eq!(objects[0].desired_state(), DesiredState::Released);
    }

    #[test]
    fn events_that_come_again_change_nothing() {
        let once = after(&[start(booking(), DAY1), finish(booking(), DAY1)]);
        let again = after(&[
            start(booking(), DAY1),
            start(booking(), DAY1),
            finish(booking(), DAY1),
            finish(booking(), DAY1),
            start(booking(), DAY1),
        ]);
        assert_eq!(once, again);
    }

    #[test]
    fn a_booking_moved_to_a_later_time_after_its_end_is_a_new_object() {
        let objects = after(&[
            start(booking(), DAY1),
            finish(booking(), DAY1),
            start(booking(), DAY2),
            start(booking(), DAY2),
        ]);
        let names: Vec<_> = objects.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["portal-101", "portal-101.2"]);
    }

    #[test]
    fn each_start_of_the_minimal_shape_after_an_end_is_a_new_booking() {
        let minimal = || Booking {
            event_id: None,
            ..booking()
        };
        let objects = after(&[
            start(minimal(), DAY1),
            start(minimal(), DAY2),
            finish(minimal(), DAY2),
            start(minimal(), DAY2),
        ]);
        let names: Vec<_> = objects.iter().map(ResourceExt::name_any).collect();
        assert_eq!(names, ["host-restart-srv01", "host-restart-srv01.2"]);
    }

    #[test]
    fn a_late_end_of_the_time_before_does_not_end_the_booking_that_was_moved() {
        let moved = [
            start(booking(), DAY1),
            finish(booking(), DAY1),
            start(booking(), DAY2),
        ];
        let late = [finish(booking(), DAY1)];
        let objects = after(&[moved.as_slice(), &late].concat());
        assert_eq!(objects[1].desired_state(), DesiredState::Active);
        let own = [finish(booking(), DAY2)];
        let objects = after(&[moved.as_slice(), &late, &own].concat());
        assert_eq!(objects[1].desired_state(), DesiredState::Released);
    }

    #[test]
    fn an_end_of_the_minimal_shape_clears_again_once_the_last_one_is_done() {
        let minimal = || Booking {
            event_id: None,
            ..booking()
        };
        let mut objects = after(&[finish(minimal(), DAY1), finish(minimal(), DAY1)]);
        assert_eq!(objects.len(), 1);
        objects[0].status.get_or_insert_default().phase = Some(crate::api::v1::Phase::Released);
        let again = plan("portal", &finish(minimal(), DAY2), objects.last());
        let Plan::Create(again) = again else {
            panic!("{again:?}")
        };
        assert_eq!(again.name_any(), "host-restart-srv01.2");
        assert_eq!(again.desired_state(), DesiredState::Released);
    }

    #[test]
    fn a_later_event_fills_in_the_key_and_the_name_that_an_earlier_one_lacked() {
        let bare = start(booking(), DAY1);
        let full = start(
            Booking {
                username: Some("mario.rossi".to_owned()),
                ssh_public_key: Some("ssh-ed25519 AAAA mario".to_owned()),
                ..booking()
            },
            DAY1,
        );
        for order in [[bare.clone(), full.clone()], [full, bare]] {
            let objects = after(&order);
            assert_eq!(objects[0].authorized_keys().len(), 1);
            let requester = objects[0].spec.requester.as_ref().unwrap();
            assert_eq!(requester.username.as_deref(), Some("mario.rossi"));
        }
    }

    #[test]
    fn parameters_that_are_no_object_are_kept_as_text() {
        assert_eq!(parameters(r#"{"os":"noble"}"#.to_owned())["os"], "noble");
        assert_eq!(parameters("[1]".to_owned())["raw"], "[1]");
    }
}
