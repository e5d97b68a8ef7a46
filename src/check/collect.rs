//! Asks the cluster, and judges nothing. Every call has a deadline; what can't be read is noted
//! with its reason, and the rest is read all the same: an operator has more rights than a pod.

mod dial;
mod rights;
mod spool;

use std::{collections::BTreeMap, future::Future, path::PathBuf};

use axum::http;
use jiff::{Timestamp, fmt::rfc2822};
use k8s_openapi::{
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        apps::v1::StatefulSet,
        coordination::v1::Lease,
        core::v1::{ConfigMap, Namespace, Pod, Secret, Service},
        discovery::v1::EndpointSlice,
        networking::v1::Ingress,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, Client, ResourceExt, api::ListParams};
use tracing::debug;

use super::{
    expected::{self, Expected},
    observed::{Configuration, Endpoint, Observed, Reading, Setting, Unread},
    others, settings, ways,
};
use crate::{
    manifests::NAME,
    reservations::{
        election::LEASE,
        host::{ApiError, within_deadline},
    },
};

/// How to look.
#[derive(Clone, Debug)]
pub struct Look {
    /// What this program would have there.
    pub expected: Expected,
    /// Whether we are in the cluster ourselves.
    pub inside: bool,
    /// Where the listener is to be dialled, instead of at the Service's endpoints.
    pub connect: Option<String>,
    /// The folder of a spool to look into.
    pub spool_dir: Option<PathBuf>,
}

