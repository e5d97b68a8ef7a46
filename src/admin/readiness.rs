//! What `/readyz` says, and why: the parts' own verdicts, one line each where asked for.
//!
//! The form is kube-apiserver's (`[+]name ok`), which administrators know how to read.

use std::fmt::{self, Write as _};

/// A part of the program that may keep it from being ready.
pub(crate) struct Check {
    name: &'static str,
    look: Box<dyn Fn() -> Verdict + Send + Sync>,
}

/// How a part does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ready,
    /// It works, but an administrator ought to know.
    ReadyBut(String),
    /// Callers should go elsewhere: the reason.
    Unready(String),
}

impl Check {
    pub(crate) fn new(
        name: &'static str,
        look: impl Fn() -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            look: Box::new(look),
        }
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Check({})", self.name)
    }
}

/// Whether all are ready, and what is told of them.
pub(super) fn report(checks: &[Check], verbose: bool) -> (bool, String) {
    let mut ready = true;
    let mut details = String::new();
    let mut reasons = String::new();
    for check in checks {
        let name = check.name;
        // Writing to a String doesn't fail.
        let _ = match (check.look)() {
            Verdict::Ready => writeln!(details, "[+]{name} ok"),
            Verdict::ReadyBut(warning) => writeln!(details, "[!]{name} ok, but: {warning}"),
            Verdict::Unready(reason) => {
                ready = false;
                let _ = writeln!(reasons, "{name}: {reason}");
                writeln!(details, "[-]{name} failed: {reason}")
            }
        };
    }
    let text = match (verbose, ready) {
        (true, true) => details + "readyz check passed\n",
        (true, false) => details + "readyz check failed\n",
        (false, true) => "ok\n".to_owned(),
        (false, false) => reasons,
    };
    (ready, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checks(verdicts: [Verdict; 2]) -> Vec<Check> {
        let names = ["one", "two"].into_iter();
        names
            .zip(verdicts)
            .map(|(name, verdict)| Check::new(name, move || verdict.clone()))
            .collect()
    }

    #[test]
    fn a_warning_is_told_to_those_who_ask_and_keeps_nobody_out() {
        let checks = checks([Verdict::Ready, Verdict::ReadyBut("mind".to_owned())]);
        assert_eq!(report(&checks, false), (true, "ok\n".to_owned()));
        let (ready, text) = report(&checks, true);
        assert!(ready);
        assert_eq!(
            text,
            "[+]one ok\n[!]two ok, but: mind\nreadyz check passed\n"
        );
    }

    #[test]
    fn one_that_fails_is_named_without_being_asked_for() {
        let checks = checks([Verdict::Unready("broken".to_owned()), Verdict::Ready]);
        assert_eq!(report(&checks, false), (false, "one: broken\n".to_owned()));
        let (_, text) = report(&checks, true);
        assert!(
            text.starts_with("[-]one failed: broken\n[+]two ok\n"),
            "{text}"
        );
    }
}
