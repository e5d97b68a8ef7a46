//! Keeps a held host as its holder has it: nobody else changes what is on its disk, or
//! whose it is.
//!
//! Compares before and after, and only the fields that decide about the disk: whatever else
//! the operator, its finalizers or an admin write passes. Our own user is never refused,
//! nor are the operator's.

use std::collections::BTreeSet;

use kube::ResourceExt;
use kube_webhook::{
    Fault,
    admission::{
        AdmissionContext, Create, Delete, Old, Update, ValidateCreate, ValidateDelete,
        ValidateUpdate, ValidationResult, ValidationWebhook,
    },
};
use metal3::{BareMetalHost, BareMetalHostSpec, ConsumerRef};

use super::{
    OwnUser,
    authorizer::Authorizer,
    break_glass::BreakGlass,
    host_advice::{HostAdvice, identity},
};
use crate::{api::GROUP, clock::Clock, reservations::caches::Caches};

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
        self.own_user.name().into_iter().chain(operator_users)
    }

    fn is_exempt(&self, cx: &AdmissionContext<'_>) -> bool {
        let username = cx.user().username();
        self.own_user.name() == Some(username) || self.operator_users.contains(username)
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
        Ok(match holder(&host.spec) {
            Some(holder) if !self.is_exempt(cx) => refusal(holder, &["spec.consumerRef"]),
            _ => ValidationResult::success(),
        })
    }
}

impl ValidateUpdate<BareMetalHost> for HostGuard {
    async fn update(
        &self,
        old: &Old<'_, BareMetalHost>,
        new: &BareMetalHost,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        if self.is_exempt(cx) || new.is_deleting() {
            return Ok(ValidationResult::success());
        }
        let old: BareMetalHost = old.decode()?;
        let Some(holder) = holder(&old.spec).or_else(|| holder(&new.spec)) else {
            return Ok(ValidationResult::success());
        };
        let mut changed = changed_fields(&old.spec, &new.spec);
        if new.is_detached() && !old.is_detached() {
            changed.push("metadata.annotations");
        }
        let renamed = identity(&old) != identity(new);
        let (rule, verdict) = if !changed.is_empty() {
            (rule(&changed), refusal(holder, &changed))
        } else if renamed {
            let fields = ["metadata.labels", "metadata.annotations"];
            ("H7", refusal(holder, &fields))
        } else {
            ("", warned(holder, &old, new))
        };
        let (before, after) = (old.annotations(), new.annotations());
        let judged = self
            .glass
            .apply(verdict, rule, Some(before), Some(after), cx);
        judged.await
    }
}

impl ValidateDelete<BareMetalHost> for HostGuard {
    async fn delete(
        &self,
        old: &Old<'_, BareMetalHost>,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        let old = old.decode()?;
        let Some(holder) = holder(&old.spec) else {
            return Ok(ValidationResult::success());
        };
        // A host that is on its way out is not brought back by refusing to ask again.
        if old.is_deleting() || COLLECTORS.contains(&cx.user().username()) || self.is_exempt(cx) {
            return Ok(ValidationResult::success());
        }
        let name = holder.name.as_deref().unwrap_or("unknown");
        let refusal = forbidden(&format!(
            "the host is held by Reservation {name}: end that first{}",
            how_to_end(holder)
        ));
        let annotations = Some(old.annotations());
        self.glass.apply(refusal, "H4", annotations, None, cx).await
    }
}

fn holder(spec: &BareMetalHostSpec) -> Option<&ConsumerRef> {
    spec.consumer_ref.as_ref().filter(|consumer| {
        consumer.group() == Some(GROUP) && consumer.kind.as_deref() == Some("Reservation")
    })
}

/// The fields that decide what is on the disk, who can log in, whose the host is, and whether
/// it will be wiped.
fn changed_fields(old: &BareMetalHostSpec, new: &BareMetalHostSpec) -> Vec<&'static str> {
    [
        ("spec.image", old.image == new.image),
        ("spec.customDeploy", old.custom_deploy == new.custom_deploy),
        ("spec.userData", old.user_data == new.user_data),
        ("spec.networkData", old.network_data == new.network_data),
        ("spec.metaData", old.meta_data == new.meta_data),
        ("spec.consumerRef", old.consumer_ref == new.consumer_ref),
        (
            "spec.externallyProvisioned",
            old.externally_provisioned == new.externally_provisioned,
        ),
        (
            "spec.automatedCleaningMode",
            old.automated_cleaning_mode == new.automated_cleaning_mode,
        ),
    ]
    .into_iter()
    .filter_map(|(field, same)| (!same).then_some(field))
    .collect()
}

