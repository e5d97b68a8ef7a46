//! `harbormaster.dev/v1alpha1`: the flat form. For users that still have it; the program
//! itself never reads or writes it.
//!
//! Nothing is required beyond what `v1` requires, else an edit through this version of an
//! object that lacks the field would fail.

#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct in a scope of its own"
)]
#![expect(
    clippy::duplicated_attributes,
    reason = "every printcolumn has a type_"
)]

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::v1::{LONGEST_ID, LONGEST_TEXT};

/// The flat form of a Reservation.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "harbormaster.dev",
    version = "v1alpha1",
    kind = "Reservation",
    namespaced,
    status = "ReservationStatus",
    storage = false,
    deprecated = "harbormaster.dev/v1alpha1 Reservation is deprecated; use harbormaster.dev/v1",
    derive = "PartialEq",
    derive = "Default",
    doc = "A bare-metal host, lent to a person for a while (flat form).",
    shortname = "rsv",
    category = "metal3",
    selectable = ".spec.bmhName",
    selectable = ".spec.userId",
    selectable = ".spec.eventId",
    selectable = ".status.state",
    selectable = ".status.host",
    printcolumn(name = "Host", type_ = "string", json_path = ".status.host"),
    printcolumn(name = "User", type_ = "string", json_path = ".spec.username"),
    printcolumn(name = "Start", type_ = "string", json_path = ".spec.startTime"),
    printcolumn(name = "End", type_ = "string", json_path = ".spec.endTime"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "has(self.imageUrl) || !(has(self.imageChecksum) || has(self.imageChecksumType))"
).message("a checksum needs its imageUrl"))]
#[x_kube(validation = Rule::new(
    "!has(oldSelf.eventId) || (has(self.eventId) && self.eventId == oldSelf.eventId)"
).message("eventId can't be changed"))]
#[x_kube(validation = Rule::new("has(self.startTime)").message("startTime is required"))]
#[x_kube(validation = Rule::new(
    "!has(self.endTime) || !has(self.startTime) || self.endTime > self.startTime"
).message("endTime must be after startTime"))]
pub struct ReservationSpec {
    /// When the host is wanted; RFC 3339 with any offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time", "pattern" = super::v1::READABLE_TIME))]
    pub start_time: Option<String>,
    /// When the host is given back; RFC 3339 with any offset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("format" = "date-time", "pattern" = super::v1::READABLE_TIME))]
    pub end_time: Option<String>,
    /// The portal's id of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub user_id: Option<String>,
    /// The user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub username: Option<String>,
    /// The user's mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub email: Option<String>,
    /// The public SSH key that may log in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8192))]
    pub ssh_public_key: Option<String>,
    /// A Secret that holds the host's whole user data, under the key `userData`. Whoever names
    /// it must be allowed to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub user_data_secret_name: Option<String>,
    /// The BareMetalHost's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub bmh_name: Option<String>,
    /// The booking's id at the portal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub event_id: Option<String>,
    /// The webhook through which the event came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_id: Option<i64>,
    /// The booking's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_TEXT))]
    pub event_title: Option<String>,
    /// The portal's name of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub resource_name: Option<String>,
    /// The portal's id of the site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub site_id: Option<String>,
    /// Where the image is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = LONGEST_TEXT))]
    pub image_url: Option<String>,
    /// The image's checksum, or where that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_TEXT))]
    pub image_checksum: Option<String>,
    /// `md5`, `sha256`, `sha512` or `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub image_checksum_type: Option<String>,
    /// The portal's custom parameters: a JSON object, in a string.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1048576))]
    pub custom_parameters: Option<String>,
}

/// How far it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationStatus {
    /// The phase of `v1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<super::v1::Phase>,
    /// What is being waited for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The host's name, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
}
