//! What is derived from a registration, and what is refused.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube_webhook::{
    Entry, FailurePolicy, MatchPolicy, RbacOptions, RegistrationError, Scope, Target, Validation,
    Webhooks, admission::Operation,
};
use serde_json::{Value, json};

use crate::webhook_operator::{TestValidationWebhook, V1TestEntity, webhooks};

fn service() -> Target {
    Target::Service {
        namespace: "hooks".to_owned(),
        name: "operator".to_owned(),
        port: 443,
        ca_bundle: Some("pem".to_owned()),
    }
}

#[test]
fn the_configurations_say_everything_explicitly() {
    let registered = webhooks().unwrap();
    let configuration = registered.validating_configuration(&service());
    assert_eq!(
        serde_json::to_value(configuration).unwrap(),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "webhook-operator"},
            "webhooks": [{
                "name": "validate.testentity.webhook.dev",
                "clientConfig": {
                    "service": {
                        "namespace": "hooks",
                        "name": "operator",
                        "port": 443,
                        "path": "/validate/testentity",
                    },
                    "caBundle": "cGVt",
                },
                "rules": [{
                    "apiGroups": ["webhook.dev"],
                    "apiVersions": ["v1"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["testentities"],
                }],
                "failurePolicy": "Fail",
                "matchPolicy": "Equivalent",
                "sideEffects": "None",
                "timeoutSeconds": 5,
                "admissionReviewVersions": ["v1", "v1beta1"],
            }],
        })
    );
    let configuration = registered.mutating_configuration(&service());
    let webhook = &serde_json::to_value(configuration).unwrap()["webhooks"][0];
    assert_eq!(webhook["reinvocationPolicy"], "Never");
    assert_eq!(webhook["rules"][0]["operations"], json!(["CREATE"]));
    assert_eq!(
        registered.conversion("webhook.dev", "testentities", &service()),
        None
    );
}

#[test]
fn several_entries_call_one_route() {
    let registered = Webhooks::new("example")
        .domain("example.com")
        .add_webhook(
            Validation::new(TestValidationWebhook)
                .entry(
                    Entry::new("held")
                        .match_condition("held", "has(object.spec)")
                        .operations([Operation::Update])
                        .subresource("status"),
                )
                .entry(Entry::new("rest").failure_policy(FailurePolicy::Ignore)),
        )
        .build()
        .unwrap();
    let url = Target::Url {
        base: "https://127.0.0.1:8443/".to_owned(),
        ca_bundle: None,
    };
    let configuration = registered.validating_configuration(&url);
    let webhooks = serde_json::to_value(configuration).unwrap()["webhooks"].clone();
    let field = |index: usize, pointer: &str| webhooks[index].pointer(pointer).cloned().unwrap();
    assert_eq!(field(0, "/name"), "held.testentity.example.com");
    assert_eq!(field(1, "/name"), "rest.testentity.example.com");
    assert_eq!(field(0, "/failurePolicy"), "Fail");
    assert_eq!(field(1, "/failurePolicy"), "Ignore");
    assert_eq!(field(0, "/rules/0/operations"), json!(["UPDATE"]));
    assert_eq!(
        field(0, "/rules/0/resources"),
        json!(["testentities", "testentities/status"])
    );
    assert_eq!(field(0, "/matchConditions/0/name"), "held");
    for index in 0..2 {
        assert_eq!(
            field(index, "/clientConfig"),
            json!({"url": "https://127.0.0.1:8443/validate/testentity"})
        );
    }
    assert_eq!(webhooks[2], Value::Null);
}

fn validation() -> Validation<TestValidationWebhook, V1TestEntity> {
    Validation::new(TestValidationWebhook)
}

