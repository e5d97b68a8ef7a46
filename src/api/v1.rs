//! `harbormaster.dev/v1`: the hub, the stored version, and the only one that the program
//! itself reads and writes.
//!
//! Every field but the window's start is optional, so that a partial object (server-side
//! apply sends those through conversion) still decodes.

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
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::span::Span;

/// A host, lent to a person for a while: recorded from a booking event, or made by hand.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "harbormaster.dev",
    version = "v1",
    kind = "Reservation",
    namespaced,
    status = "ReservationStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A bare-metal host, lent to a person for a while.",
    shortname = "rsv",
    category = "metal3",
    selectable = ".spec.target.hostRef.name",
    selectable = ".spec.requester.id",
    selectable = ".spec.source.eventId",
    selectable = ".status.phase",
    selectable = ".status.hostRef.name",
    printcolumn(name = "Host", type_ = "string", json_path = ".status.hostRef.name"),
    printcolumn(name = "User", type_ = "string", json_path = ".spec.requester.username"),
    // Strings, since a column of type `date` shows `<invalid>` for a time to come.
    printcolumn(name = "Start", type_ = "string", json_path = ".spec.window.start"),
    printcolumn(name = "End", type_ = "string", json_path = ".spec.window.end"),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Ready")].status"#
    ),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Event",
        type_ = "string",
        json_path = ".spec.source.eventId",
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
pub struct ReservationSpec {
    /// Where the booking came from. Set by Harbormaster alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// For whom the host is imaged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requester: Option<Requester>,
    /// The portal's description of what was booked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<BookedResource>,
    /// The host, where the portal's description doesn't say which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// From when until when.
    // Required by the schema, and only by it: partial objects come without.
    #[serde(default)]
    #[schemars(!default)]
    pub window: Window,
    /// What is wanted now, and the time limits that go with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,
    /// Who may log in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<Access>,
    /// What is put on the disk. Absent: the site's default image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioning: Option<Provisioning>,
    /// The portal's custom parameters, as a JSON object. They never name an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub parameters: Option<BTreeMap<String, Value>>,
}

/// Where a booking came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// Names the sender: ids of several portals may be the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The booking's id there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_id: Option<String>,
    /// The webhook through which the event came; its secret signs what we call back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook_id: Option<i64>,
    /// The booking's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The booking's description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}

/// A person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Requester {
    /// The portal's id of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The user's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// The user's mail address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The groups that the user is in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
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
    pub name: Option<String>,
    /// The portal's type, such as `Server`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// What the machine has, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub specs: Option<String>,
    /// Where the machine stands, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// The portal's id of the site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_id: Option<String>,
    /// The portal's name of the site.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site_name: Option<String>,
}

/// The host that is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// A BareMetalHost by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_ref: Option<HostReference>,
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
    /// When the host is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("pattern" = READABLE_TIME))]
    pub start: Option<Time>,
    /// When the host is given back. Absent: until somebody says so.
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
}

/// A public SSH key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuthorizedKey {
    /// What the key is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// One line as in `authorized_keys`, without options.
    #[serde(default)]
    #[schemars(!default, length(max = 8192))]
    pub key: String,
}

/// What is put on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Provisioning {
    /// An image, as BareMetalHost takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
}

/// An image, as BareMetalHost takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// Where the image is.
    #[serde(default)]
    #[schemars(!default)]
    pub url: String,
    /// Its checksum, or where that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum: Option<String>,
    /// `md5`, `sha256`, `sha512` or `auto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checksum_type: Option<String>,
    /// `raw`, `qcow2`, `vdi`, `vmdk` or `live-iso`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<String>,
}

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
    /// When the reservation began; time limits count from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin_time: Option<Time>,
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

/// What we put on the disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppliedImage {
    /// Where the image is.
    #[serde(default)]
    #[schemars(!default)]
    pub url: String,
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

/// An object of any depth. Without a schema for its fields, so that nothing in it is pruned.
fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

impl Reservation {
    /// What is wanted of it; the default where nothing is said.
    pub fn desired_state(&self) -> DesiredState {
        self.spec
            .lifecycle
            .as_ref()
            .and_then(|lifecycle| lifecycle.desired_state)
            .unwrap_or_default()
    }

    /// Whether it is over: nothing will happen to it any more.
    pub fn is_finished(&self) -> bool {
        matches!(
            self.status.as_ref().and_then(|status| status.phase),
            Some(Phase::Failed | Phase::Released)
        )
    }

    /// The keys that may log in.
    pub fn authorized_keys(&self) -> &[AuthorizedKey] {
        self.spec
            .access
            .as_ref()
            .map_or(&[], |access| &access.authorized_keys)
    }
}
