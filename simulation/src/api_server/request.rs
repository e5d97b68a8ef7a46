//! What is asked of the API server, read from HTTP as the program's client writes it.

use http::{Method, Uri};
use serde_json::Value;

use super::Kind;

/// A request for one object, or for all of a kind.
#[derive(Clone, Debug)]
pub struct Request {
    /// The kind.
    pub kind: Kind,
    /// The object; empty for a list, and where the object itself bears its name.
    pub name: String,
    /// Whether it is about the status alone.
    pub status: bool,
    /// What is to be done.
    pub verb: Verb,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub enum Verb {
    /// Server-side apply.
    Apply(Value),
    /// Make it.
    Create(Value),
    /// Remove it, if it is the one that is meant.
    Delete {
        /// The one with this uid.
        uid: Option<String>,
        /// The one with this version.
        version: Option<String>,
    },
    /// Read one.
    Get,
    /// A JSON patch.
    Json(json_patch::Patch),
    /// Read all.
    List {
        /// With this label.
        label: Option<(String, String)>,
    },
    /// A merge patch.
    Merge(Value),
    /// Put it in the place of the one that is there.
    Replace(Value),
}

impl Verb {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Apply(_) => "apply",
            Self::Create(_) => "create",
            Self::Delete { .. } => "delete",
            Self::Get => "get",
            Self::Json(_) => "patch",
            Self::List { .. } => "list",
            Self::Merge(_) => "merge",
            Self::Replace(_) => "replace",
        }
    }

    /// Whether it may change something.
    pub fn is_write(&self) -> bool {
        !matches!(self, Self::Get | Self::List { .. })
    }
}

impl Request {
    /// Reads a request; `None` is one that this API server doesn't know.
    pub fn read(method: &Method, uri: &Uri, content_type: &str, body: &[u8]) -> Option<Self> {
        let (_, rest) = uri.path().split_once("/namespaces/")?;
        let mut parts = rest.split('/').skip(1);
        let kind = match parts.next()? {
            "baremetalhosts" => Kind::Host,
            "hostcalendars" => Kind::Calendar,
            "reservations" => Kind::Reservation,
            "secrets" => Kind::Secret,
            _ => return None,
        };
        let name = parts.next().unwrap_or_default().to_owned();
        let status = match parts.next() {
            None => false,
            Some("status") => true,
            Some(_) => return None,
        };
        let document = || serde_json::from_slice::<Value>(body).ok();
        let verb = match (method.as_str(), content_type) {
            ("GET", _) if name.is_empty() => Verb::List { label: label(uri) },
            ("GET", _) => Verb::Get,
            ("POST", _) => Verb::Create(document()?),
            ("PUT", _) => Verb::Replace(document()?),
            ("PATCH", "application/apply-patch+yaml") => Verb::Apply(document()?),
            ("PATCH", "application/merge-patch+json") => Verb::Merge(document()?),
            ("PATCH", "application/json-patch+json") => {
                Verb::Json(serde_json::from_slice(body).ok()?)
            }
            ("DELETE", _) => {
                let options = document().unwrap_or_default();
                let text = |field: &str| {
                    let value = options["preconditions"][field].as_str();
                    value.map(str::to_owned)
                };
                Verb::Delete {
                    uid: text("uid"),
                    version: text("resourceVersion"),
                }
            }
            _ => return None,
        };
        Some(Self {
            kind,
            name,
            status,
            verb,
        })
    }
}

fn label(uri: &Uri) -> Option<(String, String)> {
    let query = uri.query()?.split('&');
    let selector = query
        .filter_map(|pair| pair.split_once('='))
        .find_map(|(key, value)| (key == "labelSelector").then_some(value))?;
    // Percent-encoded by the client: of what our labels hold, only these two are.
    let selector = selector.replace("%2F", "/").replace("%3D", "=");
    let (key, value) = selector.split_once('=')?;
    Some((key.to_owned(), value.to_owned()))
}
