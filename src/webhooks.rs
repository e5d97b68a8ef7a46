//! The hooks: one list, from which routes, configurations and the CRD's conversion derive.
//!
//! Hooks decide from the review alone and call nobody, so that they answer while the API
//! server is busy, and a review costs microseconds.

pub mod authorizer;
pub mod break_glass;
pub mod host_defaults;
pub mod host_guard;
mod own_user;

use kube::discovery::ApiResource;
use kube_webhook::{
    Conversion, FailurePolicy, Metrics, Mutation, Registered, RegistrationError, Reinvocation,
    Validation, Webhooks,
};
use serde_json::Value;

pub use self::own_user::OwnUser;
use self::{host_defaults::HostDefaults, host_guard::HostGuard};
use crate::api::{GROUP, convert::ReservationConversion};

/// Registers every hook of the program, for hosts of the kind `hosts`, counted by `metrics`.
pub fn register(
    hosts: &ApiResource,
    guard: HostGuard,
    metrics: Metrics,
) -> Result<Registered, RegistrationError> {
    // Fail closed, but only for hosts that somebody holds: everybody else's writes never
    // depend on us (the API server doesn't even call).
    let others = others_than(guard.exempt_users());
    let held = Validation::with_kind(hosts, guard)
        .name("held")
        .route("/validate/baremetalhost")
        .failure_policy(FailurePolicy::Fail)
        .timeout_seconds(5)
        .match_condition("held", HELD)
        // Were our own writes to depend on our own webhook, an expired certificate would
        // keep every host held.
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
    Webhooks::new("harbormaster")
        .domain(GROUP)
        .metrics(metrics)
        .add_webhook(held)
        .add_webhook(defaults)
        .add_webhook(Conversion::new(ReservationConversion).annotation_prefix(GROUP))
        .build()
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

/// Finalizers must be removable without us. A DELETE has no object.
const NOT_DELETING: &str = "object == null || !has(object.metadata.deletionTimestamp)";

const HAS_IMAGE: &str = "object != null && has(object.spec) && has(object.spec.image)";
