//! What the framework's lint finds about the whole installation: hooks, pods, rights.

use kube_webhook::{
    Registered,
    lint::{self, Finding},
};
use serde_json::Value;

use super::{Installation, ManifestError};

impl Installation {
    /// Findings of all severities, the worst first.
    pub fn lint(&self, registered: &Registered) -> Result<Vec<Finding>, ManifestError> {
        let parts = self.parts(registered)?;
        let objects: Vec<Value> = parts.into_iter().flat_map(|part| part.objects).collect();
        Ok(lint::manifests(&objects)?)
    }
}
