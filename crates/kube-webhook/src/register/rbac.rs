//! The rights that a program needs for its webhooks: what its hooks declare, and what it asks for
//! itself. Called by `Registered::rbac`; grants nothing that nobody asked for.
//!
//! Being called takes no rights at all: the API server comes to the webhook, and brings the objects.
//! A hook needs rights only for what it looks up beside them, and a program only if it keeps its
//! configurations' `caBundle` itself.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, RoleRef, Subject},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;

use super::Inner;

/// Whose rights they are, and what beside the hooks they are for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct RbacOptions {
    namespace: String,
    service_account: String,
    keeps_ca_bundles: bool,
}

impl RbacOptions {
    /// The rights of this service account.
    pub fn new(namespace: impl Into<String>, service_account: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            service_account: service_account.into(),
            keeps_ca_bundles: false,
        }
    }

    /// Also to read and patch the program's own two configurations and the CRDs that it converts
    /// for: what a program needs that writes their `caBundle` itself.
    pub fn keep_ca_bundles(mut self) -> Self {
        self.keeps_ca_bundles = true;
        self
    }
}

/// A role and its binding, both named as the configurations are.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Rbac {
    /// What may be done.
    pub role: ClusterRole,
    /// By whom.
    pub binding: ClusterRoleBinding,
}

/// `None` if nothing is needed.
pub(super) fn derive(inner: &Inner, options: &RbacOptions) -> Option<Rbac> {
    let hooks = inner.validations.iter().chain(&inner.mutations);
    let mut rules: Vec<PolicyRule> = hooks.flat_map(|hook| hook.needs.iter().cloned()).collect();
    if options.keeps_ca_bundles {
        rules.extend(own_objects(inner));
    }
    if rules.is_empty() {
        return None;
    }
    let metadata = ObjectMeta {
        name: Some(inner.name.clone()),
        ..ObjectMeta::default()
    };
    Some(Rbac {
        role: ClusterRole {
            metadata: metadata.clone(),
            rules: Some(merged(rules)),
            aggregation_rule: None,
        },
        binding: ClusterRoleBinding {
            metadata,
            role_ref: RoleRef {
                api_group: RBAC_GROUP.to_owned(),
                kind: "ClusterRole".to_owned(),
                name: inner.name.clone(),
            },
            subjects: Some(vec![Subject {
                api_group: None,
                kind: "ServiceAccount".to_owned(),
                name: options.service_account.clone(),
                namespace: Some(options.namespace.clone()),
            }]),
        },
    })
}

pub(super) fn reading<R>() -> PolicyRule
where
    R: Resource,
    R::DynamicType: Default,
{
    let kind = R::DynamicType::default();
    PolicyRule {
        api_groups: Some(vec![R::group(&kind).into_owned()]),
        resources: Some(vec![R::plural(&kind).into_owned()]),
        verbs: words(&["get", "list", "watch"]),
        ..PolicyRule::default()
    }
}

/// Each named, so that a stolen token can't rewrite anybody else's webhooks (G28). `list` and
/// `watch` by name work with a field selector on `metadata.name`.
fn own_objects(inner: &Inner) -> Vec<PolicyRule> {
    let rule = |group: &str, resource: &str, names: Vec<String>| PolicyRule {
        api_groups: Some(words(&[group])),
        resources: Some(words(&[resource])),
        resource_names: Some(names),
        verbs: words(&["get", "list", "watch", "patch"]),
        ..PolicyRule::default()
    };
    let mut rules = Vec::new();
    for (hooks, resource) in [
        (&inner.validations, "validatingwebhookconfigurations"),
        (&inner.mutations, "mutatingwebhookconfigurations"),
    ] {
        if !hooks.is_empty() {
            rules.push(rule(REGISTRATION_GROUP, resource, vec![inner.name.clone()]));
        }
    }
    let crds: Vec<_> = inner
        .conversions
        .iter()
        .map(|hook| format!("{}.{}", hook.served.plural, hook.served.group))
        .collect();
    if !crds.is_empty() {
        rules.push(rule(EXTENSIONS_GROUP, "customresourcedefinitions", crds));
    }
    rules
}

/// One rule where several differ in their resources only.
fn merged(rules: Vec<PolicyRule>) -> Vec<PolicyRule> {
    type Key = (
        Option<Vec<String>>,
        Vec<String>,
        Option<Vec<String>>,
        Option<Vec<String>>,
    );
    let mut by_key: BTreeMap<Key, BTreeSet<String>> = BTreeMap::new();
    for rule in rules {
        let key = (
            rule.api_groups,
            rule.verbs,
            rule.resource_names,
            rule.non_resource_urls,
        );
        let resources = by_key.entry(key).or_default();
        resources.extend(rule.resources.unwrap_or_default());
    }
    let joined = by_key.into_iter().map(|(key, resources)| {
        let (api_groups, verbs, resource_names, non_resource_urls) = key;
        PolicyRule {
            api_groups,
            resources: (!resources.is_empty()).then(|| resources.into_iter().collect()),
            verbs,
            resource_names,
            non_resource_urls,
        }
    });
    joined.collect()
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

const RBAC_GROUP: &str = "rbac.authorization.k8s.io";
const REGISTRATION_GROUP: &str = "admissionregistration.k8s.io";
const EXTENSIONS_GROUP: &str = "apiextensions.k8s.io";
