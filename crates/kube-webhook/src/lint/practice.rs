//! The good practices of the Kubernetes documentation that show in a configuration, by their numbers
//! in its list. Called by `lint`, which says where the others are looked at.

use super::{
    Findings,
    Severity::{Advice, Warning},
    selector::surely_matches,
    view::Hook,
};

pub(super) fn hook(hook: &Hook<'_>, findings: &mut Findings) {
    let name = hook.name;
    timeout(hook, findings);
    critical_resources(hook, findings);
    namespaces(hook, findings);
    if hook.is_broad() && hook.conditions.is_empty() && hook.object_selector.is_none() {
        findings.add(
            "G11",
            Advice,
            name,
            "nothing but its rules narrows it, though others' kinds depend on it",
            "add matchConditions for what it doesn't look at",
        );
    }
    if hook.match_policy == Some("Exact") {
        findings.add(
            "G12",
            Warning,
            name,
            "matchPolicy Exact lets requests for other versions of the kind pass without it",
            "set Equivalent",
        );
    }
    if hook.side_effects == "NoneOnDryRun" {
        findings.add(
            "G15",
            Advice,
            name,
            "it has side effects, which stay though the request may still fail",
            "look at dryRun, and let a reconciler undo what is left over; or have none",
        );
    }
    if hook.fails_closed()
        && !hook.is_broad()
        && hook.object_selector.is_none()
        && !hook.condition_mentions("userInfo")
    {
        findings.add(
            "G20",
            Advice,
            name,
            "it fails closed on what the program itself may write: while we are away, we keep ourselves from it",
            "exclude our user by a matchCondition on request.userInfo.username, or our objects by a label",
        );
    }
    if hook.is_mutating() {
        mutator(hook, findings);
    }
}

