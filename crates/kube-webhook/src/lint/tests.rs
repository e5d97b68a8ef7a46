//! One bad input for each rule, with what is said of it.

mod practice;

use serde_json::{Value, json};

use super::*;

/// Nothing is found about it.
fn fine() -> Value {
    json!({
        "name": "guard.hooks.example.com",
        "clientConfig": {"service": {
            "namespace": "guard-system", "name": "guard", "path": "/validate/port", "port": 443,
        }},
        "rules": [{
            "apiGroups": ["example.com"], "apiVersions": ["v1"],
            "resources": ["ports"], "operations": ["CREATE", "UPDATE"],
        }],
        "failurePolicy": "Ignore",
        "sideEffects": "None",
        "timeoutSeconds": 2,
        "admissionReviewVersions": ["v1"],
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut webhook = fine();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = webhook.pointer_mut(parent).unwrap();
    if let Some(fields) = parent.as_object_mut() {
        fields.insert(key.to_owned(), value);
    }
    webhook
}

fn broad(resources: &[&str]) -> Value {
    let mut webhook = fine();
    webhook["rules"][0]["apiGroups"] = json!([""]);
    webhook["rules"][0]["resources"] = json!(resources);
    webhook
}

fn of_validating(webhooks: &[Value]) -> Vec<String> {
    let configuration = json!({"metadata": {"name": "guard"}, "webhooks": webhooks});
    let findings = validating(&serde_json::from_value(configuration).unwrap());
    findings.iter().map(ToString::to_string).collect()
}

fn of_mutating(webhooks: &[Value]) -> Vec<String> {
    let configuration = json!({"metadata": {"name": "guard"}, "webhooks": webhooks});
    let findings = mutating(&serde_json::from_value(configuration).unwrap());
    findings.iter().map(ToString::to_string).collect()
}

#[track_caller]
fn says(findings: &[String], rule: &str, text: &str) {
    let is_meant =
        |finding: &String| finding.split(' ').nth(1) == Some(rule) && finding.contains(text);
    assert!(
        findings.iter().any(is_meant),
        "no {rule} {text:?} in {findings:#?}"
    );
}

#[test]
fn what_is_fine_is_left_alone() {
    assert_eq!(of_validating(&[fine()]), Vec::<String>::new());
    assert_eq!(of_mutating(&[fine()]), Vec::<String>::new());
}

#[test]
fn a1_the_configurations_name() {
    let configuration = json!({"metadata": {"name": "Guard"}, "webhooks": []});
    let findings = validating(&serde_json::from_value(configuration).unwrap());
    assert_eq!(
        findings[0].to_string(),
        "error A1 Guard: the configuration's name is not a DNS subdomain: use lower-case letters, \
         digits, '-' and '.'"
    );
}

#[test]
fn a2_a_webhooks_name() {
    let findings = of_validating(&[with("/name", json!("guard.example"))]);
    says(&findings, "A2", "three labels or more");
}

#[test]
fn a3_a_name_twice() {
    says(&of_validating(&[fine(), fine()]), "A3", "the same name");
}

#[test]
fn a4_both_or_neither_of_url_and_service() {
    let mut both = fine();
    both["clientConfig"]["url"] = "https://a.b/c".into();
    says(&of_validating(&[both]), "A4", "both a url and a service");
    let neither = with("/clientConfig", json!({}));
    says(
        &of_validating(&[neither]),
        "A4",
        "neither a url nor a service",
    );
}

#[test]
fn a5_urls() {
    for (url, text) in [
        ("http://a/b", "does not begin with https://"),
        ("https:///b", "is no url"),
        ("https://u@a/b", "names a user"),
        ("https://a/b?c=d", "has a query"),
        ("https://a/b#c", "has a fragment"),
        ("not a url", "is no url"),
    ] {
        let findings = of_validating(&[with("/clientConfig", json!({"url": url}))]);
        says(&findings, "A5", text);
    }
}

#[test]
fn a6_services() {
    for (pointer, value, text) in [
        (
            "/clientConfig/service/namespace",
            json!(""),
            "has no namespace",
        ),
        ("/clientConfig/service/name", json!(""), "has no name"),
        ("/clientConfig/service/port", json!(70_000), "port is 70000"),
    ] {
        says(&of_validating(&[with(pointer, value)]), "A6", text);
    }
}

#[test]
fn a7_paths() {
    for path in ["validate", "/Validate", "/a_b", "/a//b"] {
        let webhook = with("/clientConfig/service/path", json!(path));
        says(&of_validating(&[webhook]), "A7", "not a DNS subdomain");
    }
    let webhook = with("/clientConfig", json!({"url": "https://a/b/"}));
    says(&of_validating(&[webhook]), "A7", "the path ends in '/'");
}

#[test]
fn a8_side_effects() {
    let findings = of_validating(&[with("/sideEffects", json!("Some"))]);
    says(&findings, "A8", r#"sideEffects is "Some""#);
}

#[test]
fn a9_review_versions() {
    for (versions, text) in [
        (json!([]), "names no version"),
        (json!(["v2"]), "names no version"),
        (json!(["v1", "v1"]), "names a version twice"),
    ] {
        let findings = of_validating(&[with("/admissionReviewVersions", versions)]);
        says(&findings, "A9", text);
    }
}

#[test]
fn a10_timeouts() {
    for seconds in [0, 31] {
        let findings = of_validating(&[with("/timeoutSeconds", json!(seconds))]);
        says(&findings, "A10", "the API takes 1 to 30");
    }
}

#[test]
fn a11_rules() {
    says(
        &of_validating(&[with("/rules", json!([]))]),
        "A11",
        "never called",
    );
    for (field, value, text) in [
        ("operations", json!([]), "no operations"),
        ("operations", json!(["PATCH"]), r#"no operation "PATCH""#),
        (
            "operations",
            json!(["*", "CREATE"]),
            "'*' beside other operations",
        ),
        ("apiGroups", json!([]), "no apiGroups"),
        (
            "apiVersions",
            json!(["*", "v1"]),
            "'*' beside other apiVersions",
        ),
        ("resources", json!(["*/*", "ports"]), r#"drop "ports""#),
        ("resources", json!(["*", "ports"]), r#"drop "ports""#),
        (
            "resources",
            json!(["ports/*", "ports/status"]),
            r#"drop "ports/status""#,
        ),
    ] {
        let mut webhook = fine();
        webhook["rules"][0][field] = value;
        says(&of_validating(&[webhook]), "A11", text);
    }
}

#[test]
fn a12_selectors() {
    for (selector, text) in [
        (json!({"matchLabels": {"a b": "c"}}), "is no label"),
        (
            json!({"matchExpressions": [{"key": "a", "operator": "Is", "values": ["b"]}]}),
            "no operator",
        ),
        (
            json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
            "needs values",
        ),
        (
            json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}),
            "takes no values",
        ),
    ] {
        let findings = of_validating(&[with("/objectSelector", selector.clone())]);
        says(&findings, "A12", text);
        let findings = of_validating(&[with("/namespaceSelector", selector)]);
        says(&findings, "A12", text);
    }
}

#[test]
fn a13_match_conditions() {
    let condition = |name: &str, expression: &str| json!({"name": name, "expression": expression});
    for (conditions, text) in [
        (condition("a b", "true"), "no legal name"),
        (condition("a", "object.a = 1"), "CEL has no operator `=`"),
        (condition("a", "variables.a"), "`variables` is not declared"),
        (
            condition("a", "request.nam == 'a'"),
            "`request` has no field `nam`",
        ),
        (
            condition("a", "object.a.toUpper() == 'A'"),
            "calls toUpper, which Kubernetes 1.36 has not",
        ),
        (
            condition("a", "request.name == 'a'"),
            "errs on deletecollection and generateName",
        ),
        (
            condition("a", "oldObject.a == 'a'"),
            "errs on CREATE and CONNECT",
        ),
    ] {
        let findings = of_validating(&[with("/matchConditions", json!([conditions]))]);
        says(&findings, "A13", text);
    }
    let mut deleting = with(
        "/matchConditions",
        json!([condition("a", "object.a == 'a'")]),
    );
    deleting["rules"][0]["operations"] = json!(["DELETE"]);
    says(&of_validating(&[deleting.clone()]), "A13", "errs on DELETE");
    let either = "[object, oldObject].exists(one, one != null && has(one.spec))";
    deleting["matchConditions"] = json!([condition("a", either)]);
    deleting["rules"][0]["operations"] = json!(["CREATE", "DELETE"]);
    let findings = of_validating(&[deleting]);
    assert!(
        findings.iter().all(|one| !one.contains("A13")),
        "{findings:?}"
    );
    let twice = json!([condition("a", "true"), condition("a", "true")]);
    let findings = of_validating(&[with("/matchConditions", twice)]);
    says(&findings, "A13", "two matchConditions");
    let many: Vec<_> = (0..65)
        .map(|index| condition(&format!("c{index}"), "true"))
        .collect();
    let findings = of_validating(&[with("/matchConditions", json!(many))]);
    says(&findings, "A13", "there are 65 matchConditions");
}

#[test]
fn a14_values_that_do_not_exist() {
    for field in ["failurePolicy", "matchPolicy"] {
        let findings = of_validating(&[with(&format!("/{field}"), json!("Sometimes"))]);
        says(&findings, "A14", &format!("no {field} \"Sometimes\""));
    }
    let findings = of_mutating(&[with("/reinvocationPolicy", json!("Always"))]);
    says(&findings, "A14", "Never or IfNeeded");
    let mut scoped = fine();
    scoped["rules"][0]["scope"] = "Global".into();
    says(&of_validating(&[scoped]), "A14", "Cluster, Namespaced or *");
}

#[test]
fn a15_ca_bundles() {
    // "no CA", and PEM that was encoded twice.
    for bundle in [
        "bm8gQ0E=",
        "TFMwdExTMUNSVWRKVGlCRFJWSlVTVVpKUTBGVVJTMHRMUzB0Q2c9PQ==",
    ] {
        let findings = of_validating(&[with("/clientConfig/caBundle", json!(bundle))]);
        says(&findings, "A15", "every call will fail");
    }
}

#[test]
fn a16_conversion_stanzas() {
    let lint = |stanza: Value| -> Vec<String> {
        let findings = conversion(
            "ports.example.com",
            &serde_json::from_value(stanza).unwrap(),
        );
        findings.iter().map(ToString::to_string).collect()
    };
    says(
        &lint(json!({"strategy": "Webhook"})),
        "A16",
        "without a webhook",
    );
    says(
        &lint(json!({"strategy": "Sometimes"})),
        "A16",
        "None without",
    );
    let webhook = |config: Value, versions: Value| {
        lint(json!({"strategy": "Webhook", "webhook": {
            "clientConfig": config, "conversionReviewVersions": versions,
        }}))
    };
    let service = json!({"service": {"namespace": "a", "name": "b", "path": "/Convert"}});
    says(&webhook(service, json!(["v1"])), "A7", "/Convert");
    let url = json!({"url": "https://a/convert"});
    says(
        &webhook(url.clone(), json!(["v3"])),
        "A9",
        "conversionReviewVersions",
    );
    assert_eq!(webhook(url, json!(["v1"])), Vec::<String>::new());
}
