//! The API server's checks of an answer. Called by `api_server`, and by tests that have an answer of
//! other origin.
//!
//! Ported by behaviour from `VerifyAdmissionResponse` of k8s.io/apiserver and the webhook converter
//! of k8s.io/apiextensions-apiserver; the order of the checks and the texts are theirs.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use json_patch::Patch;
use serde::Deserialize;
use serde_json::Value;

use super::{CallError, ReviewVersion};

/// What a webhook decided, in an answer that the API server accepts.
#[derive(Clone, Debug)]
pub struct Verdict {
    allowed: bool,
    status: Option<Status>,
    patch: Option<Patch>,
    object: Option<Value>,
    warnings: Vec<String>,
    audit_annotations: BTreeMap<String, String>,
}

impl Verdict {
    /// Whether the request passes.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.allowed
    }

    /// What the user of a denied request is told by the API server, if the webhook is called `name`.
    #[must_use]
    pub fn refusal(&self, name: &str) -> Option<Refusal> {
        if self.allowed {
            return None;
        }
        let status = self.status.clone().unwrap_or_default();
        let why = [status.message, status.reason.clone()]
            .into_iter()
            .find(|text| !text.is_empty());
        let message = match why {
            Some(why) => format!("admission webhook {name:?} denied the request: {why}"),
            None => format!("admission webhook {name:?} denied the request without explanation"),
        };
        Some(Refusal {
            // A denial can't look like a success.
            code: if status.code < 400 { 400 } else { status.code },
            reason: status.reason,
            message,
            details: status.details,
        })
    }

    /// The patch of a mutation; `None` if nothing is to change.
    #[must_use]
    pub fn patch(&self) -> Option<&Patch> {
        self.patch.as_ref()
    }

    /// The object after the patch; `None` if nothing is to change.
    #[must_use]
    pub fn object(&self) -> Option<&Value> {
        self.object.as_ref()
    }

    /// The warnings, as they were sent.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The audit annotations, as they were sent.
    #[must_use]
    pub fn audit_annotations(&self) -> &BTreeMap<String, String> {
        &self.audit_annotations
    }
}

/// The `metav1.Status` that the user of a denied request gets.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Refusal {
    /// The HTTP status code.
    pub code: u16,
    /// The machine-readable reason; often empty.
    pub reason: String,
    /// The whole message.
    pub message: String,
    /// The details, with the causes by field.
    pub details: Option<Value>,
}

/// Checks a validating webhook's answer to the call `uid`.
///
/// # Errors
///
/// As the API server would put it.
pub fn check_validation(
    version: ReviewVersion,
    uid: &str,
    body: &[u8],
) -> Result<Verdict, CallError> {
    let response = response(version, uid, body)?;
    if version == ReviewVersion::V1 {
        if response.patch()?.is_some_and(|patch| !patch.is_empty()) {
            return Err(invalid("validating webhook may not return response.patch"));
        }
        if response.patch_type.is_some() {
            return Err(invalid(
                "validating webhook may not return response.patchType",
            ));
        }
    }
    Ok(response.verdict())
}

/// Checks a mutating webhook's answer to the call `uid`, and applies its patch to `object`, which is
/// `null` for a delete.
///
/// # Errors
///
/// As the API server would put it.
pub fn check_mutation(
    version: ReviewVersion,
    uid: &str,
    object: &Value,
    body: &[u8],
) -> Result<Verdict, CallError> {
    let response = response(version, uid, body)?;
    let patch = response.patch()?.unwrap_or_default();
    if version == ReviewVersion::V1 {
        check_patch_type(&patch, response.patch_type.as_deref())?;
    }
    let kind = response.patch_type.clone();
    let mut verdict = response.verdict();
    if !verdict.allowed || patch.is_empty() {
        return Ok(verdict);
    }
    let patch: Patch =
        serde_json::from_slice(&patch).map_err(|error| CallError::UndecodablePatch {
            message: said(&error),
        })?;
    if patch.0.is_empty() {
        return Ok(verdict);
    }
    if object.is_null() {
        return Err(CallError::Inapplicable {
            message: "the webhook attempted to modify the object, which is not supported for this \
                      operation"
                .to_owned(),
        });
    }
    if let Some(kind) = kind.filter(|kind| kind != "JSONPatch") {
        return Err(CallError::refused(format!(
            "unsupported patch type {kind:?}"
        )));
    }
    let mut patched = object.clone();
    json_patch::patch(&mut patched, &patch).map_err(|error| {
        let operation = serde_json::to_value(&patch.0[error.operation]).unwrap_or_default();
        let operation = operation["op"].as_str().unwrap_or_default();
        CallError::Inapplicable {
            message: format!("{operation} operation does not apply: {error}"),
        }
    })?;
    verdict.patch = Some(patch);
    verdict.object = Some(patched);
    Ok(verdict)
}

