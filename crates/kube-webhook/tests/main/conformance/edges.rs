//! What Kubernetes' suites don't ask, and production does.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{body::Body, response::IntoResponse};
use futures::stream;
use http::{Request, StatusCode, header};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use kube_webhook::{
    Fault, TlsIdentity, Validation, Webhooks,
    admission::{
        AdmissionContext, Delete, Old, ValidateDelete, ValidationResult, ValidationWebhook,
    },
    testing::{ApiServer, CallError, Review, ReviewVersion, assert_idempotent},
};
use serde_json::json;
use tower::ServiceExt;

use super::{
    broken::{Call, answering, review},
    stage::{Served, Stage, config_map, dry_run, refusal, rule},
};
use crate::conformance_server;

fn conformance() -> ApiServer {
    ApiServer::of(conformance_server::admission("sidecar:1".to_owned()).unwrap())
}

#[tokio::test]
async fn a_path_with_a_slash_at_its_end_is_called_without() {
    let stage = Stage::start("slash").await;
    stage
        .validating(vec![
            stage.hook("/configmaps/", rule("", "v1", "configmaps", &["CREATE"])),
        ])
        .await;
    let config_maps: Api<ConfigMap> = stage.api();
    let unwanted = config_map("any", &json!({"webhook-e2e-test": "webhook-disallow"}));
    let status = refusal(config_maps.create(&dry_run(), &unwanted).await);
    assert!(status.message.contains("unwanted key and value"));
}

#[tokio::test]
async fn the_api_server_calls_again_when_it_is_asked_to() {
    let stage = Stage::start("retry").await;
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let (router, _) = answering(move |call: Call| {
        let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            if first {
                let wait = [(header::RETRY_AFTER, "1")];
                return (StatusCode::TOO_MANY_REQUESTS, wait).into_response();
            }
            review(&call, json!({"allowed": true}))
        }
    });
    let served = Served::start(router.clone());
    let target = served.client_config("/");
    stage
        .validating(vec![
            stage.hook_at(target, rule("", "v1", "configmaps", &["CREATE"])),
        ])
        .await;
    let config_maps: Api<ConfigMap> = stage.api();
    let any = config_map("any", &json!({}));
    config_maps.create(&dry_run(), &any).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), 2);

    // The one of the test kit does the same, within its time.
    asked.store(0, Ordering::SeqCst);
    let api_server = ApiServer::at(&served.base, &served.ca).unwrap();
    let verdict = api_server.validate("/", &Review::create(&any)).await;
    assert!(verdict.unwrap().is_allowed());
    asked.store(0, Ordering::SeqCst);
    let hurried = ApiServer::of(router).timeout(Duration::from_millis(500));
    let failed = hurried.validate("/", &Review::create(&any)).await;
    assert_eq!(failed.unwrap_err(), CallError::Deadline);
}

#[tokio::test]
async fn the_largest_objects_fit_into_a_review_and_more_does_not() {
    let served = Served::start(conformance_server::admission(String::new()).unwrap());
    let api_server = ApiServer::at(&served.base, &served.ca).unwrap();
    let object = |bytes: usize| config_map("any", &json!({"a": "a".repeat(bytes)}));
    let largest = object(3 * MEBIBYTE);
    let update = Review::update(&largest, &largest);
    let verdict = api_server.validate("/configmaps", &update).await.unwrap();
    assert!(verdict.is_allowed());
    let more = object(4 * MEBIBYTE);
    let update = Review::update(&more, &more);
    match api_server.validate("/configmaps", &update).await {
        Err(CallError::Status { code: 413, .. }) => {}
        // The server may close before all of it is sent.
        Err(CallError::Transport { .. }) => {}
        other => panic!("{other:?}"),
    }
}

/// Denies deletions by name.
struct KeepsByName;

impl ValidationWebhook<ConfigMap> for KeepsByName {
    type Operations = (Delete,);
}

impl ValidateDelete<ConfigMap> for KeepsByName {
    async fn delete(
        &self,
        _: &Old<'_, ConfigMap>,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        Ok(match cx.name() {
            Some("kept") => ValidationResult::fail("it is called kept"),
            Some(_) => ValidationResult::success(),
            None => ValidationResult::fail("it has no name"),
        })
    }
}

