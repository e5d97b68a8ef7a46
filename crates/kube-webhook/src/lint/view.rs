//! A validating or mutating webhook, as the rules look at it. Made by `lint`.

use k8s_openapi::{
    api::admissionregistration::v1::{
        MatchCondition, MutatingWebhook, RuleWithOperations, ValidatingWebhook, WebhookClientConfig,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

pub(super) struct Hook<'a> {
    pub(super) name: &'a str,
    pub(super) client: &'a WebhookClientConfig,
    pub(super) rules: &'a [RuleWithOperations],
    pub(super) failure_policy: Option<&'a str>,
    pub(super) match_policy: Option<&'a str>,
    pub(super) namespace_selector: Option<&'a LabelSelector>,
    pub(super) object_selector: Option<&'a LabelSelector>,
    pub(super) side_effects: &'a str,
    pub(super) timeout: Option<i32>,
    pub(super) review_versions: &'a [String],
    pub(super) conditions: &'a [MatchCondition],
    /// Of a mutating webhook.
    pub(super) reinvocation: Option<Option<&'a str>>,
}

/// The API has two types for it, alike but for one field.
macro_rules! view {
    ($webhook:ident, $reinvocation:expr) => {
        Self {
            name: &$webhook.name,
            client: &$webhook.client_config,
            rules: $webhook.rules.as_deref().unwrap_or_default(),
            failure_policy: $webhook.failure_policy.as_deref(),
            match_policy: $webhook.match_policy.as_deref(),
            namespace_selector: $webhook.namespace_selector.as_ref(),
            object_selector: $webhook.object_selector.as_ref(),
            side_effects: &$webhook.side_effects,
            timeout: $webhook.timeout_seconds,
            review_versions: &$webhook.admission_review_versions,
            conditions: $webhook.match_conditions.as_deref().unwrap_or_default(),
            reinvocation: $reinvocation,
        }
    };
}

impl<'a> Hook<'a> {
    pub(super) fn validating(webhook: &'a ValidatingWebhook) -> Self {
        view!(webhook, None)
    }

    pub(super) fn mutating(webhook: &'a MutatingWebhook) -> Self {
        view!(webhook, Some(webhook.reinvocation_policy.as_deref()))
    }

    pub(super) fn is_mutating(&self) -> bool {
        self.reinvocation.is_some()
    }

    /// The API's default is `Fail`.
    pub(super) fn fails_closed(&self) -> bool {
        self.failure_policy != Some("Ignore")
    }

    pub(super) fn is_called_for(&self, operation: &str) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| has(rule.operations.as_ref(), operation))
    }

    /// Whether a rule matches this resource of this group; `resource` may be a subresource.
    pub(super) fn matches(&self, group: &str, resource: &str) -> bool {
        self.rules.iter().any(|rule| {
            has(rule.api_groups.as_ref(), group)
                && rule.resources.iter().flatten().any(|own| {
                    own == resource
                        || own == "*/*"
                        || match resource.split_once('/') {
                            None => own == "*" || *own == format!("{resource}/*"),
                            Some((plural, sub)) => {
                                *own == format!("{plural}/*") || *own == format!("*/{sub}")
                            }
                        }
                })
        })
    }

    /// Whether it is about kinds of others: built-in ones, or all. A group without a dot, or of
    /// Kubernetes itself, holds no custom kinds.
    pub(super) fn is_broad(&self) -> bool {
        self.rules.iter().any(|rule| {
            rule.api_groups
                .iter()
                .flatten()
                .any(|group| group == "*" || !group.contains('.') || group.ends_with(".k8s.io"))
        })
    }

    /// Whether a condition looks at `text`.
    pub(super) fn condition_mentions(&self, text: &str) -> bool {
        let mut conditions = self.conditions.iter();
        conditions.any(|condition| condition.expression.contains(text))
    }
}

fn has(list: Option<&Vec<String>>, wanted: &str) -> bool {
    let mut list = list.into_iter().flatten();
    list.any(|one| one == wanted || one == "*")
}
