//! What is counted of reservations and hosts, for Prometheus.
//!
//! How many reservations there are is read from the caches at the time of the scrape, so that
//! every replica says the same and nothing drifts; what was done is counted by the replica
//! that does it. Labels are our own phases and outcomes, never a name. Registered by the
//! wiring, counted into by the controller and the writer of hosts.

use std::{fmt, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        MetricType, counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram,
    },
    registry::Registry,
};

use super::{
    caches::{Caches, Freshness},
    host::{ApiError, is_refusal},
};
use crate::api::v1::{Phase, ReservationStatus};

/// The controller's metrics. Clones count into the same ones; default ones count where nobody
/// looks.
#[derive(Clone, Debug)]
pub struct ControllerMetrics {
    host_writes: Family<OutcomeLabel, Counter>,
    phase_seconds: Family<PhaseLabel, Histogram, fn() -> Histogram>,
}

impl ControllerMetrics {
    /// Adds the metrics to the program's registry.
    #[must_use]
    pub fn register(registry: &mut Registry, caches: Caches) -> Self {
        let metrics = Self::default();
        // From zero on: the first write that fails is an increase, too.
        for outcome in OUTCOMES {
            drop(metrics.host_writes.get_or_create(&OutcomeLabel { outcome }));
        }
        for phase in LASTING {
            let phase = name(phase);
            drop(metrics.phase_seconds.get_or_create(&PhaseLabel { phase }));
        }
        registry.register(
            "harbormaster_host_writes",
            "Writes to BareMetalHosts by what became of them",
            metrics.host_writes.clone(),
        );
        registry.register(
            "harbormaster_phase_seconds",
            "How long a phase lasted, counted when it is over",
            metrics.phase_seconds.clone(),
        );
        registry.register_collector(Box::new(Census(caches)));
        metrics
    }

    pub(super) fn host_written<T>(&self, written: &Result<T, ApiError>) {
        let outcome = outcome(written);
        self.host_writes
            .get_or_create(&OutcomeLabel { outcome })
            .inc();
    }

    pub(super) fn status_stored(&self, before: &ReservationStatus, after: &ReservationStatus) {
        for (phase, lasted) in ended(before, after) {
            let phase = name(phase);
            let seconds = self.phase_seconds.get_or_create(&PhaseLabel { phase });
            seconds.observe(lasted.as_secs_f64());
        }
    }
}

impl Default for ControllerMetrics {
    fn default() -> Self {
        Self {
            host_writes: Family::default(),
            phase_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
        }
    }
}

/// Which phases a step ended, and how long they lasted by the record itself, so that neither
/// a restart nor another leader makes a difference. Pending counts from when the host was
/// wanted: how long before that it was booked says nothing of us.
fn ended(before: &ReservationStatus, after: &ReservationStatus) -> Vec<(Phase, Duration)> {
    let mut ended = Vec::new();
    let mut add = |phase, was: &Option<Time>, from: &Option<Time>, until: &Option<Time>| {
        if let (None, Some(from), Some(until)) = (was, from, until)
            && let Ok(lasted) = Duration::try_from(until.0.duration_since(from.0))
        {
            ended.push((phase, lasted));
        }
    };
    let (begun, claimed) = (&after.begin_time, &after.claim_time);
    let (active, release) = (&after.active_time, &after.release_time);
    add(Phase::Pending, &before.claim_time, begun, claimed);
    if active.is_some() {
        add(Phase::Provisioning, &before.active_time, claimed, active);
        add(Phase::Active, &before.release_time, active, release);
    } else {
        add(Phase::Provisioning, &before.release_time, claimed, release);
    }
    let released = &after.released_time;
    add(Phase::Releasing, &before.released_time, release, released);
    ended
}

fn outcome<T>(written: &Result<T, ApiError>) -> &'static str {
    match written {
        Ok(_) => WRITTEN,
        Err(error) if error.is_conflict() => CONFLICT,
        Err(ApiError::Kube(kube::Error::Api(status))) if is_refusal(status) => REFUSED,
        Err(_) => FAILED,
    }
}

/// What there is, counted at the time of the scrape.
struct Census(Caches);

