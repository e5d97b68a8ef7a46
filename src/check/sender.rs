//! The event processor's side: whether what it signs with is here, and by which way it reaches
//! us. It asks once, trusts the authorities of its Java runtime alone, and never complains, so that
//! a wrong answer to either loses every event without a word.

use std::{collections::BTreeMap, str};

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt;

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
    ways(observed, findings);
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

fn ways(observed: &Observed, findings: &mut Findings) {
    let namespace = &observed.expected.namespace;
    let mut ways = 0;
    let mut way = |subject: String, problem: String, needs: &str, test: String| {
        ways += 1;
        findings.note("sender-way", subject, problem, needs, test);
    };
    let try_it = |url: &str| {
        format!(
            "harbormaster send-event --type ALL --resource none --url {url} --secret-file secret.txt"
        )
    };
    let plain_port = observed.value("EVENTS_HTTP_PORT");
    if plain_port.is_some() && observed.events_service.found().is_some() {
        let url = format!("http://{EVENTS_SERVICE}.{namespace}.svc/webhook");
        way(
            format!("Service/{EVENTS_SERVICE}"),
            format!("events come over plain HTTP, inside the cluster: {url}"),
            "the sender needs no certificate; what is sent can be read on the cluster's network",
            try_it(&url),
        );
    }
    for (host, ingress) in observed
        .ingresses
        .found()
        .into_iter()
        .flatten()
        .flat_map(hosts)
    {
        let url = format!("https://{host}/webhook");
        way(
            format!("Ingress/{}", ingress.name_any()),
            format!("events come through an ingress: {url}"),
            "the sender must trust the ingress's certificate, not ours",
            format!("{} --ca-file ca.crt", try_it(&url)),
        );
    }
    if let Some(file) = observed.value("EVENTS_TLS_CERT_FILE") {
        way(
            format!("Deployment/{NAME}"),
            format!("a certificate for the sender is chosen by the name that it asks for: {file}"),
            "the sender must trust that certificate's issuer, and use a name that it is for",
            format!("{} --ca-file ca.crt", try_it("https://NAME/webhook")),
        );
    }
    if let Some(names) = observed.value("TLS_EXTRA_NAMES") {
        let url = format!(
            "https://{}/webhook",
            names.split(',').next().unwrap_or_default().trim()
        );
        way(
            format!("Deployment/{NAME}"),
            format!("our own certificate is also for {names}"),
            "the sender's Java trust store must hold our CA: keytool -importcert -cacerts \
             -alias harbormaster -file ca.crt",
            format!("{} --ca-file ca.crt", try_it(&url)),
        );
    }
    if ways > 0 {
        return;
    }
    if let Some(port) = plain_port
        && observed.events_service.is_missing()
    {
        findings.warning(
            "events-service-missing",
            format!("Service/{EVENTS_SERVICE}"),
            "EVENTS_HTTP_PORT is set, and no Service leads there",
            "the sender can't reach the plain listener by a name that lasts",
            observed.expected.apply_file(
                "components/events-http/events-service.yaml",
                &format!(" --events-http-port {port}"),
            ),
        );
    } else if observed.ingresses != Reading::Unknown && observed.events_service != Reading::Unknown
    {
        findings.warning(
            "sender-cannot-trust",
            format!("Deployment/{NAME}"),
            "events can only come over TLS with a certificate of the cluster's own CA",
            "the sender's Java trust store doesn't know that CA: it makes one connection, sends \
             nothing, and marks the event as notified. Choose one of four ways: docs/sender-trust.md",
            format!("kubectl set env deployment/{NAME} --namespace {namespace} EVENTS_HTTP_PORT=5080    # or another way of docs/sender-trust.md"),
        );
    }
}

/// The hosts under which an ingress leads to us.
fn hosts(ingress: &Ingress) -> impl Iterator<Item = (&str, &Ingress)> {
    let rules = ingress
        .spec
        .iter()
        .flat_map(|spec| spec.rules.iter().flatten());
    let ours = rules.filter(|rule| {
        let paths = rule.http.iter().flat_map(|http| &http.paths);
        let mut services = paths.filter_map(|path| path.backend.service.as_ref());
        services.any(|service| service.name == NAME || service.name == EVENTS_SERVICE)
    });
    ours.map(move |rule| (rule.host.as_deref().unwrap_or("HOST"), ingress))
}

/// The plain Service for events.
pub(super) const EVENTS_SERVICE: &str = "harbormaster-events";

/// The Secret of the senders' secret.
const EVENTS_SECRET: &str = "harbormaster-events";

const PORTAL_SECRET: usize = 32;
