//! What `generate` would print for an installation, as values to compare with. It is read back
//! from that very YAML, so that the two can't differ.

use std::collections::BTreeSet;

use axum::http::Uri;
use k8s_openapi::{
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        rbac::v1::PolicyRule,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{ResourceExt, discovery::ApiResource};
use kube_webhook::{Registered, Target};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::observed::{Configuration, Hook};
use crate::{
    config::AltName,
    manifests::{Extra, Installation, Manifest, ManifestError, NAME},
};

/// What an installation consists of.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The program's own namespace.
    pub namespace: String,
    /// The Service that is called, and its port; `None` if a URL is.
    pub service: Option<(String, u16)>,
    /// The base of the URL that is called.
    pub url: Option<String>,
    /// The namespace of hosts and Reservations.
    pub hosts_namespace: String,
    /// The host kind.
    pub hosts: ApiResource,
    /// Both webhook configurations.
    pub configurations: Vec<Configuration>,
    /// The CustomResourceDefinitions.
    pub crds: Vec<CustomResourceDefinition>,
    /// What the ServiceAccount may do.
    pub rights: BTreeSet<Right>,
    /// The same, where the program registers itself.
    registration_rights: BTreeSet<Right>,
    /// Whether it does (`REGISTER`): then it puts right by itself what it may.
    registers_itself: bool,
}

/// One thing that may be done: what RBAC is asked about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Where; `None` for the whole cluster.
    pub namespace: Option<String>,
    /// To what.
    pub group: String,
    /// To what, with its subresource after a slash.
    pub resource: String,
    /// To which one; `None` for all.
    pub name: Option<String>,
    /// What.
    pub verb: String,
}

