//! What a run has really met: a simulation that passes because nothing happened is worth
//! nothing, so each fault and each situation is counted where it takes effect.

use std::{collections::BTreeMap, fmt};

use crate::api_server::{Kind, Request};

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Fault {
    AnswerLost,
    CleaningDisabled,
    CleaningError,
    ClockBack,
    ClockForward,
    Crash,
    EventEarly,
    EventLate,
    EventLost,
    EventRepeated,
    HandImage,
    HandTouch,
    HostDeleted,
    HostDetached,
    HostMadeAnew,
    HostPaused,
    HostRelabelled,
    LeaderStalls,
    OperatorDown,
    ProvisioningError,
    RecordDeleted,
    RecordForced,
    ServerError,
    StrangerClaims,
    TwoLeaders,
    WatchLost,
    WriterBetween,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::AnswerLost,
        Self::CleaningDisabled,
        Self::CleaningError,
        Self::ClockBack,
        Self::ClockForward,
        Self::Crash,
        Self::EventEarly,
        Self::EventLate,
        Self::EventLost,
        Self::EventRepeated,
        Self::HandImage,
        Self::HandTouch,
        Self::HostDeleted,
        Self::HostDetached,
        Self::HostMadeAnew,
        Self::HostPaused,
        Self::HostRelabelled,
        Self::LeaderStalls,
        Self::OperatorDown,
        Self::ProvisioningError,
        Self::RecordDeleted,
        Self::RecordForced,
        Self::ServerError,
        Self::StrangerClaims,
        Self::TwoLeaders,
        Self::WatchLost,
        Self::WriterBetween,
    ];
}

/// How often what was met.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Coverage {
    /// Faults, by kind.
    pub faults: BTreeMap<Fault, u64>,
    /// Phases, answers and situations, by name.
    pub met: BTreeMap<String, u64>,
    /// Passes of a controller.
    pub passes: u64,
    /// Requests to the API server.
    pub requests: u64,
    /// Those of them that were to change something.
    pub writes: u64,
    /// The requests of those passes that changed something.
    pub busy: u64,
    /// All requests, by verb and kind.
    pub asked: BTreeMap<(&'static str, Kind), u64>,
    /// The most passes within ten minutes.
    pub busiest: u64,
}

impl Coverage {
    pub(crate) fn fault(&mut self, fault: Fault) {
        *self.faults.entry(fault).or_default() += 1;
    }

    pub(crate) fn meet(&mut self, what: impl Into<String>) {
        *self.met.entry(what.into()).or_default() += 1;
    }

    pub(crate) fn ask(&mut self, request: &Request) {
        self.requests += 1;
        self.writes += u64::from(request.verb.is_write());
        let what = (request.verb.name(), request.kind);
        *self.asked.entry(what).or_default() += 1;
    }

    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        for (fault, times) in &other.faults {
            *self.faults.entry(*fault).or_default() += times;
        }
        for (what, times) in &other.met {
            *self.met.entry(what.clone()).or_default() += times;
        }
        self.passes += other.passes;
        self.requests += other.requests;
        self.writes += other.writes;
        self.busy += other.busy;
        for (what, times) in &other.asked {
            *self.asked.entry(*what).or_default() += times;
        }
        self.busiest = self.busiest.max(other.busiest);
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} passes ({} within ten minutes at most), {} requests",
            self.passes, self.busiest, self.requests
        )?;
        writeln!(f, "faults:")?;
        for fault in Fault::ALL {
            let times = self.faults.get(&fault).copied().unwrap_or_default();
            writeln!(f, "  {times:>10}  {fault:?}")?;
        }
        writeln!(f, "met:")?;
        for (what, times) in &self.met {
            writeln!(f, "  {times:>10}  {what}")?;
        }
        Ok(())
    }
}
