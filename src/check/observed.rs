//! What was seen of a cluster, as plain values. Made by `collect`, judged by `examine`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        coordination::v1::Lease,
        core::v1::{Pod, Secret, Service},
        networking::v1::Ingress,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use rustls::pki_types::CertificateDer;
use serde_json::Value;

use super::expected::{Expected, Right};

/// All that was seen.
#[derive(Clone, Debug)]
pub struct Observed {
    /// What this program would have there.
    pub expected: Expected,
    /// Whether we are in the cluster ourselves, where pods can be reached.
    pub inside: bool,
    /// All webhook configurations, ours among them.
    pub configurations: Reading<Vec<Configuration>>,
    /// Our CustomResourceDefinitions, by name.
    pub crds: BTreeMap<String, Reading<CustomResourceDefinition>>,
    /// The hosts'.
    pub hosts_crd: Reading<CustomResourceDefinition>,
    /// The labels of the hosts' namespace.
    pub hosts_namespace: Reading<BTreeMap<String, String>>,
    /// The Service that is called.
    pub service: Reading<Service>,
    /// Its endpoints.
    pub endpoints: Reading<Vec<Endpoint>>,
    /// What runs behind it; a StatefulSet is read as one.
    pub deployment: Reading<Deployment>,
    /// Its pods.
    pub pods: Reading<Vec<Pod>>,
    /// What was served where.
    pub dials: Vec<Dial>,
    /// The settings that the Deployment gives, as far as they could be resolved.
    pub settings: BTreeMap<String, Setting>,
    /// The Secret that `WEBHOOK_SECRETS_DIR` is mounted from.
    pub secrets_folder: Option<String>,
    /// The Secret that `EVENTS_TLS_CERT_FILE` is mounted from.
    pub events_certificate: Option<String>,
    /// The senders' secrets and their certificate, by the name of their object.
    pub secrets: BTreeMap<String, Reading<Secret>>,
    /// The plain Service for events.
    pub events_service: Reading<Service>,
    /// Ingresses in our namespace.
    pub ingresses: Reading<Vec<Ingress>>,
    /// The rights that our ServiceAccount does not have.
    pub missing_rights: Reading<Vec<Right>>,
    /// How many ready endpoints the Services have that other projects' webhooks name.
    pub backends: BTreeMap<(String, String), Reading<usize>>,
    /// What time it was by the API server, and by us.
    pub clocks: Option<(Timestamp, Timestamp)>,
    /// Who acts.
    pub lease: Reading<Lease>,
    /// The folder where events wait.
    pub spool: Option<Spool>,
    /// What could not be looked at.
    pub unread: Vec<Unread>,
}

impl Observed {
    /// Nothing seen yet.
    pub fn unasked(expected: Expected) -> Self {
        Self {
            expected,
            inside: false,
            configurations: Reading::Unknown,
            crds: BTreeMap::new(),
            hosts_crd: Reading::Unknown,
            hosts_namespace: Reading::Unknown,
            service: Reading::Unknown,
            endpoints: Reading::Unknown,
            deployment: Reading::Unknown,
            pods: Reading::Unknown,
            dials: Vec::new(),
            settings: BTreeMap::new(),
            secrets_folder: None,
            events_certificate: None,
            secrets: BTreeMap::new(),
            events_service: Reading::Unknown,
            ingresses: Reading::Unknown,
            missing_rights: Reading::Unknown,
            backends: BTreeMap::new(),
            clocks: None,
            lease: Reading::Unknown,
            spool: None,
            unread: Vec::new(),
        }
    }

    /// The value of a setting; `None` if it is unset, empty or secret.
    pub(super) fn value(&self, setting: &str) -> Option<&str> {
        match self.settings.get(setting)? {
            Setting::Value(text) if !text.is_empty() => Some(text),
            Setting::Value(_) | Setting::Secret { .. } => None,
        }
    }

    /// Where the pods' certificate comes from; `None` if that is not known.
    pub(super) fn tls_mode(&self) -> Option<&str> {
        self.deployment.found()?;
        Some(self.value("TLS_MODE").unwrap_or("self-managed"))
    }
}

/// What asking for something brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reading<T> {
    /// It is there.
    Found(T),
    /// It is not there.
    Missing,
    /// It is not known: not allowed, no answer, or not asked for.
    #[default]
    Unknown,
}

impl<T> Reading<T> {
    /// What was found.
    pub fn found(&self) -> Option<&T> {
        match self {
            Self::Found(thing) => Some(thing),
            Self::Missing | Self::Unknown => None,
        }
    }

    /// Something made of what was found.
    pub(super) fn map<U>(self, make: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Self::Found(thing) => Reading::Found(make(thing)),
            Self::Missing => Reading::Missing,
            Self::Unknown => Reading::Unknown,
        }
    }

    /// Whether it is known not to be there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

/// Something that could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// What.
    pub what: String,
    /// Why not.
    pub why: String,
    /// How it can be.
    pub mend: String,
}

/// A webhook configuration of either kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Configuration {
    /// `ValidatingWebhookConfiguration` or `MutatingWebhookConfiguration`.
    pub kind: &'static str,
    /// The object's name.
    pub name: String,
    /// What tells who writes the bundles.
    pub annotations: BTreeMap<String, String>,
    /// Its webhooks.
    pub hooks: Vec<Hook>,
}

/// One webhook of a configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Hook {
    /// Its name.
    pub name: String,
    /// All of it but the CA bundle, as the API has it.
    pub spec: Value,
    /// The CA bundle; empty if there is none.
    pub ca_bundle: Vec<u8>,
}

/// An address behind the Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// `ADDRESS:PORT`.
    pub address: String,
    /// Whether it takes calls.
    pub is_ready: bool,
}

/// A TLS handshake that we began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dial {
    /// With whom.
    pub address: String,
    /// The chain presented, leaf first, or why there is none.
    pub chain: Result<Vec<CertificateDer<'static>>, String>,
}

/// A setting of the Deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Its value.
    Value(String),
    /// Where it is kept secret: the Secret's name and key, and whether it may be missing.
    Secret {
        /// The Secret.
        name: String,
        /// The key in it.
        key: String,
        /// Whether the pod starts without it.
        optional: bool,
    },
}

/// Where events wait while the API server is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spool {
    /// The folder.
    pub folder: String,
    /// What is in it, or why that can't be read.
    pub content: Result<SpoolContent, String>,
}

/// What waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolContent {
    /// How many events.
    pub events: u64,
    /// When the oldest of them came.
    pub oldest: Option<Timestamp>,
    /// Why others will never be recorded.
    pub set_aside: Vec<String>,
    /// The cluster that they are for, if the spool says so.
    pub cluster: Option<String>,
    /// The cluster that was asked, if it told its name.
    pub this_cluster: Option<String>,
}
