//! What is counted of reviews, conversions and connections, for Prometheus. Given to `register` and
//! `server` by the program, whose registry it is.
//!
//! Labels are bounded: routes and versions are those registered, operations those of the API;
//! anything else a caller may write is counted as `unknown`. No object's content becomes a label.

mod certificate;

use std::{fmt, hash::Hash, sync::Arc, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::certs::TlsIdentity;
use certificate::Certificates;

/// The framework's metrics. Clones count into the same ones; a default one counts where nobody looks.
///
/// | metric | |
/// |---|---|
/// | `kube_webhook_reviews_total{webhook,operation,outcome}` | admission reviews by route; the outcome is `allowed`, `denied`, `patched`, `faulted`, `shed` or `timeout` |
/// | `kube_webhook_review_seconds{webhook,operation}` | from a review's head to its answer |
/// | `kube_webhook_conversions_total{from,to,outcome}` | conversion reviews; the outcome is `converted`, `failed`, `faulted`, `shed` or `timeout` |
/// | `kube_webhook_converted_objects_total` | objects in those that were converted |
/// | `kube_webhook_remainders_total{outcome}` | annotations of what a version can't express that did not come along: `ignored` ones were no such annotation, or somebody's edit of one; for `oversized` ones there was no room, and what they held is lost |
/// | `kube_webhook_connections` | open connections |
/// | `kube_webhook_tls_handshakes_total{outcome}` | `completed`, `failed`, `timeout`, or `refused` at the limit of connections |
/// | `kube_webhook_in_flight` | reviews being answered |
/// | `kube_webhook_certificate_not_after_timestamp_seconds` | when the first of the certificates presented expires |
///
/// ```
/// use kube_webhook::Metrics;
/// use prometheus_client::registry::Registry;
///
/// let mut registry = Registry::default();
/// let metrics = Metrics::register(&mut registry);
/// // `Webhooks::metrics(metrics.clone())`, `Server::metrics(metrics)`; then on each scrape:
/// let mut text = String::new();
/// prometheus_client::encoding::text::encode(&mut text, &registry)?;
/// assert!(text.contains("kube_webhook_in_flight 0"));
/// # Ok::<(), std::fmt::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Metrics {
    families: Arc<Families>,
}

impl Metrics {
    /// Adds the metrics to the program's registry, which must not have a prefix of its own.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let families = &*metrics.families;
        registry.register(
            "kube_webhook_reviews",
            "Admission reviews by outcome",
            families.reviews.clone(),
        );
        registry.register(
            "kube_webhook_review_seconds",
            "Time from the head of an admission review to its answer",
            families.review_seconds.clone(),
        );
        registry.register(
            "kube_webhook_conversions",
            "Conversion reviews by versions and outcome",
            families.conversions.clone(),
        );
        registry.register(
            "kube_webhook_converted_objects",
            "Objects converted",
            families.converted_objects.clone(),
        );
        // Rare, and so there from the start.
        for outcome in RemainderOutcome::ALL {
            drop(families.remainders.get_or_create(&outcome.label()));
        }
        registry.register(
            "kube_webhook_remainders",
            "Annotations of what a version can't express that were dropped",
            families.remainders.clone(),
        );
        registry.register(
            "kube_webhook_connections",
            "Open connections",
            families.connections.clone(),
        );
        registry.register(
            "kube_webhook_tls_handshakes",
            "TLS handshakes by outcome",
            families.handshakes.clone(),
        );
        registry.register(
            "kube_webhook_in_flight",
            "Reviews being answered",
            families.in_flight.clone(),
        );
        registry.register_collector(Box::new(families.certificates.clone()));
        metrics
    }

    pub(crate) fn reviewed(
        &self,
        webhook: &Arc<str>,
        operation: Option<&'static str>,
        outcome: ReviewOutcome,
        elapsed: Duration,
    ) {
        let webhook = Text(Arc::clone(webhook));
        let operation = operation.unwrap_or(UNKNOWN);
        let review = ReviewLabels {
            webhook: webhook.clone(),
            operation,
            outcome: outcome.as_str(),
        };
        let siblings = ReviewOutcome::ALL.into_iter().map(|outcome| ReviewLabels {
            outcome: outcome.as_str(),
            ..review.clone()
        });
        count(&self.families.reviews, &review, siblings);
        let timed = TimeLabels { webhook, operation };
        let seconds = self.families.review_seconds.get_or_create(&timed);
        seconds.observe(elapsed.as_secs_f64());
    }

    pub(crate) fn converted(
        &self,
        from: &Arc<str>,
        to: &Arc<str>,
        outcome: ConversionOutcome,
        objects: usize,
    ) {
        let labels = ConversionLabels {
            from: Text(Arc::clone(from)),
            to: Text(Arc::clone(to)),
            outcome: outcome.as_str(),
        };
        let siblings = ConversionOutcome::ALL
            .into_iter()
            .map(|outcome| ConversionLabels {
                outcome: outcome.as_str(),
                ..labels.clone()
            });
        count(&self.families.conversions, &labels, siblings);
        if outcome == ConversionOutcome::Converted {
            self.families.converted_objects.inc_by(objects as u64);
        }
    }

    pub(crate) fn remainder_dropped(&self, outcome: RemainderOutcome) {
        self.families
            .remainders
            .get_or_create(&outcome.label())
            .inc();
    }

    pub(crate) fn handshake(&self, outcome: HandshakeOutcome) {
        let labels = HandshakeLabels {
            outcome: outcome.as_str(),
        };
        let siblings = HandshakeOutcome::ALL
            .into_iter()
            .map(|outcome| HandshakeLabels {
                outcome: outcome.as_str(),
            });
        count(&self.families.handshakes, &labels, siblings);
    }

    /// One more connection, until the guard is dropped.
    pub(crate) fn connection(&self) -> Counted {
        Counted::one_of(&self.families.connections)
    }

    /// One more review being answered, until the guard is dropped.
    pub(crate) fn in_flight(&self) -> Counted {
        Counted::one_of(&self.families.in_flight)
    }

    /// From now on, the expiry of what `identity` presents is shown.
    pub(crate) fn presents(&self, identity: &TlsIdentity) {
        self.families.certificates.add(identity.clone());
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// How an admission review ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReviewOutcome {
    Allowed,
    Denied,
    Patched,
    Faulted,
    Shed,
    Timeout,
}

