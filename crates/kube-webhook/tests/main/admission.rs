//! The example's hooks, and hooks that misbehave, through the router.

use std::time::Duration;

use axum::body::Body;
use futures::stream;
use http::{Method, Request, StatusCode, header};
use k8s_openapi::api::core::v1::ConfigMap;
use kube_webhook::{
    Fault, Mutation, Validation, Webhooks,
    admission::{
        AdmissionContext, Create, Delete, MutateCreate, MutateDelete, MutationResult,
        MutationWebhook, Old, ValidateCreate, ValidateDelete, ValidationResult, ValidationWebhook,
    },
};
use serde_json::{Value, json};

use crate::{
    call::{admit, json_of, patch_of, post, review, send},
    webhook_operator::webhooks,
};

const ENTITY: [&str; 3] = ["webhook.dev", "v1", "TestEntity"];
const CONFIG_MAP: [&str; 3] = ["", "v1", "ConfigMap"];

fn entity(username: &str) -> Value {
    json!({
        "apiVersion": "webhook.dev/v1",
        "kind": "TestEntity",
        "metadata": {"name": "one", "namespace": "default"},
        "spec": {"username": username},
    })
}

#[tokio::test]
async fn a_forbidden_name_is_denied_with_422_on_create_and_400_on_update() {
    let router = webhooks().unwrap().router();
    let create = review("CREATE", ENTITY, &entity("forbidden"), &Value::Null);
    let response = admit(&router, "/validate/testentity", &create).await;
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 422);
    assert_eq!(
        response["status"]["message"],
        "name may not be 'forbidden'."
    );

    let update = review("UPDATE", ENTITY, &entity("forbidden"), &entity("fine"));
    let response = admit(&router, "/validate/testentity", &update).await;
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 400);
}

#[tokio::test]
async fn an_allowed_object_gets_an_answer_with_nothing_but_the_verdict() {
    let router = webhooks().unwrap().router();
    let create = review("CREATE", ENTITY, &entity("fine"), &Value::Null);
    let response = admit(&router, "/validate/testentity", &create).await;
    assert_eq!(
        response,
        json!({"uid": create["request"]["uid"], "allowed": true})
    );
}

#[tokio::test]
async fn an_operation_that_the_hook_does_not_list_passes() {
    let router = webhooks().unwrap().router();
    let delete = review("DELETE", ENTITY, &Value::Null, &entity("forbidden"));
    let response = admit(&router, "/validate/testentity", &delete).await;
    assert_eq!(response["allowed"], true);
}

#[tokio::test]
async fn a_mutation_is_a_patch_of_the_field_that_changed() {
    let router = webhooks().unwrap().router();
    let create = review("CREATE", ENTITY, &entity("overwrite"), &Value::Null);
    let response = admit(&router, "/mutate/testentity", &create).await;
    assert_eq!(response["allowed"], true);
    assert_eq!(
        patch_of(&response),
        [json!({"op": "replace", "path": "/spec/username", "value": "random overwritten"})]
    );
    let create = review("CREATE", ENTITY, &entity("other"), &Value::Null);
    let response = admit(&router, "/mutate/testentity", &create).await;
    assert_eq!(patch_of(&response), Vec::<Value>::new());
}

#[tokio::test]
async fn the_bare_routes_choose_by_the_kind_of_the_review() {
    let router = webhooks().unwrap().router();
    let create = review("CREATE", ENTITY, &entity("forbidden"), &Value::Null);
    let response = admit(&router, "/validate", &create).await;
    assert_eq!(response["allowed"], false);

    let mut without_kind = review("CREATE", ENTITY, &entity("overwrite"), &Value::Null);
    without_kind["request"]["kind"] = Value::Null;
    let response = admit(&router, "/mutate", &without_kind).await;
    assert_eq!(patch_of(&response).len(), 1);

    let other = review("CREATE", CONFIG_MAP, &json!({}), &Value::Null);
    for path in ["/validate", "/validate/testentity"] {
        let (status, answer) = post(&router, path, other.to_string()).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{answer}");
    }
}

#[tokio::test]
async fn v1beta1_is_answered_in_v1beta1() {
    let router = webhooks().unwrap().router();
    let mut create = review("CREATE", ENTITY, &entity("fine"), &Value::Null);
    create["apiVersion"] = "admission.k8s.io/v1beta1".into();
    let response = admit(&router, "/validate/testentity", &create).await;
    assert_eq!(response["allowed"], true);
}

