//! Everything that an installation consists of, derived from what the program registers.
//!
//! `generate` prints it, `manifests/` holds what it printed, and a test compares the two.
//! Pure: makes objects, writes nothing. What not every installation has is an [`Extra`].

mod certificate;
mod component;
mod layout;
mod lint;
mod monitoring;
mod network;
mod register;
mod self_managed;
mod workload;

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        core::v1::{Namespace, ServiceAccount},
        rbac::v1::{
            ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    CustomResourceExt, Resource,
    core::{crd::MergeError, discovery::ApiResource},
};
use kube_webhook::{RbacOptions, Registered, Target};
use serde::Serialize;
use serde_json::{Value, json};

use self::component::Part;
use crate::{
    api::{GROUP, crd, v1::Reservation},
    config::AltName,
};

/// Where and how it is installed.
#[derive(Clone, Debug)]
pub struct Installation {
    /// The program's own namespace.
    pub namespace: String,
    /// The namespace of BareMetalHosts and Reservations.
    pub hosts_namespace: String,
    /// The host kind.
    pub hosts: ApiResource,
    /// Where the API server finds the hooks.
    pub target: Target,
    /// What the pods run: a name that the nodes can pull.
    pub image: String,
    /// Names by which the sender may call us, beside the Service's.
    pub extra_names: Vec<AltName>,
    /// What it has beside what every installation has.
    pub extras: BTreeSet<Extra>,
}

/// What not every installation has; in `manifests/components/`, a folder each. They can be
/// combined in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extra {
    /// cert-manager makes the certificate and writes the CA bundles.
    CertManager,
    /// API servers must present a client certificate: of a CA in a ConfigMap of its own.
    ClientCa,
    /// The spool is on a volume that survives the pod.
    DurableSpool,
    /// Events are also taken over plain HTTP, on a Service of its own.
    EventsHttp {
        /// The container's port.
        port: u16,
    },
    /// A second certificate, for the sender: from a Secret of its own.
    EventsTls,
    /// The Prometheus operator scrapes, and watches our alerts.
    Monitoring,
    /// The program applies the webhook configurations, and keeps them.
    Register,
    /// The program makes the certificate and writes the CA bundles.
    SelfManaged,
}

/// One file of the installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The file's path in the installation's folder.
    pub file: String,
    /// Its YAML documents.
    pub yaml: String,
}

