//! The reasons of conditions that more than one place speaks of.
//!
//! They are part of the API: docs/failures.md says what to do about each, and scripts wait for
//! them. Used by the decisions, by the controller's troubles, and by the news.

pub(super) const BOOKING: &str = "Booking";
pub(super) const CLAIMED_BY_OTHER: &str = "ClaimedByOther";
pub(super) const CLAIMING: &str = "Claiming";
pub(super) const CLAIM_LOST: &str = "ClaimLost";
pub(super) const CLEANING_FAILED: &str = "CleaningFailed";
pub(super) const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
pub(super) const HOST_AMBIGUOUS: &str = "HostAmbiguous";
pub(super) const HOST_DELETING: &str = "HostDeleting";
pub(super) const HOST_DETACHED: &str = "HostDetached";
pub(super) const HOST_ERROR: &str = "HostError";
pub(super) const HOST_GONE: &str = "HostGone";
pub(super) const HOST_NOT_FOUND: &str = "HostNotFound";
pub(super) const HOST_NOT_MANAGED: &str = "HostNotManaged";
pub(super) const HOST_NOT_RESERVABLE: &str = "HostNotReservable";
pub(super) const HOST_PAUSED: &str = "HostPaused";
pub(super) const HOST_REFUSED: &str = "HostRefused";
pub(super) const IMAGE_CHANGED: &str = "ImageChanged";
pub(super) const IN_USE: &str = "InUse";
pub(super) const KEY_REJECTED: &str = "KeyRejected";
pub(super) const NO_AUTHORIZED_KEY: &str = "NoAuthorizedKey";
pub(super) const PROVISIONED: &str = "Provisioned";
pub(super) const PROVISIONING_FAILED: &str = "ProvisioningFailed";
pub(super) const RELEASED: &str = "Released";
pub(super) const RELEASING: &str = "Releasing";
pub(super) const RETRY_LIMIT_REACHED: &str = "RetryLimitReached";
pub(super) const TEMPLATE_INVALID: &str = "TemplateInvalid";
pub(super) const UNREADABLE: &str = "Unreadable";
pub(super) const WINDOW_EXPIRED: &str = "WindowExpired";
