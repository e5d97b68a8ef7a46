//! Keeps a held host as its holder has it: nobody else changes what is on its disk, or
//! whose it is.
//!
//! Compares before and after, and only the fields that decide about the disk
//! (`host_rules`): whatever else the operator, its finalizers or an admin write passes. Our
//! own user is refused nothing but to take a host from another; the operator's users neither.

use std::{collections::BTreeSet, fmt};

use kube::ResourceExt;
use kube_webhook::{
    Fault,
    admission::{
        AdmissionContext, Create, Delete, Old, Update, ValidateCreate, ValidateDelete,
        ValidateUpdate, ValidationResult, ValidationWebhook,
    },
};
use metal3::{BareMetalHost, ConsumerRef};

use super::{
    OwnUser,
    authorizer::Authorizer,
    break_glass::BreakGlass,
    host_advice::HostAdvice,
    host_rules::{Change, Rule, changes, sets_image_while_off, usurps},
    host_warnings,
};
use crate::{
    clock::Clock,
    reservations::{caches::Caches, lookup::claim},
};

/// The guard of held hosts.
#[derive(Clone, Debug)]
pub struct HostGuard {
    own_user: OwnUser,
    operator_users: BTreeSet<String>,
    glass: BreakGlass,
    advice: Option<HostAdvice>,
}

impl HostGuard {
    /// A guard that lets `own_user` and the operator's users through.
    pub fn new(own_user: impl Into<OwnUser>, operator_users: BTreeSet<String>) -> Self {
        Self {
            own_user: own_user.into(),
            operator_users,
            glass: BreakGlass::new(Authorizer::offline()),
            advice: None,
        }
    }

    /// One that also knows what is booked, and whom to ask who may break the glass.
    #[must_use]
    pub fn knowing(self, caches: Caches, glass: BreakGlass, clock: Clock) -> Self {
        Self {
            advice: Some(HostAdvice::new(caches, glass.clone(), clock)),
            glass,
            ..self
        }
    }

    /// The hook for hosts that nobody holds.
    pub(super) fn advice(&self) -> Option<HostAdvice> {
        self.advice.clone()
    }

    /// Everybody whom the guard lets through: the API server need not even ask about them.
    pub fn exempt_users(&self) -> impl Iterator<Item = &str> {
        let operator_users = self.operator_users.iter().map(String::as_str);
        let own_user = self.own_user.name().into_iter();
        own_user.chain(operator_users).chain([NAMESPACE_CONTROLLER])
    }

    fn is_exempt(&self, cx: &AdmissionContext<'_>) -> bool {
        self.exempt_users().any(|user| user == cx.user().username())
    }
}

impl ValidationWebhook<BareMetalHost> for HostGuard {
    type Operations = (Create, Update, Delete);
}

impl ValidateCreate<BareMetalHost> for HostGuard {
    async fn create(
        &self,
        host: &BareMetalHost,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        let holder = claim(host).filter(|_| !self.is_exempt(cx));
        let Some(holder) = holder else {
            return Ok(ValidationResult::success());
        };
        let claimed = [Change {
            rule: Rule::H2,
            field: "spec.consumerRef",
        }];
        let refusal = refusal(holder, &claimed);
        let judged = self
            .glass
            .apply(refusal, Rule::H2, None, host.annotations(), cx)
            .await?;
        if judged.is_allowed() && sets_image_while_off(None, host) {
            return Ok(refuse_image_while_off());
        }
        Ok(judged)
    }
}

impl ValidateUpdate<BareMetalHost> for HostGuard {
    async fn update(
        &self,
        old: &Old<'_, BareMetalHost>,
        new: &BareMetalHost,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        if new.is_deleting() {
            return Ok(ValidationResult::success());
        }
        let old: BareMetalHost = old.decode()?;
        let judged = self.judge(&old, new, cx).await?;
        // What no reason makes right: neither ours, nor the operator's, nor a broken glass.
        if judged.is_allowed() && usurps(&old, new) {
            return Ok(refuse_usurpation(&old));
        }
        Ok(judged)
    }
}

