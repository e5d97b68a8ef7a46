//! The webhook configurations and the CRD stanza, derived from the registration. Called by
//! `Registered`; `build` has already checked everything that goes in.

use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchCondition, MutatingWebhook, MutatingWebhookConfiguration, RuleWithOperations,
        ValidatingWebhook, ValidatingWebhookConfiguration,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceConversion, WebhookConversion,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    entry::{Entry, Reinvocation},
    target::Target,
    webhook::{AdmissionHook, ConversionHook},
};
use crate::admission::Operation;

pub(super) fn validating(
    name: &str,
    hooks: &[AdmissionHook],
    target: &Target,
) -> Option<ValidatingWebhookConfiguration> {
    let webhooks: Vec<_> = entries(hooks)
        .map(|(hook, entry)| webhook(hook, entry, target))
        .collect();
    (!webhooks.is_empty()).then(|| ValidatingWebhookConfiguration {
        metadata: named(name),
        webhooks: Some(webhooks),
    })
}

pub(super) fn mutating(
    name: &str,
    hooks: &[AdmissionHook],
    target: &Target,
) -> Option<MutatingWebhookConfiguration> {
    let webhooks: Vec<_> = entries(hooks)
        .map(|(hook, entry)| mutating_webhook(webhook(hook, entry, target), hook.reinvocation))
        .collect();
    (!webhooks.is_empty()).then(|| MutatingWebhookConfiguration {
        metadata: named(name),
        webhooks: Some(webhooks),
    })
}

pub(super) fn conversion(hook: &ConversionHook, target: &Target) -> CustomResourceConversion {
    CustomResourceConversion {
        strategy: "Webhook".to_owned(),
        webhook: Some(WebhookConversion {
            client_config: Some(target.conversion(&hook.route)),
            conversion_review_versions: review_versions(),
        }),
    }
}

fn webhook(hook: &AdmissionHook, entry: &Entry, target: &Target) -> ValidatingWebhook {
    ValidatingWebhook {
        name: entry.name.clone().unwrap_or_default(),
        client_config: target.admission(&hook.route),
        rules: Some(vec![rule(hook, entry)]),
        failure_policy: Some(entry.failure_policy.as_str().to_owned()),
        match_policy: Some(entry.match_policy.as_str().to_owned()),
        namespace_selector: entry.namespace_selector.clone(),
        object_selector: entry.object_selector.clone(),
        side_effects: entry.side_effects.as_str().to_owned(),
        timeout_seconds: Some(i32::from(entry.timeout_seconds)),
        admission_review_versions: review_versions(),
        match_conditions: match_conditions(entry),
    }
}

/// The same in the API's other type.
fn mutating_webhook(webhook: ValidatingWebhook, reinvocation: Reinvocation) -> MutatingWebhook {
    let ValidatingWebhook {
        admission_review_versions,
        client_config,
        failure_policy,
        match_conditions,
        match_policy,
        name,
        namespace_selector,
        object_selector,
        rules,
        side_effects,
        timeout_seconds,
    } = webhook;
    MutatingWebhook {
        admission_review_versions,
        client_config,
        failure_policy,
        match_conditions,
        match_policy,
        name,
        namespace_selector,
        object_selector,
        reinvocation_policy: Some(reinvocation.as_str().to_owned()),
        rules,
        side_effects,
        timeout_seconds,
    }
}

fn entries(hooks: &[AdmissionHook]) -> impl Iterator<Item = (&AdmissionHook, &Entry)> {
    hooks.iter().flat_map(|hook| {
        hook.settings
            .effective()
            .iter()
            .map(move |entry| (hook, entry))
    })
}

fn rule(hook: &AdmissionHook, entry: &Entry) -> RuleWithOperations {
    let operations = entry.operations.as_deref().unwrap_or(hook.operations);
    let plural = &hook.served.plural;
    let subresources = entry
        .subresources
        .iter()
        .map(|subresource| format!("{plural}/{subresource}"));
    RuleWithOperations {
        api_groups: Some(vec![hook.served.group.clone()]),
        api_versions: Some(vec![hook.served.version.clone()]),
        operations: Some(
            operations
                .iter()
                .copied()
                .map(Operation::as_str)
                .map(str::to_owned)
                .collect(),
        ),
        resources: Some(
            std::iter::once(hook.served.resource())
                .chain(subresources)
                .collect(),
        ),
        scope: entry.scope.map(|scope| scope.as_str().to_owned()),
    }
}

fn match_conditions(entry: &Entry) -> Option<Vec<MatchCondition>> {
    (!entry.match_conditions.is_empty()).then(|| entry.match_conditions.clone())
}

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

/// The API server takes the first that it knows.
fn review_versions() -> Vec<String> {
    vec!["v1".to_owned(), "v1beta1".to_owned()]
}