#[tokio::test]
async fn every_object_of_a_deletecollection_has_its_name() {
    let stage = Stage::start("collection").await;
    let registered = Webhooks::new("collection")
        .domain("collection.example.com")
        .add_webhook(Validation::new(KeepsByName))
        .build()
        .unwrap();
    let served = Served::start(registered.router());
    stage
        .validating(vec![stage.hook_at(
            served.client_config("/validate/configmap"),
            rule("", "v1", "configmaps", &["DELETE"]),
        )])
        .await;
    let config_maps: Api<ConfigMap> = stage.api();
    for name in ["gone", "kept"] {
        let plain = config_map(name, &json!({}));
        config_maps
            .create(&PostParams::default(), &plain)
            .await
            .unwrap();
    }
    let delete = async |selector: &str| {
        let selected = ListParams::default().fields(selector);
        config_maps
            .delete_collection(&DeleteParams::default(), &selected)
            .await
            .map(drop)
    };
    delete("metadata.name=gone").await.unwrap();
    let status = refusal(delete("metadata.name=kept").await);
    assert!(status.message.contains("it is called kept"), "{status:?}");
}

#[tokio::test]
async fn other_methods_and_bodies_without_a_length_have_their_answers() {
    let router = conformance_server::admission(String::new()).unwrap();
    for method in ["GET", "PUT", "DELETE"] {
        let request = Request::builder().method(method).uri("/configmaps");
        let request = request.body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.headers()[header::ALLOW], "POST");
    }
    let review = Review::create(&config_map("any", &json!({}))).to_json();
    let text = review.to_string();
    let (one, other) = text.split_at(text.len() / 2);
    let pieces = [one.to_owned(), other.to_owned()].map(Ok::<_, std::io::Error>);
    let request = Request::post("/configmaps")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from_stream(stream::iter(pieces)))
        .unwrap();
    let answer = router.clone().oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    // And what agnhost doesn't know.
    let request = Request::post("/configmaps")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(
            r#"{"apiVersion": "admission.k8s.io/v9", "kind": "AdmissionReview"}"#,
        ))
        .unwrap();
    let answer = router.oneshot(request).await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_answers_pass_the_api_servers_checks_in_both_versions() {
    // K45 to K48 on answers of the framework
    let api_server = conformance();
    for version in [ReviewVersion::V1, ReviewVersion::V1beta1] {
        let unwanted = config_map("any", &json!({"webhook-e2e-test": "webhook-disallow"}));
        let review = Review::create(&unwanted).version(version);
        let verdict = api_server.validate("/configmaps", &review).await.unwrap();
        assert_eq!(
            verdict.refusal("hook").unwrap().message,
            "admission webhook \"hook\" denied the request: the configmap contains unwanted key \
             and value"
        );
        let fine = Review::create(&config_map("any", &json!({}))).version(version);
        let verdict = api_server.validate("/configmaps", &fine).await.unwrap();
        assert!(verdict.is_allowed());
        let labelled = api_server.mutate("/add-label", &fine).await.unwrap();
        assert_eq!(
            labelled.object().unwrap()["metadata"]["labels"]["added-label"],
            "yes"
        );
    }
}

#[tokio::test]
async fn a_second_run_of_an_idempotent_hook_changes_nothing() {
    let api_server = conformance();
    let plain = Review::create(&config_map("any", &json!({})));
    assert!(
        assert_idempotent(&api_server, "/add-label", &plain)
            .await
            .patch()
            .is_some()
    );
    // agnhost's stages are meant not to be.
    let start = Review::create(&config_map("any", &json!({"mutation-start": "yes"})));
    let error =
        kube_webhook::testing::check_idempotent(&api_server, "/mutating-configmaps", &start)
            .await
            .unwrap_err();
    assert!(error.to_string().contains("mutation-stage-2"), "{error}");
}

#[tokio::test]
async fn connections_are_kept_and_a_foreign_ca_is_not_trusted() {
    let served = Served::start(conformance_server::admission(String::new()).unwrap());
    let api_server = ApiServer::at(&served.base, &served.ca).unwrap();
    let review = Review::create(&config_map("any", &json!({})));
    for _ in 0..3 {
        api_server.validate("/configmaps", &review).await.unwrap();
    }
    let (_, other_ca) = TlsIdentity::ephemeral(&["127.0.0.1".to_owned()]).unwrap();
    let stranger = ApiServer::at(&served.base, &other_ca).unwrap();
    let failed = stranger.validate("/configmaps", &review).await;
    assert!(
        matches!(failed, Err(CallError::Transport { .. })),
        "{failed:?}"
    );
    ApiServer::at(&served.base, "no PEM").unwrap_err();
}

const MEBIBYTE: usize = 1024 * 1024;
