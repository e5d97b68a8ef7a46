//! The places where API servers read whom to trust when they call us: the `caBundle` of each of
//! our webhooks, and of the conversion of our CustomResourceDefinitions.
//!
//! Reads whole objects, and writes nothing of them but `caBundle`. What isn't there is passed
//! over: it is somebody else's matter whether we are registered, and will be seen when it comes.

use std::collections::BTreeSet;

use axum::http::Uri;
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{Stream, future::join_all, stream::select_all};
use k8s_openapi::{
    api::admissionregistration::v1::{
        MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, Patch, PatchParams},
    core::PartialObjectMeta,
    discovery::ApiResource,
};
use kube_webhook::{Registered, Target, certs::certificates};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use super::{are_same, changes_of};
use crate::{
    manifests::NAME,
    reservations::host::{ApiError, within_deadline},
};

/// The objects that lead API servers to us.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    objects: Vec<Object>,
}

/// One of them.
#[derive(Clone, Debug)]
struct Object {
    kind: ApiResource,
    api: Api<DynamicObject>,
    metadata: Api<PartialObjectMeta<DynamicObject>>,
    name: String,
    webhooks: Webhooks,
}

/// What in it is ours.
#[derive(Clone, Debug)]
enum Webhooks {
    /// Those of these names, of a configuration.
    Named(BTreeSet<String>),
    /// The conversion of a CustomResourceDefinition.
    Conversion,
}

/// Where an API server reads whom to trust.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The object, by its position.
    object: usize,
    version: Option<String>,
    /// The webhook, of a configuration.
    webhook: Option<String>,
    /// For which name the API server verifies the certificate.
    pub(crate) server_name: String,
    /// What it trusts.
    pub(crate) pem: Vec<u8>,
    /// Whether cert-manager was asked to write it.
    pub(crate) is_injected: bool,
}

impl Places {
    /// Those of what the program registers.
    pub(crate) fn new(client: &Client, registered: &Registered, crds: &[&str]) -> Self {
        // Only the names are asked for.
        let target = Target::Url {
            base: "https://localhost".to_owned(),
            ca_bundle: None,
        };
        let validating = registered.validating_configuration(&target);
        let validating = validating.and_then(|configuration| configuration.webhooks);
        let validating = validating.into_iter().flatten().map(|webhook| webhook.name);
        let mutating = registered.mutating_configuration(&target);
        let mutating = mutating.and_then(|configuration| configuration.webhooks);
        let mutating = mutating.into_iter().flatten().map(|webhook| webhook.name);
        let object = |kind: &ApiResource, name: &str, webhooks| Object {
            kind: kind.clone(),
            api: Api::all_with(client.clone(), kind),
            metadata: Api::all_with(client.clone(), kind),
            name: name.to_owned(),
            webhooks,
        };
        let mut objects = vec![
            object(
                &ApiResource::erase::<ValidatingWebhookConfiguration>(&()),
                NAME,
                Webhooks::Named(validating.collect()),
            ),
            object(
                &ApiResource::erase::<MutatingWebhookConfiguration>(&()),
                NAME,
                Webhooks::Named(mutating.collect()),
            ),
        ];
        let kind = ApiResource::erase::<CustomResourceDefinition>(&());
        objects.extend(
            crds.iter()
                .map(|name| object(&kind, name, Webhooks::Conversion)),
        );
        Self { objects }
    }

    /// What is there now. All at once: an API server that is silent costs one deadline, not three. Of several
    /// errors it is always the same one, which then is told once.
    pub(crate) async fn read(&self) -> Result<Vec<Place>, ApiError> {
        let reads = self.objects.iter().map(|object| {
            let read = object.api.get_opt(&object.name);
            within_deadline(read)
        });
        let mut places = Vec::new();
        for (index, live) in join_all(reads).await.into_iter().enumerate() {
            if let Some(live) = live? {
                places.extend(self.objects[index].webhooks.places(index, &live));
            }
        }
        Ok(places)
    }

