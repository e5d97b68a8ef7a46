//! The reasons of conditions that more than one place speaks of.
//!
//! They are part of the API, and scripts wait for them; docs/failures.md says what to do about
//! each that needs somebody. Used by the decisions, by the controller's troubles, by the news,
//! by the callbacks and by the calendar page.

pub(crate) const BOOKING: &str = "Booking";
pub(crate) const CLAIMED_BY_OTHER: &str = "ClaimedByOther";
pub(crate) const CLAIMING: &str = "Claiming";
pub(crate) const CLAIM_LOST: &str = "ClaimLost";
pub(crate) const CLEANING_FAILED: &str = "CleaningFailed";
pub(crate) const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
pub(crate) const HOST_AMBIGUOUS: &str = "HostAmbiguous";
pub(crate) const HOST_BUSY: &str = "HostBusy";
pub(crate) const HOST_DELETING: &str = "HostDeleting";
pub(crate) const HOST_DETACHED: &str = "HostDetached";
pub(crate) const HOST_ERROR: &str = "HostError";
pub(crate) const HOST_GONE: &str = "HostGone";
pub(crate) const HOST_NOT_FOUND: &str = "HostNotFound";
pub(crate) const HOST_NOT_MANAGED: &str = "HostNotManaged";
pub(crate) const HOST_NOT_RESERVABLE: &str = "HostNotReservable";
pub(crate) const HOST_PAUSED: &str = "HostPaused";
pub(crate) const HOST_REFUSED: &str = "HostRefused";
pub(crate) const IMAGE_CHANGED: &str = "ImageChanged";
pub(crate) const IN_USE: &str = "InUse";
pub(crate) const KEY_REJECTED: &str = "KeyRejected";
pub(crate) const NO_AUTHORIZED_KEY: &str = "NoAuthorizedKey";
pub(crate) const NO_HOST_FREE: &str = "NoHostFree";
pub(crate) const OVERLAP: &str = "Overlap";
pub(crate) const PROVISIONED: &str = "Provisioned";
pub(crate) const PROVISIONING_FAILED: &str = "ProvisioningFailed";
pub(crate) const RELEASED: &str = "Released";
pub(crate) const RELEASING: &str = "Releasing";
pub(crate) const RETRY_LIMIT_REACHED: &str = "RetryLimitReached";
pub(crate) const SCHEDULED: &str = "Scheduled";
pub(crate) const TEMPLATE_INVALID: &str = "TemplateInvalid";
pub(crate) const UNREADABLE: &str = "Unreadable";
pub(crate) const WINDOW_EXPIRED: &str = "WindowExpired";
