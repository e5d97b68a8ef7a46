//! The example's conversions, and converters that misbehave, through the router.

use std::sync::{Arc, Barrier};

use axum::Router;
use http::StatusCode;
use kube_webhook::{
    Conversion, RegistrationError, Webhooks,
    conversion::{ConversionError, ConversionWebhook, Converter, Converters, ConvertersError},
};
use serde_json::{Value, json};

use crate::{
    call::post,
    conversion_operator::{V1ToV3, V2TestEntity, V2ToV3, V3TestEntity, webhooks},
};

const ROUTE: &str = "/convert/conversionwebhook.dev/testentities";

fn object(version: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": format!("conversionwebhook.dev/{version}"),
        "kind": "TestEntity",
        "metadata": {
            "name": "one",
            "namespace": "default",
            "uid": "0b9a1f3c",
            "generation": 3,
            "labels": {"a": "b"},
            "managedFields": [{"manager": "kubectl", "operation": "Apply", "fieldsV1": {"f:spec": {}}}],
        },
        "spec": spec,
    })
}

fn review(desired: &str, objects: &[Value]) -> Value {
    json!({
        "kind": "ConversionReview",
        "apiVersion": "apiextensions.k8s.io/v1",
        "request": {
            "uid": "705ab4f5",
            "desiredAPIVersion": format!("conversionwebhook.dev/{desired}"),
            "objects": objects,
        },
    })
}

async fn answer(router: &Router, review: &Value) -> Value {
    let (status, answer) = post(router, ROUTE, review.to_string()).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    assert_eq!(answer["apiVersion"], review["apiVersion"]);
    assert_eq!(answer["kind"], "ConversionReview");
    assert_eq!(answer["response"]["uid"], review["request"]["uid"]);
    answer["response"].clone()
}

async fn convert(router: &Router, desired: &str, objects: &[Value]) -> Vec<Value> {
    let response = answer(router, &review(desired, objects)).await;
    assert_eq!(response["result"]["status"], "Success", "{response}");
    response["convertedObjects"].as_array().unwrap().clone()
}

