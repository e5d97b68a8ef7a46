//! An object that leads API servers to us: as it should be, as it is, and how the one becomes the other.

use std::time::SystemTime;

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    discovery::ApiResource,
};
use serde_json::{Value, json};

use super::{entry, roots::Trust};
use crate::reservations::host::{ApiError, within_deadline};

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Object {
    api: Api<DynamicObject>,
    kind: String,
    name: String,
    /// What is applied, but for the bundles.
    wanted: Value,
}

/// What an apply did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// Something.
    Changed,
    /// It took away what others had put into our entries, which an apply can't: the rest is still
    /// to be done.
    Cleared,
    /// Nothing: all was as it should be.
    Unchanged,
}

impl Object {
    /// From one as it is applied.
    pub(super) fn new(client: &Client, wanted: Value) -> Self {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let api_version = text(&wanted["apiVersion"]);
        let kind = text(&wanted["kind"]);
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: api_version.clone(),
            kind: kind.clone(),
            plural: format!("{}s", kind.to_lowercase()),
        };
        Self {
            api: Api::all_with(client.clone(), &resource),
            name: text(&wanted["metadata"]["name"]),
            kind,
            wanted,
        }
    }

    /// For people.
    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.kind, self.name)
    }

    /// A definition is more than what we apply of it.
    pub(super) fn may_be_made(&self) -> bool {
        self.wanted.get("webhooks").is_some()
    }

    pub(super) async fn read(&self) -> Result<Option<DynamicObject>, ApiError> {
        within_deadline(self.api.get_opt(&self.name)).await
    }

    /// Makes `live` what it should be. If it has changed since it was read, that is an error (409).
    pub(super) async fn apply(
        &self,
        live: Option<&DynamicObject>,
        trust: &Trust,
        now: SystemTime,
    ) -> Result<Applied, ApiError> {
        let data = live.map_or(&Value::Null, |live| &live.data);
        let mut applied = self.wanted.clone();
        for entry in entry::of(&mut applied, data) {
            let config = entry.client_config;
            let bundle = STANDARD.decode(entry.live_bundle).unwrap_or_default();
            if let Some(pem) = trust.bundle(&bundle, now) {
                config["caBundle"] = json!(STANDARD.encode(pem));
            }
        }
        let version = live.and_then(ResourceExt::resource_version);
        let foreign = entry::foreign(&applied, data);
        if !foreign.is_empty() {
            let version = json!({
                "op": "test", "path": "/metadata/resourceVersion", "value": version,
            });
            let operations: Vec<_> = std::iter::once(version).chain(foreign).collect();
            let patch = serde_json::from_value(Value::from(operations));
            let patch = Patch::Json::<()>(patch.map_err(kube::Error::SerdeError)?);
            let params = PatchParams {
                field_manager: Some(FIELD_MANAGER.to_owned()),
                ..PatchParams::default()
            };
            within_deadline(self.api.patch(&self.name, &params, &patch)).await?;
            return Ok(Applied::Cleared);
        }
        applied["metadata"]["resourceVersion"] = json!(version);
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&applied);
        let stored = within_deadline(self.api.patch(&self.name, &params, &patch)).await?;
        Ok(if stored.resource_version() == version {
            Applied::Unchanged
        } else {
            Applied::Changed
        })
    }
}

/// Of its own: that of the bundles is another, which goes on where nobody registers.
const FIELD_MANAGER: &str = "harbormaster-registration";
