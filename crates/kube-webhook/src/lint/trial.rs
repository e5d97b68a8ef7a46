//! What an API server itself says of configurations, by a dry run of applying them. Called by programs,
//! and by the command line's `lint --server`.
//!
//! Its validation compiles the matchConditions, with the CEL of its own version, and knows rules that
//! are younger than this crate. Nothing is stored: the field manager's claims end with the request.

use std::time::Duration;

use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind, Status},
};
use serde_json::Value;

use super::{Finding, Findings, Severity::Advice, manifests::unfolded};
use crate::names::is_subdomain;

/// Why a dry run came to no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DryRunError {
    /// The API server gave no verdict: it can't be reached, or the user has no right to apply it.
    #[error("a dry run of {kind} {name} came to no verdict")]
    Call {
        /// The object's kind.
        kind: &'static str,
        /// The object's name.
        name: String,
        /// What became of the call.
        source: kube::Error,
    },
    /// The API server didn't answer in time.
    #[error("a dry run of {kind} {name} had no answer within {} s", DEADLINE.as_secs())]
    Deadline {
        /// The object's kind.
        kind: &'static str,
        /// The object's name.
        name: String,
    },
}

/// Has an API server say which webhook configurations and CRDs among `objects` it would refuse; lists
/// are unfolded, and other kinds left alone.
///
/// Of a CRD without versions, whose rest is somebody else's, the conversion stanza is tried on the CRD
/// that is there.
///
/// The user needs the right to `patch` these kinds, and `create` them where they are not there yet.
///
/// # Errors
///
/// If the API server comes to no verdict.
pub async fn dry_run(client: &Client, objects: &[Value]) -> Result<Vec<Finding>, DryRunError> {
    let mut findings = Findings::default();
    for object in unfolded(objects) {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let those = KINDS.into_iter();
        let mut those = those.filter(|(_, kind, _)| object["kind"] == *kind);
        // A name that is none makes no request; the rules have said so.
        if let Some(kind) = those.next().filter(|_| is_subdomain(name)) {
            try_one(client, kind, name, object, &mut findings).await?;
        }
    }
    Ok(findings.sorted())
}

async fn try_one(
    client: &Client,
    (group, kind, plural): (&str, &'static str, &str),
    name: &str,
    object: &Value,
    findings: &mut Findings,
) -> Result<(), DryRunError> {
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1", kind), plural);
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    let is_part = group == EXTENSIONS && object["spec"]["versions"].is_null();
    let parameters = PatchParams {
        dry_run: true,
        // As a merge, it claims nothing that could be in somebody else's way.
        force: !is_part,
        field_manager: Some(MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let patch = if is_part {
        Patch::Merge(object)
    } else {
        Patch::Apply(object)
    };
    let call = api.patch(name, &parameters, &patch);
    let Ok(answer) = tokio::time::timeout(DEADLINE, call).await else {
        let name = name.to_owned();
        return Err(DryRunError::Deadline { kind, name });
    };
    match answer {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if is_part && status.code == 404 => {
            findings.add(
                "S1",
                Advice,
                name,
                "the CRD is not there, and so its conversion stanza was not tried",
                "apply the CRD first",
            );
            Ok(())
        }
        Err(kube::Error::Api(status)) if is_refusal(&status) => {
            let message = format!("the API server refuses it: {}", status.message);
            findings.error("S1", name, message, "correct what it names");
            Ok(())
        }
        Err(source) => Err(DryRunError::Call {
            kind,
            name: name.to_owned(),
            source,
        }),
    }
}

/// An apply with a key twice in a list is a server's fault, by its code.
fn is_refusal(status: &Status) -> bool {
    [400, 422].contains(&status.code) || status.message.starts_with("failed to create typed patch")
}

const REGISTRATION: &str = "admissionregistration.k8s.io";
const EXTENSIONS: &str = "apiextensions.k8s.io";
const KINDS: [(&str, &str, &str); 3] = [
    (
        REGISTRATION,
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
    ),
    (
        REGISTRATION,
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
    ),
    (
        EXTENSIONS,
        "CustomResourceDefinition",
        "customresourcedefinitions",
    ),
];
const MANAGER: &str = "kube-webhook-lint";
/// As long as an API server gives itself for a write, and a little.
const DEADLINE: Duration = Duration::from_secs(40);
