//! Break-glass: overruling a guard, with a reason, by those who may, on the record.
//!
//! The annotation alone never suffices (whoever can edit an object can write one), and it
//! counts only in the write that adds or changes it: left on the object it would open the
//! guard for everybody. A deletion can add nothing, so there one counts that was written a
//! moment ago, as a deliberate step of its own. Called by the guards of hosts and Reservations.

use std::{collections::BTreeMap, fmt, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube_webhook::{
    Fault,
    admission::{AdmissionContext, ValidationResult},
};

use super::authorizer::{Authorizer, Wish};
use crate::{
    api::{BREAK_GLASS_ANNOTATION, GROUP},
    clock::Clock,
};

/// Decides whether a guard is overruled.
#[derive(Clone, Debug)]
pub struct BreakGlass {
    authorizer: Authorizer,
    clock: Clock,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Overruling {
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
        Self {
            authorizer,
            clock: Clock::system(),
        }
    }

    /// Tells by this clock how old an annotation is.
    #[must_use]
    pub fn timed(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The guard's `refusal`, by the rule `rule`, of a write from `old` to `new`, or what
    /// becomes of it: once the glass is broken it is a warning and an entry in the audit log.
    /// The API server is asked only about a write that is refused.
    ///
    /// # Errors
    ///
    /// If the API server can't be asked.
    pub async fn apply(
        &self,
        refusal: ValidationResult,
        rule: impl fmt::Display,
        old: Option<&Annotations>,
        new: &Annotations,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        if refusal.is_allowed() {
            return Ok(refusal);
        }
        let overruling = match asked(old, new) {
            Some(reason) => self.judge(reason, cx).await?,
            None => Overruling::NotAsked,
        };
        Ok(overruled(refusal, rule, overruling))
    }

    /// The same for a deletion of what is there.
    ///
    /// # Errors
    ///
    /// If the API server can't be asked.
    pub async fn apply_to_deletion(
        &self,
        refusal: ValidationResult,
        rule: impl fmt::Display,
        there: &ObjectMeta,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        if refusal.is_allowed() {
            return Ok(refusal);
        }
        let annotations = there.annotations.as_ref();
        let reason = annotations.and_then(|annotations| annotations.get(BREAK_GLASS_ANNOTATION));
        let overruling = match reason {
            None => Overruling::NotAsked,
            Some(_) if self.is_stale(there) => Overruling::Denied(format!(
                "the annotation {BREAK_GLASS_ANNOTATION} is from an earlier change: a deletion \
                 takes one that was written within the last {} minutes, with words of its own",
                FRESH.as_secs() / 60
            )),
            Some(reason) => self.judge(reason, cx).await?,
        };
        Ok(overruled(refusal, rule, overruling))
    }

    async fn judge(&self, reason: &str, cx: &AdmissionContext<'_>) -> Result<Overruling, Fault> {
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

    /// One that nobody can date is as good as an old one.
    fn is_stale(&self, there: &ObjectMeta) -> bool {
        let oldest = self.clock.now().checked_sub(FRESH);
        let oldest = oldest.unwrap_or(Timestamp::MIN);
        written(there).is_none_or(|written| written < oldest)
    }
}

fn overruled(
    refusal: ValidationResult,
    rule: impl fmt::Display,
    overruling: Overruling,
) -> ValidationResult {
    match overruling {
        Overruling::NotAsked => refusal,
        Overruling::Denied(why) => refusal.with_warning(why),
        Overruling::Granted { reason, user } => {
            let message = refusal.message().unwrap_or_default();
            ValidationResult::success()
                .with_warning(format!("the glass is broken: {message}"))
                .with_audit_annotation("break-glass-user", user)
                .with_audit_annotation("break-glass-reason", reason)
                .with_audit_annotation("break-glass-rule", rule.to_string())
        }
    }
}

/// The reason, if this write gives one.
fn asked<'a>(old: Option<&Annotations>, new: &'a Annotations) -> Option<&'a str> {
    let before = old.and_then(|old| old.get(BREAK_GLASS_ANNOTATION));
    let reason = new.get(BREAK_GLASS_ANNOTATION);
    reason
        .filter(|reason| before != Some(reason))
        .map(String::as_str)
}

/// When the annotation was written, by the API server's own record of who wrote what
/// (KEP-555). Whose it is may have written something else since: it is never older than this.
fn written(there: &ObjectMeta) -> Option<Timestamp> {
    let field = format!("f:{BREAK_GLASS_ANNOTATION}");
    let writers = there.managed_fields.iter().flatten();
    writers
        .filter(|writer| {
            let fields = writer.fields_v1.as_ref();
            let ours = fields.map(|fields| &fields.0["f:metadata"]["f:annotations"][&field]);
            ours.is_some_and(|ours| !ours.is_null())
        })
        .filter_map(|writer| Some(writer.time.as_ref()?.0))
        .max()
}

/// How long after it was written a reason counts for a deletion.
const FRESH: Duration = Duration::from_secs(10 * 60);

/// Too short for "yes", long enough for nothing to be made up.
const SHORTEST_REASON: usize = 10;

#[cfg(test)]
mod tests {
    use kube_webhook::admission::Operation;
    use serde_json::json;

    use super::*;

    fn with(reason: &str) -> Annotations {
        BTreeMap::from([(BREAK_GLASS_ANNOTATION.to_owned(), reason.to_owned())])
    }

    #[test]
    fn it_counts_only_in_the_write_that_adds_or_changes_it() {
        let (none, one, two) = (Annotations::new(), with("one"), with("two"));
        assert_eq!(asked(Some(&none), &one), Some("one"));
        assert_eq!(asked(Some(&one), &two), Some("two"));
        assert_eq!(asked(Some(&one), &one), None);
        assert_eq!(asked(Some(&one), &none), None);
        assert_eq!(asked(None, &one), Some("one"), "a creation");
    }

    #[tokio::test]
    async fn a_reason_that_stayed_from_an_earlier_change_opens_no_deletion() {
        let now = "2026-01-01T10:00:00Z".parse().unwrap();
        let glass = BreakGlass::new(Authorizer::offline()).timed(Clock::fixed(now));
        let cx = AdmissionContext::new(Operation::Delete)
            .with_user("luigi", &[])
            .with_object("metal3", "srv");
        let ours = json!({"f:metadata": {"f:annotations": {
            ".": {}, "f:harbormaster.dev/break-glass": {},
        }}});
        let others = json!({"f:metadata": {"f:annotations": {"f:example.com/note": {}}}});
        let (stale, fresh) = ("is from an earlier change", "override on reservations");
        for (fields, written, told) in [
            (&ours, "2026-01-01T09:49:59Z", stale),
            (&ours, "2026-01-01T09:50:00Z", fresh),
            // The API server's clock is a little ahead of ours.
            (&ours, "2026-01-01T10:00:05Z", fresh),
            (&others, "2026-01-01T10:00:00Z", stale),
        ] {
            let there: ObjectMeta = serde_json::from_value(json!({
                "annotations": with("the rack is being scrapped today"),
                "managedFields": [
                    {"manager": "old", "fieldsV1": others, "time": "2026-01-01T10:00:00Z"},
                    {"manager": "kubectl-annotate", "fieldsV1": fields, "time": written},
                ],
            }))
            .unwrap();
            let refusal = ValidationResult::fail("the host is held");
            let judged = glass.apply_to_deletion(refusal, "H4", &there, &cx);
            let judged = judged.await.unwrap();
            assert!(!judged.is_allowed());
            assert!(judged.warnings()[0].contains(told), "{written}: {judged:?}");
        }
        let refusal = ValidationResult::fail("the host is held");
        let none = ObjectMeta::default();
        let judged = glass.apply_to_deletion(refusal, "H4", &none, &cx).await;
        assert!(judged.unwrap().warnings().is_empty());
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
            let judged = glass.apply(refusal, "H1", Some(&old), &new, &cx);
            let judged = judged.await.unwrap();
            assert!(!judged.is_allowed());
            assert!(judged.warnings()[0].contains(told), "{judged:?}");
        }
    }
}