fn check_patch_type(patch: &[u8], patch_type: Option<&str>) -> Result<(), CallError> {
    let message = match patch_type {
        None if !patch.is_empty() => "webhook returned response.patch but not response.patchType",
        Some(_) if patch.is_empty() => "webhook returned response.patchType but not response.patch",
        Some("") => "webhook returned invalid response.patchType of \"\"",
        _ => return Ok(()),
    };
    Err(invalid(message))
}

/// Checks a conversion webhook's answer to the call `uid`, which sent `objects` to be converted to
/// `desired`, and gives them converted, with what the API server keeps of the originals.
///
/// # Errors
///
/// As the API server would put it.
pub fn check_conversion(
    version: ReviewVersion,
    uid: &str,
    desired: &str,
    objects: &[Value],
    body: &[u8],
) -> Result<Vec<Value>, CallError> {
    let review: ConversionReview = serde_json::from_slice(body).map_err(undecodable)?;
    if version == ReviewVersion::V1 {
        check_types(
            &review.api_version,
            &review.kind,
            "apiextensions.k8s.io",
            "ConversionReview",
            "expected webhook response of",
        )?;
    }
    let response = review
        .response
        .ok_or_else(|| CallError::refused("no response provided"))?;
    if version == ReviewVersion::V1 && response.uid != uid {
        return Err(CallError::refused(format!(
            "expected response.uid={uid:?}, got {:?}",
            response.uid
        )));
    }
    if response.result.status != "Success" {
        let message = if response.result.message.is_empty() {
            format!(
                "response.result.status was '{}', not 'Success'",
                response.result.status
            )
        } else {
            response.result.message
        };
        return Err(CallError::Failed { message });
    }
    let converted = response.converted_objects.unwrap_or_default();
    if converted.len() != objects.len() {
        return Err(CallError::refused(format!(
            "returned {} objects, expected {}",
            converted.len(),
            objects.len()
        )));
    }
    let restored = objects.iter().zip(converted).enumerate();
    restored
        .map(|(index, (original, converted))| restore(original, converted, desired, index))
        .collect()
}

/// All metadata but labels and annotations is the original's, whatever came back.
fn restore(
    original: &Value,
    mut converted: Value,
    desired: &str,
    index: usize,
) -> Result<Value, CallError> {
    let text = |object: &Value, field: &str| object[field].as_str().unwrap_or_default().to_owned();
    let received = text(&converted, "apiVersion");
    if received != desired {
        return Err(CallError::refused(format!(
            "returned invalid converted object at index {index}: invalid groupVersion (expected \
             {desired}, received {received})"
        )));
    }
    let (expected, received) = (text(original, "kind"), text(&converted, "kind"));
    if expected != received {
        return Err(CallError::refused(format!(
            "returned invalid converted object at index {index}: invalid kind (expected \
             {expected}, received {received})"
        )));
    }
    for (field, label) in [("name", "name"), ("namespace", "namespace"), ("uid", "UID")] {
        let (before, after) = (
            text(&original["metadata"], field),
            text(&converted["metadata"], field),
        );
        if before != after {
            return Err(CallError::refused(format!(
                "must have the same {label}: {before} != {after}"
            )));
        }
    }
    let Some(made) = converted["metadata"].as_object().cloned() else {
        return Err(CallError::refused("missing metadata in converted object"));
    };
    let mut metadata = original["metadata"]
        .as_object()
        .cloned()
        .unwrap_or_default();
    for field in ["labels", "annotations"] {
        metadata.remove(field);
        match made.get(field) {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) if map.values().all(Value::is_string) => {
                if !map.is_empty() {
                    metadata.insert(field.to_owned(), Value::Object(map.clone()));
                }
            }
            Some(_) => {
                return Err(CallError::refused(format!(
                    "metadata.{field} of the converted object is not a map of strings"
                )));
            }
        }
    }
    converted["metadata"] = Value::Object(metadata);
    Ok(converted)
}

