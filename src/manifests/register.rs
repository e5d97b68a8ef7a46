//! The component `register`: the program applies what leads API servers to it, and keeps it, instead of
//! whoever applies the manifests. It is an extra since it takes the right to make and change webhooks of
//! the whole cluster, if only by our own name.

use k8s_openapi::{
    api::rbac::v1::{ClusterRole, ClusterRoleBinding},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube_webhook::Target;
use serde_json::json;

use super::{
    Installation, ManifestError, NAME,
    component::{Component, Part, Patch},
    configurations, definition, role_ref, value, workload,
};

impl Installation {
    pub(super) fn register(&self) -> Result<Component, ManifestError> {
        let mut env = vec![json!({"name": "REGISTER", "value": "true"})];
        if let Target::Url { base, .. } = &self.target {
            env.push(json!({"name": "REGISTER_URL", "value": base}));
        }
        let pod = json!({"containers": [{"name": NAME, "env": env}]});
        let webhooks = Patch {
            file: "webhooks.yaml",
            kinds: WEBHOOKS,
            name: NAME.to_owned(),
            change: json!({"$patch": "delete"}),
        };
        Ok(Component {
            parts: vec![self.registration_rights()?],
            patches: vec![workload::pod_patch("register.yaml", &pod), webhooks],
        })
    }

    /// To make both configurations, and to write to them and to the CRD. (An apply that makes an
    /// object names it, so that this right can be for one name.)
    pub(super) fn registration_rights(&self) -> Result<Part, ManifestError> {
        let metadata = ObjectMeta {
            name: Some(RIGHTS.to_owned()),
            namespace: None,
            ..self.named("")
        };
        let role = ClusterRole {
            metadata: metadata.clone(),
            rules: Some(vec![
                configurations(&["create", "patch"]),
                definition(&["patch"]),
            ]),
            ..ClusterRole::default()
        };
        let mut role_ref = role_ref("ClusterRole");
        role_ref.name = RIGHTS.to_owned();
        let binding = ClusterRoleBinding {
            metadata,
            role_ref,
            subjects: Some(vec![self.subject()]),
        };
        Part::of("register-rbac.yaml", [value(&role), value(&binding)])
    }
}

const RIGHTS: &str = "harbormaster-registration";

const WEBHOOKS: &[&str] = &[
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];
