//! The webhook configurations against what `generate webhooks` prints: what is not there is never
//! called, and nothing complains.

use serde_json::{Value, json};

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
        match live.hooks.iter().position(|one| one.name == hook.name) {
            None => findings.error(
                "webhook-missing",
                subject(wanted, hook),
                "the configuration lacks this webhook",
                "it is never called; the configuration is an older version's, or was edited",
                observed.expected.apply("webhooks"),
            ),
            Some(index) => {
                let found = Found {
                    configuration: live,
                    index,
                };
                compare(observed, hook, &found, findings);
            }
        }
    }
    for (index, hook) in live.hooks.iter().enumerate() {
        if !wanted.hooks.iter().any(|one| one.name == hook.name) {
            let found = Found {
                configuration: live,
                index,
            };
            findings.warning(
                "webhook-unknown",
                subject(live, hook),
                "the configuration names a webhook that this version doesn't have",
                "left by another version, or somebody else's: the API server calls a route that \
                 answers 404",
                found.remove(""),
            );
        }
    }
}

/// Where a live webhook stands.
struct Found<'a> {
    configuration: &'a Configuration,
    index: usize,
}

impl Found<'_> {
    fn hook(&self) -> &Hook {
        &self.configuration.hooks[self.index]
    }

    /// The command that takes something away. An apply can't: what others have added stays.
    fn remove(&self, path: &str) -> String {
        self.patch(&[json!({"op": "remove", "path": self.path(path)})])
    }

    fn patch(&self, operations: &[Value]) -> String {
        let Configuration { kind, name, .. } = self.configuration;
        let operations = Value::from(operations);
        format!(
            "kubectl patch {} {name} --type=json -p '{operations}'",
            kind.to_lowercase()
        )
    }

    fn path(&self, path: &str) -> String {
        format!("/webhooks/{}{path}", self.index)
    }

    /// From Service to URL or back: only one of the two may stand there, and an apply would leave
    /// the other.
    fn retarget(&self, wanted: &Hook) -> Option<String> {
        let (wanted, live) = (
            &wanted.spec["clientConfig"],
            &self.hook().spec["clientConfig"],
        );
        let (add, remove) = match (wanted["service"].is_null(), live["service"].is_null()) {
            (false, true) => ("service", "url"),
            (true, false) => ("url", "service"),
            _ => return None,
        };
        let path = |field: &str| self.path(&format!("/clientConfig/{field}"));
        Some(self.patch(&[
            json!({"op": "remove", "path": path(remove)}),
            json!({"op": "add", "path": path(add), "value": wanted[add]}),
        ]))
    }
}

fn compare(observed: &Observed, wanted: &Hook, found: &Found<'_>, findings: &mut Findings) {
    let expected = &observed.expected;
    let live = found.hook();
    let subject = &subject(found.configuration, live);
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
        let mend = found.retarget(wanted).unwrap_or_else(apply);
        findings.error("target-changed", subject, told, cause, mend);
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
    selectors(observed, subject, found, findings);
    conditions(expected, subject, wanted, found, findings);
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

fn selectors(observed: &Observed, subject: &str, found: &Found<'_>, findings: &mut Findings) {
    let live = found.hook();
    let namespace = &observed.expected.hosts_namespace;
    let selector = &live.spec["namespaceSelector"];
    if let Some(labels) = observed.hosts_namespace.found()
        && !selector::matches(selector, labels)
    {
        findings.error(
            "namespace-excluded",
            subject,
            format!("the namespaceSelector leaves out the namespace {namespace}: {selector}"),
            "writes to hosts in that namespace are never sent",
            found.remove("/namespaceSelector"),
        );
    }
    let selector = &live.spec["objectSelector"];
    if !is_empty(selector) {
        findings.warning(
            "objects-excluded",
            subject,
            format!("there is an objectSelector: {selector}"),
            "whoever may label a host decides by that whether the guard is asked",
            found.remove("/objectSelector"),
        );
    }
}

fn conditions(
    expected: &Expected,
    subject: &str,
    wanted: &Hook,
    found: &Found<'_>,
    findings: &mut Findings,
) {
    let all = |hook: &Hook| {
        hook.spec["matchConditions"]
            .as_array()
            .cloned()
            .unwrap_or_default()
    };
    let (wanted, live) = (all(wanted), all(found.hook()));
    for condition in &wanted {
        let same = |one: &&Value| one["name"] == condition["name"];
        let live = live.iter().find(same).unwrap_or(&Value::Null);
        if let Some(told) = difference(condition, live) {
            let name = &condition["name"];
            findings.warning(
                "conditions-changed",
                subject,
                format!("the matchCondition {name}{told}"),
                "matchConditions decide which writes are sent at all; OPERATOR_USERS and the \
                 namespaces are part of them, so `generate` must be given what `serve` is",
                expected.apply("webhooks"),
            );
        }
    }
    for (index, condition) in live.iter().enumerate() {
        if !wanted.iter().any(|one| one["name"] == condition["name"]) {
            findings.warning(
                "condition-added",
                subject,
                format!(
                    "there is a matchCondition of somebody else's: {}",
                    short(condition)
                ),
                "writes for which it is false are not sent",
                found.remove(&format!("/matchConditions/{index}")),
            );
        }
    }
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

/// Of `admissionregistration.k8s.io/v1`.
const DEFAULT_TIMEOUT: i64 = 10;

const SHOWN: usize = 160;