/// The rule of the reference that these fields fall under, for the audit log.
fn rule(changed: &[&str]) -> &'static str {
    if changed.contains(&"spec.consumerRef") {
        "H2"
    } else if changed.iter().any(|field| {
        matches!(
            *field,
            "metadata.annotations" | "spec.externallyProvisioned" | "spec.automatedCleaningMode"
        )
    }) {
        "H5"
    } else {
        "H1"
    }
}

/// What its user will notice, though it is nobody's disk.
fn warned(holder: &ConsumerRef, old: &BareMetalHost, new: &BareMetalHost) -> ValidationResult {
    let name = holder.name.as_deref().unwrap_or("unknown");
    let mut result = ValidationResult::success();
    if old.spec.online == Some(true) && new.spec.online == Some(false) {
        result = result.with_warning(format!(
            "Reservation {name} has this host: it is switched off"
        ));
    }
    if old.spec.bmc != new.spec.bmc {
        result = result.with_warning(format!(
            "Reservation {name} has this host: with a wrong spec.bmc it can't be wiped"
        ));
    }
    if new.is_paused() && !old.is_paused() {
        result = result.with_warning(format!(
            "Reservation {name} has this host: while it is paused, it can't be given back"
        ));
    }
    let added = |prefix: &str| {
        let before = old.annotations();
        new.annotations()
            .keys()
            .any(|key| key.starts_with(prefix) && !before.contains_key(key))
    };
    for (prefix, what) in [
        ("reboot.metal3.io", "rebooted"),
        ("inspect.metal3.io", "inspected"),
    ] {
        if added(prefix) {
            result = result.with_warning(format!("Reservation {name} has this host: it is {what}"));
        }
    }
    result
}

fn refusal(holder: &ConsumerRef, fields: &[&str]) -> ValidationResult {
    let name = holder.name.as_deref().unwrap_or("unknown");
    let message = format!(
        "the host is held by Reservation {name}; only Harbormaster may change {}. To take the \
         host back, end the reservation{}",
        fields.join(", "),
        how_to_end(holder)
    );
    fields.iter().fold(forbidden(&message), |refusal, field| {
        refusal.with_cause(*field, "the host is held")
    })
}

fn how_to_end(holder: &ConsumerRef) -> String {
    let name = holder.name.as_deref().unwrap_or("unknown");
    let namespace = match holder.namespace.as_deref() {
        Some(namespace) => format!(" -n {namespace}"),
        None => String::new(),
    };
    format!(": kubectl delete reservation {name}{namespace}")
}

pub(super) fn forbidden(message: &str) -> ValidationResult {
    ValidationResult::fail(message)
        .with_code(403)
        .with_reason("Forbidden")
}

/// They delete what somebody has deleted already, who was asked then: a namespace, an owner.
/// To refuse them would only leave both half deleted.
pub(super) const COLLECTORS: [&str; 2] = [
    "system:serviceaccount:kube-system:generic-garbage-collector",
    "system:serviceaccount:kube-system:namespace-controller",
];

#[cfg(test)]
mod tests {
    use kube_webhook::admission::Operation;
    use metal3::names;
    use serde_json::{Value, json, value::to_raw_value};

    use super::*;
    use crate::api::RESOURCE_ID_LABEL;

    const OWN: &str = "system:serviceaccount:harbormaster-system:harbormaster";

    fn guard() -> HostGuard {
        HostGuard::new(OWN.to_owned(), BTreeSet::from(["operator".to_owned()]))
    }

    fn held(image: &str) -> Value {
        json!({
            "metadata": {"name": "srv"},
            "spec": {
                "online": true,
                "image": {"url": image},
                "consumerRef": {
                    "apiVersion": "harbormaster.dev/v1",
                    "kind": "Reservation",
                    "namespace": "metal3",
                    "name": "portal-101",
                    "uid": "1",
                },
            },
        })
    }

    async fn update(user: &str, old: &Value, new: &Value) -> ValidationResult {
        let cx = AdmissionContext::new(Operation::Update).with_user(user, &[]);
        let old = to_raw_value(old).unwrap();
        let new = serde_json::from_value(new.clone()).unwrap();
        guard().update(&Old::new(&old), &new, &cx).await.unwrap()
    }

