//! Objects as they are written in manifests, sorted out by their kinds. Called by `lint`.

use k8s_openapi::{
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        apps::v1::{Deployment, StatefulSet},
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, PolicyRule, Role},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Finding;

/// An object that is not what its kind says.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {name} can't be read: it isn't what an API server would take")]
pub struct ManifestError {
    kind: String,
    name: String,
    source: serde_json::Error,
}

/// Looks at the objects of an installation, or at those of its kinds that the rules are about: webhook
/// configurations, CRDs, Deployments and StatefulSets with their PodDisruptionBudgets, Roles and
/// ClusterRoles. Lists are unfolded. The worst findings come first.
///
/// # Errors
///
/// If one of these can't be read.
pub fn manifests(objects: &[Value]) -> Result<Vec<Finding>, ManifestError> {
    let unfolded = unfolded(objects);
    let mut findings = Vec::new();
    let validating: Vec<ValidatingWebhookConfiguration> =
        of_kind(&unfolded, "ValidatingWebhookConfiguration")?;
    findings.extend(validating.iter().flat_map(super::validating));
    let mutating: Vec<MutatingWebhookConfiguration> =
        of_kind(&unfolded, "MutatingWebhookConfiguration")?;
    findings.extend(mutating.iter().flat_map(super::mutating));
    findings.extend(super::pair(&validating, &mutating));
    for crd in of_kind::<CustomResourceDefinition>(&unfolded, "CustomResourceDefinition")? {
        let name = crd.metadata.name.unwrap_or_default();
        let stanza = crd.spec.conversion.iter();
        findings.extend(stanza.flat_map(|stanza| super::conversion(&name, stanza)));
    }
    let budgets = of_kind::<PodDisruptionBudget>(&unfolded, "PodDisruptionBudget")?;
    let beside = |namespace: &Option<String>| -> Vec<_> {
        let those = budgets.iter();
        let those = those.filter(|budget| budget.metadata.namespace == *namespace);
        those.cloned().collect()
    };
    for deployment in of_kind::<Deployment>(&unfolded, "Deployment")? {
        let budgets = beside(&deployment.metadata.namespace);
        findings.extend(super::deployment(&deployment, &budgets));
    }
    for set in of_kind::<StatefulSet>(&unfolded, "StatefulSet")? {
        let budgets = beside(&set.metadata.namespace);
        findings.extend(super::stateful_set(&set, &budgets));
    }
    for role in of_kind::<Role>(&unfolded, "Role")? {
        findings.extend(of_role(role.metadata.name, role.rules));
    }
    for role in of_kind::<ClusterRole>(&unfolded, "ClusterRole")? {
        findings.extend(of_role(role.metadata.name, role.rules));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    Ok(findings)
}

/// With what is in lists, as `kubectl get -o yaml` prints them.
pub(super) fn unfolded(objects: &[Value]) -> Vec<&Value> {
    let unfolded = objects.iter().flat_map(|object| {
        let items = object["items"].as_array();
        match items.filter(|_| {
            object["kind"]
                .as_str()
                .is_some_and(|kind| kind.ends_with("List"))
        }) {
            Some(items) => items.iter().collect(),
            None => vec![object],
        }
    });
    unfolded.collect()
}

fn of_role(name: Option<String>, rules: Option<Vec<PolicyRule>>) -> Vec<Finding> {
    super::role(&name.unwrap_or_default(), &rules.unwrap_or_default())
}

fn of_kind<T: DeserializeOwned>(objects: &[&Value], kind: &str) -> Result<Vec<T>, ManifestError> {
    let those = objects.iter().filter(|object| object["kind"] == kind);
    let read = those.map(|&object| {
        T::deserialize(object).map_err(|source| ManifestError {
            kind: kind.to_owned(),
            name: object["metadata"]["name"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            source,
        })
    });
    read.collect()
}
