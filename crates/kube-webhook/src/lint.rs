//! What is wrong, or unwise, about webhook configurations, before a cluster sees them.
//!
//! Two sorts of rules: `A1` to `A16` are the API server's own, as its validation has them (or as its
//! calls fail later, where validation looks away); the `G`s are the good practices of the Kubernetes
//! documentation, as far as they show in what is installed. For these, nothing is asked of a cluster.
//! [`dry_run`] asks one: `S1` is what an API server itself would refuse.
//!
//! | rule | where it is looked at |
//! |---|---|
//! | G1 G2 a policy or a schema instead of a webhook | nowhere: whether CEL could judge it is in the hook's code |
//! | G3 one call instead of several | [`validating`] |
//! | G4 no API calls in the hot path | nowhere: they are in the hook's code; `kube_webhook_review_seconds` shows them |
//! | G5 a small timeout | [`validating`], [`mutating`] |
//! | G6 replicas, spread, a disruption budget | [`deployment`], [`stateful_set`] |
//! | G7 G8 G9 what the cluster itself needs | [`validating`], [`mutating`] |
//! | G10 G11 selectors and matchConditions | [`validating`], [`mutating`] |
//! | G12 matchPolicy Equivalent | [`validating`], [`mutating`] |
//! | G13 G14 patches of what changed alone, elements added rather than lists replaced | held by the framework: see [`MutationResult`](crate::admission::MutationResult) |
//! | G15 no side effects | [`validating`], [`mutating`] |
//! | G16 not its own namespace | [`validating`], [`mutating`] |
//! | G17 no circle with others' webhooks | nowhere: theirs are in the cluster alone |
//! | G18 mutators fail open, validators enforce | [`Registered::lint`](crate::Registered::lint) |
//! | G19 unknown fields survive | held by the framework |
//! | G20 not what the program itself writes | [`validating`], [`mutating`] |
//! | G21 no mirror pods | [`mutating`] |
//! | G22 no reliance on an order | [`mutating`] |
//! | G23 idempotent | at run time: the `testing` feature's check of a second run |
//! | G24 no mutation that a validation refuses | nowhere: by a test of both on a real API server |
//! | G25 G27 staging, upgrades, roll-out | nowhere: they are steps, not states |
//! | G26 an audit policy that shows patch loops | nowhere: it is a file of the API server's |
//! | G28 few may write webhook configurations | [`role`] |
//!
//! [`Registered::lint`](crate::Registered::lint) looks at what a program registers; the functions
//! here take configurations of any origin, and [`manifests`] takes whatever an installation consists of.
//!
//! ```
//! use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
//! use kube_webhook::lint::{self, Severity};
//!
//! let configuration: ValidatingWebhookConfiguration = serde_json::from_value(serde_json::json!({
//!     "metadata": {"name": "guard"},
//!     "webhooks": [{
//!         "name": "guard",
//!         "clientConfig": {"url": "https://guard.example.com/validate"},
//!         "rules": [{
//!             "apiGroups": ["example.com"], "apiVersions": ["v1"],
//!             "resources": ["ports"], "operations": ["CREATE"],
//!         }],
//!         "sideEffects": "None",
//!         "timeoutSeconds": 2,
//!         "admissionReviewVersions": ["v1"],
//!     }],
//! }))?;
//! let findings = lint::validating(&configuration);
//! assert_eq!(findings[0].severity, Severity::Error);
//! assert_eq!(
//!     findings[0].to_string(),
//!     "error A2 guard: the name is not a DNS subdomain of three labels or more: call it \
//!      \"guard.DOMAIN\", such as \"guard.hooks.example.com\"",
//! );
//! # Ok::<(), serde_json::Error>(())
//! ```

mod cel;
mod client;
mod installation;
mod manifests;
mod practice;
mod refused;
mod selector;
mod trial;
mod view;

use std::fmt;

use k8s_openapi::{
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        apps::v1::{Deployment, StatefulSet},
        core::v1::PodTemplateSpec,
        policy::v1::PodDisruptionBudget,
        rbac::v1::PolicyRule,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceConversion,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

pub use manifests::{ManifestError, manifests};
pub use trial::{DryRunError, dry_run};

use view::Hook;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth a thought.
    Advice,
    /// Will hurt some day.
    Warning,
    /// The API server refuses it, or never succeeds in calling it.
    Error,
}

/// The id of a rule: `A1`, `G18`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule(&'static str);

impl Rule {
    /// The id as it is written.
    #[must_use]
    pub fn id(self) -> &'static str {
        self.0
    }
}