    #[tokio::test]
    async fn a_held_hosts_image_is_its_holders_alone() {
        let refused = update("luigi", &held("a"), &held("b")).await;
        assert!(!refused.is_allowed());
        let message = refused.message().unwrap();
        assert!(
            message.contains("held by Reservation portal-101"),
            "{message}"
        );
        assert!(message.contains("spec.image"), "{message}");
        assert!(
            message.ends_with("kubectl delete reservation portal-101 -n metal3"),
            "{message}"
        );
    }

    #[tokio::test]
    async fn nobody_takes_a_held_host_out_of_the_operators_hands_before_it_is_wiped() {
        let mut detached = held("a");
        detached["metadata"]["annotations"] = json!({names::DETACHED: "{}"});
        let mut external = held("a");
        external["spec"]["externallyProvisioned"] = json!(true);
        let mut dirty = held("a");
        dirty["spec"]["automatedCleaningMode"] = json!("disabled");
        for changed in [&detached, &external, &dirty] {
            assert!(!update("luigi", &held("a"), changed).await.is_allowed());
        }
        // Who was detached before, for whatever reason, may be put back.
        assert!(update("luigi", &detached, &held("a")).await.is_allowed());
    }

    #[tokio::test]
    async fn a_held_host_is_not_deleted_but_by_those_who_collect_what_was_deleted_before() {
        let delete = async |user: &str, host: &Value| {
            let cx = AdmissionContext::new(Operation::Delete).with_user(user, &[]);
            let raw = to_raw_value(host).unwrap();
            guard().delete(&Old::new(&raw), &cx).await.unwrap()
        };
        let refused = delete("luigi", &held("a")).await;
        assert!(!refused.is_allowed());
        assert!(refused.message().unwrap().contains("portal-101"));
        let mut deleting = held("a");
        deleting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(delete("luigi", &deleting).await.is_allowed());
        for user in COLLECTORS {
            assert!(delete(user, &held("a")).await.is_allowed());
        }
    }

    #[tokio::test]
    async fn a_held_host_keeps_its_names_and_what_its_user_will_notice_is_warned_of() {
        let mut renamed = held("a");
        renamed["metadata"]["labels"] = json!({RESOURCE_ID_LABEL: "7"});
        assert!(!update("luigi", &held("a"), &renamed).await.is_allowed());
        let mut off = held("a");
        off["spec"]["online"] = json!(false);
        let mut paused = held("a");
        paused["metadata"]["annotations"] = json!({names::PAUSED: ""});
        let mut rebooted = held("a");
        rebooted["metadata"]["annotations"] = json!({"reboot.metal3.io": ""});
        for changed in [off, paused, rebooted] {
            let result = update("luigi", &held("a"), &changed).await;
            assert!(result.is_allowed());
            assert_eq!(result.warnings().len(), 1, "{result:?}");
        }
    }

    #[tokio::test]
    async fn we_and_the_operator_are_never_refused() {
        for user in [OWN, "operator"] {
            assert!(update(user, &held("a"), &held("b")).await.is_allowed());
        }
    }

    #[tokio::test]
    async fn what_does_not_touch_the_disk_passes() {
        let mut labelled = held("a");
        labelled["metadata"]["labels"] = json!({"rack": "1"});
        labelled["spec"]["architecture"] = json!("x86_64");
        labelled["metadata"]["finalizers"] = json!(["baremetalhost.metal3.io"]);
        assert!(update("luigi", &held("a"), &labelled).await.is_allowed());
    }

    #[tokio::test]
    async fn a_claim_is_neither_cleared_nor_taken_nor_made_by_others() {
        let mut free = held("a");
        free["spec"].as_object_mut().unwrap().remove("consumerRef");
        let mut stolen = held("a");
        stolen["spec"]["consumerRef"]["name"] = json!("portal-102");
        for (old, new) in [
            (held("a"), free.clone()),
            (held("a"), stolen),
            (free.clone(), held("a")),
        ] {
            assert!(!update("luigi", &old, &new).await.is_allowed());
        }
        free["spec"]["consumerRef"] = json!({"kind": "Metal3Machine", "apiVersion": "x/v1"});
        assert!(update("luigi", &free, &free).await.is_allowed());
    }

    #[tokio::test]
    async fn a_deletion_under_way_is_not_held_up() {
        let mut deleting = held("b");
        deleting["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert!(update("luigi", &held("a"), &deleting).await.is_allowed());
    }
}
