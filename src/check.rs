//! Why a webhook is not called, or fails: what `harbormaster check` finds in a live cluster.
//!
//! Two stages. [`collect`] asks (the API server, and our own listeners for their certificates)
//! and judges nothing; [`examine`] judges what was seen, and asks nothing, so that each finding
//! is tested as a value. What may not be read is said, and never taken for healthy.

pub mod collect;
pub mod expected;
pub mod observed;
pub mod report;

mod certificates;
mod definitions;
mod hooks;
mod others;
mod reach;
mod rights;
mod selector;
mod sender;
mod settings;
mod trust;
mod upkeep;
mod ways;

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use self::observed::Observed;

/// Something that is wrong, or that should be known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stays the same from version to version, for scripts.
    pub id: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// The object that it is about: `Kind/name`, and what within it.
    pub subject: String,
    /// What is seen.
    pub problem: String,
    /// What it comes from, or what comes of it.
    pub cause: String,
    /// The command that mends it, or that shows more.
    pub mend: String,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Calls fail, or events are lost, now.
    Error,
    /// They will, or do in part.
    Warning,
    /// Nothing is wrong: what could not be looked at, and what the sender needs.
    Note,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// All that can be said of what was seen, the worst first.
pub fn examine(observed: &Observed, now: Timestamp) -> Vec<Finding> {
    let mut findings = Findings::default();
    hooks::examine(observed, &mut findings);
    definitions::examine(observed, &mut findings);
    reach::examine(observed, &mut findings);
    trust::examine(observed, now, &mut findings);
    rights::examine(observed, &mut findings);
    others::examine(observed, &mut findings);
    sender::examine(observed, &mut findings);
    ways::examine(observed, now, &mut findings);
    upkeep::examine(observed, now, &mut findings);
    for unread in &observed.unread {
        findings.note(
            "not-checked",
            &unread.what,
            format!("not looked at: {}", unread.why),
            "what is not said of it may be wrong",
            unread.mend.clone(),
        );
    }
    findings.sorted()
}

/// Findings so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn error(
        &mut self,
        id: &'static str,
        subject: impl Into<String>,
        problem: impl Into<String>,
        cause: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.add(Severity::Error, id, subject, problem, cause, mend);
    }

    fn warning(
        &mut self,
        id: &'static str,
        subject: impl Into<String>,
        problem: impl Into<String>,
        cause: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.add(Severity::Warning, id, subject, problem, cause, mend);
    }

    fn note(
        &mut self,
        id: &'static str,
        subject: impl Into<String>,
        problem: impl Into<String>,
        cause: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.add(Severity::Note, id, subject, problem, cause, mend);
    }

    fn add(
        &mut self,
        severity: Severity,
        id: &'static str,
        subject: impl Into<String>,
        problem: impl Into<String>,
        cause: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.0.push(Finding {
            id,
            severity,
            subject: subject.into(),
            problem: problem.into(),
            cause: cause.into(),
            mend: mend.into(),
        });
    }

    /// By severity, and else in the order in which a call passes through.
    fn sorted(mut self) -> Vec<Finding> {
        self.0.sort_by_key(|finding| finding.severity);
        self.0
    }
}

#[cfg(test)]
mod tests;
