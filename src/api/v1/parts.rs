//! What a Reservation's spec consists of. Every length is bounded, so that the API server can
//! tell beforehand what its rules cost.

#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct in a scope of its own"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::api::span::Span;

/// Where a booking came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "!has(oldSelf.provider) || (has(self.provider) && self.provider == oldSelf.provider)"
).message("provider can't be changed"))]
#[x_kube(validation = Rule::new(
    "!has(oldSelf.eventId) || (has(self.eventId) && self.eventId == oldSelf.eventId)"
).message("eventId can't be changed"))]
pub struct Source {
    /// Names the sender: ids of several portals may be the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub provider: Option<String>,
    /// The booking's id there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub event_id: Option<String>,
    /// The webhook through which the event came; its secret signs what we call back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_id: Option<i64>,
    /// The booking's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_TEXT))]
    pub title: Option<String>,
    /// The booking's description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_TEXT))]
    pub description: Option<String>,
}

/// A person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requester {
    /// The portal's id of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub id: Option<String>,
    /// The user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub username: Option<String>,
    /// The user's mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub email: Option<String>,
    /// The groups that the user is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = LONGEST_ID)))]
    pub groups: Vec<String>,
}

/// The portal's description of a machine. A copy: the host itself is looked up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BookedResource {
    /// The portal's id of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// The portal's name of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
    /// The portal's type, such as `Server`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub type_: Option<String>,
    /// What the machine has, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_TEXT))]
    pub specs: Option<String>,
    /// Where the machine stands, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_TEXT))]
    pub location: Option<String>,
    /// The portal's id of the site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub site_id: Option<String>,
    /// The portal's name of the site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub site_name: Option<String>,
}

/// The host that is meant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.hostRef) != has(self.selector)")
    .message("name either hostRef or selector"))]
pub struct Target {
    /// A BareMetalHost by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ref: Option<HostReference>,
    /// Any BareMetalHost that bears these labels and is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<LabelSelector>,
}

/// Names a BareMetalHost of the Reservation's own namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostReference {
    /// The BareMetalHost's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub name: Option<String>,
}

/// The `date-time`s that we can read back. The API server also takes ten digits of a second,
/// and the last hours of 9999, which no [`jiff::Timestamp`] has room for: one object with
/// such a time would fail the decoding of every list that it is in.
pub const READABLE_TIME: &str = "^[12][0-9]{3}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}\
    ([.][0-9]{1,9})?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";

/// From when until when a host is lent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.start)").message("start is required"))]
#[x_kube(validation = Rule::new("!has(self.end) || !has(self.start) || self.end > self.start")
    .message("end must be after start"))]
pub struct Window {
    /// When the host is wanted, in RFC 3339. Required; kept in UTC, to the second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = READABLE_TIME))]
    pub start: Option<Time>,
    /// When the host is given back, in RFC 3339; must be after `start`. Absent: until somebody
    /// says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = READABLE_TIME))]
    pub end: Option<Time>,
}

/// What is wanted now, and the time limits that go with it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lifecycle {
    /// `Scheduled`: the window decides. `Active`: begin now. `Released`: end now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired_state: Option<DesiredState>,
    /// How long before the window's start the host is imaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead_time: Option<Span>,
    /// How long the host is kept free after the window's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cleanup_time: Option<Span>,
    /// How long imaging may take before the reservation fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provision_timeout: Option<Span>,
    /// How long the record is kept once it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_after_finished: Option<Span>,
}

/// What is wanted of a reservation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DesiredState {
    /// Begin now.
    Active,
    /// End now. There is no way back.
    Released,
    /// The window decides.
    #[default]
    Scheduled,
}

/// Who may log in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Public SSH keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub authorized_keys: Vec<AuthorizedKey>,
    /// A Secret that holds the host's whole user data, under the key `userData`, instead of
    /// one that Harbormaster makes of the keys. Whoever names it must be allowed to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data_secret_ref: Option<SecretReference>,
}

/// Names a Secret of the Reservation's own namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretReference {
    /// The Secret's name.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = 253))]
    pub name: String,
}

/// A public SSH key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizedKey {
    /// What the key is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = LONGEST_ID))]
    pub name: Option<String>,
    /// One line as in `authorized_keys`, without options.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = 8192))]
    pub key: String,
}

/// What is put on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.image) && has(self.customDeploy))")
    .message("name either image or customDeploy"))]
pub struct Provisioning {
    /// An image, as BareMetalHost takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// A way of deploying that the operator knows, instead of an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub custom_deploy: Option<CustomDeploy>,
    /// A Secret with the host's network configuration, under the key `networkData`. Whoever
    /// names it must be allowed to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_data_secret_ref: Option<SecretReference>,
    /// A Secret with the host's metadata, under the key `metaData`. Whoever names it must be
    /// allowed to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta_data_secret_ref: Option<SecretReference>,
}

/// A way of deploying that the operator knows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomDeploy {
    /// Its name, such as `install_coreos`.
    #[serde(default)]
    #[schemars(!default, length(min = 1, max = 253))]
    pub method: String,
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

/// The longest id or name, in characters.
pub const LONGEST_ID: u32 = 1024;

/// The longest free text, in characters: far more than anybody reads, and far less than etcd
/// takes.
pub const LONGEST_TEXT: u32 = 64 * 1024;
