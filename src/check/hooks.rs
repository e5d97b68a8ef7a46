//! The webhook configurations against what `generate webhooks` prints: what is not there is never
//! called, and nothing complains.

use serde_json::Value;

use super::{
    Findings,
    expected::Expected,
    observed::{Configuration, Hook, Observed},
    selector,
};

pub(super) fn examine(observed: &Observed, findings: &mut Findings) {
    let expected = &observed.expected;
    if observed.hosts_namespace.is_missing() {
        let namespace = &expected.hosts_namespace;
        findings.error(
            "hosts-namespace-missing",
            format!("Namespace/{namespace}"),
            "the namespace of hosts and Reservations is not there",
            "K8S_NAMESPACE, or --k8s-namespace, names another than the hosts live in",
            format!(
                "kubectl get {}.{} --all-namespaces",
                expected.hosts.plural, expected.hosts.group
            ),
        );
    }
    let Some(live) = observed.configurations.found() else {
        return;
    };
    for wanted in &expected.configurations {
        let found = live
            .iter()
            .find(|one| one.kind == wanted.kind && one.name == wanted.name);
        match found {
            None => findings.error(
                "configuration-missing",
                format!("{}/{}", wanted.kind, wanted.name),
                "the webhook configuration is not there",
                "without it, none of its webhooks is ever called",
                expected.apply("webhooks"),
            ),
            Some(found) => configuration(observed, wanted, found, findings),
        }
    }
}

fn configuration(
    observed: &Observed,
    wanted: &Configuration,
    live: &Configuration,
    findings: &mut Findings,
) {
    for hook in &wanted.hooks {
        match live.hooks.iter().find(|one| one.name == hook.name) {
            None => findings.error(
                "webhook-missing",
                subject(wanted, hook),
                "the configuration lacks this webhook",
                "it is never called; the configuration is an older version's, or was edited",
                observed.expected.apply("webhooks"),
            ),
            Some(found) => compare(observed, &subject(wanted, hook), hook, found, findings),
        }
    }
    for hook in &live.hooks {
        if !wanted.hooks.iter().any(|one| one.name == hook.name) {
            findings.warning(
                "webhook-unknown",
                subject(live, hook),
                "the configuration names a webhook that this version doesn't have",
                "the API server calls a route that answers 404; left by another version, whose \
                 field manager keeps it",
                format!(
                    "kubectl delete {} {}; {}",
                    plural(live),
                    live.name,
                    observed.expected.apply("webhooks")
                ),
            );
        }
    }
}

fn compare(
    observed: &Observed,
    subject: &str,
    wanted: &Hook,
    live: &Hook,
    findings: &mut Findings,
) {
    let expected = &observed.expected;
    let apply = || expected.apply("webhooks");
    let differ = |field: &str| {
        difference(&wanted.spec[field], &live.spec[field]).map(|told| format!("{field}{told}"))
    };
    if let Some(told) = differ("rules") {
        let cause = "other objects or operations are sent than this version asks for";
        findings.error("rules-changed", subject, told, cause, apply());
    }
    if let Some(told) = differ("clientConfig") {
        let cause = "the API server calls another place than this installation's, or another route";
        findings.error("target-changed", subject, told, cause, apply());
    }
    failure_policy(expected, subject, wanted, live, findings);
    let seconds = |hook: &Hook| {
        hook.spec["timeoutSeconds"]
            .as_i64()
            .unwrap_or(DEFAULT_TIMEOUT)
    };
    if seconds(live) > seconds(wanted) {
        findings.warning(
            "timeout-too-long",
            subject,
            format!(
                "timeoutSeconds is {}, where {} is enough",
                seconds(live),
                seconds(wanted)
            ),
            "all webhooks of a write share the API server's 34 s: while one is silent for so long, \
             writes to hosts hang and then fail",
            apply(),
        );
    }
    selectors(observed, subject, live, findings);
    if let Some(told) = differ("matchConditions") {
        findings.warning(
            "conditions-changed",
            subject,
            told,
            "matchConditions decide which writes are sent at all; OPERATOR_USERS and the namespaces \
             are part of them, so `generate` must be given what `serve` is",
            apply(),
        );
    } else if let Some(extra) = extra_conditions(wanted, live) {
        findings.warning(
            "conditions-changed",
            subject,
            format!("there is a matchCondition of somebody else's: {extra}"),
            "writes for which it is false are not sent",
            apply(),
        );
    }
    let rest = [
        "admissionReviewVersions",
        "matchPolicy",
        "reinvocationPolicy",
        "sideEffects",
    ];
    for told in rest.into_iter().filter_map(differ) {
        let cause = "the configuration was edited, or is another version's";
        findings.warning("webhook-changed", subject, told, cause, apply());
    }
}

