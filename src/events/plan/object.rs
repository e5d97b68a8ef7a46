//! One Reservation object and one event of its booking: which of them is newer, and what
//! the one takes from the other.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{ResourceExt, api::ObjectMeta};
use serde_json::Value;

use super::start;
use crate::{
    api::{
        self, REJECTED_KEYS_ANNOTATION,
        v1::{
            Access, AuthorizedKey, BookedResource, DesiredState, Lifecycle, Requester, Reservation,
            ReservationSpec, Source, Window,
        },
    },
    events::{event::Booking, identity::BaseName, intent::BookedWindow},
    ssh::KeyLines,
};

/// What one event says of a booking.
#[derive(Debug)]
pub(super) struct News<'a> {
    provider: &'a str,
    base: BaseName,
    booking: &'a Booking,
    keys: KeyLines,
    window: BookedWindow,
}

impl<'a> News<'a> {
    pub(super) fn new(provider: &'a str, booking: &'a Booking, window: BookedWindow) -> Self {
        Self {
            provider,
            base: BaseName::of(provider, booking),
            booking,
            keys: KeyLines::parse(booking.ssh_public_key.as_deref().unwrap_or_default()),
            window,
        }
    }

    /// Whether it names a host alone, and no booking.
    pub(super) fn is_minimal(&self) -> bool {
        self.booking.event_id.is_none()
    }

    /// Which object of the booking this is.
    pub(super) fn number(&self, object: &Reservation) -> u32 {
        self.base.number(&object.name_any()).unwrap_or(1)
    }

    pub(super) fn is_newer_than(&self, object: &Reservation) -> bool {
        !self.is_minimal() && self.booking.revision > revision(object)
    }

    /// Known to be older, or the same; without a revision on either side nothing is known.
    pub(super) fn is_older_than(&self, object: &Reservation) -> bool {
        match (self.booking.revision, revision(object)) {
            (Some(news), Some(present)) => news <= present,
            _ => false,
        }
    }

    pub(super) fn starts_with(&self, object: &Reservation) -> bool {
        self.booking.has_start() && start(object) == Some(self.window.start)
    }

    pub(super) fn starts_after(&self, object: &Reservation) -> bool {
        self.booking.has_start() && start(object).is_none_or(|start| start < self.window.start)
    }

    /// Whether its whole time lies before the object's.
    pub(super) fn is_over_before(&self, object: &Reservation) -> bool {
        let over = self.window.end.unwrap_or(self.window.start);
        start(object).is_some_and(|start| self.window.start < start && over <= start)
    }

    /// Whether it names another machine. One that was renamed keeps its id.
    pub(super) fn is_elsewhere(&self, object: &Reservation) -> bool {
        let Some(resource) = &object.spec.resource else {
            return false;
        };
        match (self.booking.resource_id, resource.id) {
            (Some(news), Some(present)) => news != present,
            _ => resource.name.as_deref() != Some(&self.booking.resource_name),
        }
    }

    /// A new object that says what the event says.
    pub(super) fn object(&self, number: u32, desired_state: DesiredState) -> Reservation {
        let mut object = Reservation {
            metadata: ObjectMeta {
                name: Some(self.base.nth(number)),
                labels: Some(BTreeMap::from([(
                    api::EVENT_ID_LABEL.to_owned(),
                    self.base.to_string(),
                )])),
                finalizers: Some(vec![api::FINALIZER.to_owned()]),
                ..ObjectMeta::default()
            },
            spec: self.spec(),
            status: None,
        };
        want(&mut object, desired_state);
        if !self.is_minimal() {
            self.stamp(&mut object);
        }
        self.note_rejected_keys(&mut object);
        object
    }

    /// A new object that takes the place of one of the same booking: what the event lacks,
    /// that one had.
    pub(super) fn successor(
        &self,
        newest: &Reservation,
        desired_state: DesiredState,
    ) -> Reservation {
        let mut successor = self.object(self.number(newest).saturating_add(1), desired_state);
        fill_in(&mut successor.spec, newest.spec.clone());
        let noted = newest.annotations().get(REJECTED_KEYS_ANNOTATION);
        if let (None, Some(noted)) = (&self.booking.ssh_public_key, noted) {
            successor
                .annotations_mut()
                .insert(REJECTED_KEYS_ANNOTATION.to_owned(), noted.clone());
        }
        successor
    }

