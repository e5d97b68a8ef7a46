//! Kubernetes Events (events.k8s.io/v1) about Reservations: what happened to one, and what it
//! waits for, for whoever describes it.
//!
//! They say what the conditions say, when one of these turns to another reason; a condition
//! whose text alone changes is no news. Never in the way of a host: what can't be queued, or
//! isn't taken by the API server in time, is lost, and the conditions still tell it. Told by
//! the controller as it stores a status.

use std::time::Duration;

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Resource,
    runtime::events::{Event, EventType, Recorder},
};
use metal3::BareMetalHost;
use tokio::sync::mpsc;
use tracing::debug;

use super::{host::within_deadline, reasons};
use crate::api::v1::{Reservation, ReservationStatus};

/// Where news is told. Clones tell the same publisher.
#[derive(Clone, Debug)]
pub(super) struct News(mpsc::Sender<(Event, ObjectReference)>);

/// Publishes what is told.
pub(super) struct Publisher {
    told: mpsc::Receiver<(Event, ObjectReference)>,
    recorder: Recorder,
}

/// Both ends.
pub(super) fn news(recorder: Recorder) -> (News, Publisher) {
    let (sender, told) = mpsc::channel(MOST_WAITING);
    (News(sender), Publisher { told, recorder })
}

impl News {
    /// Tells of what is new in a reservation's status.
    pub(super) fn tell(&self, stored: &Reservation, before: &ReservationStatus) {
        let Some(after) = &stored.status else {
            return;
        };
        let host = after.host_ref.as_ref().map(|host| ObjectReference {
            namespace: Some(host.namespace.clone()),
            name: Some(host.name.clone()),
            uid: Some(host.uid.clone()),
            ..of_kind(&BareMetalHost::resource())
        });
        for condition in fresh(before, after) {
            let event = Event {
                type_: if is_trouble(condition) {
                    EventType::Warning
                } else {
                    EventType::Normal
                },
                reason: condition.reason.clone(),
                note: Some(cut(&condition.message)),
                action: condition.type_.clone(),
                secondary: host.clone(),
            };
            self.send(event, stored.object_ref(&()));
        }
    }

    /// Tells of a Reservation that can't be read.
    pub(super) fn unreadable(&self, reference: ObjectReference, why: &str) {
        let event = Event {
            type_: EventType::Warning,
            reason: reasons::UNREADABLE.to_owned(),
            note: Some(cut(&format!("left alone until it is mended: {why}"))),
            action: "Read".to_owned(),
            secondary: None,
        };
        self.send(event, reference);
    }

    fn send(&self, event: Event, reference: ObjectReference) {
        if let Err(error) = self.0.try_send((event, reference)) {
            debug!("an Event is lost: {error}");
        }
    }
}

impl Publisher {
    /// Runs until nobody is left who could tell it anything, and all is told.
    pub(super) async fn run(mut self) {
        while let Some((event, reference)) = self.told.recv().await {
            let published = self.recorder.publish(&event, &reference);
            if let Err(error) = within_deadline(published).await {
                let name = reference.name.unwrap_or_default();
                debug!(reservation = name, "an Event is lost: {error}");
            }
        }
    }
}

/// The conditions that turned, each reason once: several may turn to the same.
fn fresh<'a>(before: &ReservationStatus, after: &'a ReservationStatus) -> Vec<&'a Condition> {
    let was = |condition: &Condition| {
        let mut before = before.conditions.iter();
        before.any(|was| {
            was.type_ == condition.type_
                && was.reason == condition.reason
                && was.status == condition.status
        })
    };
    let mut fresh: Vec<&Condition> = Vec::new();
    for condition in &after.conditions {
        let is_told = fresh.iter().any(|told| told.reason == condition.reason);
        let is_worth_it = !QUIET_TYPES.contains(&&*condition.type_)
            && !QUIET_REASONS.contains(&&*condition.reason);
        if is_worth_it && !is_told && !was(condition) {
            fresh.push(condition);
        }
    }
    fresh
}

/// Whether somebody has to do something about it, or somebody's hopes were in vain.
fn is_trouble(condition: &Condition) -> bool {
    condition.status == "False" && TROUBLES.contains(&&*condition.reason)
}

/// The API server takes no longer one (KEP-383).
fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(LONGEST_NOTE);
    text[..end].to_owned()
}

fn of_kind(resource: &kube::discovery::ApiResource) -> ObjectReference {
    ObjectReference {
        api_version: Some(resource.api_version.clone()),
        kind: Some(resource.kind.clone()),
        ..ObjectReference::default()
    }
}

