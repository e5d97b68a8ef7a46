//! The API group `harbormaster.dev`: what users read and write with kubectl.
//!
//! Owns the types of every served version of `Reservation`, hub (`v1`) first, their
//! conversion, and the CustomResourceDefinition made from them. Knows nothing of events,
//! hosts or the clock. Everything else in the program speaks `v1` only.

pub mod calendar;
pub mod convert;
pub mod crd;
pub mod span;
pub mod v1;
pub mod v1alpha1;
pub mod v1beta1;

/// The API group, and the domain of our labels and annotations.
pub const GROUP: &str = "harbormaster.dev";

/// Holds a Reservation until its host is released.
pub const FINALIZER: &str = "harbormaster.dev/release";

/// On a Reservation or a BareMetalHost: why a guard is to be overruled, in words. Counts only
/// in the update that adds or changes it, and only for those who may.
pub const BREAK_GLASS_ANNOTATION: &str = "harbormaster.dev/break-glass";

/// On a Reservation: the BareMetalHost that it names.
pub const HOST_LABEL: &str = "harbormaster.dev/host";

/// The event ids of one chain of Reservations: `<provider>-<eventId>`, `.2`, `.3`, ...
pub const EVENT_ID_LABEL: &str = "harbormaster.dev/event-id";

/// On a Reservation: how many lines of the event's public key are none, and were dropped.
pub const REJECTED_KEYS_ANNOTATION: &str = "harbormaster.dev/rejected-keys";

/// On a BareMetalHost: the portal's id of this machine. Stable under rename.
pub const RESOURCE_ID_LABEL: &str = "harbormaster.dev/resource-id";

/// On a BareMetalHost: the portal's name of this machine, which may hold blanks.
pub const RESOURCE_NAME_ANNOTATION: &str = "harbormaster.dev/resource-name";
