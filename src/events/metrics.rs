//! What is counted of events, for Prometheus.
//!
//! Labels are bounded: the types that the senders know, and our own outcomes. No name or id
//! becomes a label. Registered by the wiring, counted into by the intake.

use std::time::Duration;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::event::EventType;

/// The event door's metrics. Clones count into the same ones; a default one counts where
/// nobody looks.
#[derive(Clone, Debug)]
pub struct EventMetrics {
    events: Family<Labels, Counter>,
    ack_seconds: Histogram,
    unsigned_mode: Gauge,
}

/// What became of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It asks for nothing of ours.
    Ignored,
    /// It was stored already.
    Known,
    /// It is no event that we understand: 4xx, or `rejected` in a batch.
    Rejected,
    /// It waits in the spool for the API server.
    Spooled,
    /// It is stored.
    Taken,
    /// It could be stored nowhere: 503.
    Unstored,
    /// Its signature doesn't hold: 401.
    Unsigned,
}

impl EventMetrics {
    /// Adds the metrics to the program's registry.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        // From zero on: the first event that is lost is an increase, too.
        for event_type in [EventType::START, EventType::END]
            .map(Some)
            .into_iter()
            .chain([None])
        {
            for outcome in OUTCOMES {
                drop(metrics.events.get_or_create(&labels(event_type, outcome)));
            }
        }
        registry.register(
            "harbormaster_events",
            "Events by their type and what became of them",
            metrics.events.clone(),
        );
        registry.register(
            "harbormaster_event_ack_seconds",
            "Time from a delivery's last byte to its answer",
            metrics.ack_seconds.clone(),
        );
        registry.register(
            "harbormaster_unsigned_mode",
            "1 while events are taken without a signature, because no secret is set",
            metrics.unsigned_mode.clone(),
        );
        metrics
    }

    /// Says whether signatures are checked at all.
    pub fn unsigned_mode(&self, is_on: bool) {
        self.unsigned_mode.set(i64::from(is_on));
    }

    pub(super) fn count(&self, event_type: Option<EventType>, outcome: Outcome) {
        self.events
            .get_or_create(&labels(event_type, outcome))
            .inc();
    }

    pub(super) fn answered(&self, elapsed: Duration) {
        self.ack_seconds.observe(elapsed.as_secs_f64());
    }
}

impl Default for EventMetrics {
    fn default() -> Self {
        Self {
            events: Family::default(),
            ack_seconds: Histogram::new(SECONDS),
            unsigned_mode: Gauge::default(),
        }
    }
}

impl Outcome {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ignored => "ignored",
            Self::Known => "known",
            Self::Rejected => "rejected",
            Self::Spooled => "spooled",
            Self::Taken => "taken",
            Self::Unsigned => "unsigned",
            Self::Unstored => "unstored",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    r#type: &'static str,
    outcome: &'static str,
}

fn labels(event_type: Option<EventType>, outcome: Outcome) -> Labels {
    Labels {
        r#type: event_type.map_or(EventType::UNKNOWN, EventType::as_str),
        outcome: outcome.as_str(),
    }
}

const OUTCOMES: [Outcome; 7] = [
    Outcome::Ignored,
    Outcome::Known,
    Outcome::Rejected,
    Outcome::Spooled,
    Outcome::Taken,
    Outcome::Unsigned,
    Outcome::Unstored,
];

/// From a spool's fsync to the second within which every answer must come.
const SECONDS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];