#[test]
fn what_the_api_server_would_refuse_is_refused_at_start_up() {
    use RegistrationError as E;

    let one = |validation| Webhooks::new("example").add_webhook(validation).build();
    let refused = |validation| one(validation).unwrap_err();
    assert!(matches!(
        Webhooks::new("Example").build().unwrap_err(),
        E::Name { .. }
    ));
    assert!(matches!(
        refused(validation().name("Upper")),
        E::WebhookName { .. }
    ));
    assert!(matches!(
        refused(validation().timeout_seconds(31)),
        E::Timeout { seconds: 31, .. }
    ));
    assert!(matches!(
        refused(validation().operations([Operation::Delete])),
        E::Operations { .. }
    ));
    assert!(matches!(
        refused(validation().timeout_seconds(3).entry(Entry::new("one"))),
        E::SettingsBesideEntries { .. }
    ));
    for route in ["validate", "/Validate", "/validate/", "/a_b", "//a"] {
        assert!(
            matches!(refused(validation().route(route)), E::Route { .. }),
            "{route}"
        );
    }
    let two = |second| {
        Webhooks::new("example")
            .add_webhook(validation())
            .add_webhook(second)
            .build()
            .unwrap_err()
    };
    assert!(matches!(
        two(validation().name("other")),
        E::DuplicateRoute { .. }
    ));
    assert!(matches!(
        two(validation().route("/validate/other")),
        E::DuplicateName { .. }
    ));
    assert!(matches!(
        two(validation().route("/validate").name("other")),
        E::DuplicateRoute { .. }
    ));
}

#[test]
fn what_narrows_a_rule_stands_in_the_configuration() {
    let narrowed = validation()
        .match_policy(MatchPolicy::Exact)
        .scope(Scope::Namespaced);
    let registered = Webhooks::new("example").add_webhook(narrowed).build();
    let configuration = registered.unwrap().validating_configuration(&service());
    let webhook = &serde_json::to_value(configuration).unwrap()["webhooks"][0];
    assert_eq!(webhook["matchPolicy"], "Exact");
    assert_eq!(webhook["rules"][0]["scope"], "Namespaced");
}

#[test]
fn a_hook_for_any_kind_has_a_rule_of_wildcards() {
    let any = Validation::<_, V1TestEntity>::any_kind(TestValidationWebhook);
    let registered = Webhooks::new("example")
        .domain("hooks.example.com")
        .add_webhook(any)
        .build()
        .unwrap();
    assert_eq!(registered.routes().collect::<Vec<_>>(), ["/validate/any"]);
    let configuration = registered.validating_configuration(&service());
    let webhook = &serde_json::to_value(configuration).unwrap()["webhooks"][0];
    assert_eq!(webhook["name"], "validate.any.hooks.example.com");
    let rule = &webhook["rules"][0];
    for field in ["apiGroups", "apiVersions", "resources"] {
        assert_eq!(rule[field], json!(["*"]), "{field}");
    }
}

#[test]
fn rights_are_derived_only_from_what_asks_for_them() {
    let options = RbacOptions::new("hooks", "operator");
    let plain = Webhooks::new("example")
        .add_webhook(validation())
        .build()
        .unwrap();
    assert_eq!(plain.rbac(&options), None);

    let reading = validation().reads::<Secret>().reads::<ConfigMap>();
    let registered = Webhooks::new("example")
        .add_webhook(reading)
        .build()
        .unwrap();
    let rbac = registered.rbac(&options).unwrap();
    assert_eq!(
        serde_json::to_value(&rbac.role.rules).unwrap(),
        json!([{
            "apiGroups": [""],
            "resources": ["configmaps", "secrets"],
            "verbs": ["get", "list", "watch"],
        }])
    );
    let subject = &rbac.binding.subjects.unwrap()[0];
    assert_eq!(
        (subject.namespace.as_deref(), &*subject.name),
        (Some("hooks"), "operator")
    );
    let keeping = registered.rbac(&options.keep_ca_bundles()).unwrap();
    let rules = keeping.role.rules.unwrap();
    let own = rules
        .iter()
        .find(|rule| rule.verbs.contains(&"patch".to_owned()));
    assert_eq!(
        own.unwrap().resource_names.as_deref(),
        Some(&["example".to_owned()][..])
    );
}
