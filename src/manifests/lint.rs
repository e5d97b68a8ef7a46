//! What the framework's lint finds about the whole installation: hooks, pods, rights.

use k8s_openapi::api::{
    apps::v1::Deployment,
    rbac::v1::{ClusterRole, Role},
};
use kube_webhook::{
    Registered,
    lint::{self, Finding},
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Installation, ManifestError, as_deployment};

impl Installation {
    /// Findings of all severities, the worst first.
    pub fn lint(&self, registered: &Registered) -> Result<Vec<Finding>, ManifestError> {
        let parts = self.parts(registered)?;
        let objects: Vec<Value> = parts.into_iter().flat_map(|part| part.objects).collect();
        let budgets = of_kind(&objects, "PodDisruptionBudget")?;
        let mut findings = registered.lint(&self.target);
        let mut workloads = of_kind::<Deployment>(&objects, "Deployment")?;
        let sets = of_kind(&objects, "StatefulSet")?;
        workloads.extend(sets.into_iter().map(as_deployment));
        for workload in workloads {
            findings.extend(lint::deployment(&workload, &budgets));
        }
        let mut roles = Vec::new();
        for role in of_kind::<Role>(&objects, "Role")? {
            roles.push((role.metadata, role.rules));
        }
        for role in of_kind::<ClusterRole>(&objects, "ClusterRole")? {
            roles.push((role.metadata, role.rules));
        }
        for (metadata, rules) in roles {
            let name = metadata.name.unwrap_or_default();
            findings.extend(lint::role(&name, &rules.unwrap_or_default()));
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Ok(findings)
    }
}

fn of_kind<T: DeserializeOwned>(objects: &[Value], kind: &str) -> serde_json::Result<Vec<T>> {
    let those = objects.iter().filter(|object| object["kind"] == kind);
    those.cloned().map(serde_json::from_value).collect()
}
