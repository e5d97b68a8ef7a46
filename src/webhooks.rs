//! The hooks: one list, from which routes, configurations and the CRD's conversion derive.
//!
//! Hooks decide from the review and from caches, so that they answer while the API server is
//! busy, and a review costs microseconds. Only what is rare (break-glass, a Secret that is
//! named) asks the API server, about somebody's rights.

pub mod authorizer;
pub mod break_glass;
pub mod host_advice;
pub mod host_defaults;
pub mod host_guard;
pub mod host_rules;
pub mod host_warnings;
mod own_user;
pub mod reservation_defaults;
pub mod reservation_guard;
pub mod reservation_rules;

use std::collections::BTreeSet;

use kube::discovery::ApiResource;
use kube_webhook::{
    Conversion, FailurePolicy, Metrics, Mutation, Registered, RegistrationError, Reinvocation,
    Validation, Webhooks,
};
use serde_json::Value;

pub use self::own_user::OwnUser;
use self::{
    authorizer::Authorizer, host_advice::HostAdvice, host_defaults::HostDefaults,
    host_guard::HostGuard, reservation_defaults::ReservationDefaults,
    reservation_guard::ReservationGuard,
};
use crate::api::{GROUP, convert::ReservationConversion};

/// Registers every hook of the program, for hosts of the kind `hosts`, counted by `metrics`.
pub fn register(
    hosts: &ApiResource,
    guard: HostGuard,
    reservations: ReservationGuard,
    metrics: Metrics,
) -> Result<Registered, RegistrationError> {
    // Fail closed, but only for hosts that somebody holds: everybody else's writes never
    // depend on us (the API server doesn't even call).
    let others = others_than(guard.exempt_users());
    let others_or_usurpers = format!("{others} || ({USURPS})");
    let advice = guard.advice();
    let advice = advice.unwrap_or_else(|| HostAdvice::offline(hosts));
    let held = Validation::with_kind(hosts, guard)
        .name("held")
        .route("/validate/baremetalhost")
        .failure_policy(FailurePolicy::Fail)
        .timeout_seconds(5)
        .match_condition("held", HELD)
        // Were our own writes to depend on our own webhook, an expired certificate would
        // keep every host held. To take a host from another is none that we ever need.
        .match_condition("others", others_or_usurpers)
        .match_condition("not-deleting", NOT_DELETING);
    // What isn't worth keeping anybody from a host that nobody holds.
    let advice = Validation::with_kind(hosts, advice)
        .name("advice")
        .route("/validate/baremetalhost/advice")
        .failure_policy(FailurePolicy::Ignore)
        .timeout_seconds(5)
        .match_condition("not-held", format!("!({HELD})"))
        .match_condition("others", others)
        .match_condition("not-deleting", NOT_DELETING);
    let defaults = Mutation::with_kind(hosts, HostDefaults)
        .name("defaults")
        .route("/mutate/baremetalhost")
        .failure_policy(FailurePolicy::Ignore)
        .reinvocation(Reinvocation::IfNeeded)
        .timeout_seconds(5)
        .match_condition("has-image", HAS_IMAGE)
        .match_condition("not-deleting", NOT_DELETING);
    // An event must be recorded and a host released while our own webhooks are down.
    let people = others_than(reservations.own_user().into_iter());
    let judged = Validation::new(reservations)
        .name("rules")
        .route("/validate/reservation")
        .needs(Authorizer::right())
        .failure_policy(FailurePolicy::Fail)
        .timeout_seconds(5)
        .match_condition("others", people.as_str())
        .match_condition("not-deleting", NOT_DELETING);
    // What it fills in, the controller can do without; what must not be, the rules refuse.
    let filled_in = Mutation::with_kind(&ReservationDefaults::kind(), ReservationDefaults)
        .name("defaults")
        .route("/mutate/reservation")
        .failure_policy(FailurePolicy::Ignore)
        .reinvocation(Reinvocation::IfNeeded)
        .timeout_seconds(5)
        .match_condition("others", people)
        .match_condition("not-deleting", NOT_DELETING);
    Webhooks::new("harbormaster")
        .domain(GROUP)
        .metrics(metrics)
        .add_webhook(held)
        .add_webhook(advice)
        .add_webhook(defaults)
        .add_webhook(judged)
        .add_webhook(filled_in)
        .add_webhook(Conversion::new(ReservationConversion).annotation_prefix(GROUP))
        .build()
}

/// The same without a cluster: for whoever prints, compares or tries the hooks, which then know what a
/// review says and no more.
pub fn offline(
    hosts: &ApiResource,
    own_user: impl Into<OwnUser>,
    operator_users: BTreeSet<String>,
) -> Result<Registered, RegistrationError> {
    let own_user = own_user.into();
    let reservations = ReservationGuard::offline(own_user.clone());
    let guard = HostGuard::new(own_user, operator_users);
    register(hosts, guard, reservations, Metrics::default())
}

fn others_than<'a>(users: impl Iterator<Item = &'a str>) -> String {
    // A JSON string is a CEL string.
    let users: Vec<_> = users.map(|user| Value::from(user).to_string()).collect();
    format!("!(request.userInfo.username in [{}])", users.join(", "))
}

/// Before or after the write, the host's consumer is a Reservation of ours; other projects
/// have a kind of that name.
const HELD: &str = "[object, oldObject].exists(o, o != null && has(o.spec) && \
    has(o.spec.consumerRef) && has(o.spec.consumerRef.kind) && \
    o.spec.consumerRef.kind == 'Reservation' && has(o.spec.consumerRef.apiVersion) && \
    o.spec.consumerRef.apiVersion.startsWith('harbormaster.dev/'))";

/// One consumer takes another's place, or doesn't say who it is.
const USURPS: &str = "object != null && has(object.spec) && has(object.spec.consumerRef) && \
    (oldObject != null && has(oldObject.spec) && has(oldObject.spec.consumerRef) ? \
    oldObject.spec.consumerRef != object.spec.consumerRef : \
    !has(object.spec.consumerRef.uid))";

/// Finalizers must be removable without us. A DELETE has no object.
const NOT_DELETING: &str = "object == null || !has(object.metadata.deletionTimestamp)";

const HAS_IMAGE: &str = "object != null && has(object.spec) && has(object.spec.image)";