    /// What the object lacks, the event may bring.
    pub(super) fn fill_in(&self, object: &mut Reservation) {
        let had_key = !object.authorized_keys().is_empty();
        fill_in(&mut object.spec, self.spec());
        if !had_key {
            self.note_rejected_keys(object);
        }
    }

    /// Says how many lines of the key were dropped, so that the user can be told. An event
    /// without a key says nothing of the one that is there.
    fn note_rejected_keys(&self, object: &mut Reservation) {
        let annotation = REJECTED_KEYS_ANNOTATION.to_owned();
        if self.keys.rejected > 0 {
            let count = self.keys.rejected.to_string();
            object.annotations_mut().insert(annotation, count);
        } else if self.booking.ssh_public_key.is_some() {
            object.annotations_mut().remove(&annotation);
        }
    }

    /// Makes an object that is older say what the event says.
    pub(super) fn overwrite(&self, object: &mut Reservation) {
        self.overwrite_window(object);
        let elsewhere = self.is_elsewhere(object);
        let begun = has_begun(object);
        let news = self.spec();
        let spec = &mut object.spec;
        match (&mut spec.resource, news.resource) {
            (Some(present), Some(news)) if !elsewhere => overwrite_resource(present, news),
            (present, news) => *present = news,
        }
        if let Some(news) = news.source {
            let source = spec.source.get_or_insert_default();
            overwrite(&mut source.title, news.title);
            overwrite(&mut source.description, news.description);
        }
        overwrite(&mut spec.parameters, news.parameters);
        // The disk is written for one person: a change comes too late once it has begun.
        if begun {
            return;
        }
        if is_another_person(spec.requester.as_ref(), news.requester.as_ref()) {
            spec.requester = news.requester;
            spec.access = news.access;
            object.annotations_mut().remove(REJECTED_KEYS_ANNOTATION);
            self.note_rejected_keys(object);
            return;
        }
        if let Some(news) = news.requester {
            let requester = spec.requester.get_or_insert_default();
            overwrite(&mut requester.id, news.id);
            overwrite(&mut requester.username, news.username);
            overwrite(&mut requester.email, news.email);
        }
        overwrite(&mut spec.access, news.access);
        self.note_rejected_keys(object);
    }

    /// The window alone, and as of when.
    pub(super) fn overwrite_window(&self, object: &mut Reservation) {
        if self.booking.has_start() {
            object.spec.window = window(self.window);
        }
        self.stamp(object);
    }

    /// As of when the object is.
    pub(super) fn stamp(&self, object: &mut Reservation) {
        if let Some(revision) = self.booking.revision {
            object
                .annotations_mut()
                .insert(REVISION_ANNOTATION.to_owned(), revision.to_string());
        }
    }