/// Why it isn't known what there should be; a fault of the program.
#[derive(Debug, thiserror::Error)]
pub enum ExpectedError {
    /// The manifests can't be made.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The manifests can't be read back.
    #[error("the program's own manifests can't be read back")]
    Yaml(#[from] serde_saphyr::Error),
    /// An object of the manifests can't be read back.
    #[error("an object of the program's own manifests can't be read back")]
    Object(#[from] serde_json::Error),
}

impl Expected {
    /// What `generate` prints for this installation.
    pub fn of(installation: &Installation, registered: &Registered) -> Result<Self, ExpectedError> {
        let (service, url) = match &installation.target {
            Target::Service { name, port, .. } => (Some((name.clone(), *port)), None),
            Target::Url { base, .. } => (None, Some(base.clone())),
        };
        let mut expected = Self {
            namespace: installation.namespace.clone(),
            service,
            url,
            hosts_namespace: installation.hosts_namespace.clone(),
            hosts: installation.hosts.clone(),
            configurations: Vec::new(),
            crds: Vec::new(),
            rights: BTreeSet::new(),
            registration_rights: BTreeSet::new(),
            registers_itself: false,
        };
        let mut registering = installation.clone();
        registering.extras.insert(Extra::Register);
        let objects_of = |manifest: Manifest| serde_saphyr::from_multiple(&manifest.yaml);
        for object in objects_of(registering.rbac(registered)?)? {
            expected.add(object)?;
        }
        expected.registration_rights = std::mem::take(&mut expected.rights);
        let manifests = [
            installation.webhooks(registered)?,
            installation.crds(registered)?,
            installation.rbac(registered)?,
        ];
        for manifest in manifests {
            for object in objects_of(manifest)? {
                expected.add(object)?;
            }
        }
        Ok(expected)
    }

    /// Takes note that the program registers itself.
    pub(super) fn registering_itself(&mut self) {
        self.registers_itself = true;
        self.rights.append(&mut self.registration_rights);
    }

    /// The program's user, as the API server sees it.
    pub fn user(&self) -> String {
        format!("system:serviceaccount:{}:{NAME}", self.namespace)
    }

    /// What the API server verifies the certificate for.
    pub fn server_name(&self) -> Option<String> {
        match (&self.service, &self.url) {
            (Some((service, _)), _) => Some(format!("{service}.{}.svc", self.namespace)),
            (None, Some(url)) => {
                let url: Uri = url.parse().ok()?;
                let name: AltName = url.host()?.parse().ok()?;
                Some(name.to_string())
            }
            (None, None) => None,
        }
    }

    /// The flags that `generate` needs to print this.
    pub fn flags(&self) -> String {
        let mut flags = format!(
            "--namespace {} --k8s-namespace {}",
            self.namespace, self.hosts_namespace
        );
        match (&self.service, &self.url) {
            (Some((service, _)), _) if service != NAME => {
                flags.push_str(" --service ");
                flags.push_str(service);
            }
            (None, Some(url)) => {
                flags.push_str(" --url ");
                flags.push_str(url);
            }
            _ => {}
        }
        flags
    }

    /// The command that puts a part of it into the cluster. Server-side, since `kubectl apply`
    /// would take the CA bundles away that somebody else has written.
    pub fn apply(&self, what: &str) -> String {
        let register = match (self.registers_itself, what) {
            (true, "webhooks") => {
                return format!(
                    "kubectl logs --namespace {} --selector app.kubernetes.io/name={NAME} --tail=-1 | \
                     grep registered    # the program puts it right by itself (REGISTER), and says \
                     there why it can't",
                    self.namespace
                );
            }
            (true, "rbac") => " --register",
            _ => "",
        };
        format!(
            "harbormaster generate {what} {}{register} | kubectl apply --server-side --force-conflicts -f -",
            self.flags()
        )
    }

    /// The command that puts one file of the installation into the cluster, and leaves the
    /// Deployment as it is.
    pub(super) fn apply_file(&self, file: &str, flags: &str) -> String {
        format!(
            "harbormaster generate manifests {}{flags} --out installation && \
             kubectl apply --server-side --force-conflicts -f installation/{file}",
            self.flags()
        )
    }

    fn add(&mut self, object: Value) -> Result<(), ExpectedError> {
        match object["kind"].as_str() {
            Some("ValidatingWebhookConfiguration") => {
                self.configurations.push(validating(read(object)?)?);
            }
            Some("MutatingWebhookConfiguration") => {
                self.configurations.push(mutating(read(object)?)?);
            }
            Some("CustomResourceDefinition") => self.crds.push(read(object)?),
            Some("Role" | "ClusterRole") => {
                let namespace = object["metadata"]["namespace"].as_str().map(str::to_owned);
                let rules: Vec<PolicyRule> = read(object["rules"].clone())?;
                let rights = rules
                    .iter()
                    .flat_map(|rule| rights(namespace.as_ref(), rule));
                self.rights.extend(rights);
            }
            _ => {}
        }
        Ok(())
    }
}

/// A validating configuration as a plain one.
pub(super) fn validating(
    configuration: ValidatingWebhookConfiguration,
) -> Result<Configuration, serde_json::Error> {
    let hooks = configuration.webhooks.iter().flatten();
    let hooks = hooks.map(|webhook| {
        let bundle = webhook.client_config.ca_bundle.as_ref();
        hook(&webhook.name, webhook, bundle)
    });
    Ok(Configuration {
        kind: "ValidatingWebhookConfiguration",
        name: configuration.name_any(),
        hooks: hooks.collect::<Result<_, _>>()?,
        annotations: configuration.metadata.annotations.unwrap_or_default(),
    })
}

/// A mutating configuration as a plain one.
pub(super) fn mutating(
    configuration: MutatingWebhookConfiguration,
) -> Result<Configuration, serde_json::Error> {
    let hooks = configuration.webhooks.iter().flatten();
    let hooks = hooks.map(|webhook| {
        let bundle = webhook.client_config.ca_bundle.as_ref();
        hook(&webhook.name, webhook, bundle)
    });
    Ok(Configuration {
        kind: "MutatingWebhookConfiguration",
        name: configuration.name_any(),
        hooks: hooks.collect::<Result<_, _>>()?,
        annotations: configuration.metadata.annotations.unwrap_or_default(),
    })
}

fn hook(
    name: &str,
    webhook: &impl serde::Serialize,
    bundle: Option<&k8s_openapi::ByteString>,
) -> Result<Hook, serde_json::Error> {
    let mut spec = serde_json::to_value(webhook)?;
    if let Some(config) = spec["clientConfig"].as_object_mut() {
        config.remove("caBundle");
    }
    Ok(Hook {
        name: name.to_owned(),
        spec,
        ca_bundle: bundle.map(|bytes| bytes.0.clone()).unwrap_or_default(),
    })
}

fn rights<'a>(
    namespace: Option<&'a String>,
    rule: &'a PolicyRule,
) -> impl Iterator<Item = Right> + 'a {
    let names: Vec<_> = match &rule.resource_names {
        Some(names) if !names.is_empty() => names.iter().map(Some).collect(),
        _ => vec![None],
    };
    let mut rights = Vec::new();
    for group in rule.api_groups.iter().flatten() {
        for resource in rule.resources.iter().flatten() {
            for name in &names {
                rights.extend(rule.verbs.iter().map(|verb| Right {
                    namespace: namespace.cloned(),
                    group: group.clone(),
                    resource: resource.clone(),
                    name: name.cloned(),
                    verb: verb.clone(),
                }));
            }
        }
    }
    rights.into_iter()
}

fn read<T: DeserializeOwned>(object: Value) -> Result<T, serde_json::Error> {
    serde_json::from_value(object)
}
