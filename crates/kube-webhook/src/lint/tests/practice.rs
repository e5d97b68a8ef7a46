//! The good practices, a bad input for each.

use serde_json::json;

use super::*;

#[test]
fn g5_timeouts() {
    says(
        &of_validating(&[with("/timeoutSeconds", Value::Null)]),
        "G5",
        "not set",
    );
    says(
        &of_validating(&[with("/timeoutSeconds", json!(30))]),
        "G5",
        "warning G5",
    );
    says(
        &of_validating(&[with("/timeoutSeconds", json!(10))]),
        "G5",
        "advice G5",
    );
}

#[test]
fn g7_what_heals_a_cluster() {
    for resource in ["nodes/status", "pods/*", "*/*"] {
        says(
            &of_validating(&[broad(&[resource])]),
            "G7",
            "the loss of a node",
        );
    }
}

#[test]
fn g8_system_namespaces() {
    let findings = of_validating(&[broad(&["configmaps"])]);
    says(&findings, "G8", "kube-system and kube-node-lease");
    let mut selected = broad(&["configmaps"]);
    selected["namespaceSelector"] = json!({"matchExpressions": [{
        "key": "kubernetes.io/metadata.name", "operator": "NotIn",
        "values": ["kube-system", "kube-node-lease", "guard-system"],
    }]});
    let findings = of_validating(&[selected]);
    assert!(
        !findings.iter().any(|one| one.contains("G8")),
        "{findings:?}"
    );
    let mut leases = broad(&["leases"]);
    leases["rules"][0]["apiGroups"] = json!(["coordination.k8s.io"]);
    says(&of_mutating(&[leases]), "G8", "mutates leases");
}

#[test]
fn g9_virtual_resources() {
    let mut all = broad(&["*"]);
    all["rules"][0]["apiGroups"] = json!(["*"]);
    says(&of_validating(&[all]), "G9", "tokenreviews");
}

#[test]
fn g10_and_g11_what_is_not_narrowed() {
    let findings = of_validating(&[broad(&["configmaps"])]);
    says(&findings, "G10", "no namespaceSelector");
    says(&findings, "G11", "add matchConditions");
}

#[test]
fn g12_exact_matches() {
    says(
        &of_validating(&[with("/matchPolicy", json!("Exact"))]),
        "G12",
        "set Equivalent",
    );
}

#[test]
fn g15_side_effects() {
    let findings = of_validating(&[with("/sideEffects", json!("NoneOnDryRun"))]);
    says(&findings, "G15", "reconciler");
}

#[test]
fn g16_its_own_namespace() {
    let mut closed = broad(&["pods"]);
    closed["failurePolicy"] = "Fail".into();
    says(&of_validating(&[closed]), "G16", "exclude guard-system");
}

#[test]
fn g18_mutators() {
    let findings = of_mutating(&[with("/failurePolicy", json!("Fail"))]);
    says(&findings, "G18", "fails closed");
    let configuration = json!({"metadata": {"name": "guard"}, "webhooks": [fine()]});
    let mutating = serde_json::from_value(configuration.clone()).unwrap();
    let findings = pair(&[], std::slice::from_ref(&mutating));
    assert_eq!(findings[0].rule.id(), "G18");
    let validating = serde_json::from_value(configuration).unwrap();
    assert_eq!(pair(&[validating], &[mutating]), []);
}

#[test]
fn g21_mirror_pods() {
    says(&of_mutating(&[broad(&["pods"])]), "G21", "mirror pods");
}

#[test]
fn g22_an_order_that_is_relied_on() {
    let second = with("/name", json!("second.hooks.example.com"));
    says(
        &of_mutating(&[fine(), second]),
        "G22",
        "never sees what second.hooks",
    );
}

#[test]
fn g3_several_calls_for_the_same_requests() {
    let second = with("/name", json!("second.hooks.example.com"));
    let findings = of_validating(&[fine(), second.clone()]);
    says(&findings, "G3", "calls second.hooks.example.com too");
    // To fail apart is a reason.
    let mut closed = second;
    closed["failurePolicy"] = "Fail".into();
    let findings = of_validating(&[fine(), closed]);
    assert!(
        !findings.iter().any(|one| one.contains(" G3 ")),
        "{findings:?}"
    );
}

#[test]
fn g6_one_replica_on_one_node() {
    let label = json!({"app": "guard"});
    let mut one = json!({
        "metadata": {"name": "guard"},
        "spec": {
            "selector": {"matchLabels": label},
            "template": {"metadata": {"labels": label}, "spec": {"containers": []}},
        },
    });
    let findings = |deployment: &Value, budgets: &Value| {
        let installed = serde_json::from_value(deployment.clone()).unwrap();
        let budgets: Vec<_> = serde_json::from_value(budgets.clone()).unwrap();
        let findings = super::deployment(&installed, &budgets);
        findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let found = findings(&one, &json!([]));
    says(&found, "G6", "1 replica");
    says(&found, "G6", "one node may hold all");
    says(&found, "G6", "a drain may take all");
    one["spec"]["replicas"] = 2.into();
    one["spec"]["template"]["spec"]["topologySpreadConstraints"] = json!([{
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
    }]);
    let budget = json!({"spec": {"maxUnavailable": 1, "selector": {"matchLabels": label}}});
    assert_eq!(findings(&one, &json!([budget])), [""; 0]);

    one["kind"] = "StatefulSet".into();
    let found = manifests(&[one]).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].message.contains("a drain may take all"));
}

#[test]
fn g20_what_we_write_ourselves() {
    let mut closed = with("/failurePolicy", json!("Fail"));
    says(
        &of_validating(&[closed.clone()]),
        "G20",
        "keep ourselves from it",
    );
    closed["matchConditions"] = json!([{
        "name": "others", "expression": "request.userInfo.username != 'us'",
    }]);
    let findings = of_validating(&[closed]);
    assert!(
        !findings.iter().any(|one| one.contains(" G20 ")),
        "{findings:?}"
    );
}

#[test]
fn g28_rights_on_every_configuration() {
    let rules = |names: &[&str]| {
        let rule = json!({
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["validatingwebhookconfigurations"],
            "verbs": ["get", "patch"],
            "resourceNames": names,
        });
        let findings = role("guard", &[serde_json::from_value(rule).unwrap()]);
        findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    says(&rules(&[]), "G28", "every webhook configuration");
    assert_eq!(rules(&["guard"]), [""; 0]);
}
