//! How findings are told: to a person, or as JSON to a script. Called by the command line.

use serde::Serialize;

use super::{Finding, Severity};

/// Whether there is anything to mend: notes are not.
pub fn is_bad(findings: &[Finding]) -> bool {
    findings
        .iter()
        .any(|finding| finding.severity != Severity::Note)
}

/// For a person at night: what, why, and what to type.
pub fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        text.push_str(&format!(
            "{} {}  {}\n    {}\n    why:  {}\n    mend: {}\n\n",
            finding.severity,
            finding.id,
            finding.subject,
            finding.problem,
            finding.cause,
            finding.mend,
        ));
    }
    let count = |severity| {
        findings
            .iter()
            .filter(|one| one.severity == severity)
            .count()
    };
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    text.push_str(&format!(
        "{errors} errors, {warnings} warnings, {} notes\n",
        count(Severity::Note)
    ));
    text
}

/// For a script: one object.
pub fn json(findings: &[Finding]) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Report<'a> {
        findings: &'a [Finding],
    }
    serde_json::to_string_pretty(&Report { findings })
}