async fn failure(router: &Router, desired: &str, objects: &[Value]) -> String {
    let response = answer(router, &review(desired, objects)).await;
    assert_eq!(response["result"]["status"], "Failure", "{response}");
    assert_eq!(response["convertedObjects"], json!([]));
    response["result"]["message"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn every_version_reaches_every_other_by_the_stored_one() {
    let router = webhooks().unwrap().router();
    let forms = [
        ("v1", json!({"name": "Ada Lovelace"})),
        ("v2", json!({"firstname": "Ada", "lastname": "Lovelace"})),
        ("v3", json!({"firstname": "Ada", "lastname": "Lovelace"})),
    ];
    for (from, spec) in &forms {
        for (to, expected) in &forms {
            let converted = convert(&router, to, &[object(from, spec)]).await;
            assert_eq!(converted, [object(to, expected)], "{from} -> {to}");
        }
    }
}

#[tokio::test]
async fn a_mixed_list_keeps_its_order_and_an_empty_one_is_a_success() {
    let router = webhooks().unwrap().router();
    let converted = convert(
        &router,
        "v3",
        &[
            object("v2", &json!({"firstname": "B", "lastname": "b"})),
            object(
                "v3",
                &json!({"firstname": "C", "lastname": "c", "unknown": 1.10}),
            ),
            object("v1", &json!({"name": "A a"})),
        ],
    )
    .await;
    let names: Vec<_> = converted
        .iter()
        .map(|object| &object["spec"]["firstname"])
        .collect();
    assert_eq!(names, ["B", "C", "A"]);
    assert_eq!(converted[1]["spec"]["unknown"], 1.1);
    assert!(convert(&router, "v3", &[]).await.is_empty());

    let mut review = review("v3", &[]);
    review["apiVersion"] = "apiextensions.k8s.io/v1beta1".into();
    review["request"]["objects"] = Value::Null;
    let response = answer(&router, &review).await;
    assert_eq!(response["result"]["status"], "Success");
}

#[tokio::test]
async fn what_a_version_cannot_say_comes_back() {
    let router = webhooks().unwrap().router();
    let stored = object(
        "v3",
        &json!({"firstname": "Ada", "lastname": "King", "middleName": "Byron", "unknown": [1]}),
    );
    let view = convert(&router, "v1", std::slice::from_ref(&stored))
        .await
        .remove(0);
    assert_eq!(view["spec"], json!({"name": "Ada King"}));
    let back = convert(&router, "v3", std::slice::from_ref(&view)).await;
    assert_eq!(back, std::slice::from_ref(&stored));

    // An edit changes what it says, and nothing else.
    let mut edited = view;
    edited["spec"]["name"] = "Ada Lovelace".into();
    let back = convert(&router, "v3", &[edited]).await.remove(0);
    assert_eq!(
        back["spec"],
        json!({"firstname": "Ada", "lastname": "Lovelace", "middleName": "Byron", "unknown": [1]})
    );
    assert_eq!(back["metadata"], stored["metadata"]);

    // What is written in a version that says less precisely comes back there.
    let written = object("v1", &json!({"name": "Plato"}));
    let stored = convert(&router, "v3", std::slice::from_ref(&written)).await;
    let back = convert(&router, "v1", &stored).await;
    assert_eq!(back, [written]);
}

#[tokio::test]
async fn a_partial_object_passes() {
    let router = webhooks().unwrap().router();
    let partial = json!({"apiVersion": "conversionwebhook.dev/v1", "kind": "TestEntity"});
    let converted = convert(&router, "v3", &[partial]).await;
    assert_eq!(
        converted,
        [json!({
            "apiVersion": "conversionwebhook.dev/v3",
            "kind": "TestEntity",
            "metadata": {},
        })]
    );
}

#[tokio::test]
async fn an_object_that_cannot_be_converted_is_named() {
    let router = webhooks().unwrap().router();
    let good = object("v1", &json!({"name": "A a"}));
    let cases = [
        (object("v1", &json!({"name": 1})), "default/one"),
        (object("v9", &json!({})), "v9 is not a known version"),
        (json!({"kind": "TestEntity"}), "no apiVersion"),
        (json!(null), "not a JSON object"),
        (json!([]), "not a JSON object"),
        (
            json!({"apiVersion": "conversionwebhook.dev/v1", "kind": "Other"}),
            "its kind is not converted here",
        ),
    ];
    for (bad, expected) in cases {
        let message = failure(&router, "v3", &[good.clone(), bad]).await;
        assert!(message.starts_with("object 1 ("), "{message}");
        assert!(message.contains("conversionwebhook.dev/v3"), "{message}");
        assert!(message.contains(expected), "{message}");
    }
    let message = failure(&router, "v4", &[good]).await;
    assert!(message.contains("v4 is not a known version"), "{message}");
}

#[tokio::test]
async fn a_review_that_cannot_be_understood_is_a_failed_call() {
    let router = webhooks().unwrap().router();
    let fine = review("v3", &[]);
    let with = |change: fn(&mut Value)| {
        let mut review = fine.clone();
        change(&mut review);
        review.to_string()
    };
    for (expected, body) in [
        (400, "{".to_owned()),
        (
            422,
            with(|review| review["apiVersion"] = "apiextensions.k8s.io/v2".into()),
        ),
        (400, with(|review| review["request"]["uid"] = Value::Null)),
        (
            400,
            with(|review| review["request"]["desiredAPIVersion"] = "".into()),
        ),
        (
            400,
            with(|review| review["request"]["objects"] = "none".into()),
        ),
    ] {
        let (status, answer) = post(&router, ROUTE, body.clone()).await;
        assert_eq!(status.as_u16(), expected, "{body}");
        assert_eq!(answer["kind"], "Status");
    }
}

#[tokio::test]
async fn the_bare_route_chooses_by_group_and_kind() {
    let router = webhooks().unwrap().router();
    let review = review("v3", &[object("v1", &json!({"name": "A a"}))]);
    let (_, answer) = post(&router, "/convert", review.to_string()).await;
    assert_eq!(answer["response"]["result"]["status"], "Success");
}

#[tokio::test]
async fn a_list_of_a_thousand_objects_is_converted_off_the_reactor() {
    let router = webhooks().unwrap().router();
    let objects = vec![object("v1", &json!({"name": "A a"})); 1_000];
    assert!(review("v2", &objects).to_string().len() > 256 * 1024);
    assert_eq!(convert(&router, "v2", &objects).await.len(), 1_000);
}

/// Keeps its thread until it may go on.
struct Slow(Arc<Barrier>);

impl Converter for Slow {
    type From = V2TestEntity;
    type Storage = V3TestEntity;

    fn convert(&self, from: V2TestEntity) -> Result<V3TestEntity, ConversionError> {
        if from.spec.firstname == "wait" {
            self.0.wait();
            self.0.wait();
        }
        Ok(V3TestEntity::new("one", Default::default()))
    }

    fn revert(&self, _: V3TestEntity) -> Result<V2TestEntity, ConversionError> {
        Err(ConversionError::new("not here"))
    }
}

#[tokio::test]
async fn large_conversions_wait_for_a_thread_until_their_deadline() {
    let barrier = Arc::new(Barrier::new(2));
    let converters = Arc::clone(&barrier);
    let router = Webhooks::new("slow")
        .conversion_threads(1)
        .add_webhook(Conversion::new(Of(move || {
            Converters::new().add(Slow(Arc::clone(&converters)))
        })))
        .build()
        .unwrap()
        .router();
    let large = |first: &str| {
        let filler = "x".repeat(300 * 1024);
        let object = object("v2", &json!({"firstname": first, "lastname": filler}));
        review("v3", &[object]).to_string()
    };
    let first = tokio::spawn({
        let (router, body) = (router.clone(), large("wait"));
        async move { post(&router, "/convert", body).await }
    });
    // The only thread is taken.
    let entered = Arc::clone(&barrier);
    tokio::task::spawn_blocking(move || entered.wait())
        .await
        .unwrap();
    let (status, answer) = post(&router, "/convert?timeout=1s", large("go")).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{answer}");
    // What is small needs none.
    let small = object("v2", &json!({"firstname": "go", "lastname": "b"}));
    let (status, _) = post(&router, "/convert", review("v3", &[small]).to_string()).await;
    assert_eq!(status, StatusCode::OK);
    tokio::task::spawn_blocking(move || barrier.wait())
        .await
        .unwrap();
    let (status, _) = first.await.unwrap();
    assert_eq!(status, StatusCode::OK);
    let (status, _) = post(&router, "/convert", large("go")).await;
    assert_eq!(status, StatusCode::OK);
}

struct Panics;

impl Converter for Panics {
    type From = V2TestEntity;
    type Storage = V3TestEntity;

    fn convert(&self, _: V2TestEntity) -> Result<V3TestEntity, ConversionError> {
        panic!("on purpose")
    }

    fn revert(&self, _: V3TestEntity) -> Result<V2TestEntity, ConversionError> {
        Err("many".parse::<u8>().unwrap_err().into())
    }
}

struct Of<F>(F);

impl<F> ConversionWebhook for Of<F>
where
    F: Fn() -> Converters<V3TestEntity> + Send + Sync + 'static,
{
    type Storage = V3TestEntity;

    fn converters(&self) -> Converters<V3TestEntity> {
        (self.0)()
    }
}

#[tokio::test]
async fn a_converter_that_panics_or_errs_fails_the_review() {
    let router = Webhooks::new("panics")
        .add_webhook(Conversion::new(Of(|| Converters::new().add(Panics))))
        .build()
        .unwrap()
        .router();
    let message = failure(&router, "v3", &[object("v2", &json!({}))]).await;
    assert!(message.ends_with("the converter panicked"), "{message}");
    let message = failure(&router, "v2", &[object("v3", &json!({}))]).await;
    assert!(
        message.ends_with("invalid digit found in string"),
        "{message}"
    );
}

#[test]
fn converters_that_do_not_fit_together_are_refused_at_start_up() {
    let refused = |converters: fn() -> Converters<V3TestEntity>| {
        let built = Webhooks::new("example")
            .add_webhook(Conversion::new(Of(converters)))
            .build();
        match built.unwrap_err() {
            RegistrationError::Converters { source, .. } => source,
            other => panic!("{other}"),
        }
    };
    assert_eq!(refused(Converters::new), ConvertersError::None);
    assert!(matches!(
        refused(|| Converters::new().add(V1ToV3).add(V2ToV3).add(V1ToV3)),
        ConvertersError::Duplicate { .. }
    ));
}
