//! What the API server did, by its own account.
//!
//! Owns the audit policy and the reading of the audit log. The log is the only
//! place where the patch of a mutating webhook, or that a webhook failed open, can
//! be seen from outside: worth having in each test run, so it is always on.
//!
//! Refuses to follow the log as it grows: a test waits for the event it expects.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::error::Error;

/// The audit log of a control plane.
#[derive(Clone, Debug)]
pub struct AuditLog {
    path: PathBuf,
}

impl AuditLog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// All events so far, oldest first.
    ///
    /// The API server writes an event after it has answered, so the event of the
    /// latest answer may be missing: see [`wait_for`](Self::wait_for).
    ///
    /// # Errors
    ///
    /// When the log cannot be read.
    pub fn events(&self) -> Result<Vec<AuditEvent>, Error> {
        let text = fs::read_to_string(&self.path).map_err(|source| Error::File {
            path: self.path.clone(),
            source,
        })?;
        // What follows the last newline is still being written.
        let (complete, _) = text.rsplit_once('\n').unwrap_or_default();
        let events = complete.lines().map(serde_json::from_str);
        events
            .collect::<Result<_, _>>()
            .map_err(|source| Error::AuditEvent {
                path: self.path.clone(),
                source,
            })
    }

    /// Waits for the first event that `matches`.
    ///
    /// # Errors
    ///
    /// When there is none within ten seconds, or the log cannot be read.
    pub async fn wait_for(
        &self,
        mut matches: impl FnMut(&AuditEvent) -> bool,
    ) -> Result<AuditEvent, Error> {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let events = self.events()?;
            let seen = events.len();
            if let Some(event) = events.into_iter().find(|event| matches(event)) {
                return Ok(event);
            }
            if Instant::now() > deadline {
                return Err(Error::AuditTimeout {
                    waited: TIMEOUT,
                    seen,
                });
            }
            sleep(INTERVAL).await;
        }
    }
}

/// An `audit.k8s.io/v1` event: the parts that tests ask for.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AuditEvent {
    /// The same for all events of a request, and the `Audit-Id` header of its answer.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// `ResponseComplete`, for all but watches and panics.
    pub stage: String,
    /// The path and query of the request.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// `create`, `update`, `patch`, `delete`, `get`, `list`, `watch`, ...
    pub verb: String,
    /// Who sent the request.
    pub user: AuditUser,
    /// In whose name, if not in his own.
    pub impersonated_user: Option<AuditUser>,
    /// The object that the request was about.
    pub object_ref: Option<AuditObject>,
    /// The HTTP status and, for a failure, its reason.
    pub response_status: Option<Value>,
    /// The object in the request; for a read it is not recorded.
    pub request_object: Option<Value>,
    /// The object in the answer; for a read it is not recorded.
    pub response_object: Option<Value>,
    /// Patches of webhooks (`patch.webhook.admission.k8s.io/...`), webhooks that
    /// failed open (`failed-open.*`), their own annotations, and RBAC's reasons.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
}

impl AuditEvent {
    /// The HTTP status of the answer.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        let code = self.response_status.as_ref()?.get("code")?.as_u64()?;
        u16::try_from(code).ok()
    }

    /// Whether the event is about the object of this plural resource and name.
    #[must_use]
    pub fn is_about(&self, resource: &str, name: &str) -> bool {
        let object = self.object_ref.as_ref();
        object.is_some_and(|object| {
            object.resource.as_deref() == Some(resource) && object.name.as_deref() == Some(name)
        })
    }
}

/// A user in an audit event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct AuditUser {
    /// The name.
    pub username: String,
    /// The groups, among them `system:authenticated`.
    pub groups: Vec<String>,
}

/// An object in an audit event.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct AuditObject {
    /// The plural.
    pub resource: Option<String>,
    /// The namespace, if it has one.
    pub namespace: Option<String>,
    /// The name; it is missing where the API server chose it.
    pub name: Option<String>,
    /// The API group.
    pub api_group: Option<String>,
    /// The API version.
    pub api_version: Option<String>,
    /// `status`, for one.
    pub subresource: Option<String>,
}

/// The name of the log in the control plane's folder.
pub(crate) const LOG: &str = "audit.log";

/// The patch of a webhook is recorded from level Request on, and what became of
/// it from RequestResponse on. What the API server does to itself is left out.
pub(crate) const POLICY: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  users: ['system:apiserver']
- level: None
  nonResourceURLs: ['/readyz', '/livez', '/healthz', '/openapi/*', '/api', '/api/*', '/apis', '/apis/*']
- level: Metadata
  verbs: [get, list, watch]
- level: RequestResponse
";

const TIMEOUT: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_line_is_not_yet_an_event() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(LOG);
        let event =
            r#"{"auditID":"1","stage":"ResponseComplete","requestURI":"/","verb":"get","user":{}}"#;
        fs::write(&path, format!("{event}\n{}", &event[..30])).unwrap();
        let log = AuditLog::new(path.clone());
        assert_eq!(log.events().unwrap().len(), 1);

        fs::write(&path, format!("{event}\n{event}\n")).unwrap();
        assert_eq!(log.events().unwrap().len(), 2);

        fs::write(&path, "{}\n").unwrap();
        assert!(matches!(log.events(), Err(Error::AuditEvent { .. })));
    }
}