fn response(version: ReviewVersion, uid: &str, body: &[u8]) -> Result<Response, CallError> {
    let review: AdmissionReview = serde_json::from_slice(body).map_err(undecodable)?;
    let (api_version, kind) = (&*review.api_version, &*review.kind);
    let is_known = kind == "AdmissionReview"
        && ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"].contains(&api_version);
    // Without types of its own, an answer is read as what was asked for.
    if !is_known && !api_version.is_empty() && !kind.is_empty() {
        return Err(CallError::Undecodable {
            message: format!("no kind {kind:?} is registered for version {api_version:?}"),
        });
    }
    let (own, other) = match version {
        ReviewVersion::V1 => ("v1", "v1beta1"),
        ReviewVersion::V1beta1 => ("v1beta1", "v1"),
    };
    if api_version.strip_prefix("admission.k8s.io/") == Some(other) {
        let message = format!(
            "converting ({other}.AdmissionReview) to ({own}.AdmissionReview): unknown conversion"
        );
        return Err(CallError::Undecodable { message });
    }
    let response = review
        .response
        .ok_or_else(|| invalid("webhook response was absent"))?;
    if version == ReviewVersion::V1 {
        if response.uid != uid {
            let got = &response.uid;
            return Err(invalid(&format!(
                "expected response.uid={uid:?}, got {got:?}"
            )));
        }
        check_types(
            api_version,
            kind,
            "admission.k8s.io",
            "AdmissionReview",
            "received invalid webhook response: expected webhook response of",
        )?;
    }
    Ok(response)
}

fn invalid(message: &str) -> CallError {
    CallError::refused(format!("received invalid webhook response: {message}"))
}

fn check_types(
    api_version: &str,
    kind: &str,
    group: &str,
    expected: &str,
    prefix: &str,
) -> Result<(), CallError> {
    if api_version == format!("{group}/v1") && kind == expected {
        return Ok(());
    }
    // As Go prints a GroupVersionKind.
    let received = if api_version.contains('/') {
        api_version.to_owned()
    } else {
        format!("/{api_version}")
    };
    Err(CallError::refused(format!(
        "{prefix} {group}/v1, Kind={expected}, got {received}, Kind={kind}"
    )))
}

#[expect(clippy::needless_pass_by_value, reason = "a function for `map_err`")]
fn undecodable(error: serde_json::Error) -> CallError {
    let message = format!(
        "couldn't get version/kind; json parse error: {}",
        said(&error)
    );
    CallError::Undecodable { message }
}

/// What Go says of a text that stops short, which users know; otherwise in our own decoder's words.
fn said(error: &serde_json::Error) -> String {
    if error.is_eof() {
        "unexpected end of JSON input".to_owned()
    } else {
        error.to_string()
    }
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct AdmissionReview {
    api_version: String,
    kind: String,
    response: Option<Response>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Response {
    uid: String,
    allowed: bool,
    status: Option<Status>,
    patch: Option<String>,
    patch_type: Option<String>,
    audit_annotations: Option<BTreeMap<String, String>>,
    warnings: Option<Vec<String>>,
}

impl Response {
    fn patch(&self) -> Result<Option<Vec<u8>>, CallError> {
        let Some(text) = &self.patch else {
            return Ok(None);
        };
        let bytes = STANDARD.decode(text);
        bytes.map(Some).map_err(|error| CallError::Undecodable {
            message: format!("response.patch is not base64: {error}"),
        })
    }

    fn verdict(self) -> Verdict {
        Verdict {
            allowed: self.allowed,
            status: self.status,
            patch: None,
            object: None,
            warnings: self.warnings.unwrap_or_default(),
            audit_annotations: self.audit_annotations.unwrap_or_default(),
        }
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    pub(super) status: String,
    pub(super) message: String,
    reason: String,
    code: u16,
    details: Option<Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConversionReview {
    api_version: String,
    kind: String,
    response: Option<ConversionResponse>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ConversionResponse {
    uid: String,
    converted_objects: Option<Vec<Value>>,
    result: Status,
}

#[cfg(test)]
mod tests;
