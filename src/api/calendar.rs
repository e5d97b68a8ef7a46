//! `HostCalendar`: who has a host when. One object per host, of the same name.
//!
//! It is the one object that every acceptance goes through: its `resourceVersion` makes of
//! "read the bookings, find a gap, book" one step that only one writer wins. Written by the
//! controller alone; read by people, by the guard of hosts and by admission.

#![expect(
    unreachable_pub,
    reason = "KubeSchema repeats each struct in a scope of its own"
)]
#![expect(
    clippy::duplicated_attributes,
    reason = "every printcolumn has a type_"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Nothing is wanted of a calendar: it says what is the case.
#[derive(
    CustomResource, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema,
)]
#[kube(
    group = "harbormaster.dev",
    version = "v1",
    kind = "HostCalendar",
    namespaced,
    status = "HostCalendarStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "The accepted bookings of the bare-metal host of the same name.",
    shortname = "hcal",
    category = "metal3",
    printcolumn(name = "Now", type_ = "string", json_path = ".status.current"),
    // Strings, since a column of type `date` shows `<invalid>` for a time to come.
    printcolumn(name = "Until", type_ = "string", json_path = ".status.until"),
    printcolumn(name = "Next", type_ = "string", json_path = ".status.next"),
    printcolumn(name = "From", type_ = "string", json_path = ".status.nextStart"),
    printcolumn(name = "Free", type_ = "string", json_path = ".status.freeFrom"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
pub struct HostCalendarSpec {}

/// The bookings, and what they mean at the moment of the last write.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HostCalendarStatus {
    /// The accepted bookings, by their start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["uid"]))]
    pub bookings: Vec<Booking>,
    /// The Reservation whose time it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
    /// When its time is over; absent: when somebody says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Time>,
    /// The Reservation that comes next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// When that begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_start: Option<Time>,
    /// From when nobody has the host: `now`, a time, `once clean`, or `unknown` while the
    /// end is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_from: Option<String>,
}

/// A stretch of time that is taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Booking {
    /// The Reservation's uid: one made anew under the same name is another.
    #[serde(default)]
    #[schemars(!default)]
    pub uid: String,
    /// The Reservation's name.
    #[serde(default)]
    #[schemars(!default)]
    pub name: String,
    /// When it begins, or since when it has its host, whichever is earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Time>,
    /// When the host may be another's, `cleanupTime` included. Absent: it is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Time>,
}
