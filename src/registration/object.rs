//! An object that leads API servers to us: as it should be, as it is, and how the one becomes the other.

use std::time::SystemTime;

use base64::{Engine, engine::general_purpose::STANDARD};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    discovery::ApiResource,
};
use serde_json::{Value, json};

use super::{
    entry::{self, Foreign},
    roots::Trust,
};
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Applied {
    /// Something.
    Changed,
    /// It took away what others had put into these fields of our entries, which an apply can't: the
    /// rest is still to be done.
    Cleared(Vec<String>),
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
        for entry in entry::of(&mut applied, data, applied_fields(live)) {
            let config = entry.client_config;
            let bundle = STANDARD.decode(entry.live_bundle).unwrap_or_default();
            if let Some(pem) = trust.bundle(&bundle, now) {
                config["caBundle"] = json!(STANDARD.encode(pem));
            } else if entry.is_bundle_ours {
                // What isn't applied again is taken away, and with it whom callers trust.
                config["caBundle"] = json!(entry.live_bundle);
            }
        }
        let version = live.and_then(ResourceExt::resource_version);
        if let Some(foreign) = entry::foreign(&applied, data)
            && self.clear(&foreign, version.as_deref()).await?
        {
            return Ok(Applied::Cleared(foreign.fields));
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

    /// Takes away what isn't ours; says whether that has changed anything, or else it would be done
    /// again without end. With a test of the version, a conflict would be answered 422 like all that is
    /// wrong with a patch, so the version is written.
    async fn clear(&self, foreign: &Foreign, version: Option<&str>) -> Result<bool, ApiError> {
        let read = json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version});
        let operations = json!([read, foreign.replacement]);
        let patch = serde_json::from_value(operations).map_err(kube::Error::SerdeError)?;
        let params = PatchParams {
            field_manager: Some(FIELD_MANAGER.to_owned()),
            ..PatchParams::default()
        };
        let patch = Patch::Json::<()>(patch);
        let stored = within_deadline(self.api.patch(&self.name, &params, &patch)).await?;
        Ok(stored.resource_version().as_deref() != version)
    }
}

/// The fields that we have applied, and that nobody has written since.
fn applied_fields(live: Option<&DynamicObject>) -> &Value {
    let managed = live.and_then(|live| live.metadata.managed_fields.as_deref());
    let mut managed = managed.unwrap_or_default().iter();
    let ours = managed.find(|entry| {
        entry.manager.as_deref() == Some(FIELD_MANAGER)
            && entry.operation.as_deref() == Some("Apply")
    });
    ours.and_then(|entry| entry.fields_v1.as_ref())
        .map_or(&Value::Null, |fields| &fields.0)
}

/// Of its own: that of the bundles is another, which goes on where nobody registers.
const FIELD_MANAGER: &str = "harbormaster-registration";

#[cfg(test)]
mod tests {
    use axum::http::{Method, Request, Response, header::CONTENT_TYPE};
    use kube::client::Body;

    use super::*;

    fn configuration() -> Value {
        let webhook = json!({"name": "ours", "clientConfig": {"url": "https://h"}});
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": "h"},
            "webhooks": [webhook],
        })
    }

    /// One of a later version, say, which fills in what we don't know.
    fn with_a_default() -> Value {
        let mut stored = configuration();
        stored["metadata"]["resourceVersion"] = json!("7");
        stored["webhooks"][0]["novelty"] = json!("on");
        stored
    }

    /// An API server by which no patch changes anything.
    fn client() -> Client {
        let service = tower::service_fn(async |request: Request<Body>| {
            assert_eq!(request.method(), Method::PATCH);
            assert!(request.headers().contains_key(CONTENT_TYPE));
            let body = Body::from(with_a_default().to_string().into_bytes());
            Ok::<_, kube::Error>(Response::new(body))
        });
        Client::new(service, "default")
    }

    #[tokio::test]
    async fn what_can_not_be_taken_away_is_no_reason_to_begin_again() {
        let object = Object::new(&client(), configuration());
        let live = serde_json::from_value(with_a_default()).unwrap();
        let applied = object.apply(Some(&live), &Trust::Whoever, SystemTime::now());
        assert_eq!(applied.await.unwrap(), Applied::Unchanged);
    }
}
