//! The one place where webhooks are registered: routes, webhook configurations and the CRD's
//! conversion stanza all derive from it, so that none of them can disagree.
//!
//! Refuses, when built, what the API server would refuse when the configuration is applied (or, worse,
//! would accept and never call). Called by the program at start-up.

mod build;
mod configuration;
mod entry;
mod gate;
mod intake;
mod rbac;
mod resources;
mod route;
mod served;
mod target;
mod webhook;

use std::{sync::Arc, time::Duration};

use axum::Router;
use k8s_openapi::{
    api::admissionregistration::v1::{
        MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceConversion,
};

pub use build::RegistrationError;
pub use entry::{Entry, FailurePolicy, MatchPolicy, Reinvocation, Scope, SideEffects};
pub use rbac::{Rbac, RbacOptions};
pub use resources::Resources;
pub use target::Target;
pub use webhook::{Conversion, Mutation, Validation, Webhook};

use crate::certs::ClientCas;
use crate::lint::{self, Finding};
use crate::metrics::Metrics;
use gate::Gate;
use intake::Limits;
use webhook::{AdmissionHook, ConversionHook};

/// The webhooks of a program, before they have been checked.
///
/// ```
/// # use kube_webhook::{Fault, Target, Validation, Webhooks, admission::*};
/// # use k8s_openapi::api::core::v1::ConfigMap;
/// # struct Hook;
/// # impl ValidationWebhook<ConfigMap> for Hook { type Operations = (Create,); }
/// # impl ValidateCreate<ConfigMap> for Hook {
/// #     async fn create(&self, _: &ConfigMap, _: &AdmissionContext<'_>) -> Result<ValidationResult, Fault> {
/// #         Ok(ValidationResult::success())
/// #     }
/// # }
/// let registered = Webhooks::new("guard")
///     .domain("guard.example.com")
///     .add_webhook(Validation::new(Hook).timeout_seconds(2))
///     .build()?;
///
/// let target = Target::Url { base: "https://127.0.0.1:8443".to_owned(), ca_bundle: None };
/// let configuration = registered.validating_configuration(&target).unwrap();
/// let webhook = &configuration.webhooks.unwrap()[0];
/// assert_eq!(webhook.name, "validate.configmap.guard.example.com");
/// assert_eq!(
///     webhook.client_config.url.as_deref(),
///     Some("https://127.0.0.1:8443/validate/configmap"),
/// );
/// # Ok::<(), kube_webhook::RegistrationError>(())
/// ```
#[derive(Debug)]
#[must_use]
pub struct Webhooks {
    name: String,
    domain: Option<String>,
    webhooks: Vec<Webhook>,
    limits: Limits,
    metrics: Metrics,
}

impl Webhooks {
    /// Webhooks whose two configurations are both called `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            domain: None,
            webhooks: Vec::new(),
            limits: Limits::default(),
            metrics: Metrics::default(),
        }
    }

    /// What the names of the webhooks end in; without it, each ends in the group of its kind.
    pub fn domain(mut self, domain: impl Into<String>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Adds a [`Validation`], [`Mutation`] or [`Conversion`].
    pub fn add_webhook(mut self, webhook: impl Into<Webhook>) -> Self {
        self.webhooks.push(webhook.into());
        self
    }

    /// The largest AdmissionReview taken, in bytes; a larger one is answered 413. By default 7 MiB:
    /// two objects of the 3 MiB that the API server takes, and the envelope.
    pub fn review_limit(mut self, bytes: usize) -> Self {
        self.limits.review = bytes;
        self
    }

    /// The largest ConversionReview taken, in bytes; a larger one is answered 413. By default
    /// 64 MiB: the API server sets no bound.
    pub fn conversion_limit(mut self, bytes: usize) -> Self {
        self.limits.conversion = bytes;
        self
    }

    /// How long the body of a review may take to arrive; a slower one is answered 408. By default
    /// 30 s, the longest that the API server waits for any answer.
    pub fn body_deadline(mut self, deadline: Duration) -> Self {
        self.limits.body_deadline = deadline;
        self
    }

    /// How many reviews may be answered at once; more are shed with 429, upon which the API server
    /// calls again a second later. By default 1,024.
    pub fn in_flight_limit(mut self, reviews: usize) -> Self {
        self.limits.in_flight = reviews;
        self
    }

    /// How many bytes of bodies may be held at once; more are shed with 429. By default 128 MiB, and
    /// at least as much as the largest body taken.
    pub fn bytes_in_flight_limit(mut self, bytes: usize) -> Self {
        self.limits.bytes_in_flight = bytes;
        self
    }

    /// How many conversions of more than 256 KiB run at once, on threads of their own; more wait for
    /// their turn. By default one per core.
    pub fn conversion_threads(mut self, threads: usize) -> Self {
        self.limits.conversion_threads = Some(threads);
        self
    }

    /// An admission review that takes longer than this is logged at level info. By default 1 s.
    pub fn slow_review(mut self, threshold: Duration) -> Self {
        self.limits.slow_review = threshold;
        self
    }

    /// Counts reviews and conversions there.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Checks the registration as a whole.
    ///
    /// # Errors
    ///
    /// The first thing that the API server would refuse or misroute, with what to do about it.
    pub fn build(self) -> Result<Registered, RegistrationError> {
        build::build(self)
    }
}