/// What the portal was told is the portal's news.
const QUIET_TYPES: [&str; 1] = ["Notified"];

/// Steps that are over before anybody could look, and what another condition tells better.
const QUIET_REASONS: [&str; 6] = [
    reasons::BOOKING,
    reasons::CLAIMING,
    reasons::IN_USE,
    reasons::PROVISIONED,
    reasons::RELEASED,
    reasons::RELEASING,
];

const TROUBLES: [&str; 22] = [
    reasons::CLAIMED_BY_OTHER,
    reasons::CLAIM_LOST,
    reasons::CLEANING_FAILED,
    reasons::DEADLINE_EXCEEDED,
    reasons::HOST_AMBIGUOUS,
    reasons::HOST_DELETING,
    reasons::HOST_DETACHED,
    reasons::HOST_ERROR,
    reasons::HOST_GONE,
    reasons::HOST_NOT_FOUND,
    reasons::HOST_NOT_MANAGED,
    reasons::HOST_NOT_RESERVABLE,
    reasons::HOST_PAUSED,
    reasons::HOST_REFUSED,
    reasons::IMAGE_CHANGED,
    reasons::KEY_REJECTED,
    reasons::NO_AUTHORIZED_KEY,
    reasons::PROVISIONING_FAILED,
    reasons::RETRY_LIMIT_REACHED,
    reasons::TEMPLATE_INVALID,
    reasons::UNREADABLE,
    reasons::WINDOW_EXPIRED,
];

const MOST_WAITING: usize = 256;

const LONGEST_NOTE: usize = 1024;

/// How long what is still to be told may keep the Lease from the next leader.
pub(super) const PARTING: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn status(conditions: &[(&str, &str, &str)]) -> ReservationStatus {
        let conditions = conditions.iter().map(|&(type_, value, reason)| Condition {
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            message: format!("{reason} at length"),
            observed_generation: None,
            reason: reason.to_owned(),
            status: value.to_owned(),
            type_: type_.to_owned(),
        });
        ReservationStatus {
            conditions: conditions.collect(),
            ..ReservationStatus::default()
        }
    }

    fn reasons(before: &ReservationStatus, after: &ReservationStatus) -> Vec<String> {
        let fresh = fresh(before, after).into_iter();
        fresh.map(|condition| condition.reason.clone()).collect()
    }

    #[test]
    fn a_reason_is_told_once_when_it_comes_and_never_again_while_it_lasts() {
        let none = ReservationStatus::default();
        let waits = status(&[
            ("HostClaimed", "False", "HostBusy"),
            ("Ready", "False", "HostBusy"),
        ]);
        assert_eq!(reasons(&none, &waits), ["HostBusy"]);
        let mut still = waits.clone();
        still.conditions[0].message = "held by another one meanwhile".to_owned();
        assert_eq!(reasons(&waits, &still), Vec::<String>::new());
        let held = status(&[
            ("HostClaimed", "True", "Claimed"),
            ("Ready", "False", "Claiming"),
            ("Released", "False", "InUse"),
            ("Notified", "True", "Delivered"),
        ]);
        assert_eq!(reasons(&waits, &held), ["Claimed"]);
    }

    #[test]
    fn what_somebody_has_to_do_something_about_is_a_warning_and_what_is_well_is_none() {
        let is_warning = |value: &str, reason: &str| {
            let status = status(&[("Ready", value, reason)]);
            is_trouble(&status.conditions[0])
        };
        for reason in [
            "HostError",
            "HostDeleting",
            "DeadlineExceeded",
            "HostRefused",
        ] {
            assert!(is_warning("False", reason), "{reason}");
        }
        assert!(!is_warning("False", "HostBusy"));
        assert!(!is_warning("True", "Active"));
    }

    #[test]
    fn what_to_do_about_each_trouble_stands_in_the_docs() {
        let page = include_str!("../../docs/failures.md");
        for reason in TROUBLES {
            let row = format!("\n| `{reason}` | ");
            assert!(
                page.contains(&row),
                "docs/failures.md has no row for {reason}"
            );
        }
    }

    #[test]
    fn a_note_is_cut_between_two_characters() {
        let text = cut(&"è".repeat(1000));
        assert_eq!((text.len(), text.chars().count()), (1024, 512));
        assert_eq!(cut(&format!("x{}", "è".repeat(1000))).len(), 1023);
    }
}
