//! What the sender is told of its events, in the earlier receiver's words, and the log too:
//! one line per event, of ids and names alone.
//!
//! Called by the intake once the events are stored.

use serde::Serialize;
use tracing::{info, warn};

use super::{event::Item, intent::Intent, record::Recorded};

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
    pub(super) fn to_one(intent: &Intent, recorded: &Recorded) -> Self {
        let (status, message) = words(intent, recorded);
        Self {
            status,
            message,
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
    pub(super) fn new(item: Item, intent: &Intent, recorded: &Recorded) -> Self {
        let (status, message) = match item.event {
            Ok(_) => words(intent, recorded),
            Err(refusal) => {
                warn!("refused an event of a batch: {refusal}");
                (REJECTED, refusal.to_string())
            }
        };
        Self {
            event_id: item.event_id,
            resource_name: item.resource_name,
            status,
            message,
        }
    }
}

fn words(intent: &Intent, recorded: &Recorded) -> (&'static str, String) {
    let name = intent
        .booking()
        .map_or("", |booking| booking.resource_name.as_str());
    let (status, message) = match (recorded, intent) {
        (Recorded::Ignored(reason), _) | (_, Intent::Ignore(reason)) => (IGNORED, reason.clone()),
        (Recorded::AlreadyHandled, _) => (SUCCESS, format!("Already handled for {name}")),
        (Recorded::Spooled | Recorded::Taken(_), Intent::Begin { .. }) => {
            (SUCCESS, format!("Provisioning initiated for {name}"))
        }
        (Recorded::Spooled | Recorded::Taken(_), Intent::Schedule { .. }) => {
            (SUCCESS, format!("Reservation recorded for {name}"))
        }
        (Recorded::Spooled | Recorded::Taken(_), Intent::Delete { .. } | Intent::End { .. }) => {
            (SUCCESS, format!("Deprovisioning initiated for {name}"))
        }
    };
    match recorded {
        Recorded::Taken(reservation) => info!(reservation, "event taken: {message}"),
        Recorded::Spooled => info!("event spooled: {message}"),
        Recorded::AlreadyHandled | Recorded::Ignored(_) => info!("event {status}: {message}"),
    }
    (status, message)
}

const IGNORED: &str = "ignored";

const REJECTED: &str = "rejected";

const SUCCESS: &str = "success";