    /// Writes `pem` to each object one of whose places trusts others. An object that has changed
    /// since it was read is left alone, and that is an error (409).
    ///
    /// Server-side apply: nothing but `caBundle` becomes ours, and whoever applies the rest of
    /// the object is in no conflict with it, nor takes it away. Forced, since a bundle that
    /// somebody else wrote to a webhook of ours is one by which nobody reaches us.
    pub(super) async fn publish(&self, pem: &str, places: &[Place]) -> Result<(), ApiError> {
        let wanted = certificates(pem.as_bytes());
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let writes = self
            .objects
            .iter()
            .enumerate()
            .map(async |(index, object)| {
                // All of them, or apply would take what is left out for given up.
                let places = places.iter().filter(|place| place.object == index);
                let places: Vec<_> = places.collect();
                if places.iter().all(|place| place.trusts_just(&wanted)) {
                    return Ok(());
                }
                let patch = Patch::Apply(object.with_bundle(pem, &places));
                within_deadline(object.api.patch(&object.name, &params, &patch)).await?;
                Ok(())
            });
        // One that can't be written doesn't keep the others from it.
        join_all(writes).await.into_iter().collect()
    }

    /// One place that never changes, of an API server that isn't there.
    #[cfg(test)]
    pub(super) fn in_memory(server_name: &str, pem: &str) -> Self {
        use axum::http::{Request, Response};
        use kube::client::Body;

        let stored = json!({
            "metadata": {"name": NAME},
            "webhooks": [{"name": "ours", "clientConfig": {
                "url": format!("https://{server_name}/"), "caBundle": STANDARD.encode(pem),
            }}],
        });
        let service = tower::service_fn(move |request: Request<Body>| {
            let is_watch = request.uri().path_and_query().is_none_or(|it| {
                it.query()
                    .is_some_and(|query| query.contains("fieldSelector"))
            });
            let body = Body::from(stored.to_string().into_bytes());
            async move {
                if is_watch {
                    std::future::pending::<()>().await;
                }
                Ok::<_, kube::Error>(Response::new(body))
            }
        });
        let client = Client::new(service, "default");
        let kind = ApiResource::erase::<ValidatingWebhookConfiguration>(&());
        let object = Object {
            api: Api::all_with(client.clone(), &kind),
            metadata: Api::all_with(client, &kind),
            kind,
            name: NAME.to_owned(),
            webhooks: Webhooks::Named(BTreeSet::from(["ours".to_owned()])),
        };
        Self {
            objects: vec![object],
        }
    }

    /// Something whenever one of the objects has changed, or may have.
    pub(crate) fn changes(&self) -> impl Stream<Item = ()> + Send + use<> {
        let objects = self.objects.iter();
        select_all(objects.map(|object| changes_of(&object.metadata, &object.name)))
    }
}

impl Object {
    /// What is applied of it.
    fn with_bundle(&self, pem: &str, places: &[&Place]) -> Value {
        let config = json!({"caBundle": STANDARD.encode(pem)});
        let mut applied = match self.webhooks {
            Webhooks::Named(_) => {
                let webhooks = places
                    .iter()
                    .map(|place| json!({"name": place.webhook, "clientConfig": config}));
                json!({"webhooks": webhooks.collect::<Vec<_>>()})
            }
            Webhooks::Conversion => json!({
                "spec": {"conversion": {"webhook": {"clientConfig": config}}},
            }),
        };
        applied["apiVersion"] = json!(self.kind.api_version);
        applied["kind"] = json!(self.kind.kind);
        applied["metadata"] = json!({
            "name": self.name,
            "resourceVersion": places.first().map(|place| &place.version),
        });
        applied
    }
}