#[tokio::test]
async fn what_is_no_review_is_answered_with_a_status() {
    let router = webhooks().unwrap().router();
    let fine = review("CREATE", ENTITY, &entity("fine"), &Value::Null);
    let with = |change: fn(&mut Value)| {
        let mut review = fine.clone();
        change(&mut review);
        review.to_string()
    };
    for (expected, body) in [
        (400, String::new()),
        (400, "{".to_owned()),
        (400, "null".to_owned()),
        (422, "{}".to_owned()),
        (
            422,
            with(|review| review["apiVersion"] = "admission.k8s.io/v2".into()),
        ),
        (422, with(|review| review["kind"] = "Review".into())),
        (400, with(|review| review["request"] = Value::Null)),
        (400, with(|review| review["request"]["uid"] = "".into())),
        (
            422,
            with(|review| review["request"]["operation"] = "PATCH".into()),
        ),
        (
            422,
            with(|review| review["request"]["object"] = Value::Null),
        ),
        (
            422,
            with(|review| review["request"]["object"]["spec"] = 1.into()),
        ),
    ] {
        let (status, answer) = post(&router, "/validate/testentity", body.clone()).await;
        assert_eq!(status.as_u16(), expected, "{body}");
        assert_eq!(answer["kind"], "Status", "{body}");
        assert_eq!(answer["status"], "Failure");
        assert_eq!(answer["code"], expected);
        assert!(!answer["message"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn other_methods_media_types_codings_and_sizes_are_refused() {
    let router = Webhooks::new("example")
        .review_limit(1_000)
        .add_webhook(Validation::new(
            crate::webhook_operator::TestValidationWebhook,
        ))
        .build()
        .unwrap()
        .router();
    let path = "/validate/testentity";

    let get = Request::builder()
        .method(Method::GET)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    let response = send(&router, get).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()[header::ALLOW], "POST");
    assert_eq!(json_of(response).await["kind"], "Status");

    for (name, value) in [
        (header::CONTENT_TYPE, "application/yaml"),
        (header::CONTENT_ENCODING, "gzip"),
    ] {
        let request = Request::post(path)
            .header(name, value)
            .body(Body::from("{}"))
            .unwrap();
        let response = send(&router, request).await;
        assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
        assert_eq!(json_of(response).await["kind"], "Status");
    }

    let (status, answer) = post(&router, path, " ".repeat(1_001)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer["kind"], "Status");
}

#[tokio::test]
async fn a_body_without_end_is_cut_off_by_size_or_by_time() {
    let router = Webhooks::new("example")
        .body_deadline(Duration::from_millis(50))
        .add_webhook(Validation::new(
            crate::webhook_operator::TestValidationWebhook,
        ))
        .build()
        .unwrap()
        .router();
    let path = "/validate/testentity";
    let stalled = Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let (status, answer) = post(&router, path, stalled).await;
    assert_eq!(status, StatusCode::REQUEST_TIMEOUT, "{answer}");
    assert_eq!(answer["kind"], "Status");

    let router = webhooks().unwrap().router();
    let megabyte = vec![b' '; 1024 * 1024];
    let endless = Body::from_stream(stream::repeat_with(move || {
        Ok::<_, std::io::Error>(megabyte.clone())
    }));
    let (status, answer) = post(&router, path, endless).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{answer}");

    let broken = Body::from_stream(stream::iter([Err::<Vec<u8>, _>(std::io::Error::other(
        "gone",
    ))]));
    let (status, _) = post(&router, path, broken).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

/// Does as the ConfigMap's name says.
struct Moody;

impl ValidationWebhook<ConfigMap> for Moody {
    type Operations = (Create, Delete);
}

impl ValidateCreate<ConfigMap> for Moody {
    async fn create(
        &self,
        object: &ConfigMap,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        match object.metadata.name.as_deref() {
            Some("panics") => panic!("on purpose"),
            Some("hangs") => std::future::pending().await,
            Some("errs") => Err("many".parse::<u8>().unwrap_err().into()),
            Some("busy") => {
                Err(Fault::unavailable("ask later").with_retry_after(Duration::from_secs(1)))
            }
            Some("detailed") => Ok(ValidationResult::fail("see the fields")
                .with_code(422)
                .with_reason("Invalid")
                .with_cause("data.a", "too short")
                .with_cause("data.b", "too long")
                .with_warning("b is\ndeprecated")
                .with_audit_annotation("checked-by", cx.user().username())
                .with_audit_annotation("not/a-key", "lost")),
            _ => {
                assert_eq!(cx.user().username(), "alice");
                assert!(cx.user().is_in("dev\u{e9}s"));
                assert_eq!(cx.user().extra("team").collect::<Vec<_>>(), ["a", "b"]);
                assert_eq!((cx.name(), cx.namespace()), (Some("one"), Some("default")));
                assert!(!cx.dry_run());
                assert_eq!(cx.kind().unwrap().kind(), "ConfigMap");
                assert_eq!(cx.resource().unwrap().resource(), "configmaps");
                assert_eq!(cx.subresource(), None);
                assert!(cx.options().unwrap().get().contains("CreateOptions"));
                Ok(ValidationResult::success().with_warning("look twice"))
            }
        }
    }
}

impl ValidateDelete<ConfigMap> for Moody {
    async fn delete(
        &self,
        old: &Old<'_, ConfigMap>,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        let stored = old.decode()?;
        Ok(ValidationResult::fail(format!(
            "{} {} stays",
            cx.name().unwrap_or_default(),
            stored.data.map_or(0, |data| data.len())
        )))
    }
}

fn moody() -> axum::Router {
    Webhooks::new("moody")
        .domain("moody.example.com")
        .add_webhook(Validation::new(Moody))
        .build()
        .unwrap()
        .router()
}

fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}})
}

