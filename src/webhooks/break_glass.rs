//! Break-glass: overruling a guard, with a reason, by those who may, on the record.
//!
//! The annotation alone never suffices (whoever can edit an object can write one), and it
//! counts only in the write that adds or changes it: left on the object it would open the
//! guard for everybody. Called by the guards of hosts and Reservations.

use std::{collections::BTreeMap, fmt};

use kube_webhook::{
    Fault,
    admission::{AdmissionContext, ValidationResult},
};

use super::authorizer::{Authorizer, Wish};
use crate::api::{BREAK_GLASS_ANNOTATION, GROUP};

/// Decides whether a guard is overruled.
#[derive(Clone, Debug)]
pub struct BreakGlass {
    authorizer: Authorizer,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Overruling {
    /// Nobody asked for it in this write.
    NotAsked,
    /// The guard's refusal stands, and this should be told along with it.
    Denied(String),
    /// The guard is overruled for this reason, by this user.
    Granted {
        /// In the user's own words.
        reason: String,
        /// Who it is.
        user: String,
    },
}

type Annotations = BTreeMap<String, String>;

impl BreakGlass {
    /// Asks `authorizer` who may.
    pub fn new(authorizer: Authorizer) -> Self {
        Self { authorizer }
    }

    /// Whether the write from `old` to `new` breaks the glass, and may. To be called only
    /// once the guard would refuse: it costs a call of the API server. A deletion has only
    /// `old`: there an annotation that is already on the object counts, as a deliberate step
    /// of its own.
    ///
    /// # Errors
    ///
    /// If the API server can't be asked.
    pub async fn judge(
        &self,
        old: Option<&Annotations>,
        new: Option<&Annotations>,
        cx: &AdmissionContext<'_>,
    ) -> Result<Overruling, Fault> {
        let Some(reason) = asked(old, new) else {
            return Ok(Overruling::NotAsked);
        };
        let reason = reason.trim();
        if reason.chars().count() < SHORTEST_REASON {
            return Ok(Overruling::Denied(format!(
                "the reason in the annotation {BREAK_GLASS_ANNOTATION} is too short: write at \
                 least {SHORTEST_REASON} characters"
            )));
        }
        let namespace = cx.namespace().unwrap_or_default();
        let wish = Wish {
            verb: "override",
            group: GROUP,
            resource: "reservations",
            namespace,
            name: "",
        };
        if !self.authorizer.may(cx.user(), wish).await? {
            return Ok(Overruling::Denied(format!(
                "{} may not break the glass: it takes the verb override on reservations.{GROUP} \
                 in namespace {namespace}",
                cx.user().username()
            )));
        }
        Ok(Overruling::Granted {
            reason: reason.to_owned(),
            user: cx.user().username().to_owned(),
        })
    }

    /// The guard's `refusal` of the rule `rule`, or what becomes of it: once the glass is
    /// broken it is a warning and an entry in the audit log.
    ///
    /// # Errors
    ///
    /// If the API server can't be asked.
    pub async fn apply(
        &self,
        refusal: ValidationResult,
        rule: impl fmt::Display,
        old: Option<&Annotations>,
        new: Option<&Annotations>,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        if refusal.is_allowed() {
            return Ok(refusal);
        }
        let message = refusal.message().unwrap_or_default().to_owned();
        Ok(match self.judge(old, new, cx).await? {
            Overruling::NotAsked => refusal,
            Overruling::Denied(why) => refusal.with_warning(why),
            Overruling::Granted { reason, user } => ValidationResult::success()
                .with_warning(format!("the glass is broken: {message}"))
                .with_audit_annotation("break-glass-user", user)
                .with_audit_annotation("break-glass-reason", reason)
                .with_audit_annotation("break-glass-rule", rule.to_string()),
        })
    }
}

/// The reason, if this write gives one.
fn asked<'a>(old: Option<&'a Annotations>, new: Option<&'a Annotations>) -> Option<&'a str> {
    let before = old.and_then(|old| old.get(BREAK_GLASS_ANNOTATION));
    match new {
        None => before.map(String::as_str),
        Some(new) => new
            .get(BREAK_GLASS_ANNOTATION)
            .filter(|reason| before != Some(reason))
            .map(String::as_str),
    }
}

/// Too short for "yes", long enough for nothing to be made up.
const SHORTEST_REASON: usize = 10;

#[cfg(test)]
mod tests {
    use kube_webhook::admission::Operation;

    use super::*;

    fn with(reason: &str) -> Annotations {
        BTreeMap::from([(BREAK_GLASS_ANNOTATION.to_owned(), reason.to_owned())])
    }

    #[test]
    fn it_counts_only_in_the_write_that_adds_or_changes_it() {
        let (none, one, two) = (Annotations::new(), with("one"), with("two"));
        assert_eq!(asked(Some(&none), Some(&one)), Some("one"));
        assert_eq!(asked(Some(&one), Some(&two)), Some("two"));
        assert_eq!(asked(Some(&one), Some(&one)), None);
        assert_eq!(asked(Some(&one), Some(&none)), None);
        assert_eq!(asked(None, Some(&one)), Some("one"), "a creation");
        assert_eq!(asked(Some(&one), None), Some("one"), "a deletion");
    }

    #[tokio::test]
    async fn the_annotation_alone_opens_nothing_and_the_refusal_says_what_is_missing() {
        let glass = BreakGlass::new(Authorizer::offline());
        let cx = AdmissionContext::new(Operation::Update)
            .with_user("luigi", &[])
            .with_object("metal3", "srv");
        for (reason, told) in [
            ("because", "too short"),
            ("the disk must be saved now", "override on reservations"),
        ] {
            let refusal = ValidationResult::fail("the host is held");
            let old = Annotations::new();
            let new = with(reason);
            let judged = glass.apply(refusal, "H1", Some(&old), Some(&new), &cx);
            let judged = judged.await.unwrap();
            assert!(!judged.is_allowed());
            assert!(judged.warnings()[0].contains(told), "{judged:?}");
        }
    }
}
