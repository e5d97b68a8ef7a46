//! Owns the object itself: where it is served, and the questions that everybody asks of a host. All
//! answers are pure and read only the object; whoever needs a fresh one reads it first.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use kube::core::{DynamicResourceScope, GroupVersionKind};
use kube::discovery::ApiResource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    BareMetalHostSpec, BareMetalHostStatus, ConsumerRef, OperationMetric, ProvisioningState, names,
};

/// A bare-metal host as Metal3's operator manages it.
///
/// Read and written through `Api::<BareMetalHost>::namespaced_with(client, namespace, &resource)`, with
/// [`BareMetalHost::resource`] or with a group, version and plural of the cluster's own.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BareMetalHost {
    /// `metal3.io/v1alpha1`, unless the cluster serves the kind elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// `BareMetalHost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Name, namespace, labels and annotations.
    #[serde(default)]
    pub metadata: ObjectMeta,
    /// What is wanted of the host.
    #[serde(default, skip_serializing_if = "is_default")]
    pub spec: BareMetalHostSpec,
    /// What the operator saw and did; absent until it first looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<BareMetalHostStatus>,
    /// All fields not named above, unchanged.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl BareMetalHost {
    /// An empty host of that name, to be filled in and created.
    #[must_use]
    pub fn new(name: &str, resource: &ApiResource) -> Self {
        Self {
            api_version: Some(resource.api_version.clone()),
            kind: Some(resource.kind.clone()),
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                ..ObjectMeta::default()
            },
            ..Self::default()
        }
    }

    /// Where Metal3 serves the kind: `baremetalhosts` of `metal3.io/v1alpha1`.
    #[must_use]
    pub fn resource() -> ApiResource {
        let kind = GroupVersionKind::gvk("metal3.io", "v1alpha1", "BareMetalHost");
        ApiResource::from_gvk_with_plural(&kind, "baremetalhosts")
    }

    /// The host's name; empty only for an object that never was in a cluster.
    #[must_use]
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Where the operator has brought the host; [`ProvisioningState::None`] without a status.
    #[must_use]
    pub fn state(&self) -> &ProvisioningState {
        self.status
            .as_ref()
            .map_or(&ProvisioningState::None, |status| {
                &status.provisioning.state
            })
    }

    /// Whether the host can be provisioned: its state is `available` (or `ready`) and no image is on
    /// its disk.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.state().is_available() && self.deployed_image_url().is_none()
    }

    /// Whether the operator is told not to look at the host, so that its status may be stale.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.annotation(names::PAUSED).is_some()
    }

    /// Whether the operator is told to let go of the host, so that its spec has no effect.
    #[must_use]
    pub fn is_detached(&self) -> bool {
        self.annotation(names::DETACHED).is_some()
    }

    /// Whether somebody else images the host, so that the operator heeds no image.
    #[must_use]
    pub fn is_externally_provisioned(&self) -> bool {
        self.spec.externally_provisioned == Some(true)
    }

    /// Whether the host's deletion was asked for.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Whether the operator reports an error, in whichever state.
    #[must_use]
    pub fn has_error(&self) -> bool {
        self.status
            .as_ref()
            .and_then(|status| status.operational_status.as_deref())
            == Some("error")
    }

    /// URL of the image that is wanted; an empty one is the operator's way to say "none".
    #[must_use]
    pub fn wanted_image_url(&self) -> Option<&str> {
        let image = self.spec.image.as_ref()?;
        Some(image.url.as_str()).filter(|url| !url.is_empty())
    }

    /// URL of the image that is on the disk, written to its end.
    #[must_use]
    pub fn deployed_image_url(&self) -> Option<&str> {
        let image = self.status.as_ref()?.provisioning.image.as_ref()?;
        Some(image.url.as_str()).filter(|url| !url.is_empty())
    }

    /// Who uses the host.
    #[must_use]
    pub fn consumer(&self) -> Option<&ConsumerRef> {
        self.spec.consumer_ref.as_ref()
    }

    /// When the last image was written. An `end` that differs from one seen earlier is the proof that
    /// the operator wrote the disk anew.
    #[must_use]
    pub fn last_provision(&self) -> Option<&OperationMetric> {
        let history = self.status.as_ref()?.operation_history.as_ref()?;
        history.provision.as_ref()
    }

    /// When the disk was last wiped. A `start` that differs from one seen earlier is the proof that the
    /// operator saw the image go.
    #[must_use]
    pub fn last_deprovision(&self) -> Option<&OperationMetric> {
        let history = self.status.as_ref()?.operation_history.as_ref()?;
        history.deprovision.as_ref()
    }

    /// The generation of the spec that the operator last looked at, from the conditions that it writes
    /// since v0.13; `None` from an older one.
    ///
    /// It follows `metadata.generation` even where a change is no reason to act, but not while the host
    /// is paused. On a detached host it says that the change was seen, not that it has an effect.
    #[must_use]
    pub fn observed_generation(&self) -> Option<i64> {
        let conditions = self.status.as_ref()?.other.get("conditions")?.as_array()?;
        let generations = conditions
            .iter()
            .map(|condition| &condition["observedGeneration"]);
        generations.filter_map(Value::as_i64).max()
    }

    /// Value of an annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        let annotations = self.metadata.annotations.as_ref()?;
        annotations.get(key).map(String::as_str)
    }
}

impl Resource for BareMetalHost {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn api_version(resource: &ApiResource) -> Cow<'_, str> {
        resource.api_version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

fn is_default(spec: &BareMetalHostSpec) -> bool {
    *spec == BareMetalHostSpec::default()
}