fn failure_policy(
    expected: &Expected,
    subject: &str,
    wanted: &Hook,
    live: &Hook,
    findings: &mut Findings,
) {
    let policy = |hook: &Hook| {
        hook.spec["failurePolicy"]
            .as_str()
            .unwrap_or("Fail")
            .to_owned()
    };
    let (wanted, live) = (policy(wanted), policy(live));
    if wanted == live {
        return;
    }
    let cause = if live == "Ignore" {
        "while no replica answers, anybody may change what is on a held host"
    } else {
        "while no replica answers, every write that it matches fails"
    };
    findings.warning(
        "failure-policy-changed",
        subject,
        format!("failurePolicy is {live} instead of {wanted}"),
        cause,
        expected.apply("webhooks"),
    );
}

fn selectors(observed: &Observed, subject: &str, live: &Hook, findings: &mut Findings) {
    let expected = &observed.expected;
    let namespace = &expected.hosts_namespace;
    if let Some(labels) = observed.hosts_namespace.found()
        && !selector::matches(&live.spec["namespaceSelector"], labels)
    {
        findings.error(
            "namespace-excluded",
            subject,
            format!(
                "the namespaceSelector leaves out the namespace {namespace}: {}",
                live.spec["namespaceSelector"]
            ),
            "writes to hosts in that namespace are never sent",
            expected.apply("webhooks"),
        );
    }
    if !is_empty(&live.spec["objectSelector"]) {
        findings.warning(
            "objects-excluded",
            subject,
            format!(
                "there is an objectSelector: {}",
                live.spec["objectSelector"]
            ),
            "whoever may label a host decides by that whether the guard is asked",
            expected.apply("webhooks"),
        );
    }
}

/// The first condition that is there beyond the wanted ones.
fn extra_conditions(wanted: &Hook, live: &Hook) -> Option<String> {
    let count = |hook: &Hook| hook.spec["matchConditions"].as_array().map_or(0, Vec::len);
    let extra = live.spec["matchConditions"]
        .as_array()?
        .get(count(wanted))?;
    Some(extra["name"].as_str().unwrap_or_default().to_owned())
}

/// Where `live` lacks what `wanted` says, told as `.path is X instead of Y`. What is there beside
/// it is the API server's defaults, or somebody else's.
pub(super) fn difference(wanted: &Value, live: &Value) -> Option<String> {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => wanted.iter().find_map(|(key, wanted)| {
            let live = live.get(key).unwrap_or(&Value::Null);
            Some(format!(".{key}{}", difference(wanted, live)?))
        }),
        (Value::Array(wanted), Value::Array(live)) if wanted.len() == live.len() => {
            let mut pairs = wanted.iter().zip(live).enumerate();
            pairs.find_map(|(place, (wanted, live))| {
                Some(format!("[{place}]{}", difference(wanted, live)?))
            })
        }
        (wanted, live) if wanted == live || (is_empty(wanted) && is_empty(live)) => None,
        (wanted, Value::Null) => Some(format!(" is missing instead of {}", short(wanted))),
        (wanted, live) => Some(format!(" is {} instead of {}", short(live), short(wanted))),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

/// A CEL expression in a finding is more than anybody compares by eye.
fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

fn subject(configuration: &Configuration, hook: &Hook) -> String {
    format!(
        "{}/{} {}",
        configuration.kind, configuration.name, hook.name
    )
}

fn plural(configuration: &Configuration) -> String {
    format!("{}s", configuration.kind.to_lowercase())
}

/// Of `admissionregistration.k8s.io/v1`.
const DEFAULT_TIMEOUT: i64 = 10;

const SHOWN: usize = 160;
