//! What may be wrong with webhook configurations and CustomResourceDefinitions.

use serde_json::json;

use super::{CRD, Row};
use crate::check::{Severity, observed::Reading};

pub(super) const ROWS: &[Row] = &[
    (
        |world| world.observed.hosts_namespace = Reading::Missing,
        "hosts-namespace-missing",
        Severity::Error,
        "is not there",
        "kubectl get baremetalhosts.metal3.io --all-namespaces",
    ),
    (
        |world| {
            let configurations = world.configurations();
            configurations.retain(|one| !one.kind.starts_with("Validating"));
        },
        "configuration-missing",
        Severity::Error,
        "is not there",
        "harbormaster generate webhooks --namespace harbormaster-system --k8s-namespace metal3 |",
    ),
    (
        |world| drop(world.configurations()[0].hooks.remove(0)),
        "webhook-missing",
        Severity::Error,
        "lacks this webhook",
        "harbormaster generate webhooks",
    ),
    (
        |world| {
            let hooks = &mut world.configurations()[0].hooks;
            let mut old = hooks[0].clone();
            old.name = "old.baremetalhost.harbormaster.dev".to_owned();
            hooks.push(old);
        },
        "webhook-unknown",
        Severity::Warning,
        "doesn't have",
        "kubectl patch validatingwebhookconfiguration harbormaster --type=json",
    ),
    (
        |world| world.hook()["rules"][0]["operations"] = json!(["CREATE"]),
        "rules-changed",
        Severity::Error,
        "rules[0].operations is [\"CREATE\"] instead of",
        "harbormaster generate webhooks",
    ),
    (
        |world| world.hook()["clientConfig"]["service"]["path"] = json!("/validate/other"),
        "target-changed",
        Severity::Error,
        "clientConfig.service.path is \"/validate/other\" instead of",
        "harbormaster generate webhooks",
    ),
    (
        |world| world.hook()["clientConfig"] = json!({"url": "https://elsewhere"}),
        "target-changed",
        Severity::Error,
        "clientConfig.service is missing",
        r#"{"op":"remove","path":"/webhooks/0/clientConfig/url"},{"op":"add","path":"/webhooks/0/clientConfig/service""#,
    ),
    (
        |world| world.hook()["failurePolicy"] = json!("Ignore"),
        "failure-policy-changed",
        Severity::Warning,
        "failurePolicy is Ignore instead of Fail",
        "harbormaster generate webhooks",
    ),
    (
        |world| world.hook()["timeoutSeconds"] = json!(30),
        "timeout-too-long",
        Severity::Warning,
        "timeoutSeconds is 30",
        "harbormaster generate webhooks",
    ),
    (
        |world| world.hook()["namespaceSelector"] = json!({"matchLabels": {"guarded": "yes"}}),
        "namespace-excluded",
        Severity::Error,
        "leaves out the namespace metal3",
        r#"[{"op":"remove","path":"/webhooks/0/namespaceSelector"}]"#,
    ),
    (
        |world| world.hook()["objectSelector"] = json!({"matchLabels": {"guarded": "yes"}}),
        "objects-excluded",
        Severity::Warning,
        "objectSelector",
        r#"[{"op":"remove","path":"/webhooks/0/objectSelector"}]"#,
    ),
    (
        |world| world.hook()["matchConditions"][0]["expression"] = json!("false"),
        "conditions-changed",
        Severity::Warning,
        "the matchCondition \"held\".expression is \"false\" instead of",
        "harbormaster generate webhooks",
    ),
    (
        |world| {
            let conditions = world.hook()["matchConditions"].as_array_mut().unwrap();
            conditions.push(json!({"name": "weekdays", "expression": "false"}));
        },
        "condition-added",
        Severity::Warning,
        "weekdays",
        r#"[{"op":"remove","path":"/webhooks/0/matchConditions/3"}]"#,
    ),
    (
        |world| world.hook()["matchPolicy"] = json!("Exact"),
        "webhook-changed",
        Severity::Warning,
        "matchPolicy is \"Exact\" instead of \"Equivalent\"",
        "harbormaster generate webhooks",
    ),
    (
        |world| drop(world.observed.crds.insert(CRD.to_owned(), Reading::Missing)),
        "crd-missing",
        Severity::Error,
        "is not there",
        "harbormaster generate crds",
    ),
    (
        |world| {
            world.crd().status = serde_json::from_value(json!({
                "acceptedNames": {"kind": "", "plural": ""},
                "conditions": [{
                    "type": "NamesAccepted", "status": "False", "reason": "ShortNamesConflict",
                    "message": "\"rsv\" is already in use", "lastTransitionTime": null,
                }],
            }))
            .ok();
        },
        "crd-not-served",
        Severity::Error,
        "NamesAccepted is False",
        "kubectl describe crd reservations.harbormaster.dev",
    ),
    (
        |world| world.crd().spec.conversion = None,
        "conversion-off",
        Severity::Error,
        "strategy is None instead of Webhook",
        "harbormaster generate crds",
    ),
    (
        |world| world.conversion().service.as_mut().unwrap().namespace = "elsewhere".to_owned(),
        "conversion-target-changed",
        Severity::Error,
        "namespace is \"elsewhere\" instead of",
        "harbormaster generate crds",
    ),
    (
        |world| {
            let versions = &mut world.crd().spec.versions;
            versions.iter_mut().find(|one| !one.storage).unwrap().served = false;
        },
        "version-not-served",
        Severity::Error,
        "is not served",
        "harbormaster generate crds",
    ),
    (
        |world| {
            let schema = world.crd().spec.versions[0].schema.as_mut().unwrap();
            let root = schema.open_api_v3_schema.as_mut().unwrap();
            root.properties.as_mut().unwrap().remove("status");
        },
        "schema-outdated",
        Severity::Warning,
        "properties.status is missing",
        "harbormaster generate crds",
    ),
    (
        |world| world.stored(&["v1alpha1", "v1"]),
        "stored-version-left",
        Severity::Warning,
        "still names v1alpha1; v1 is",
        "kubectl replace -f -; kubectl patch crd reservations.harbormaster.dev --subresource=status",
    ),
    (
        |world| world.stored(&["v0", "v1"]),
        "stored-version-not-served",
        Severity::Error,
        "names v0, which is not served",
        "--subresource=status",
    ),
    (
        |world| world.observed.hosts_crd = Reading::Missing,
        "hosts-crd-missing",
        Severity::Error,
        "is not there",
        "BMH_API_GROUP",
    ),
    (
        |world| {
            let Reading::Found(crd) = &mut world.observed.hosts_crd else {
                return;
            };
            crd.spec.versions[0].name = "v1beta1".to_owned();
        },
        "hosts-crd-missing",
        Severity::Error,
        "version v1alpha1 is not served",
        "BMH_API_VERSION",
    ),
];
