//! What a Reservation's status consists of. Written by the controller alone.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far it has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationStatus {
    /// The generation that this status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// A summary of the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The host, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ref: Option<HeldHost>,
    /// The host in whose calendar it is booked, or waits to be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calendar: Option<String>,
    /// When the reservation began; time limits count from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin_time: Option<Time>,
    /// When the booking was accepted: no other one has the host in its window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_time: Option<Time>,
    /// When the host was claimed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim_time: Option<Time>,
    /// When the host was ready for its user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_time: Option<Time>,
    /// When the release was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_time: Option<Time>,
    /// When the host was clean and free again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_time: Option<Time>,
    /// When the clock alone will next change something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_transition_time: Option<Time>,
    /// How often imaging was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<i64>,
    /// What the host said of itself last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_host_state: Option<HostState>,
    /// The events that were acted on, newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub handled_events: Vec<HandledEvent>,
    /// What we put on the disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied_image: Option<AppliedImage>,
    /// The host's own history as it stood before we touched it: what differs is our doing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Baseline>,
    /// What is the case, and what is being waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A summary of the conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Phase {
    /// The host is ready for its user.
    Active,
    /// It could not be had, and is over.
    Failed,
    /// It has not begun.
    #[default]
    Pending,
    /// The host is being imaged.
    Provisioning,
    /// It is over, and the host is free again.
    Released,
    /// The host is being wiped.
    Releasing,
}

/// The host that a reservation is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HeldHost {
    /// The BareMetalHost's namespace.
    #[serde(default)]
    #[schemars(!default)]
    pub namespace: String,
    /// The BareMetalHost's name.
    #[serde(default)]
    #[schemars(!default)]
    pub name: String,
    /// The BareMetalHost's uid: one made anew under the same name is another host.
    #[serde(default)]
    #[schemars(!default)]
    pub uid: String,
}

/// What a host said of itself. A copy, so that it can be read without the right to read hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostState {
    /// `status.provisioning.state` of the BareMetalHost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// `status.operationalStatus` of the BareMetalHost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operational_status: Option<String>,
    /// `status.errorType` of the BareMetalHost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// `status.errorMessage` of the BareMetalHost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// `status.errorCount` of the BareMetalHost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_count: Option<i64>,
}

/// An event that was acted on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HandledEvent {
    /// Its type, such as `EVENT_START`.
    #[serde(default, rename = "type")]
    #[schemars(!default)]
    pub type_: String,
    /// Its identity: what makes another one the same event.
    #[serde(default)]
    #[schemars(!default)]
    pub key: String,
    /// When it came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
}

/// What we put on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedImage {
    /// Where the image is.
    #[serde(default)]
    #[schemars(!default)]
    pub url: String,
    /// The operator's way of deploying, where that was asked for instead of an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_deploy: Option<String>,
}

/// A host's history as it stood at two moments. BareMetalHost has no
/// `observedGeneration`: a changed history is the evidence that the operator acted.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Baseline {
    /// `operationHistory.provision.end` at the claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provision_end: Option<Time>,
    /// `operationHistory.deprovision.start` at the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprovision_start: Option<Time>,
    /// Whether the host had power at the release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub powered_on: Option<bool>,
}