/// Webhooks that passed the checks of [`Webhooks::build`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Registered {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    name: String,
    validations: Vec<AdmissionHook>,
    mutations: Vec<AdmissionHook>,
    conversions: Vec<ConversionHook>,
    limits: Limits,
    gate: Gate,
    metrics: Metrics,
}

impl Registered {
    /// The name of both configurations.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The routes: each hook's own, and `/validate`, `/mutate` and `/convert`, which choose by the
    /// kind that the review is about.
    ///
    /// The router has no fallback, so that it can be merged with others; [`not_found`](crate::not_found)
    /// is one that answers as the webhooks do.
    pub fn router(&self) -> Router {
        route::router(&self.inner, None)
    }

    /// The same routes, of which those for admission are only for callers with a client certificate of
    /// one of these CAs: without one, a review is answered 401, with a stranger's 403. Conversions
    /// are open to everybody: the API server calls them without one, whatever it is configured to.
    ///
    /// To be served by a [`Server`](crate::Server) that
    /// [asks for them](crate::Server::asking_for_client_certificates); behind any other, each review is
    /// refused.
    pub fn router_for(&self, clients: &ClientCas) -> Router {
        route::router(&self.inner, Some(clients))
    }

    /// The configuration of the validating webhooks; `None` if there are none.
    #[must_use]
    pub fn validating_configuration(
        &self,
        target: &Target,
    ) -> Option<ValidatingWebhookConfiguration> {
        configuration::validating(&self.inner.name, &self.inner.validations, target)
    }

    /// The configuration of the mutating webhooks; `None` if there are none.
    #[must_use]
    pub fn mutating_configuration(&self, target: &Target) -> Option<MutatingWebhookConfiguration> {
        configuration::mutating(&self.inner.name, &self.inner.mutations, target)
    }

    /// The conversion stanza of the CRD `plural`.`group`; `None` if its versions aren't converted
    /// here.
    #[must_use]
    pub fn conversion(
        &self,
        group: &str,
        plural: &str,
        target: &Target,
    ) -> Option<CustomResourceConversion> {
        self.inner
            .conversions
            .iter()
            .find(|hook| hook.served.group == group && hook.served.plural == plural)
            .map(|hook| configuration::conversion(hook, target))
    }

    /// What is wrong or unwise about it, where it is to be found at `target`.
    #[must_use]
    pub fn lint(&self, target: &Target) -> Vec<Finding> {
        let validating = self.validating_configuration(target);
        let mutating = self.mutating_configuration(target);
        let mut findings = Vec::new();
        findings.extend(validating.iter().flat_map(lint::validating));
        findings.extend(mutating.iter().flat_map(lint::mutating));
        findings.extend(lint::pair(validating.as_slice(), mutating.as_slice()));
        for (group, plural) in self.conversions() {
            if let Some(stanza) = self.conversion(group, plural, target) {
                findings.extend(lint::conversion(&format!("{plural}.{group}"), &stanza));
            }
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        findings
    }

    /// The rights that the program needs for its webhooks; `None` if it needs none, since being
    /// called takes no rights.
    #[must_use]
    pub fn rbac(&self, options: &RbacOptions) -> Option<Rbac> {
        rbac::derive(&self.inner, options)
    }

    /// Group and plural of every kind whose versions are converted here.
    pub fn conversions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.inner
            .conversions
            .iter()
            .map(|hook| (&*hook.served.group, &*hook.served.plural))
    }

    /// Every route, in the order of registration.
    pub fn routes(&self) -> impl Iterator<Item = &str> {
        let admission = self.inner.validations.iter().chain(&self.inner.mutations);
        admission
            .map(|hook| &*hook.route)
            .chain(self.inner.conversions.iter().map(|hook| &*hook.route))
    }
}
