//! `harbormaster.dev/v1beta1`: times and keys as in `v1`, most else flat. For users that
//! still have it; the program itself never reads or writes it.
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

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::v1::{LONGEST_ID, LONGEST_TEXT, Phase, READABLE_TIME};

/// A host, lent to a person for a while.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "harbormaster.dev",
    version = "v1beta1",
    kind = "Reservation",
    namespaced,
    status = "ReservationStatus",
    storage = false,
    derive = "PartialEq",
    derive = "Default",
    doc = "A bare-metal host, lent to a person for a while (beta form).",
    shortname = "rsv",
    category = "metal3",
    selectable = ".spec.hostRef.name",
    selectable = ".spec.user.id",
    selectable = ".spec.eventRef.id",
    selectable = ".status.phase",
    selectable = ".status.host",
    printcolumn(name = "Host", type_ = "string", json_path = ".status.host"),
    printcolumn(name = "User", type_ = "string", json_path = ".spec.user.name"),
    printcolumn(name = "Start", type_ = "string", json_path = ".spec.startTime"),
    printcolumn(name = "End", type_ = "string", json_path = ".spec.endTime"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Event",
        type_ = "string",
        json_path = ".spec.eventRef.id",
        priority = "1"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].reason"#,
        priority = "1"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.startTime)").message("startTime is required"))]
#[x_kube(validation = Rule::new(
    "!has(self.endTime) || !has(self.startTime) || self.endTime > self.startTime"
).message("endTime must be after startTime"))]
#[x_kube(validation = Rule::new(
    "!has(oldSelf.cancelled) || !oldSelf.cancelled || (has(self.cancelled) && self.cancelled)"
).message("a cancelled reservation stays cancelled: make a new one"))]
pub struct ReservationSpec {
    /// When the host is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = READABLE_TIME))]
    pub start_time: Option<Time>,
    /// When the host is given back. Absent: until somebody says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = READABLE_TIME))]
    pub end_time: Option<Time>,
    /// For whom the host is imaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<User>,
    /// Public SSH keys that may log in: one line each, as in `authorized_keys`, without options.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 8192)))]
    pub ssh_authorized_keys: Vec<String>,
    /// A Secret that holds the host's whole user data, under the key `userData`. Whoever names
    /// it must be allowed to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub user_data_secret_name: Option<String>,
    /// The BareMetalHost that is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ref: Option<HostReference>,
    /// The booking that it came from. Set by Harbormaster alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_ref: Option<EventReference>,
    /// The booking's title. Set by Harbormaster alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_TEXT))]
    pub title: Option<String>,
    /// The portal's name of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub resource_name: Option<String>,
    /// The portal's id of the site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub site_id: Option<String>,
    /// What is put on the disk. Absent: the site's default image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// The portal's custom parameters. What is no text is JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<BTreeMap<String, String>>,
    /// Whether the host is to be given back now. There is no way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled: Option<bool>,
    /// How long the host is kept free after the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub grace_period_seconds: Option<i32>,
}

/// A person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// The portal's id of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub id: Option<String>,
    /// The user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub name: Option<String>,
    /// The user's mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub email: Option<String>,
}

/// Names a BareMetalHost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostReference {
    /// The BareMetalHost's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// Kept as it was written, but not looked at: hosts are found in the Reservation's own
    /// namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub namespace: Option<String>,
}

/// Names a booking.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(oldSelf.id) || (has(self.id) && self.id == oldSelf.id)")
    .message("id can't be changed"))]
#[x_kube(validation = Rule::new(
    "!has(oldSelf.provider) || (has(self.provider) && self.provider == oldSelf.provider)"
).message("provider can't be changed"))]
pub struct EventReference {
    /// The booking's id at the portal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub id: Option<String>,
    /// Names the portal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub provider: Option<String>,
}

/// An image, as BareMetalHost takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Where the image is.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = LONGEST_TEXT))]
    pub url: String,
    /// Its checksum, or where that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_TEXT))]
    pub checksum: Option<String>,
    /// `md5`, `sha256`, `sha512` or `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub checksum_type: Option<String>,
    /// `raw`, `qcow2`, `vdi`, `vmdk` or `live-iso`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    pub format: Option<String>,
}

/// How far it has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReservationStatus {
    /// A summary of the conditions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The host's name, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What is the case, and what is being waited for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}