impl ReviewOutcome {
    const ALL: [Self; 6] = [
        Self::Allowed,
        Self::Denied,
        Self::Patched,
        Self::Faulted,
        Self::Shed,
        Self::Timeout,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Patched => "patched",
            Self::Faulted => "faulted",
            Self::Shed => "shed",
            Self::Timeout => "timeout",
        }
    }
}

/// How a conversion review ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConversionOutcome {
    Converted,
    /// Answered with a failure that names an object.
    Failed,
    Faulted,
    Shed,
    Timeout,
}

impl ConversionOutcome {
    const ALL: [Self; 5] = [
        Self::Converted,
        Self::Failed,
        Self::Faulted,
        Self::Shed,
        Self::Timeout,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Converted => "converted",
            Self::Failed => "failed",
            Self::Faulted => "faulted",
            Self::Shed => "shed",
            Self::Timeout => "timeout",
        }
    }
}

/// Why an annotation of what a version can't express didn't come along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RemainderOutcome {
    /// It can't be read.
    Ignored,
    /// The API server would not take it.
    Oversized,
}

impl RemainderOutcome {
    const ALL: [Self; 2] = [Self::Ignored, Self::Oversized];

    fn label(self) -> RemainderLabels {
        let outcome = match self {
            Self::Ignored => "ignored",
            Self::Oversized => "oversized",
        };
        RemainderLabels { outcome }
    }
}

/// How a TLS handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HandshakeOutcome {
    Completed,
    Failed,
    Timeout,
    /// Not begun, since there are too many connections.
    Refused,
}

impl HandshakeOutcome {
    const ALL: [Self; 4] = [Self::Completed, Self::Failed, Self::Timeout, Self::Refused];

    fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Refused => "refused",
        }
    }
}

/// Counted in a gauge for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted(Gauge);

impl Counted {
    fn one_of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

struct Families {
    reviews: Family<ReviewLabels, Counter>,
    review_seconds: Family<TimeLabels, Histogram, fn() -> Histogram>,
    conversions: Family<ConversionLabels, Counter>,
    converted_objects: Counter,
    remainders: Family<RemainderLabels, Counter>,
    connections: Gauge,
    handshakes: Family<HandshakeLabels, Counter>,
    in_flight: Gauge,
    certificates: Certificates,
}

impl Default for Families {
    fn default() -> Self {
        Self {
            reviews: Family::default(),
            review_seconds: Family::new_with_constructor(histogram),
            conversions: Family::default(),
            converted_objects: Counter::default(),
            remainders: Family::default(),
            connections: Gauge::default(),
            handshakes: Family::default(),
            in_flight: Gauge::default(),
            certificates: Certificates::default(),
        }
    }
}

/// Counts one, and zero of its siblings when it is the first of them: what begins with 1 has not
/// increased, as Prometheus sees it, so that an alert on the first fault would never come.
fn count<S>(family: &Family<S, Counter>, labels: &S, siblings: impl IntoIterator<Item = S>)
where
    S: Clone + Eq + Hash,
{
    // The guard must be gone before a sibling is made.
    let is_known = family.get(labels).is_some();
    if !is_known {
        for sibling in siblings {
            drop(family.get_or_create(&sibling));
        }
    }
    family.get_or_create(labels).inc();
}

fn histogram() -> Histogram {
    Histogram::new(BUCKETS)
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReviewLabels {
    webhook: Text,
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TimeLabels {
    webhook: Text,
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConversionLabels {
    from: Text,
    to: Text,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RemainderLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandshakeLabels {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Text(Arc<str>);

impl EncodeLabelValue for Text {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        (&*self.0).encode(encoder)
    }
}

pub(crate) const UNKNOWN: &str = "unknown";
/// From a verdict without I/O to the longest that the API server waits.
const BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0,
];