/// What several webhooks of a configuration do together.
pub(super) fn together(hooks: &[Hook<'_>], findings: &mut Findings) {
    for (index, hook) in hooks.iter().enumerate() {
        if let Some(other) = hooks[index + 1..].iter().find(|other| is_twin(hook, other)) {
            findings.add(
                "G3",
                Advice,
                hook.name,
                format!(
                    "each request that it is called for calls {} too",
                    other.name
                ),
                "judge both in one call, unless they are to fail apart",
            );
        }
        if hook.reinvocation.flatten() == Some("IfNeeded") {
            continue;
        }
        let after = hooks[index + 1..]
            .iter()
            .find(|other| other.is_mutating() && share_a_resource(hook, other));
        if let Some(other) = after.filter(|_| hook.is_mutating()) {
            findings.add(
                "G22",
                Advice,
                hook.name,
                format!("it never sees what {} changes after it", other.name),
                "set reinvocationPolicy IfNeeded, if it matters to it",
            );
        }
    }
}

/// What a mutator alone can't promise.
pub(super) fn pair(validators: &[Hook<'_>], mutators: &[Hook<'_>], findings: &mut Findings) {
    for mutator in mutators {
        if !validators
            .iter()
            .any(|other| share_a_resource(mutator, other))
        {
            findings.add(
                "G18",
                Advice,
                mutator.name,
                "no validating webhook here looks at what it mutates, and later mutators may undo it",
                "validate the final state, by a webhook or a ValidatingAdmissionPolicy",
            );
        }
    }
}

fn timeout(hook: &Hook<'_>, findings: &mut Findings) {
    let (severity, message) = match hook.timeout {
        None => (Warning, "timeoutSeconds is not set, and so 10".to_owned()),
        Some(seconds @ 11..) => (
            Warning,
            format!("timeoutSeconds is {seconds}, a third of what a whole request has"),
        ),
        Some(seconds @ 6..) => (Advice, format!("timeoutSeconds is {seconds}")),
        Some(_) => return,
    };
    findings.add(
        "G5",
        severity,
        hook.name,
        message,
        "every request that matches waits as long when we are away: 1 to 5 seconds will do",
    );
}

/// What a cluster needs to get over the loss of a node, or to authenticate at all.
fn critical_resources(hook: &Hook<'_>, findings: &mut Findings) {
    let vital = [
        ("", "nodes/status"),
        ("", "pods/status"),
        ("coordination.k8s.io", "leases"),
    ];
    let found = vital
        .into_iter()
        .find(|(group, resource)| hook.matches(group, resource));
    let writes = hook.is_called_for("UPDATE");
    if let Some((_, resource)) = found.filter(|_| writes) {
        findings.add(
            "G7",
            Warning,
            hook.name,
            format!(
                "its rules match {resource}, on which the loss of a node is noticed and mended"
            ),
            "name the resources that it is for",
        );
    }
    let virtual_ones = [
        ("authentication.k8s.io", "tokenreviews"),
        ("authorization.k8s.io", "subjectaccessreviews"),
    ];
    let found = virtual_ones
        .into_iter()
        .find(|(group, resource)| hook.matches(group, resource));
    if let Some((_, resource)) = found.filter(|_| hook.is_called_for("CREATE")) {
        findings.add(
            "G9",
            Warning,
            hook.name,
            format!("its rules match {resource}, by which components authenticate and authorize"),
            "name the groups that it is for",
        );
    }
}

fn namespaces(hook: &Hook<'_>, findings: &mut Findings) {
    let is_namespaced = hook
        .rules
        .iter()
        .any(|rule| rule.scope.as_deref() != Some("Cluster"));
    if !hook.is_broad() || !is_namespaced || hook.condition_mentions("request.namespace") {
        return;
    }
    if hook.namespace_selector.is_none() {
        findings.add(
            "G10",
            Advice,
            hook.name,
            "it has no namespaceSelector, though others' kinds depend on it",
            "select the namespaces that it is for",
        );
    }
    let system = ["kube-system", "kube-node-lease"];
    let matched: Vec<_> = system
        .into_iter()
        .filter(|namespace| surely_matches(hook.namespace_selector, namespace))
        .collect();
    if !matched.is_empty() {
        let severity = if hook.fails_closed() { Warning } else { Advice };
        findings.add(
            "G8",
            severity,
            hook.name,
            format!("it is called for objects in {}", matched.join(" and ")),
            "exclude them by a namespaceSelector on kubernetes.io/metadata.name",
        );
    }
    let Some(own) = hook
        .client
        .service
        .as_ref()
        .map(|service| &*service.namespace)
    else {
        return;
    };
    let needed = OWN_NEEDS
        .into_iter()
        .find(|(group, resource)| hook.matches(group, resource));
    if let Some((_, resource)) = needed
        && hook.fails_closed()
        && !system.contains(&own)
        && surely_matches(hook.namespace_selector, own)
    {
        findings.add(
            "G16",
            Warning,
            hook.name,
            format!("it guards {resource} in its own namespace {own}, without which it can't start again"),
            format!("exclude {own} by a namespaceSelector on kubernetes.io/metadata.name"),
        );
    }
}

fn mutator(hook: &Hook<'_>, findings: &mut Findings) {
    if hook.fails_closed() {
        findings.add(
            "G18",
            Warning,
            hook.name,
            "a mutating webhook fails closed",
            "set failurePolicy Ignore, and let a validator enforce the final state",
        );
    }
    if hook.matches("coordination.k8s.io", "leases") {
        findings.add(
            "G8",
            Warning,
            hook.name,
            "it mutates leases, on which leader election and node heartbeats depend",
            "name the resources that it is for",
        );
    }
    if hook.matches("", "pods") && !hook.condition_mentions("config.mirror") {
        findings.add(
            "G21",
            Advice,
            hook.name,
            "it may mutate mirror pods, which the kubelet then makes anew, on and on",
            "exclude them by a matchCondition on the annotation kubernetes.io/config.mirror",
        );
    }
}

fn share_a_resource(one: &Hook<'_>, other: &Hook<'_>) -> bool {
    one.rules.iter().any(|rule| {
        let groups = rule.api_groups.iter().flatten();
        groups.into_iter().any(|group| {
            let mut resources = rule.resources.iter().flatten();
            resources.any(|resource| other.matches(group, resource))
        })
    })
}

/// Whether two validators are called for the same requests, and fail alike. Mutators are stages.
fn is_twin(one: &Hook<'_>, other: &Hook<'_>) -> bool {
    let narrowed = |hook: &Hook<'_>| {
        !hook.conditions.is_empty()
            || hook.object_selector.is_some()
            || hook.namespace_selector.is_some()
    };
    !one.is_mutating()
        && one.fails_closed() == other.fails_closed()
        && !narrowed(one)
        && !narrowed(other)
        && one.rules == other.rules
}

/// What the API server must let through before a webhook's own pods run.
const OWN_NEEDS: [(&str, &str); 6] = [
    ("", "pods"),
    ("apps", "replicasets"),
    ("", "serviceaccounts/token"),
    ("discovery.k8s.io", "endpointslices"),
    ("coordination.k8s.io", "leases"),
    ("", "secrets"),
];
