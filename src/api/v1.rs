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

mod parts;
mod status;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use parts::{
    Access, AuthorizedKey, BookedResource, CustomDeploy, DesiredState, HostReference, Image,
    LONGEST_ID, LONGEST_TEXT, Lifecycle, Provisioning, READABLE_TIME, Requester, SecretReference,
    Source, Target, Window,
};
pub use status::{
    AppliedImage, Baseline, HandledEvent, HeldHost, HostState, Phase, ReservationStatus,
};

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
        name = "Site",
        type_ = "string",
        json_path = ".spec.resource.siteName",
        priority = "1"
    ),
    printcolumn(
        name = "Image",
        type_ = "string",
        json_path = ".status.appliedImage.url",
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
#[x_kube(validation = Rule::new("has(self.target) || has(self.resource)")
    .message("name the host with target, or the machine with resource"))]
#[x_kube(validation = Rule::new(
    "!has(oldSelf.lifecycle) || !has(oldSelf.lifecycle.desiredState) || \
     oldSelf.lifecycle.desiredState != 'Released' || (has(self.lifecycle) && \
     has(self.lifecycle.desiredState) && self.lifecycle.desiredState == 'Released')"
).message("a released reservation stays released: make a new one"))]
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
    /// The time for which the host is lent.
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
