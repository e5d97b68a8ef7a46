//! Other projects' webhooks that stand in the way of hosts: closed, and nobody behind them.

use serde_json::Value;

use super::{
    Findings,
    observed::{Configuration, Hook, Observed, Reading},
    selector,
};

pub(super) fn examine(observed: &Observed, findings: &mut Findings) {
    for (configuration, hook) in on_hosts(observed) {
        let Some(backend) = service(hook) else {
            continue;
        };
        let problem = match observed.backends.get(&backend) {
            Some(Reading::Missing) => "is not there",
            Some(Reading::Found(0)) => "has no ready endpoint",
            _ => continue,
        };
        let (namespace, name) = backend;
        findings.error(
            "other-webhook-closed",
            format!("{}/{} {}", configuration.kind, configuration.name, hook.name),
            format!("it fails closed on {}, and its Service {namespace}/{name} {problem}", observed.expected.hosts.plural),
            "every write to a host fails, ours too: reservations neither begin nor end",
            format!(
                "kubectl get deployment,pod,endpointslice --namespace {namespace}    # mend that project; \
                 if it is gone: kubectl delete {}s {}",
                configuration.kind.to_lowercase(),
                configuration.name
            ),
        );
    }
}

/// The webhooks of others that a write to a host in our namespace must pass.
pub(super) fn on_hosts(observed: &Observed) -> impl Iterator<Item = (&Configuration, &Hook)> {
    let expected = &observed.expected;
    let ours = |configuration: &Configuration| {
        let same =
            |one: &Configuration| one.kind == configuration.kind && one.name == configuration.name;
        expected.configurations.iter().any(same)
    };
    let configurations = observed.configurations.found().into_iter().flatten();
    configurations
        .filter(move |configuration| !ours(configuration))
        .flat_map(|configuration| {
            configuration
                .hooks
                .iter()
                .map(move |hook| (configuration, hook))
        })
        .filter(|(_, hook)| is_closed_on_hosts(observed, hook))
}

fn is_closed_on_hosts(observed: &Observed, hook: &Hook) -> bool {
    let hosts = &observed.expected.hosts;
    let has = |rule: &Value, field: &str, wanted: &str| {
        let mut words = rule[field]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str);
        words.any(|word| word == "*" || word == "*/*" || word == wanted)
    };
    let mut rules = hook.spec["rules"].as_array().into_iter().flatten();
    // Converted if need be, a write at any version is sent (matchPolicy Equivalent).
    let on_hosts = rules
        .any(|rule| has(rule, "apiGroups", &hosts.group) && has(rule, "resources", &hosts.plural));
    let selected = observed
        .hosts_namespace
        .found()
        .is_none_or(|labels| selector::matches(&hook.spec["namespaceSelector"], labels));
    on_hosts && selected && hook.spec["failurePolicy"] != "Ignore"
}

/// The Service that a webhook names, by namespace and name.
pub(super) fn service(hook: &Hook) -> Option<(String, String)> {
    let service = &hook.spec["clientConfig"]["service"];
    let text = |field: &str| service[field].as_str().map(str::to_owned);
    Some((text("namespace")?, text("name")?))
}