impl HostGuard {
    async fn judge(
        &self,
        old: &BareMetalHost,
        new: &BareMetalHost,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        let holder = claim(old).or_else(|| claim(new));
        let Some(holder) = holder.filter(|_| !self.is_exempt(cx)) else {
            return Ok(ValidationResult::success());
        };
        let changes = changes(old, new);
        if changes.is_empty() {
            let warnings = host_warnings::of_held(&name_of(holder), old, new);
            return Ok(warnings
                .into_iter()
                .fold(ValidationResult::success(), ValidationResult::with_warning));
        }
        let refusal = refusal(holder, &changes);
        let (before, after) = (old.annotations(), new.annotations());
        let rules = rules(&changes);
        let judged = self
            .glass
            .apply(refusal, rules, Some(before), after, cx)
            .await?;
        if judged.is_allowed() && sets_image_while_off(Some(old), new) {
            return Ok(refuse_image_while_off());
        }
        Ok(judged)
    }
}

impl ValidateDelete<BareMetalHost> for HostGuard {
    async fn delete(
        &self,
        old: &Old<'_, BareMetalHost>,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        let old = old.decode()?;
        // A host that is on its way out is not brought back by refusing to ask again.
        let holder = claim(&old).filter(|_| !old.is_deleting() && !self.is_exempt(cx));
        let Some(holder) = holder else {
            return Ok(ValidationResult::success());
        };
        let message = format!(
            "the host is held by Reservation {}: end that first{}",
            name_of(holder),
            how_to_end(holder)
        );
        let refusal = forbidden(Rule::H4, &message);
        self.glass
            .apply_to_deletion(refusal, Rule::H4, &old.metadata, cx)
            .await
    }
}

fn refusal(holder: &ConsumerRef, changes: &[Change]) -> ValidationResult {
    let fields: BTreeSet<_> = changes.iter().map(|change| change.field).collect();
    let fields: Vec<_> = fields.into_iter().collect();
    let message = format!(
        "the host is held by Reservation {}; only Harbormaster may change {}. To take the host \
         back, end the reservation{}",
        name_of(holder),
        fields.join(", "),
        how_to_end(holder)
    );
    let refusal = forbidden(rules(changes), &message);
    fields.into_iter().fold(refusal, |refusal, field| {
        refusal.with_cause(field, "the host is held")
    })
}

fn refuse_usurpation(old: &BareMetalHost) -> ValidationResult {
    let message = match old.consumer() {
        Some(consumer) => format!(
            "the host is {} {}'s: that claim must be gone before another is made",
            consumer.kind.as_deref().unwrap_or("somebody"),
            name_of(consumer)
        ),
        None => "a claim without spec.consumerRef.uid doesn't say which Reservation has the host"
            .to_owned(),
    };
    forbidden(Rule::H3, &message).with_cause("spec.consumerRef", "a claim is made on a free host")
}

fn refuse_image_while_off() -> ValidationResult {
    forbidden(
        Rule::H6,
        "spec.online is false, so that the operator would not put the image on the host: set it \
         to true in the same write",
    )
    .with_cause("spec.online", "the image would not be put on the host")
}

/// As the audit log has them.
pub(super) fn rules(changes: &[Change]) -> String {
    let rules: BTreeSet<_> = changes.iter().map(|change| change.rule).collect();
    let rules: Vec<_> = rules.iter().map(Rule::to_string).collect();
    rules.join(",")
}

fn name_of(consumer: &ConsumerRef) -> String {
    let name = consumer.name.clone();
    name.unwrap_or_else(|| "unknown".to_owned())
}

fn how_to_end(holder: &ConsumerRef) -> String {
    let namespace = match holder.namespace.as_deref() {
        Some(namespace) => format!(" -n {namespace}"),
        None => String::new(),
    };
    let name = name_of(holder);
    format!(": kubectl delete reservation {name}{namespace}")
}

pub(super) fn forbidden(rules: impl fmt::Display, message: &str) -> ValidationResult {
    ValidationResult::fail(message)
        .with_code(403)
        .with_reason("Forbidden")
        .with_audit_annotation("rule", rules.to_string())
}

/// It deletes what is left of a namespace that somebody has deleted, us perhaps included:
/// to refuse that would leave it half deleted for ever. The garbage collector is not
/// excused: whoever may edit a host can give it an owner and delete that, and a host that
/// waits for its release to be collected harms nobody.
pub(super) const NAMESPACE_CONTROLLER: &str =
    "system:serviceaccount:kube-system:namespace-controller";

#[cfg(test)]
mod tests;
