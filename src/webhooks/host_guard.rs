//! Keeps a held host as its holder has it: nobody else changes what is on its disk, or
//! whose it is.
//!
//! Compares before and after, and only the fields that decide about the disk: whatever else
//! the operator, its finalizers or an admin write passes. Our own user is never refused,
//! nor are the operator's.

use std::collections::{BTreeMap, BTreeSet};

use kube_webhook::{
    Fault,
    admission::{
        AdmissionContext, Create, Old, Update, ValidateCreate, ValidateUpdate, ValidationResult,
        ValidationWebhook,
    },
};
use metal3::{BareMetalHost, BareMetalHostSpec, ConsumerRef, names};
use serde::Deserialize;

use super::OwnUser;
use crate::api::GROUP;

/// The guard of held hosts.
#[derive(Clone, Debug)]
pub struct HostGuard {
    own_user: OwnUser,
    operator_users: BTreeSet<String>,
}

impl HostGuard {
    /// A guard that lets `own_user` and the operator's users through.
    pub fn new(own_user: impl Into<OwnUser>, operator_users: BTreeSet<String>) -> Self {
        Self {
            own_user: own_user.into(),
            operator_users,
        }
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
    type Operations = (Create, Update);
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
        let old: Narrow = old.view()?;
        let Some(holder) = holder(&old.spec).or_else(|| holder(&new.spec)) else {
            return Ok(ValidationResult::success());
        };
        let mut changed = changed_fields(&old.spec, &new.spec);
        if new.is_detached() && !old.metadata.annotations.contains_key(names::DETACHED) {
            changed.push("metadata.annotations");
        }
        Ok(if changed.is_empty() {
            ValidationResult::success()
        } else {
            refusal(holder, &changed)
        })
    }
}

/// What the guard needs of the object as it was.
#[derive(Deserialize)]
struct Narrow {
    #[serde(default)]
    metadata: NarrowMetadata,
    #[serde(default)]
    spec: BareMetalHostSpec,
}

#[derive(Default, Deserialize)]
struct NarrowMetadata {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
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

fn refusal(holder: &ConsumerRef, fields: &[&str]) -> ValidationResult {
    let name = holder.name.as_deref().unwrap_or("unknown");
    let namespace = match holder.namespace.as_deref() {
        Some(namespace) => format!(" -n {namespace}"),
        None => String::new(),
    };
    let message = format!(
        "the host is held by Reservation {name}; only Harbormaster may change {}. To take the \
         host back, end the reservation: kubectl delete reservation {name}{namespace}",
        fields.join(", ")
    );
    fields.iter().fold(
        ValidationResult::fail(message)
            .with_code(403)
            .with_reason("Forbidden"),
        |refusal, field| refusal.with_cause(*field, "the host is held"),
    )
}

#[cfg(test)]
mod tests {
    use kube_webhook::admission::Operation;
    use serde_json::{Value, json, value::to_raw_value};

    use super::*;

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
