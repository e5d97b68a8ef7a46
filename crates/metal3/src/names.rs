//! The annotations, labels and finalizers by which Metal3's operator and its users speak to each other.
//!
//! These are the operator's and do not follow a configured API group.

/// Annotation: the operator does not look at the host at all while it is there, whatever its value;
/// the status goes stale.
pub const PAUSED: &str = "baremetalhost.metal3.io/paused";

/// Annotation: the host is dropped from Ironic. Changes of its spec have no effect, and deleting it
/// neither wipes it nor powers it off.
pub const DETACHED: &str = "baremetalhost.metal3.io/detached";

/// Finalizer that the operator puts on each host, and takes off when the host is wiped and off.
pub const FINALIZER: &str = "baremetalhost.metal3.io";

/// Label that the operator puts on every Secret it reads, with the value [`ENVIRONMENT_BAREMETAL`]:
/// a Secret that was handed to it must not be replaced blindly.
pub const ENVIRONMENT: &str = "environment.metal3.io";

/// Value of the label [`ENVIRONMENT`].
pub const ENVIRONMENT_BAREMETAL: &str = "baremetal";