#[tokio::test]
async fn panics_hangs_and_errors_are_failed_calls_and_never_denials() {
    let router = moody();
    for (name, expected) in [
        ("panics", 500),
        ("hangs", 504),
        ("errs", 500),
        ("busy", 503),
    ] {
        let create = review("CREATE", CONFIG_MAP, &config_map(name), &Value::Null);
        let started = std::time::Instant::now();
        let (status, answer) = post(
            &router,
            "/validate/configmap?timeout=200ms",
            create.to_string(),
        )
        .await;
        assert!(started.elapsed() < Duration::from_secs(5));
        assert_eq!(status.as_u16(), expected, "{answer}");
        assert_eq!(answer["kind"], "Status");
        assert_eq!(answer.get("response"), None);
    }
}

#[tokio::test]
async fn the_context_tells_what_the_request_says() {
    let create = review("CREATE", CONFIG_MAP, &config_map("one"), &Value::Null);
    let response = admit(&moody(), "/validate/configmap", &create).await;
    assert_eq!(response["warnings"], json!(["look twice"]));
}

#[tokio::test]
async fn a_denial_carries_fields_warnings_and_audit_annotations() {
    let create = review("CREATE", CONFIG_MAP, &config_map("detailed"), &Value::Null);
    let response = admit(&moody(), "/validate/configmap", &create).await;
    assert_eq!(
        response,
        json!({
            "uid": create["request"]["uid"],
            "allowed": false,
            "status": {
                "status": "Failure",
                "message": "see the fields",
                "reason": "Invalid",
                "code": 422,
                "details": {
                    "name": "one",
                    "kind": "ConfigMap",
                    "causes": [
                        {"reason": "FieldValueInvalid", "message": "too short", "field": "data.a"},
                        {"reason": "FieldValueInvalid", "message": "too long", "field": "data.b"},
                    ],
                },
            },
            "auditAnnotations": {"checked-by": "alice"},
            "warnings": ["b is deprecated"],
        })
    );
}

#[tokio::test]
async fn a_deletecollection_finds_its_name_in_the_stored_object() {
    let mut delete = review("DELETE", CONFIG_MAP, &Value::Null, &config_map("two"));
    delete["request"]["name"] = "".into();
    let response = admit(&moody(), "/validate/configmap", &delete).await;
    assert_eq!(response["status"]["message"], "two 0 stays");
}

/// Labels what is created and keeps what is labelled.
struct Labels;

impl MutationWebhook<ConfigMap> for Labels {
    type Operations = (Create, Delete);
}

impl MutateCreate<ConfigMap> for Labels {
    async fn create(
        &self,
        mut object: ConfigMap,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<ConfigMap>, Fault> {
        let labels = object.metadata.labels.get_or_insert_default();
        labels.insert("a/b~c".to_owned(), "yes".to_owned());
        Ok(MutationResult::modified(object).with_warning("labelled"))
    }
}

impl MutateDelete<ConfigMap> for Labels {
    async fn delete(
        &self,
        old: &Old<'_, ConfigMap>,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        #[derive(serde::Deserialize)]
        struct View<'a> {
            #[serde(borrow)]
            kind: &'a str,
        }
        let view: View<'_> = old.view()?;
        Ok(ValidationResult::fail(format!("{} stays", view.kind)).with_code(403))
    }
}

#[tokio::test]
async fn a_patch_creates_missing_parents_and_leaves_unknown_fields_alone() {
    let router = Webhooks::new("labels")
        .domain("labels.example.com")
        .add_webhook(Mutation::new(Labels))
        .build()
        .unwrap()
        .router();
    let mut object = config_map("one");
    object["unknown"] = json!({"kept": 1.10});
    let create = review("CREATE", CONFIG_MAP, &object, &Value::Null);
    let response = admit(&router, "/mutate/configmap", &create).await;
    let patch = patch_of(&response);
    assert_eq!(
        patch,
        [json!({"op": "add", "path": "/metadata/labels", "value": {"a/b~c": "yes"}})]
    );
    assert_eq!(response["warnings"], json!(["labelled"]));

    // A second run over its own result changes nothing.
    object["metadata"]["labels"] = json!({"a/b~c": "yes"});
    let create = review("CREATE", CONFIG_MAP, &object, &Value::Null);
    let response = admit(&router, "/mutate/configmap", &create).await;
    assert_eq!(patch_of(&response), Vec::<Value>::new());

    let delete = review("DELETE", CONFIG_MAP, &Value::Null, &object);
    let response = admit(&router, "/mutate/configmap", &delete).await;
    assert_eq!(response["status"]["code"], 403);
    assert_eq!(response.get("patch"), None);
}
