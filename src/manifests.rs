//! Everything that an installation consists of, derived from what the program registers.
//!
//! `generate` prints it, `manifests/` holds what it printed, and a test compares the two.
//! Pure: makes objects, writes nothing.

mod workload;

use std::collections::BTreeMap;

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
    Resource,
    core::{crd::MergeError, discovery::ApiResource},
};
use kube_webhook::{RbacOptions, Registered, Target};
use serde::Serialize;

use crate::api::{GROUP, crd, v1::Reservation};

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
    /// Whether cert-manager makes the certificate and writes the CA bundles.
    pub cert_manager: bool,
}

/// One file of the installation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The file's name.
    pub file: &'static str,
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
}

impl Installation {
    /// All of it, in the order in which it is applied.
    pub fn all(&self, registered: &Registered) -> Result<Vec<Manifest>, ManifestError> {
        let mut files = vec![
            self.own_namespace()?,
            self.crds(registered)?,
            self.rbac(registered)?,
            self.service()?,
            self.deployment()?,
            self.webhooks(registered)?,
        ];
        if self.cert_manager {
            files.push(self.certificate()?);
        }
        let names: Vec<_> = files.iter().map(|manifest| manifest.file).collect();
        let kustomization = Kustomization {
            api_version: "kustomize.config.k8s.io/v1beta1",
            kind: "Kustomization",
            resources: names,
        };
        files.push(manifest("kustomization.yaml", &[yaml(&kustomization)?]));
        Ok(files)
    }

    /// The CustomResourceDefinitions, converted by us.
    pub fn crds(&self, registered: &Registered) -> Result<Manifest, ManifestError> {
        let plural = Reservation::plural(&());
        let conversion = registered.conversion(GROUP, &plural, &self.target);
        let mut crd = crd::reservations(conversion)?;
        self.inject_ca(&mut crd.metadata);
        Ok(manifest(
            "crds.yaml",
            &[yaml(&crd)?, yaml(&crd::calendars())?],
        ))
    }

    /// Both webhook configurations.
    pub fn webhooks(&self, registered: &Registered) -> Result<Manifest, ManifestError> {
        let mut documents = Vec::new();
        if let Some(mut validating) = registered.validating_configuration(&self.target) {
            self.inject_ca(&mut validating.metadata);
            documents.push(yaml(&validating)?);
        }
        if let Some(mut mutating) = registered.mutating_configuration(&self.target) {
            self.inject_ca(&mut mutating.metadata);
            documents.push(yaml(&mutating)?);
        }
        Ok(manifest("webhooks.yaml", &documents))
    }

    /// What the program may do: no more than a pass of the controller and an event need,
    /// and only in the hosts' namespace.
    pub fn rbac(&self, registered: &Registered) -> Result<Manifest, ManifestError> {
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
        let documents = [
            yaml(&account)?,
            yaml(&role)?,
            yaml(&binding)?,
            yaml(&own_role)?,
            yaml(&own_binding)?,
            yaml(&cluster_role)?,
            yaml(&cluster_binding)?,
        ];
        Ok(manifest("rbac.yaml", &documents))
    }

    /// Beyond any namespace: which cluster this is, so that a spool is never emptied into
    /// another.
    fn cluster_rights(&self) -> (ClusterRole, ClusterRoleBinding) {
        let metadata = ObjectMeta {
            namespace: None,
            ..self.named("")
        };
        let role = ClusterRole {
            metadata: metadata.clone(),
            rules: Some(vec![PolicyRule {
                resource_names: Some(vec!["kube-system".to_owned()]),
                ..rule("", &["namespaces"], &["get"])
            }]),
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

    fn own_namespace(&self) -> Result<Manifest, ManifestError> {
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
        Ok(manifest("namespace.yaml", &[yaml(&namespace)?]))
    }

    fn named(&self, namespace: &str) -> ObjectMeta {
        ObjectMeta {
            name: Some(NAME.to_owned()),
            namespace: Some(namespace.to_owned()),
            labels: Some(labels()),
            ..ObjectMeta::default()
        }
    }

    fn inject_ca(&self, metadata: &mut ObjectMeta) {
        metadata.labels.get_or_insert_default().extend(labels());
        if self.cert_manager {
            metadata.annotations.get_or_insert_default().insert(
                "cert-manager.io/inject-ca-from".to_owned(),
                format!("{}/{NAME}", self.namespace),
            );
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kustomization {
    api_version: &'static str,
    kind: &'static str,
    resources: Vec<&'static str>,
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

fn manifest(file: &'static str, documents: &[String]) -> Manifest {
    Manifest {
        file,
        yaml: documents.join("---\n"),
    }
}

/// Field by field in the order of their names, as kubectl prints them.
fn yaml(object: &impl Serialize) -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(object)
}

/// The ServiceAccount, Service, Deployment and configurations all bear it.
pub const NAME: &str = "harbormaster";

/// What it may do in its own namespace.
const OWN_ROLE: &str = "harbormaster-election";

const LEASES: &str = "coordination.k8s.io";

/// The program's own namespace, unless another is asked for.
pub const NAMESPACE: &str = "harbormaster-system";
