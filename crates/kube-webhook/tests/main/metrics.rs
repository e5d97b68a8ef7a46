//! What is counted, as Prometheus reads it.

use k8s_openapi::api::core::v1::ConfigMap;
use kube_webhook::{
    Conversion, Fault, Metrics, Mutation, Server, TlsIdentity, Validation, Webhooks,
    admission::{
        AdmissionContext, Create, MutateCreate, MutationResult, MutationWebhook, ValidateCreate,
        ValidationResult, ValidationWebhook,
    },
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use serde_json::{Value, json};

use crate::{
    call::{post, review},
    conversion_operator,
    server::{ask, connect, loopback, names, router, serve},
};

pub(crate) fn text(registry: &Registry) -> String {
    let mut text = String::new();
    encode(&mut text, registry).unwrap();
    text
}

/// The value of a series, written as Prometheus does; 0 if there is none.
pub(crate) fn value_of(text: &str, series: &str) -> f64 {
    text.lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))
        .map_or(0.0, |value| value.parse().unwrap())
}

struct ByName;

impl ValidationWebhook<ConfigMap> for ByName {
    type Operations = (Create,);
}

impl ValidateCreate<ConfigMap> for ByName {
    async fn create(
        &self,
        object: &ConfigMap,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        match object.metadata.name.as_deref() {
            Some("denied") => Ok(ValidationResult::fail("no")),
            Some("faulted") => Err(Fault::internal("broken")),
            Some("timeout") => std::future::pending().await,
            _ => Ok(ValidationResult::success()),
        }
    }
}

impl MutationWebhook<ConfigMap> for ByName {
    type Operations = (Create,);
}

impl MutateCreate<ConfigMap> for ByName {
    async fn create(
        &self,
        mut object: ConfigMap,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<ConfigMap>, Fault> {
        object.immutable = Some(true);
        Ok(MutationResult::modified(object))
    }
}

#[tokio::test]
async fn each_review_is_counted_by_hook_operation_and_outcome() {
    let mut registry = Registry::default();
    let router = Webhooks::new("counted")
        .domain("counted.example.com")
        .metrics(Metrics::register(&mut registry))
        .add_webhook(Validation::new(ByName))
        .add_webhook(Mutation::new(ByName))
        .build()
        .unwrap()
        .router();
    let create = |name: &str| {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        review("CREATE", ["", "v1", "ConfigMap"], &object, &Value::Null).to_string()
    };
    for name in ["allowed", "denied", "faulted", "timeout"] {
        post(&router, "/validate/configmap?timeout=20ms", create(name)).await;
    }
    // By way of the bare route, but counted for the hook.
    post(&router, "/validate", create("allowed")).await;
    post(&router, "/mutate", create("patched")).await;
    post(&router, "/mutate/configmap", "{}").await;

    let text = text(&registry);
    for (webhook, operation, outcome, count) in [
        ("/validate/configmap", "CREATE", "allowed", 2.0),
        ("/validate/configmap", "CREATE", "denied", 1.0),
        ("/validate/configmap", "CREATE", "faulted", 1.0),
        ("/validate/configmap", "CREATE", "timeout", 1.0),
        ("/mutate/configmap", "CREATE", "patched", 1.0),
        ("/mutate/configmap", "unknown", "faulted", 1.0),
    ] {
        let series = format!(
            "kube_webhook_reviews_total{{webhook={webhook:?},operation={operation:?},outcome={outcome:?}}}"
        );
        assert_eq!(value_of(&text, &series), count, "{series}\n{text}");
    }
    let series =
        r#"kube_webhook_review_seconds_count{webhook="/validate/configmap",operation="CREATE"}"#;
    assert_eq!(value_of(&text, series), 5.0, "{text}");
    assert_eq!(value_of(&text, "kube_webhook_in_flight"), 0.0);
}

/// Prometheus sees no increase in a series that begins with 1.
#[tokio::test]
async fn a_fault_is_counted_from_zero_on() {
    let mut registry = Registry::default();
    let router = Webhooks::new("counted")
        .domain("counted.example.com")
        .metrics(Metrics::register(&mut registry))
        .add_webhook(Validation::new(ByName))
        .build()
        .unwrap()
        .router();
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "allowed"}});
    let review = review("CREATE", ["", "v1", "ConfigMap"], &object, &Value::Null);
    post(&router, "/validate/configmap", review.to_string()).await;
    let text = text(&registry);
    for outcome in ["denied", "patched", "faulted", "shed", "timeout"] {
        let zero = format!("operation=\"CREATE\",outcome={outcome:?}}} 0\n");
        assert!(text.contains(&zero), "{text}");
    }
}