/// Why nothing at all can be said.
#[derive(Debug, thiserror::Error)]
#[error("the API server can't be reached, so nothing can be said")]
pub struct CollectError(#[from] ApiError);

/// Reads all that there is to see.
pub async fn collect(client: Client, look: Look) -> Result<Observed, CollectError> {
    let clocks = clocks(&client).await?;
    let mut observed = Observed::unasked(look.expected);
    observed.inside = look.inside;
    observed.clocks = clocks;
    let mut asker = Asker {
        client,
        unread: Vec::new(),
    };
    asker.registration(&mut observed).await;
    asker.workload(&mut observed).await;
    if observed.value("REGISTER") == Some("true") {
        observed.expected.registering_itself();
    }
    asker.senders(&mut observed).await;
    asker.backends(&mut observed).await;
    observed.missing_rights = asker.missing_rights(&observed.expected).await;
    asker.dial(&mut observed, look.connect).await;
    if let Some(folder) = look.spool_dir {
        observed.spool = asker.spool(folder).await;
    }
    observed.unread = asker.unread;
    Ok(observed)
}

/// The API server's clock in its `Date` header, whole seconds, and ours in the middle of asking.
async fn clocks(client: &Client) -> Result<Option<(Timestamp, Timestamp)>, ApiError> {
    let request = http::Request::get("/version")
        .body(kube::client::Body::empty())
        .map_err(kube::Error::HttpError)?;
    let before = Timestamp::now();
    let answer = within_deadline(client.send(request)).await?;
    let after = Timestamp::now();
    let half = after.duration_since(before) / 2;
    let date = answer.headers().get(http::header::DATE);
    let theirs = date.and_then(|date| {
        let parser = rfc2822::DateTimeParser::new();
        parser.parse_timestamp(date.as_bytes()).ok()
    });
    Ok(theirs.zip(before.checked_add(half).ok()))
}

struct Asker {
    client: Client,
    unread: Vec<Unread>,
}

impl Asker {
    async fn registration(&mut self, observed: &mut Observed) {
        let all = ListParams::default();
        let validating: Api<ValidatingWebhookConfiguration> = Api::all(self.client.clone());
        let mutating: Api<MutatingWebhookConfiguration> = Api::all(self.client.clone());
        let validating = self
            .read("ValidatingWebhookConfigurations", validating.list(&all))
            .await;
        let mutating = self
            .read("MutatingWebhookConfigurations", mutating.list(&all))
            .await;
        if let (Reading::Found(validating), Reading::Found(mutating)) = (validating, mutating) {
            let validating = validating.items.into_iter().map(expected::validating);
            let mutating = mutating.items.into_iter().map(expected::mutating);
            let all = validating
                .chain(mutating)
                .collect::<Result<Vec<Configuration>, _>>();
            observed.configurations = all.map_or(Reading::Unknown, Reading::Found);
        }

        let crds: Api<CustomResourceDefinition> = Api::all(self.client.clone());
        for crd in &observed.expected.crds {
            let name = crd.name_any();
            let what = format!("CustomResourceDefinition/{name}");
            let found = self.read(&what, crds.get(&name)).await;
            observed.crds.insert(name, found);
        }
        let hosts = &observed.expected.hosts;
        let name = format!("{}.{}", hosts.plural, hosts.group);
        let what = format!("CustomResourceDefinition/{name}");
        observed.hosts_crd = self.read(&what, crds.get(&name)).await;

        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let name = observed.expected.hosts_namespace.clone();
        let namespace = self
            .read(&format!("Namespace/{name}"), namespaces.get(&name))
            .await;
        observed.hosts_namespace = namespace.map(|namespace| namespace.labels().clone());
    }

    async fn workload(&mut self, observed: &mut Observed) {
        let namespace = observed.expected.namespace.clone();
        if let Some((name, _)) = observed.expected.service.clone() {
            observed.service = self.get(&namespace, &name).await;
            observed.endpoints = self.endpoints(&namespace, &name).await;
        }
        let selector = observed.service.found().and_then(|service| {
            let labels = service.spec.as_ref()?.selector.as_ref()?;
            let pairs = labels.iter().map(|(key, value)| format!("{key}={value}"));
            Some(pairs.collect::<Vec<_>>().join(","))
        });
        if let Some(selector) = selector {
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
            let params = ListParams::default().labels(&selector);
            let what = format!("Pods in {namespace}");
            observed.pods = self
                .read(&what, pods.list(&params))
                .await
                .map(|list| list.items);
        }
        observed.deployment = self.get(&namespace, NAME).await;
        if observed.deployment.is_missing() {
            // With durable spools, it is one. What is asked of it is the same.
            let set = self.get::<StatefulSet>(&namespace, NAME).await;
            observed.deployment = set.map(settings::as_deployment);
        }
        observed.lease = self.get::<Lease>(&namespace, LEASE).await;
        let Some(deployment) = observed.deployment.found().cloned() else {
            return;
        };
        let Some((pod, container)) = settings::container(&deployment) else {
            return;
        };
        let mut maps = BTreeMap::new();
        for name in settings::config_maps(container) {
            if let Reading::Found(map) = self.get::<ConfigMap>(&namespace, name).await {
                maps.insert(name.clone(), map.data.unwrap_or_default());
            }
        }
        observed.settings = settings::resolve(container, &maps);
        let folder = observed.value("WEBHOOK_SECRETS_DIR");
        observed.secrets_folder =
            folder.and_then(|folder| settings::mounted_secret(pod, container, folder));
        let certificate = observed.value("EVENTS_TLS_CERT_FILE");
        observed.events_certificate = certificate
            .and_then(|file| file.rsplit_once('/'))
            .and_then(|(folder, _)| settings::mounted_secret(pod, container, folder));
    }

    /// What belongs to the sender's side. Secrets are read for whether they are there, empty or
    /// mistaken; their values go no further than `examine`.
    async fn senders(&mut self, observed: &mut Observed) {
        let namespace = observed.expected.namespace.clone();
        let named = match observed.settings.get("WEBHOOK_SECRET") {
            Some(Setting::Secret { name, .. }) => Some(name.clone()),
            _ => None,
        };
        let mounted = observed.secrets_folder.iter();
        let mounted = mounted.chain(&observed.events_certificate).cloned();
        for name in named.into_iter().chain(mounted.collect::<Vec<_>>()) {
            let secret = self.get::<Secret>(&namespace, &name).await;
            observed.secrets.insert(name, secret);
        }
        if observed.deployment.found().is_none() {
            return;
        }
        observed.events_service = self.get(&namespace, ways::EVENTS_SERVICE).await;
        let ingresses: Api<Ingress> = Api::namespaced(self.client.clone(), &namespace);
        let (what, all) = (format!("Ingresses in {namespace}"), ListParams::default());
        let ingresses = self.read(&what, ingresses.list(&all)).await;
        observed.ingresses = ingresses.map(|list| list.items);
    }

    /// Whether somebody is behind the webhooks of others that hosts must pass.
    async fn backends(&mut self, observed: &mut Observed) {
        let services: Vec<_> = others::on_hosts(observed)
            .filter_map(|(_, hook)| others::service(hook))
            .collect();
        for (namespace, name) in services {
            let backend = match self.get::<Service>(&namespace, &name).await {
                Reading::Found(_) => {
                    let endpoints = self.endpoints(&namespace, &name).await;
                    endpoints.map(|all| all.iter().filter(|one| one.is_ready).count())
                }
                Reading::Missing => Reading::Missing,
                Reading::Unknown => Reading::Unknown,
            };
            observed.backends.insert((namespace, name), backend);
        }
    }

    async fn endpoints(&mut self, namespace: &str, service: &str) -> Reading<Vec<Endpoint>> {
        let slices: Api<EndpointSlice> = Api::namespaced(self.client.clone(), namespace);
        let selector = format!("kubernetes.io/service-name={service}");
        let params = ListParams::default().labels(&selector);
        let what = format!("EndpointSlices in {namespace}");
        let found = self.read(&what, slices.list(&params)).await;
        found.map(|list| list.iter().flat_map(addresses).collect())
    }

    async fn get<K>(&mut self, namespace: &str, name: &str) -> Reading<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(self.client.clone(), namespace);
        let what = format!("{}/{name} in {namespace}", K::kind(&()));
        self.read(&what, api.get(name)).await
    }

    async fn read<T>(
        &mut self,
        what: &str,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Reading<T> {
        debug!(what, "asking");
        match within_deadline(call).await {
            Ok(thing) => Reading::Found(thing),
            Err(ApiError::Kube(kube::Error::Api(status))) if status.code == 404 => Reading::Missing,
            Err(error) => {
                self.unread(what, error.to_string());
                Reading::Unknown
            }
        }
    }

    fn unread(&mut self, what: &str, why: String) {
        self.unread.push(Unread {
            what: what.to_owned(),
            why,
            mend: "harbormaster check --kubeconfig FILE    # of somebody who may read it"
                .to_owned(),
        });
    }
}

/// The addresses of a slice, with the port of each, of which our Services have one.
fn addresses(slice: &EndpointSlice) -> Vec<Endpoint> {
    let port = slice.ports.iter().flatten().find_map(|port| port.port);
    let Some(port) = port else {
        return Vec::new();
    };
    let shown = |address: &String| {
        if address.contains(':') {
            format!("[{address}]:{port}")
        } else {
            format!("{address}:{port}")
        }
    };
    let endpoints = slice.endpoints.iter().flat_map(|endpoint| {
        // Unknown is to be taken for ready, says the API.
        let ready = endpoint
            .conditions
            .as_ref()
            .and_then(|conditions| conditions.ready);
        endpoint.addresses.iter().map(move |address| Endpoint {
            address: shown(address),
            is_ready: ready.unwrap_or(true),
        })
    });
    endpoints.collect()
}