    fn spec(&self) -> ReservationSpec {
        let booking = self.booking.clone();
        let authorized_keys: Vec<_> = self
            .keys
            .keys
            .iter()
            .map(|key| AuthorizedKey {
                name: None,
                key: key.as_str().to_owned(),
            })
            .collect();
        ReservationSpec {
            source: Some(Source {
                provider: Some(self.provider.to_owned()),
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
            window: window(self.window),
            lifecycle: None,
            access: (!authorized_keys.is_empty()).then_some(Access {
                authorized_keys,
                ..Access::default()
            }),
            provisioning: None,
            parameters: booking.custom_parameters.map(parameters),
        }
    }
}

/// Whether the host may have been touched for it.
pub(super) fn has_begun(object: &Reservation) -> bool {
    let status = object.status.as_ref();
    status.is_some_and(|status| status.begin_time.is_some())
}

/// What one event lacks, another of the same booking may bring.
fn fill_in(spec: &mut ReservationSpec, news: ReservationSpec) {
    fill(&mut spec.parameters, news.parameters);
    // No event brings one, but somebody may have chosen it for a booking that then moves.
    fill(&mut spec.provisioning, news.provisioning);
    if let Some(news) = news.source {
        let source = spec.source.get_or_insert_default();
        fill(&mut source.webhook_id, news.webhook_id);
        fill(&mut source.title, news.title);
        fill(&mut source.description, news.description);
    }
    // A key is its owner's: never one person's name with another's key.
    if is_another_person(spec.requester.as_ref(), news.requester.as_ref()) {
        return;
    }
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
}

pub(super) fn want(object: &mut Reservation, desired_state: DesiredState) {
    let lifecycle = object.spec.lifecycle.get_or_insert_with(Lifecycle::default);
    lifecycle.desired_state = Some(desired_state);
}

pub(super) fn released(object: &Reservation) -> Reservation {
    let mut released = object.clone();
    want(&mut released, DesiredState::Released);
    released
}

pub(super) fn is_deleted(object: &Reservation) -> bool {
    object.annotations().contains_key(DELETED_ANNOTATION)
}

pub(super) fn mark_deleted(object: &mut Reservation) {
    object
        .annotations_mut()
        .insert(DELETED_ANNOTATION.to_owned(), "true".to_owned());
}

pub(super) fn has_moved_away(object: &Reservation) -> bool {
    object.annotations().contains_key(MOVED_AWAY_ANNOTATION)
}

pub(super) fn mark_moved_away(object: &mut Reservation) {
    object
        .annotations_mut()
        .insert(MOVED_AWAY_ANNOTATION.to_owned(), "true".to_owned());
}

fn revision(object: &Reservation) -> Option<Timestamp> {
    object.annotations().get(REVISION_ANNOTATION)?.parse().ok()
}

fn is_another_person(present: Option<&Requester>, news: Option<&Requester>) -> bool {
    let id = |requester: Option<&Requester>| requester.and_then(|person| person.id.clone());
    match (id(present), id(news)) {
        (Some(present), Some(news)) => present != news,
        _ => false,
    }
}

fn overwrite_resource(present: &mut BookedResource, news: BookedResource) {
    overwrite(&mut present.id, news.id);
    overwrite(&mut present.name, news.name);
    overwrite(&mut present.type_, news.type_);
    overwrite(&mut present.specs, news.specs);
    overwrite(&mut present.location, news.location);
    overwrite(&mut present.site_id, news.site_id);
    overwrite(&mut present.site_name, news.site_name);
}

fn overwrite<T>(field: &mut Option<T>, news: Option<T>) {
    if news.is_some() {
        *field = news;
    }
}

fn fill<T>(field: &mut Option<T>, news: Option<T>) {
    if field.is_none() {
        *field = news;
    }
}

fn window(window: BookedWindow) -> Window {
    Window {
        start: Some(Time(window.start)),
        end: window.end.map(Time),
    }
}

/// A JSON object in a string; any other text is kept as it is.
fn parameters(text: String) -> BTreeMap<String, Value> {
    match serde_json::from_str(&text) {
        Ok(parameters) => parameters,
        Err(_) => BTreeMap::from([("raw".to_owned(), Value::String(text))]),
    }
}

/// On a Reservation: as of when the portal said what stands in it (`updatedAt` of its own
/// events, five minutes before the `timestamp` of the processor's). In the metadata, so that an event that is newer
/// but says nothing new makes no new generation.
pub const REVISION_ANNOTATION: &str = "harbormaster.dev/event-revision";

/// On a Reservation: the portal deleted the booking, so that no later event revives it.
pub const DELETED_ANNOTATION: &str = "harbormaster.dev/event-deleted";

/// On a Reservation: the booking was moved to a resource that `RESOURCE_TYPES` leaves out, so
/// that only its coming back revives it.
pub const MOVED_AWAY_ANNOTATION: &str = "harbormaster.dev/event-moved-away";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_are_no_object_are_kept_as_text() {
        assert_eq!(parameters(r#"{"os":"noble"}"#.to_owned())["os"], "noble");
        assert_eq!(parameters("[1]".to_owned())["raw"], "[1]");
    }
}