/// Something that is wrong or unwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// By which rule.
    pub rule: Rule,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about: the name of a webhook, configuration or CRD.
    pub subject: String,
    /// What is found.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            severity,
            subject,
            message,
            remedy,
        } = self;
        write!(
            formatter,
            "{severity} {rule} {subject}: {message}: {remedy}"
        )
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Advice => "advice",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

/// Looks at a validating configuration; the worst findings come first.
#[must_use]
pub fn validating(configuration: &ValidatingWebhookConfiguration) -> Vec<Finding> {
    let hooks: Vec<_> = configuration
        .webhooks
        .iter()
        .flatten()
        .map(Hook::validating)
        .collect();
    hooks_of(configuration.metadata.name.as_deref(), &hooks)
}

/// Looks at a mutating configuration; the worst findings come first.
#[must_use]
pub fn mutating(configuration: &MutatingWebhookConfiguration) -> Vec<Finding> {
    let hooks: Vec<_> = configuration
        .webhooks
        .iter()
        .flatten()
        .map(Hook::mutating)
        .collect();
    hooks_of(configuration.metadata.name.as_deref(), &hooks)
}

/// Looks at the conversion stanza of the CRD called `crd`; the worst findings come first.
#[must_use]
pub fn conversion(crd: &str, conversion: &CustomResourceConversion) -> Vec<Finding> {
    let mut findings = Findings::default();
    refused::conversion(crd, conversion, &mut findings);
    findings.sorted()
}

/// Looks at the Deployment of a webhook server, and at the disruption budgets of its namespace; the
/// worst findings come first.
#[must_use]
pub fn deployment(deployment: &Deployment, budgets: &[PodDisruptionBudget]) -> Vec<Finding> {
    let Some(spec) = &deployment.spec else {
        return Vec::new();
    };
    pods(&deployment.metadata, spec.replicas, &spec.template, budgets)
}

/// Like [`deployment`], for a server that is run as a StatefulSet.
#[must_use]
pub fn stateful_set(set: &StatefulSet, budgets: &[PodDisruptionBudget]) -> Vec<Finding> {
    let Some(spec) = &set.spec else {
        return Vec::new();
    };
    pods(&set.metadata, spec.replicas, &spec.template, budgets)
}

/// Looks at the rules of a Role or ClusterRole called `name`.
#[must_use]
pub fn role(name: &str, rules: &[PolicyRule]) -> Vec<Finding> {
    let mut findings = Findings::default();
    installation::rights(name, rules, &mut findings);
    findings.sorted()
}

/// Looks at what only both sorts of configurations together show.
pub(crate) fn pair(
    validating: &[ValidatingWebhookConfiguration],
    mutating: &[MutatingWebhookConfiguration],
) -> Vec<Finding> {
    let validators = validating
        .iter()
        .flat_map(|one| one.webhooks.iter().flatten());
    let validators: Vec<_> = validators.map(Hook::validating).collect();
    let mutators = mutating
        .iter()
        .flat_map(|one| one.webhooks.iter().flatten());
    let mutators: Vec<_> = mutators.map(Hook::mutating).collect();
    let mut findings = Findings::default();
    practice::pair(&validators, &mutators, &mut findings);
    findings.sorted()
}

fn pods(
    metadata: &ObjectMeta,
    replicas: Option<i32>,
    template: &PodTemplateSpec,
    budgets: &[PodDisruptionBudget],
) -> Vec<Finding> {
    let mut findings = Findings::default();
    let name = metadata.name.as_deref().unwrap_or_default();
    installation::pods(name, replicas, template, budgets, &mut findings);
    findings.sorted()
}

fn hooks_of(name: Option<&str>, hooks: &[Hook<'_>]) -> Vec<Finding> {
    let mut findings = Findings::default();
    refused::configuration(name.unwrap_or_default(), hooks, &mut findings);
    for hook in hooks {
        refused::hook(hook, &mut findings);
        practice::hook(hook, &mut findings);
    }
    practice::together(hooks, &mut findings);
    findings.sorted()
}

/// Findings so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn error(
        &mut self,
        rule: &'static str,
        subject: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(rule, Severity::Error, subject, message, remedy);
    }

    fn add(
        &mut self,
        rule: &'static str,
        severity: Severity,
        subject: &str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.0.push(Finding {
            rule: Rule(rule),
            severity,
            subject: subject.to_owned(),
            message: message.into(),
            remedy: remedy.into(),
        });
    }

    fn sorted(self) -> Vec<Finding> {
        let mut findings = self.0;
        // Stable: within a severity, in the order of the configuration.
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings
    }
}

#[cfg(test)]
mod tests;
