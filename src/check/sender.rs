//! What the event processor signs with: whether it is here, and is what the portal shows. It never
//! complains, so that a wrong secret loses every event without a word.

use std::{collections::BTreeMap, str};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    Findings,
    observed::{Observed, Reading, Setting},
};
use crate::manifests::NAME;

pub(super) fn examine(observed: &Observed, findings: &mut Findings) {
    if observed.deployment.found().is_none() {
        return;
    }
    secrets(observed, findings);
}

fn secrets(observed: &Observed, findings: &mut Findings) {
    let namespace = &observed.expected.namespace;
    match observed.settings.get("WEBHOOK_SECRET") {
        Some(Setting::Secret {
            name,
            key,
            optional,
        }) => {
            secret(observed, name, key, *optional, findings);
        }
        Some(Setting::Value(text)) if !text.is_empty() => findings.warning(
            "secret-in-clear",
            format!("Deployment/{NAME}"),
            "WEBHOOK_SECRET stands in the Deployment or in a ConfigMap",
            "whoever may read those can book hosts",
            from_secret(namespace),
        ),
        _ if observed.value("WEBHOOK_SECRETS_DIR").is_none() => findings.warning(
            "signatures-unchecked",
            format!("Deployment/{NAME}"),
            "neither WEBHOOK_SECRET nor WEBHOOK_SECRETS_DIR is set",
            "whoever reaches /webhook can book and wipe hosts",
            from_secret(namespace),
        ),
        _ => {}
    }
    let Some(folder) = &observed.secrets_folder else {
        return;
    };
    let is_empty = match observed.secrets.get(folder) {
        Some(Reading::Missing) => true,
        Some(Reading::Found(secret)) => secret.data.as_ref().is_none_or(BTreeMap::is_empty),
        _ => false,
    };
    if is_empty {
        findings.error(
            "secrets-dir-empty",
            format!("Secret/{folder}"),
            "the folder of WEBHOOK_SECRETS_DIR is mounted from a Secret that is missing or empty",
            "every event is answered 401, unless WEBHOOK_SECRET fits",
            store(namespace, folder, "WEBHOOK_ID"),
        );
    }
}

fn secret(observed: &Observed, name: &str, key: &str, optional: bool, findings: &mut Findings) {
    let namespace = &observed.expected.namespace;
    let subject = format!("Secret/{name}");
    let mend = format!(
        "{}; kubectl rollout restart deployment/{NAME} --namespace {namespace}",
        store(namespace, name, key)
    );
    let value = match observed.secrets.get(name) {
        Some(Reading::Missing) => None,
        Some(Reading::Found(secret)) => secret.data.as_ref().and_then(|data| data.get(key)),
        _ => return,
    };
    let Some(value) = value else {
        let cause = if optional {
            "the pod starts without it, and signatures are not checked"
        } else {
            "no pod starts without it (CreateContainerConfigError)"
        };
        let problem = format!("there is no key {key} with the secret that events are signed with");
        findings.error("secret-missing", subject, problem, cause, mend);
        return;
    };
    let Ok(text) = str::from_utf8(&value.0) else {
        findings.error(
            "secret-not-text",
            subject,
            format!("the key {key} holds bytes that are no text"),
            "the portal shows the secret as base64 text, and that text itself is the key: it was \
             decoded once too often",
            mend,
        );
        return;
    };
    if text.trim().is_empty() {
        findings.error(
            "secret-empty",
            subject,
            format!("the key {key} is empty"),
            "signatures are not checked: whoever reaches /webhook can book and wipe hosts",
            mend,
        );
    } else if is_encoded_twice(text) {
        findings.warning(
            "secret-encoded-twice",
            subject,
            format!("the key {key} holds the base64 of what looks like the portal's secret"),
            "`data` of a Secret is base64 of the text that the portal shows; it was encoded once \
             more, so that every event is answered 401",
            mend,
        );
    }
}

fn store(namespace: &str, name: &str, key: &str) -> String {
    format!(
        "kubectl create secret generic {name} --namespace {namespace} \
         --from-file={key}=secret.txt --dry-run=client -o yaml | kubectl apply -f -"
    )
}

fn from_secret(namespace: &str) -> String {
    format!(
        "{}; kubectl set env deployment/{NAME} --namespace {namespace} \
         --from=secret/{EVENTS_SECRET}",
        store(namespace, EVENTS_SECRET, "WEBHOOK_SECRET")
    )
}

/// The portal makes secrets of 32 bytes, and shows them as base64.
fn is_encoded_twice(text: &str) -> bool {
    let decoded = |text: &str| STANDARD.decode(text.trim()).ok();
    let inner = decoded(text).and_then(|bytes| String::from_utf8(bytes).ok());
    inner
        .and_then(|text| decoded(&text))
        .is_some_and(|bytes| bytes.len() == PORTAL_SECRET)
}

/// The Secret of the senders' secret.
const EVENTS_SECRET: &str = "harbormaster-events";

const PORTAL_SECRET: usize = 32;