impl Collector for Census {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        // Nothing is known before the first lists: that is not the same as none.
        if self.0.freshness() == Freshness::Unknown {
            return Ok(());
        }
        let mut counts = PHASES.map(|phase| (phase, 0_i64));
        self.0.each_reservation(|reservation| {
            let phase = reservation.status.as_ref().and_then(|status| status.phase);
            let phase = phase.unwrap_or_default();
            if let Some((_, count)) = counts.iter_mut().find(|(counted, _)| *counted == phase) {
                *count += 1;
            }
        });
        let help = "Reservations by their phase";
        let gauge = MetricType::Gauge;
        let mut metric =
            encoder.encode_descriptor("harbormaster_reservations", help, None, gauge)?;
        for (phase, count) in counts {
            let phase = PhaseLabel { phase: name(phase) };
            ConstGauge::new(count).encode(metric.encode_family(&phase)?)?;
        }
        let help = "Objects that can't be decoded, and are left alone until they are mended";
        let mut metric =
            encoder.encode_descriptor("harbormaster_unreadable_objects", help, None, gauge)?;
        for (kind, count) in self.0.unreadable() {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            ConstGauge::new(count).encode(metric.encode_family(&KindLabel { kind })?)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Census").finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabel {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Active => "Active",
        Phase::Failed => "Failed",
        Phase::Pending => "Pending",
        Phase::Provisioning => "Provisioning",
        Phase::Released => "Released",
        Phase::Releasing => "Releasing",
    }
}

const PHASES: [Phase; 6] = [
    Phase::Pending,
    Phase::Provisioning,
    Phase::Active,
    Phase::Releasing,
    Phase::Released,
    Phase::Failed,
];

/// Those that end by themselves.
const LASTING: [Phase; 4] = [
    Phase::Pending,
    Phase::Provisioning,
    Phase::Active,
    Phase::Releasing,
];

const WRITTEN: &str = "written";
const CONFLICT: &str = "conflict";
const REFUSED: &str = "refused";
const FAILED: &str = "failed";

const OUTCOMES: [&str; 4] = [WRITTEN, CONFLICT, REFUSED, FAILED];

/// From a claim of a host that is free to a week's booking.
const SECONDS: [f64; 12] = [
    1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 604_800.0,
];

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn at(second: i64) -> Option<Time> {
        Some(Time(Timestamp::from_second(second).unwrap()))
    }

    #[test]
    fn each_phase_is_counted_once_by_the_step_that_ends_it() {
        let seconds = |before: &ReservationStatus, after: &ReservationStatus| {
            let ended = ended(before, after).into_iter();
            ended
                .map(|(phase, lasted)| (phase, lasted.as_secs()))
                .collect::<Vec<_>>()
        };
        let booked = ReservationStatus::default();
        let begun = ReservationStatus {
            begin_time: at(100),
            ..booked.clone()
        };
        let claimed = ReservationStatus {
            claim_time: at(107),
            ..begun.clone()
        };
        let active = ReservationStatus {
            active_time: at(407),
            ..claimed.clone()
        };
        let releasing = ReservationStatus {
            release_time: at(1407),
            ..active.clone()
        };
        let released = ReservationStatus {
            released_time: at(1507),
            ..releasing.clone()
        };
        assert_eq!(seconds(&booked, &begun), []);
        assert_eq!(seconds(&begun, &claimed), [(Phase::Pending, 7)]);
        assert_eq!(seconds(&claimed, &claimed), []);
        assert_eq!(seconds(&claimed, &active), [(Phase::Provisioning, 300)]);
        assert_eq!(seconds(&active, &releasing), [(Phase::Active, 1000)]);
        assert_eq!(seconds(&releasing, &released), [(Phase::Releasing, 100)]);
        // One that never became active.
        let given_up = ReservationStatus {
            release_time: at(500),
            ..claimed.clone()
        };
        assert_eq!(seconds(&claimed, &given_up), [(Phase::Provisioning, 393)]);
        // A clock that was turned back counts nothing.
        let turned = ReservationStatus {
            claim_time: at(90),
            ..begun.clone()
        };
        assert_eq!(seconds(&begun, &turned), []);
    }
}
