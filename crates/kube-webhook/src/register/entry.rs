//! One webhook of a configuration: how the API server calls a hook, and when. Made by programs, read
//! by `build` and `configuration`.

use k8s_openapi::{
    api::admissionregistration::v1::MatchCondition,
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};

use crate::admission::Operation;

/// One webhook of a configuration. A hook usually has one; several call the same route on different
/// terms, for example with `failurePolicy: Fail` for some objects and `Ignore` for the rest.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Entry {
    pub(super) name: Option<String>,
    pub(super) failure_policy: FailurePolicy,
    pub(super) timeout_seconds: u16,
    pub(super) match_policy: MatchPolicy,
    pub(super) match_conditions: Vec<MatchCondition>,
    pub(super) namespace_selector: Option<LabelSelector>,
    pub(super) object_selector: Option<LabelSelector>,
    pub(super) side_effects: SideEffects,
    pub(super) operations: Option<Vec<Operation>>,
    pub(super) subresources: Vec<String>,
    pub(super) scope: Option<Scope>,
}

impl Entry {
    /// An entry whose webhook is called `NAME.KIND.DOMAIN`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: Some(name.into()),
            ..Self::unnamed()
        }
    }

    pub(super) fn unnamed() -> Self {
        Self {
            name: None,
            failure_policy: FailurePolicy::Fail,
            timeout_seconds: 5,
            match_policy: MatchPolicy::Equivalent,
            match_conditions: Vec::new(),
            namespace_selector: None,
            object_selector: None,
            side_effects: SideEffects::None,
            operations: None,
            subresources: Vec::new(),
            scope: None,
        }
    }
}

/// The setters of an entry: on [`Entry`] itself, and on the hooks for their only entry.
macro_rules! entry_setters {
    ($([$($param:ident),*] $owner:ty, $($field:ident)?;)+) => {$(
        impl <$($param),*> $owner {
            /// What the API server does if the call fails: by default
            /// [`FailurePolicy::Fail`](crate::FailurePolicy::Fail).
            pub fn failure_policy(mut self, policy: $crate::register::FailurePolicy) -> Self {
                self $(.$field)? .failure_policy = policy;
                self
            }

            /// How long the API server waits, 1 to 30 seconds: by default 5. The callback's
            /// deadline follows from it.
            pub fn timeout_seconds(mut self, seconds: u16) -> Self {
                self $(.$field)? .timeout_seconds = seconds;
                self
            }

            /// Whether requests for another version of the kind are converted and sent, too: by
            /// default [`MatchPolicy::Equivalent`](crate::MatchPolicy::Equivalent).
            pub fn match_policy(mut self, policy: $crate::register::MatchPolicy) -> Self {
                self $(.$field)? .match_policy = policy;
                self
            }

            /// Only objects of this scope; without it, both. Of use where a hook serves any kind.
            pub fn scope(mut self, scope: $crate::register::Scope) -> Self {
                self $(.$field)? .scope = Some(scope);
                self
            }

            /// A condition in CEL without which the API server doesn't call; all must hold. This is
            /// how requests that don't matter are kept apart from our availability.
            pub fn match_condition(
                mut self,
                name: impl Into<String>,
                expression: impl Into<String>,
            ) -> Self {
                self $(.$field)? .match_conditions.push(
                    k8s_openapi::api::admissionregistration::v1::MatchCondition {
                        name: name.into(),
                        expression: expression.into(),
                    },
                );
                self
            }

            /// Only objects in namespaces with these labels.
            pub fn namespace_selector(
                mut self,
                selector: k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector,
            ) -> Self {
                self $(.$field)? .namespace_selector = Some(selector);
                self
            }

            /// Only objects that have these labels before or after the change. Users can opt out by
            /// editing labels.
            pub fn object_selector(
                mut self,
                selector: k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector,
            ) -> Self {
                self $(.$field)? .object_selector = Some(selector);
                self
            }

            /// Whether the hook does anything beside answering: by default
            /// [`SideEffects::None`](crate::SideEffects::None).
            pub fn side_effects(mut self, effects: $crate::register::SideEffects) -> Self {
                self $(.$field)? .side_effects = effects;
                self
            }

            /// Only these of the hook's operations.
            pub fn operations(
                mut self,
                operations: impl IntoIterator<Item = $crate::admission::Operation>,
            ) -> Self {
                self $(.$field)? .operations = Some(operations.into_iter().collect());
                self
            }

            /// A subresource such as `status`, beside the resource itself. Its object must be of
            /// the hook's kind, which that of `scale` isn't.
            pub fn subresource(mut self, name: impl Into<String>) -> Self {
                self $(.$field)? .subresources.push(name.into());
                self
            }
        }
    )+};
}

entry_setters! {
    [] Entry,;
}

pub(super) use entry_setters;

/// What the API server does with a request if the webhook can't be called, or answers with a
/// [`Fault`](crate::Fault).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailurePolicy {
    /// Refuses it.
    Fail,
    /// Lets it pass.
    Ignore,
}

impl FailurePolicy {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "Fail",
            Self::Ignore => "Ignore",
        }
    }
}

/// Which requests match a webhook's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchPolicy {
    /// Those for any version of the kind, converted to the hook's version first. For a custom kind
    /// that takes its conversion webhook.
    Equivalent,
    /// Those for the hook's version alone: another version is then a way around the hook.
    Exact,
}

impl MatchPolicy {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Equivalent => "Equivalent",
            Self::Exact => "Exact",
        }
    }
}

/// Where the objects of a webhook's rule live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Outside of namespaces; Namespaces themselves count as such.
    Cluster,
    /// In namespaces.
    Namespaced,
}

impl Scope {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Namespaced => "Namespaced",
        }
    }
}

/// Whether a mutating webhook is called once more when a later one changed the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reinvocation {
    /// Called once.
    Never,
    /// Called again if needed.
    IfNeeded,
}

impl Reinvocation {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Never => "Never",
            Self::IfNeeded => "IfNeeded",
        }
    }
}

/// What a hook does beside answering. The API has no other value for new webhooks: a dry run must
/// never have an effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideEffects {
    /// Nothing.
    None,
    /// Something, but nothing for a dry run; see
    /// [`AdmissionContext::dry_run`](crate::admission::AdmissionContext::dry_run).
    NoneOnDryRun,
}

impl SideEffects {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::NoneOnDryRun => "NoneOnDryRun",
        }
    }
}