/// Why the manifests can't be made; a fault of the program, not of its settings.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The versions of the CRD don't fit together.
    #[error("the versions of a CustomResourceDefinition don't fit together")]
    Merge(#[from] MergeError),
    /// An object can't be written as YAML.
    #[error("an object can't be written as YAML")]
    Yaml(#[from] serde_saphyr::ser::Error),
    /// An object can't be written at all.
    #[error("an object can't be serialized")]
    Object(#[from] serde_json::Error),
    /// An object is not what its kind says.
    #[error("an object can't be looked at")]
    Lint(#[from] kube_webhook::lint::ManifestError),
    /// The alerting rules can't be read.
    #[error("monitoring/alerts.yaml can't be read")]
    Alerts(#[from] serde_saphyr::Error),
}

impl Installation {
    /// All of it, in the order in which it is applied.
    pub fn all(&self, registered: &Registered) -> Result<Vec<Manifest>, ManifestError> {
        let parts = self.parts(registered)?;
        parts.iter().map(|part| part.manifest("")).collect()
    }

    /// The CustomResourceDefinitions, converted by us.
    pub fn crds(&self, registered: &Registered) -> Result<Manifest, ManifestError> {
        self.with_extras(self.definitions(registered)?)?
            .manifest("")
    }

    /// Both webhook configurations.
    pub fn webhooks(&self, registered: &Registered) -> Result<Manifest, ManifestError> {
        self.with_extras(self.configurations(registered)?)?
            .manifest("")
    }

    /// What leads API servers to the program: both webhook configurations, and of the CRD its
    /// conversion alone.
    pub(crate) fn registration(
        &self,
        registered: &Registered,
    ) -> Result<Vec<Value>, ManifestError> {
        let mut objects = self.configurations(registered)?.objects;
        let plural = Reservation::plural(&());
        if let Some(conversion) = registered.conversion(GROUP, &plural, &self.target) {
            objects.push(json!({
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": Reservation::crd_name()},
                "spec": {"conversion": conversion},
            }));
        }
        Ok(objects)
    }

    /// What the program may do.
    pub fn rbac(&self, registered: &Registered) -> Result<Manifest, ManifestError> {
        let mut rights = self.with_extras(self.rights(registered)?)?;
        if self.extras.contains(&Extra::SelfManaged) {
            rights.objects.extend(self.certificate_rights()?.objects);
        }
        if self.extras.contains(&Extra::Register) {
            rights.objects.extend(self.registration_rights()?.objects);
        }
        rights.manifest("")
    }

    fn parts(&self, registered: &Registered) -> Result<Vec<Part>, ManifestError> {
        let mut parts = self.base(registered)?;
        // Nobody is called before somebody is there.
        let webhooks = parts.pop();
        for &extra in &self.extras {
            parts.extend(self.component(extra)?.parts);
        }
        parts.extend(webhooks);
        let parts = parts.into_iter().map(|part| self.with_extras(part));
        let mut parts: Vec<_> = parts.collect::<Result<_, _>>()?;
        parts.retain(|part| !part.objects.is_empty());
        Ok(parts)
    }

    /// What every installation has; last the webhooks.
    fn base(&self, registered: &Registered) -> Result<Vec<Part>, ManifestError> {
        Ok(vec![
            self.own_namespace()?,
            self.definitions(registered)?,
            self.rights(registered)?,
            self.service()?,
            self.network_policy()?,
            self.deployment()?,
            self.disruption_budget()?,
            self.configurations(registered)?,
        ])
    }

    fn with_extras(&self, mut part: Part) -> Result<Part, ManifestError> {
        for &extra in &self.extras {
            let patches = self.component(extra)?.patches;
            part.objects
                .retain_mut(|object| patches.iter().all(|patch| patch.apply(object)));
        }
        Ok(part)
    }

    fn definitions(&self, registered: &Registered) -> Result<Part, ManifestError> {
        let plural = Reservation::plural(&());
        let conversion = registered.conversion(GROUP, &plural, &self.target);
        let mut crd = crd::reservations(conversion)?;
        crd.metadata.labels.get_or_insert_default().extend(labels());
        Part::of("crds.yaml", [value(&crd), value(&crd::calendars())])
    }

    fn configurations(&self, registered: &Registered) -> Result<Part, ManifestError> {
        let mut objects = Vec::new();
        if let Some(mut validating) = registered.validating_configuration(&self.target) {
            let labelled = validating.metadata.labels.get_or_insert_default();
            labelled.extend(labels());
            objects.push(value(&validating));
        }
        if let Some(mut mutating) = registered.mutating_configuration(&self.target) {
            let labelled = mutating.metadata.labels.get_or_insert_default();
            labelled.extend(labels());
            objects.push(value(&mutating));
        }
        Part::of("webhooks.yaml", objects)
    }

    /// No more than a pass of the controller and an event need, and only in the hosts'
    /// namespace.
    fn rights(&self, registered: &Registered) -> Result<Part, ManifestError> {
        let account = ServiceAccount {
            metadata: self.named(&self.namespace),
            ..ServiceAccount::default()
        };
        let group = &self.hosts.group;
        let role = Role {
            metadata: self.named(&self.hosts_namespace),
            rules: Some(vec![
                rule(
                    GROUP,
                    &["reservations"],
                    &[
                        "create", "delete", "get", "list", "patch", "update", "watch",
                    ],
                ),
                rule(GROUP, &["reservations/status"], &["patch"]),
                rule(
                    GROUP,
                    &["hostcalendars"],
                    &["create", "delete", "get", "list", "watch"],
                ),
                rule(GROUP, &["hostcalendars/status"], &["update"]),
                // The Secret's owner reference blocks the owner's deletion.
                rule(GROUP, &["reservations/finalizers"], &["update"]),
                rule(
                    group,
                    &[&self.hosts.plural],
                    &["get", "list", "patch", "watch"],
                ),
                // Its own user-data Secrets. It never reads one.
                rule("", &["secrets"], &["create", "delete", "patch"]),
                // Patched where the same comes again within minutes.
                rule("events.k8s.io", &["events"], &["create", "patch"]),
            ]),
        };
        let binding = RoleBinding {
            metadata: self.named(&self.hosts_namespace),
            role_ref: role_ref("Role"),
            subjects: Some(vec![self.subject()]),
        };
        let mut own_role = Role {
            metadata: self.named(&self.namespace),
            rules: Some(vec![
                // A name can't be asked for before the object is there.
                rule(LEASES, &["leases"], &["create"]),
                PolicyRule {
                    resource_names: Some(vec![NAME.to_owned()]),
                    ..rule(LEASES, &["leases"], &["get", "update"])
                },
            ]),
        };
        let mut own_binding = RoleBinding {
            metadata: self.named(&self.namespace),
            ..binding.clone()
        };
        // Of its own name: both may be in one namespace.
        own_role.metadata.name = Some(OWN_ROLE.to_owned());
        own_binding.metadata.name = Some(OWN_ROLE.to_owned());
        own_binding.role_ref.name = OWN_ROLE.to_owned();
        let (mut cluster_role, cluster_binding) = self.cluster_rights();
        // What the hooks ask while they judge is about the whole cluster's rights.
        let asked = registered.rbac(&RbacOptions::new(&self.namespace, NAME));
        let asked = asked.and_then(|hooks| hooks.role.rules);
        cluster_role
            .rules
            .get_or_insert_default()
            .extend(asked.unwrap_or_default());
        let objects = [
            value(&account),
            value(&role),
            value(&binding),
            value(&own_role),
            value(&own_binding),
            value(&cluster_role),
            value(&cluster_binding),
        ];
        Part::of("rbac.yaml", objects)
    }

    /// Beyond any namespace: which cluster this is, so that a spool is never emptied into
    /// another; and whom API servers trust when they call us, which readiness stands on.
    fn cluster_rights(&self) -> (ClusterRole, ClusterRoleBinding) {
        let metadata = ObjectMeta {
            namespace: None,
            ..self.named("")
        };
        let role = ClusterRole {
            metadata: metadata.clone(),
            rules: Some(vec![
                PolicyRule {
                    resource_names: Some(vec!["kube-system".to_owned()]),
                    ..rule("", &["namespaces"], &["get"])
                },
                configurations(&["get", "list", "watch"]),
                definition(&["get", "list", "watch"]),
            ]),
            ..ClusterRole::default()
        };
        let binding = ClusterRoleBinding {
            metadata,
            role_ref: role_ref("ClusterRole"),
            subjects: Some(vec![self.subject()]),
        };
        (role, binding)
    }

    fn subject(&self) -> Subject {
        Subject {
            kind: "ServiceAccount".to_owned(),
            name: NAME.to_owned(),
            namespace: Some(self.namespace.clone()),
            ..Subject::default()
        }
    }

    fn own_namespace(&self) -> Result<Part, ManifestError> {
        let mut metadata = self.named(&self.namespace);
        metadata.name = metadata.namespace.take();
        if let Some(labels) = &mut metadata.labels {
            let enforce = "pod-security.kubernetes.io/enforce".to_owned();
            labels.insert(enforce, "restricted".to_owned());
        }
        let namespace = Namespace {
            metadata,
            ..Namespace::default()
        };
        Part::of("namespace.yaml", [value(&namespace)])
    }

    fn named(&self, namespace: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels()),
            ..ObjectMeta::default()
        }
    }
}

fn labels() -> BTreeMap<String, String> {
    BTreeMap::from([("app.kubernetes.io/name".to_owned(), NAME.to_owned())])
}

fn role_ref(kind: &str) -> RoleRef {
    RoleRef {
        api_group: "rbac.authorization.k8s.io".to_owned(),
        kind: kind.to_owned(),
        name: NAME.to_owned(),
    }
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    PolicyRule {
        api_groups: Some(owned(&[group])),
        resources: Some(owned(resources)),
        verbs: owned(verbs),
        ..PolicyRule::default()
    }
}

/// On what registers our webhooks.
fn configurations(verbs: &[&str]) -> PolicyRule {
    let kinds = [
        "mutatingwebhookconfigurations",
        "validatingwebhookconfigurations",
    ];
    PolicyRule {
        resource_names: Some(vec![NAME.to_owned()]),
        ..rule("admissionregistration.k8s.io", &kinds, verbs)
    }
}

/// On what registers our conversion.
fn definition(verbs: &[&str]) -> PolicyRule {
    PolicyRule {
        resource_names: Some(vec![Reservation::crd_name().to_owned()]),
        ..rule(
            "apiextensions.k8s.io",
            &["customresourcedefinitions"],
            verbs,
        )
    }
}

fn value(object: &impl Serialize) -> serde_json::Result<Value> {
    serde_json::to_value(object)
}

/// By which names the Service in front of us is called.
pub(crate) fn service_names(namespace: &str) -> [AltName; 2] {
    let name = format!("{NAME}.{namespace}.svc");
    [name.clone(), format!("{name}.cluster.local")].map(AltName::Dns)
}

/// The ServiceAccount, Service, Deployment and configurations all bear it.
pub const NAME: &str = "harbormaster";

/// The Secret with the certificate that is served, whoever makes it.
pub(crate) const TLS_SECRET: &str = "harbormaster-tls";

/// The Secret of the CAs that the program makes itself.
pub(crate) const CA_SECRET: &str = "harbormaster-ca";

/// The image, unless another is named: as `cargo xtask image` calls it.
pub const IMAGE: &str = concat!("harbormaster:", env!("CARGO_PKG_VERSION"));

/// What it may do in its own namespace.
const OWN_ROLE: &str = "harbormaster-election";

const LEASES: &str = "coordination.k8s.io";

/// The program's own namespace, unless another is asked for.
pub const NAMESPACE: &str = "harbormaster-system";