impl Webhooks {
    fn places(&self, index: usize, live: &DynamicObject) -> Vec<Place> {
        let injected = |key: &String| key.starts_with("cert-manager.io/inject-");
        let place = |webhook: Option<&str>, config: &Value| {
            Some(Place {
                object: index,
                version: live.resource_version(),
                webhook: webhook.map(str::to_owned),
                server_name: server_name(config)?,
                pem: decoded(&config["caBundle"]),
                is_injected: live.annotations().keys().any(injected),
            })
        };
        match self {
            Self::Named(ours) => {
                let webhooks = live.data["webhooks"].as_array().into_iter().flatten();
                let ours = webhooks.filter_map(|webhook| {
                    let name = webhook["name"]
                        .as_str()
                        .filter(|name| ours.contains(*name))?;
                    place(Some(name), &webhook["clientConfig"])
                });
                ours.collect()
            }
            Self::Conversion => {
                let config = &live.data["spec"]["conversion"]["webhook"]["clientConfig"];
                place(None, config).into_iter().collect()
            }
        }
    }
}

impl Place {
    /// For people.
    pub(super) fn name(&self) -> &str {
        self.webhook.as_deref().unwrap_or("the conversion webhook")
    }

    /// One that nothing else is known of.
    #[cfg(test)]
    pub(super) fn of(server_name: &str, pem: Vec<u8>) -> Self {
        Self {
            object: 0,
            version: None,
            webhook: None,
            server_name: server_name.to_owned(),
            pem,
            is_injected: false,
        }
    }

    /// Whom it trusts, as far as that can be read.
    pub(super) fn trusted(&self) -> Vec<CertificateDer<'static>> {
        certificates(&self.pem)
    }

    fn trusts_just(&self, wanted: &[CertificateDer<'_>]) -> bool {
        are_same(&self.trusted(), wanted)
    }
}

/// As kube-apiserver chooses it.
fn server_name(config: &Value) -> Option<String> {
    if let (Some(name), Some(namespace)) = (
        config["service"]["name"].as_str(),
        config["service"]["namespace"].as_str(),
    ) {
        return Some(format!("{name}.{namespace}.svc"));
    }
    let url: Uri = config["url"].as_str()?.parse().ok()?;
    let host = url.host()?.trim_matches(['[', ']']);
    // Go's TLS leaves the root's dot away, both when it asks and when it verifies.
    Some(host.strip_suffix('.').unwrap_or(host).to_owned())
}

fn decoded(bundle: &Value) -> Vec<u8> {
    let text = bundle.as_str().unwrap_or_default();
    STANDARD.decode(text).unwrap_or_default()
}

/// Of its own: whoever applies the rest of these objects is not in its way.
const FIELD_MANAGER: &str = "harbormaster-certificates";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_webhooks_are_places() {
        let webhooks = Webhooks::Named(BTreeSet::from(["ours".to_owned()]));
        let live: DynamicObject = serde_json::from_value(json!({
            "metadata": {"name": NAME, "resourceVersion": "7"},
            "webhooks": [
                {"name": "theirs", "clientConfig": {"url": "https://elsewhere", "caBundle": "eA=="}},
                {"name": "ours", "clientConfig": {
                    "service": {"name": "h", "namespace": "n"}, "caBundle": "eQ==",
                }},
            ],
        }))
        .unwrap();
        let places = webhooks.places(0, &live);
        let expected = Place {
            object: 0,
            version: Some("7".to_owned()),
            webhook: Some("ours".to_owned()),
            server_name: "h.n.svc".to_owned(),
            pem: b"y".to_vec(),
            is_injected: false,
        };
        assert_eq!(places, [expected]);
    }

    #[test]
    fn the_name_that_is_verified_is_the_services_or_the_urls() {
        for (config, name) in [
            (
                json!({"service": {"name": "a", "namespace": "b", "port": 8443}}),
                Some("a.b.svc"),
            ),
            (
                json!({"url": "https://127.0.0.1:8443/x"}),
                Some("127.0.0.1"),
            ),
            (json!({"url": "https://[::1]:8443/x"}), Some("::1")),
            (
                json!({"url": "https://hooks.example.org.:8443/x"}),
                Some("hooks.example.org"),
            ),
            (json!({}), None),
        ] {
            assert_eq!(server_name(&config).as_deref(), name, "{config}");
        }
    }
}
