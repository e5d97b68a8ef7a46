//! Owns `status` of a BareMetalHost: what the operator saw and did. Called by [`crate::BareMetalHost`].

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{CustomDeploy, Image, ProvisioningState};

/// `status`: what the operator saw and did.
///
/// There is no `observedGeneration`: that the operator has seen a change of the spec must be read from
/// what it did, such as a changed [`OperationHistory`].
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BareMetalHostStatus {
    /// Empty, `OK`, `discovered`, `error`, `delayed`, `detached` or `servicing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operational_status: Option<String>,
    /// Which operation failed, such as `provisioning error`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<String>,
    /// Why it failed, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_message: Option<String>,
    /// How often in a row it failed; the time between tries grows with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_count: Option<i64>,
    /// Whether the power was on when the operator last looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub powered_on: Option<bool>,
    /// State and the image that is on the disk.
    #[serde(default, skip_serializing_if = "is_default")]
    pub provisioning: ProvisioningStatus,
    /// When the last operation of each kind began and ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation_history: Option<OperationHistory>,
    /// All fields not named above, unchanged.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// `status.provisioning`: state and the image that is on the disk.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ProvisioningStatus {
    /// Where the operator has brought the host.
    #[serde(default)]
    pub state: ProvisioningState,
    /// The host's id in Ironic.
    #[serde(rename = "ID", skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The image that was last written *with success*; its URL is empty from the end of the wipe until
    /// the next image is written to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// The deploy procedure that last ran with success.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub custom_deploy: Option<CustomDeploy>,
    /// All fields not named above, unchanged.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// `status.operationHistory`: when the last operation of each kind began and ended.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationHistory {
    /// The last registration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub register: Option<OperationMetric>,
    /// The last inspection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inspect: Option<OperationMetric>,
    /// The last writing of an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provision: Option<OperationMetric>,
    /// The last wipe.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deprovision: Option<OperationMetric>,
    /// All fields not named above, unchanged.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// When an operation began and ended. One that still runs has a start and no end.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OperationMetric {
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<Time>,
    /// All fields not named above, unchanged.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn is_default(provisioning: &ProvisioningStatus) -> bool {
    *provisioning == ProvisioningStatus::default()
}