#[tokio::test]
async fn conversions_are_counted_by_known_versions_only() {
    let mut registry = Registry::default();
    let router = Webhooks::new("counted")
        .metrics(Metrics::register(&mut registry))
        .add_webhook(Conversion::new(conversion_operator::TestConversionWebhook))
        .build()
        .unwrap()
        .router();
    let object = |version: &str| {
        json!({
            "apiVersion": format!("conversionwebhook.dev/{version}"),
            "kind": "TestEntity",
            "metadata": {"name": "one"},
            "spec": {"name": "a b"},
        })
    };
    let convert = |desired: &str, objects: &[Value]| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "ConversionReview",
            "request": {
                "uid": "1",
                "desiredAPIVersion": format!("conversionwebhook.dev/{desired}"),
                "objects": objects,
            },
        })
        .to_string()
    };
    for body in [
        convert("v3", &[object("v1"), object("v1")]),
        convert("v3", &[object("v1"), object("v2")]),
        convert("v9", &[object("v1")]),
        "{}".to_owned(),
    ] {
        post(&router, "/convert", body).await;
    }
    let text = text(&registry);
    for (from, to, outcome) in [
        (
            "conversionwebhook.dev/v1",
            "conversionwebhook.dev/v3",
            "converted",
        ),
        ("mixed", "conversionwebhook.dev/v3", "converted"),
        ("conversionwebhook.dev/v1", "unknown", "failed"),
        ("unknown", "unknown", "faulted"),
    ] {
        let series = format!(
            "kube_webhook_conversions_total{{from={from:?},to={to:?},outcome={outcome:?}}}"
        );
        assert_eq!(value_of(&text, &series), 1.0, "{series}\n{text}");
    }
    assert_eq!(value_of(&text, "kube_webhook_converted_objects_total"), 4.0);
}

#[tokio::test]
async fn what_an_annotation_could_not_carry_is_counted() {
    let mut registry = Registry::default();
    let webhook = Conversion::new(conversion_operator::TestConversionWebhook);
    let router = Webhooks::new("counted")
        .metrics(Metrics::register(&mut registry))
        .add_webhook(webhook.annotation_prefix("example.com"))
        .build()
        .unwrap()
        .router();
    let convert = |from: &str, desired: &str, annotations: Value| {
        let object = json!({
            "apiVersion": format!("conversionwebhook.dev/{from}"),
            "kind": "TestEntity",
            "metadata": {"name": "one", "annotations": annotations},
            "spec": {"firstname": "a", "lastname": "b", "middleName": "m".repeat(2_000)},
        });
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "ConversionReview",
            "request": {
                "uid": "1",
                "desiredAPIVersion": format!("conversionwebhook.dev/{desired}"),
                "objects": [object],
            },
        })
        .to_string()
    };
    let count = |registry: &Registry, outcome: &str| {
        let series = format!("kube_webhook_remainders_total{{outcome={outcome:?}}}");
        value_of(&text(registry), &series)
    };
    let edited = json!({"example.com/conversion-data": "somebody's own"});
    post(&router, "/convert", convert("v2", "v3", edited)).await;
    assert_eq!(count(&registry, "ignored"), 1.0);
    assert_eq!(count(&registry, "oversized"), 0.0);
    let full = json!({"of.somebody/else": "x".repeat(256 * 1024 - 500)});
    post(&router, "/convert", convert("v3", "v2", full)).await;
    assert_eq!(count(&registry, "oversized"), 1.0);
    assert_eq!(count(&registry, "ignored"), 1.0);
}

#[tokio::test]
async fn connections_handshakes_and_the_certificate_s_expiry_are_shown() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    assert!(!text(&registry).contains("not_after"));
    let (identity, ca) = TlsIdentity::ephemeral(&names()).unwrap();
    let server = Server::bind(loopback(), identity, router())
        .unwrap()
        .metrics(metrics);
    let serving = serve(server);
    let mut open = connect(serving.addr, &ca, &[]).await.unwrap();
    assert!(ask(&mut open, "/").await.ends_with("hello"));
    let text = text(&registry);
    assert_eq!(value_of(&text, "kube_webhook_connections"), 1.0);
    assert_eq!(
        value_of(
            &text,
            r#"kube_webhook_tls_handshakes_total{outcome="completed"}"#
        ),
        1.0
    );
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64();
    let not_after = value_of(
        &text,
        "kube_webhook_certificate_not_after_timestamp_seconds",
    );
    assert!(not_after > now, "{text}");
}
