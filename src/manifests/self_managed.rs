//! The component `self-managed`: the program makes its own certificates, and may write to the two
//! Secrets that they are in and to the places where API servers read whom to trust.
//!
//! It is in each installation that names neither cert-manager nor a CA, and a component, so that
//! those others don't grant what they don't need.

use k8s_openapi::{
    api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::json;

use super::{
    CA_SECRET, Installation, ManifestError, NAME, TLS_SECRET,
    component::{Component, Part},
    configurations, definition, role_ref, rule, value, workload,
};

impl Installation {
    pub(super) fn self_managed(&self) -> Result<Component, ManifestError> {
        let container = json!({
            "name": NAME,
            "env": [
                {"name": "TLS_MODE", "value": "self-managed"},
                {"name": "TLS_CERT_FILE", "$patch": "delete"},
                {"name": "TLS_KEY_FILE", "$patch": "delete"},
            ],
            "volumeMounts": [
                {"name": "tls", "mountPath": "/etc/harbormaster/tls", "$patch": "delete"},
            ],
        });
        let pod = json!({
            "containers": [container],
            "volumes": [{"name": "tls", "$patch": "delete"}],
        });
        Ok(Component {
            parts: vec![self.certificate_rights()?],
            patches: vec![workload::pod_patch("tls-mode.yaml", &pod)],
        })
    }

    /// Its own two Secrets, and the `caBundle`s. (A right to write no more of an object than one
    /// field there is not.)
    pub(super) fn certificate_rights(&self) -> Result<Part, ManifestError> {
        let metadata = ObjectMeta {
            name: Some(RIGHTS.to_owned()),
            ..self.named(&self.namespace)
        };
        let everywhere = ObjectMeta {
            namespace: None,
            ..metadata.clone()
        };
        let role = Role {
            metadata: metadata.clone(),
            rules: Some(vec![
                // A name can't be asked for before the object is there.
                rule("", &["secrets"], &["create"]),
                PolicyRule {
                    resource_names: Some(SECRETS.map(str::to_owned).into()),
                    ..rule("", &["secrets"], &["get", "list", "update", "watch"])
                },
            ]),
        };
        let cluster_role = ClusterRole {
            metadata: everywhere.clone(),
            rules: Some(vec![configurations(&["patch"]), definition(&["patch"])]),
            ..ClusterRole::default()
        };
        let mut role_ref = role_ref("Role");
        role_ref.name = RIGHTS.to_owned();
        let binding = RoleBinding {
            metadata,
            role_ref: role_ref.clone(),
            subjects: Some(vec![self.subject()]),
        };
        role_ref.kind = "ClusterRole".to_owned();
        let cluster_binding = ClusterRoleBinding {
            metadata: everywhere,
            role_ref,
            subjects: Some(vec![self.subject()]),
        };
        let objects = [
            value(&role),
            value(&binding),
            value(&cluster_role),
            value(&cluster_binding),
        ];
        Part::of("certificates-rbac.yaml", objects)
    }
}

const RIGHTS: &str = "harbormaster-certificates";

const SECRETS: [&str; 2] = [CA_SECRET, TLS_SECRET];
