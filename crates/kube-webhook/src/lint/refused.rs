//! What the API server refuses, or can't call: rules A1 to A16. Called by `lint`.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::admissionregistration::v1::RuleWithOperations,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceConversion,
};

use super::{Findings, Severity, cel, client, selector, view::Hook};
use crate::names::{is_dns_1035_label, is_qualified_name, is_subdomain};

pub(super) fn configuration(name: &str, hooks: &[Hook<'_>], findings: &mut Findings) {
    if !is_subdomain(name) {
        findings.error(
            "A1",
            name,
            "the configuration's name is not a DNS subdomain",
            "use lower-case letters, digits, '-' and '.'",
        );
    }
    let mut seen = BTreeSet::new();
    for hook in hooks {
        if !seen.insert(hook.name) {
            findings.error(
                "A3",
                hook.name,
                "another webhook of the configuration has the same name",
                "give each its own",
            );
        }
    }
}

pub(super) fn hook(hook: &Hook<'_>, findings: &mut Findings) {
    let name = hook.name;
    if !is_subdomain(name) || name.split('.').count() < 3 {
        findings.error(
            "A2",
            name,
            "the name is not a DNS subdomain of three labels or more",
            format!("call it \"{name}.DOMAIN\", such as \"{name}.hooks.example.com\""),
        );
    }
    client::check(name, &hook.client.into(), findings);
    if !["None", "NoneOnDryRun"].contains(&hook.side_effects) {
        findings.error(
            "A8",
            name,
            format!("sideEffects is {:?}", hook.side_effects),
            "the API takes only None and NoneOnDryRun",
        );
    }
    review_versions(
        name,
        hook.review_versions,
        "admissionReviewVersions",
        findings,
    );
    if let Some(seconds) = hook.timeout.filter(|seconds| !(1..=30).contains(seconds)) {
        findings.error(
            "A10",
            name,
            format!("timeoutSeconds is {seconds}"),
            "the API takes 1 to 30",
        );
    }
    if hook.rules.is_empty() {
        findings.add(
            "A11",
            Severity::Warning,
            name,
            "it has no rules, and so is never called",
            "add a rule, or drop the webhook",
        );
    }
    for rule in hook.rules {
        check_rule(name, rule, findings);
    }
    for (field, selector) in [
        ("namespaceSelector", hook.namespace_selector),
        ("objectSelector", hook.object_selector),
    ] {
        if let Some(flaw) = selector.and_then(selector::flaw) {
            findings.error(
                "A12",
                name,
                format!("the {field} is not valid: {flaw}"),
                "correct it",
            );
        }
    }
    conditions(hook, findings);
    enumerations(hook, findings);
}

pub(super) fn conversion(
    crd: &str,
    conversion: &CustomResourceConversion,
    findings: &mut Findings,
) {
    let webhook = conversion.webhook.as_ref();
    match (&*conversion.strategy, webhook) {
        ("None", None) => return,
        ("Webhook", Some(_)) => {}
        _ => {
            return findings.error(
                "A16",
                crd,
                format!(
                    "the conversion strategy is {:?} {} a webhook",
                    conversion.strategy,
                    if webhook.is_some() { "with" } else { "without" }
                ),
                "use None without, or Webhook with one",
            );
        }
    }
    let Some(webhook) = webhook else { return };
    match &webhook.client_config {
        Some(config) => client::check(crd, &config.into(), findings),
        None => findings.error("A4", crd, "there is no clientConfig", "set one"),
    }
    review_versions(
        crd,
        &webhook.conversion_review_versions,
        "conversionReviewVersions",
        findings,
    );
}

fn review_versions(name: &str, versions: &[String], field: &str, findings: &mut Findings) {
    let unique: BTreeSet<_> = versions.iter().collect();
    let message = if unique.len() < versions.len() {
        format!("{field} names a version twice")
    } else if let Some(version) = versions.iter().find(|version| !is_dns_1035_label(version)) {
        format!("{field} names {version:?}, which can't be a version")
    } else if !versions.iter().any(|one| one == "v1" || one == "v1beta1") {
        format!("{field} names no version that the API server knows")
    } else {
        return;
    };
    findings.error("A9", name, message, "write [v1, v1beta1]");
}

fn check_rule(name: &str, rule: &RuleWithOperations, findings: &mut Findings) {
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let operations = list(&rule.operations);
    for (field, values) in [
        ("operations", &operations),
        ("apiGroups", &list(&rule.api_groups)),
        ("apiVersions", &list(&rule.api_versions)),
        ("resources", &list(&rule.resources)),
    ] {
        let (message, remedy) = if values.is_empty() {
            ("a rule has no", "name at least one")
        } else if ["apiVersions", "resources"].contains(&field)
            && values.iter().any(String::is_empty)
        {
            ("a rule has an empty string among its", "drop it")
        } else if values.len() > 1
            && values.iter().any(|value| value == "*")
            && field != "resources"
        {
            (
                "a rule has '*' beside other",
                "keep '*' alone, or name them",
            )
        } else {
            continue;
        };
        findings.error("A11", name, format!("{message} {field}"), remedy);
    }
    for operation in &operations {
        if !["CREATE", "UPDATE", "DELETE", "CONNECT", "*"].contains(&&**operation) {
            findings.error(
                "A11",
                name,
                format!("there is no operation {operation:?}"),
                "CREATE, UPDATE, DELETE, CONNECT or *",
            );
        }
    }
    if let Some((wide, narrow)) = covered(rule.resources.as_deref().unwrap_or_default()) {
        findings.error(
            "A11",
            name,
            format!("a rule has {wide:?} beside {narrow:?}, which it covers"),
            format!("drop {narrow:?}"),
        );
    }
    if let Some(scope) = rule.scope.as_deref()
        && !["Cluster", "Namespaced", "*"].contains(&scope)
    {
        findings.error(
            "A14",
            name,
            format!("there is no scope {scope:?}"),
            "Cluster, Namespaced or *",
        );
    }
}

/// Resources of which the API server refuses the second for the first: it takes a covered subresource
/// that stands before its wildcard.
fn covered(resources: &[String]) -> Option<(&str, &str)> {
    let covers = |(at, wide): (usize, &str), (other, narrow): (usize, &str)| match wide {
        "*/*" => narrow != wide,
        "*" => narrow != wide && !narrow.contains('/'),
        _ => match (wide.split_once('/'), narrow.split_once('/')) {
            (Some((plural, "*")), Some((own, _))) => at < other && plural == own,
            (Some(("*", sub)), Some((_, own))) => at < other && sub == own,
            _ => false,
        },
    };
    let listed = || resources.iter().map(String::as_str).enumerate();
    listed().find_map(|wide| {
        let narrow = listed().find(|&narrow| covers(wide, narrow));
        narrow.map(|(_, narrow)| (wide.1, narrow))
    })
}

fn conditions(hook: &Hook<'_>, findings: &mut Findings) {
    let name = hook.name;
    if hook.conditions.len() > MOST_CONDITIONS {
        findings.error(
            "A13",
            name,
            format!("there are {} matchConditions", hook.conditions.len()),
            "the API takes 64: join some by &&",
        );
    }
    let mut seen = BTreeSet::new();
    for condition in hook.conditions {
        let own = &condition.name;
        if !is_qualified_name(own) {
            findings.error(
                "A13",
                name,
                format!("the matchCondition {own:?} has no legal name"),
                "use letters, digits, '-', '_' and '.', 63 at most",
            );
        }
        if !seen.insert(own) {
            findings.error(
                "A13",
                name,
                format!("two matchConditions are called {own:?}"),
                "give each its own name",
            );
        }
        if let Some(flaw) = cel::flaw(&condition.expression) {
            findings.error(
                "A13",
                name,
                format!("the matchCondition {own:?} does not compile: {flaw}"),
                "correct the expression",
            );
            continue;
        }
        if let Some(function) = cel::unknown_function(&condition.expression) {
            findings.add(
                "A13",
                Severity::Warning,
                name,
                format!(
                    "the matchCondition {own:?} calls {function}, which Kubernetes 1.36 has not"
                ),
                "use another function, or lint with --server where the API server is newer",
            );
        }
        absences(hook, own, &condition.expression, findings);
    }
}

/// An expression that errs refuses the request under `Fail`, and passes the webhook over under
/// `Ignore`: neither is what was meant.
fn absences(hook: &Hook<'_>, own: &str, expression: &str, findings: &mut Findings) {
    let guarded = |text: &str| {
        let dense: String = expression.split_whitespace().collect();
        dense.contains(text)
    };
    let mut err = |what: &str, when: &str, remedy: &str| {
        findings.add(
            "A13",
            Severity::Warning,
            hook.name,
            format!("the matchCondition {own:?} errs {when}, where there is no {what}"),
            remedy,
        );
    };
    if cel::uses(expression, &["request", "name"]) && !guarded("has(request.name)") {
        err(
            "request.name",
            "on deletecollection and generateName",
            "begin with \"!has(request.name) || \"",
        );
    }
    let by_operation = guarded("request.operation");
    if hook.is_called_for("DELETE")
        && cel::reaches_into(expression, "object")
        && !guarded("object!=null")
        && !guarded("object==null")
        && !by_operation
    {
        err("object", "on DELETE", "begin with \"object == null || \"");
    }
    let is_new = hook.is_called_for("CREATE") || hook.is_called_for("CONNECT");
    if is_new
        && cel::reaches_into(expression, "oldObject")
        && !guarded("oldObject!=null")
        && !guarded("oldObject==null")
        && !by_operation
    {
        err(
            "oldObject",
            "on CREATE and CONNECT",
            "begin with \"oldObject == null || \"",
        );
    }
}

fn enumerations(hook: &Hook<'_>, findings: &mut Findings) {
    let reinvocation = hook.reinvocation.flatten();
    for (field, value, known) in [
        ("failurePolicy", hook.failure_policy, ["Fail", "Ignore"]),
        ("matchPolicy", hook.match_policy, ["Exact", "Equivalent"]),
        ("reinvocationPolicy", reinvocation, ["Never", "IfNeeded"]),
    ] {
        if let Some(value) = value.filter(|value| !known.contains(value)) {
            findings.error(
                "A14",
                hook.name,
                format!("there is no {field} {value:?}"),
                format!("{} or {}", known[0], known[1]),
            );
        }
    }
}

const MOST_CONDITIONS: usize = 64;
