//! What the sender is told of its events, in the earlier receiver's words, and the log too:
//! one line per event, of ids and names alone.
//!
//! Called by the intake once the events are stored.

use serde::Serialize;
use tracing::{info, warn};

use super::{
    event::{EventType, Item},
    intent::{Intent, shown},
    metrics::Outcome,
    record::Recorded,
};

/// The body of a 200.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Answer {
    status: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    items: Option<Vec<ItemAnswer>>,
}

/// What is told of one event of a batch.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ItemAnswer {
    event_id: Option<String>,
    resource_name: Option<String>,
    status: &'static str,
    message: String,
}

impl Answer {
    /// What is told of a delivery's only event.
    pub(super) fn to_one(told: Told) -> Self {
        Self {
            status: told.status(),
            message: told.message,
            items: None,
        }
    }

    /// Success, whatever is told of the items: they have all been dealt with.
    pub(super) fn to_batch(items: Vec<ItemAnswer>) -> Self {
        let count = |status| items.iter().filter(|item| item.status == status).count();
        let message = format!(
            "{} events: {} taken, {} ignored, {} rejected",
            items.len(),
            count(SUCCESS),
            count(IGNORED),
            count(REJECTED)
        );
        Self {
            status: SUCCESS,
            message,
            items: Some(items),
        }
    }
}

impl ItemAnswer {
    pub(super) fn new(item: Item, told: Told) -> Self {
        Self {
            event_id: item.event_id,
            resource_name: item.resource_name,
            status: told.status(),
            message: told.message,
        }
    }
}

/// What became of one event, in words.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) outcome: Outcome,
    message: String,
}

impl Told {
    /// Of an event of a batch, perhaps a broken one.
    pub(super) fn of_item(
        event_type: Option<EventType>,
        item: &Item,
        intent: &Intent,
        recorded: &Recorded,
    ) -> Self {
        let Err(refusal) = &item.event else {
            return Self::of(event_type, intent, recorded);
        };
        warn!("refused an event of a batch: {refusal}");
        Self {
            outcome: Outcome::Rejected,
            message: refusal.to_string(),
        }
    }

    /// Of a sound event. The log is told, too: ids and names, and no other text of the
    /// sender's.
    pub(super) fn of(event_type: Option<EventType>, intent: &Intent, recorded: &Recorded) -> Self {
        let booking = intent.booking();
        let name = booking.map_or("", |booking| booking.resource_name.as_str());
        let (outcome, message) = match (recorded, intent) {
            (Recorded::Ignored(reason), _) | (_, Intent::Ignore(reason)) => {
                (Outcome::Ignored, reason.clone())
            }
            (Recorded::AlreadyHandled, _) => {
                (Outcome::Known, format!("Already handled for {name}"))
            }
            (Recorded::Spooled | Recorded::Taken(_), Intent::Begin { .. }) => {
                (Outcome::Taken, format!("Provisioning initiated for {name}"))
            }
            // What waits will most probably be of no concern to us.
            (Recorded::Spooled, Intent::Withdraw { reason, .. }) => {
                (Outcome::Ignored, reason.clone())
            }
            (Recorded::Taken(_), Intent::Withdraw { reason, .. }) => (
                Outcome::Taken,
                format!("{reason}; what was reserved is released"),
            ),
            (Recorded::Spooled | Recorded::Taken(_), Intent::Schedule { .. }) => {
                (Outcome::Taken, format!("Reservation recorded for {name}"))
            }
            (
                Recorded::Spooled | Recorded::Taken(_),
                Intent::Delete { .. } | Intent::End { .. },
            ) => (
                Outcome::Taken,
                format!("Deprovisioning initiated for {name}"),
            ),
        };
        let outcome = match recorded {
            Recorded::Spooled if outcome == Outcome::Taken => Outcome::Spooled,
            _ => outcome,
        };
        let reservation = match recorded {
            Recorded::Taken(reservation) => Some(reservation.as_str()),
            Recorded::AlreadyHandled | Recorded::Ignored(_) | Recorded::Spooled => None,
        };
        let event_id = booking.and_then(|booking| booking.event_id.as_deref());
        info!(
            event_type = event_type.map_or(EventType::UNKNOWN, EventType::as_str),
            event_id = event_id.map(shown),
            resource = booking.map(|booking| shown(&booking.resource_name)),
            reservation,
            outcome = outcome.as_str(),
            "event handled"
        );
        Self { outcome, message }
    }

    fn status(&self) -> &'static str {
        match self.outcome {
            Outcome::Ignored => IGNORED,
            Outcome::Known | Outcome::Spooled | Outcome::Taken => SUCCESS,
            Outcome::Rejected | Outcome::Unsigned | Outcome::Unstored => REJECTED,
        }
    }
}

const IGNORED: &str = "ignored";

const REJECTED: &str = "rejected";

const SUCCESS: &str = "success";
