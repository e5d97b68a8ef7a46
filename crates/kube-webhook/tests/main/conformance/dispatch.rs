//! Kubernetes' integration and unit cases of how calls are made and taken: K26, K30, K34, K56 to K62,
//! K66 and K67.

use std::time::{Duration, Instant};

use axum::response::{IntoResponse, Response};
use control_plane::ControlPlane;
use http::StatusCode;
use k8s_openapi::{
    api::{admissionregistration::v1::ValidatingWebhookConfiguration, core::v1::ConfigMap},
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, Time},
};
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams, PostParams},
};
use kube_webhook::{
    Fault, Mutation, Webhooks,
    admission::{
        AdmissionContext, Create, MutateCreate, MutateUpdate, MutationResult, MutationWebhook, Old,
        Update,
    },
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, net::TcpListener};

use super::{
    broken::{Call, Calls, answering, patching, review},
    stage::{
        Hook, Served, Stage, config_map, create_crd, create_namespace, dry_run, eventually,
        refusal, rule, try_raw,
    },
};

/// Allows everything, after as many milliseconds as the path says.
fn recorder() -> (Served, Calls) {
    let (router, calls) = answering(move |call: Call| async move {
        let millis = call
            .path
            .rsplit('/')
            .next()
            .and_then(|text| text.parse().ok());
        tokio::time::sleep(Duration::from_millis(millis.unwrap_or_default())).await;
        review(&call, json!({"allowed": true}))
    });
    (Served::start(router), calls)
}

/// Answers with what the function makes of the call.
fn broken(answer: fn(&Call) -> Response) -> Served {
    let (router, _) = answering(move |call: Call| async move { answer(&call) });
    Served::start(router)
}

fn created() -> Value {
    rule("", "v1", "configmaps", &["CREATE"])
}

/// Called only for the config map that has the hook's name.
fn only_for(name: &str, hook: Hook) -> Hook {
    hook.named(name)
        .condition("of-this-case", &format!("request.name == '{name}'"))
}

async fn create(stage: &Stage, name: &str) -> Result<ConfigMap, kube::Error> {
    let config_maps: Api<ConfigMap> = stage.api();
    config_maps
        .create(&dry_run(), &config_map(name, &json!({})))
        .await
}

#[tokio::test]
async fn a_call_has_the_lesser_of_the_hooks_and_the_requests_time() {
    // K26
    let stage = Stage::on(client_without_retries().await, "k26").await;
    let (served, calls) = recorder();
    let after = |millis: u16, timeout: u16| {
        let target = served.client_config(&format!("/after/{millis}"));
        stage
            .hook_at(target, created())
            .with("timeoutSeconds", timeout)
            .with("failurePolicy", "Ignore")
    };
    stage
        .mutating(vec![
            after(1_500, 20).named("a"),
            after(1_200, 20).named("b"),
            after(0, 3).named("c"),
            after(0, 20).named("d"),
        ])
        .await;
    calls.take();
    let post = async |timeout: &str| {
        let uri = format!("/api/v1/namespaces/k26/configmaps?dryRun=All&timeout={timeout}");
        let any = json!({"metadata": {"name": "any"}});
        stage.raw("POST", &uri, Some(&any)).await.status()
    };
    assert_eq!(post("10s").await, StatusCode::CREATED);
    let queries: Vec<_> = calls.take().into_iter().map(|call| call.query).collect();
    // The rest is rounded up to whole seconds.
    assert_eq!(
        queries,
        ["timeout=10s", "timeout=9s", "timeout=3s", "timeout=8s"]
    );

    // The request's own time over, the later hooks are skipped, whatever their policy.
    let started = Instant::now();
    let uri = "/api/v1/namespaces/k26/configmaps?dryRun=All&timeout=1s";
    let any = json!({"metadata": {"name": "any"}});
    // The API server closes the connection where its handler has begun to write meanwhile.
    if let Ok(answer) = try_raw(&stage.client, "POST", uri, Some(&any)).await {
        assert_eq!(answer.status(), StatusCode::GATEWAY_TIMEOUT);
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    assert_eq!(calls.take().len(), 1);
}

/// kube's client calls again upon 504, for minutes.
async fn client_without_retries() -> kube::Client {
    let kubeconfig = ControlPlane::shared().await.kubeconfig();
    let kubeconfig = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default())
        .await
        .unwrap();
    config.default_retry = false;
    kube::Client::try_from(config).unwrap()
}

struct SpoilManagedFields;

impl SpoilManagedFields {
    fn spoil(mut object: ConfigMap) -> MutationResult<ConfigMap> {
        object.metadata.managed_fields = Some(vec![ManagedFieldsEntry {
            api_version: Some("v1".to_owned()),
            fields_type: Some("no such type".to_owned()),
            time: None::<Time>,
            ..ManagedFieldsEntry::default()
        }]);
        MutationResult::modified(object)
    }
}

impl MutationWebhook<ConfigMap> for SpoilManagedFields {
    type Operations = (Create, Update);
}

impl MutateCreate<ConfigMap> for SpoilManagedFields {
    async fn create(
        &self,
        object: ConfigMap,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<ConfigMap>, Fault> {
        Ok(Self::spoil(object))
    }
}

impl MutateUpdate<ConfigMap> for SpoilManagedFields {
    async fn update(
        &self,
        _: &Old<'_, ConfigMap>,
        new: ConfigMap,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<ConfigMap>, Fault> {
        Ok(Self::spoil(new))
    }
}

#[tokio::test]
async fn spoilt_managed_fields_are_reset_with_a_warning() {
    // K30
    let stage = Stage::start("k30").await;
    let spoiling = Webhooks::new("k30")
        .domain("k30.example.com")
        .add_webhook(Mutation::new(SpoilManagedFields))
        .build()
        .unwrap();
    let served = Served::start(spoiling.router());
    let config_maps: Api<ConfigMap> = stage.api();
    let plain = config_map("one", &json!({}));
    config_maps
        .create(&PostParams::default(), &plain)
        .await
        .unwrap();
    stage
        .mutating(vec![stage.hook_at(
            served.client_config("/mutate/configmap"),
            rule("", "v1", "configmaps", &["UPDATE"]),
        )])
        .await;
    let uri = "/api/v1/namespaces/k30/configmaps/one";
    let patch = json!({"data": {"a": "b"}});
    let mut put = serde_json::to_value(config_maps.get("one").await.unwrap()).unwrap();
    put["data"] = json!({"a": "c"});
    put["metadata"]["resourceVersion"] = Value::Null;
    for (method, body) in [("PATCH", patch), ("PUT", put)] {
        let answer = stage.raw(method, uri, Some(&body)).await;
        assert_eq!(answer.status(), StatusCode::OK, "{}", answer.body());
        let warning = answer.headers()["warning"].to_str().unwrap();
        assert!(
            warning.contains(".metadata.managedFields was in an invalid state"),
            "{warning}"
        );
        let fields = &answer.body()["metadata"]["managedFields"];
        assert_ne!(fields[0]["fieldsType"], "no such type", "{fields}");
    }
}

#[tokio::test]
async fn another_version_is_converted_to_the_rules_before_it_is_sent() {
    // K34
    let stage = Stage::start("k34").await;
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let version = |name: &str, storage: bool| {
        json!({
            "name": name, "served": true, "storage": storage,
            "schema": {"openAPIV3Schema": schema},
        })
    };
    let crd = json!({
        "metadata": {"name": "things.k34.example.com"},
        "spec": {
            "group": "k34.example.com",
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [version("v1", true), version("v2", false)],
        },
    });
    create_crd(&stage.client, &crd).await;
    let (served, calls) = recorder();
    let of_v1 = rule("k34.example.com", "v1", "things", &["CREATE"]);
    stage
        .validating(vec![
            stage.hook_at(served.client_config("/equivalent"), of_v1.clone()),
            stage
                .hook_at(served.client_config("/exact"), of_v1)
                .with("matchPolicy", "Exact"),
        ])
        .await;
    let things = stage.dynamic("k34.example.com", "v2", "Thing");
    let thing: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "k34.example.com/v2", "kind": "Thing", "metadata": {"name": "one"},
    }))
    .unwrap();
    eventually(async || things.create(&dry_run(), &thing).await.ok()).await;
    let calls = calls.take();
    assert!(
        calls.iter().all(|call| call.path == "/equivalent"),
        "{calls:?}"
    );
    let request = &calls.last().unwrap().review["request"];
    assert_eq!(request["kind"]["version"], "v1");
    assert_eq!(request["requestKind"]["version"], "v2");
    assert_eq!(request["object"]["apiVersion"], "k34.example.com/v1");
}

#[tokio::test]
async fn a_denial_says_why_if_the_webhook_does() {
    // K56
    let stage = Stage::start("k56").await;
    let silent = broken(|call| review(call, json!({"allowed": false})));
    let reasoned = broken(|call| {
        review(
            call,
            json!({"allowed": false, "status": {"reason": "you shall not pass"}}),
        )
    });
    let never = broken(|_| StatusCode::IM_A_TEAPOT.into_response());
    stage
        .validating(vec![
            only_for(
                "silent",
                stage.hook_at(silent.client_config("/"), created()),
            ),
            only_for(
                "reasoned",
                stage.hook_at(reasoned.client_config("/"), created()),
            ),
            only_for(
                "other-rule",
                stage.hook_at(
                    never.client_config("/"),
                    rule("", "v1", "configmaps", &["DELETE"]),
                ),
            ),
        ])
        .await;
    let message = refusal(create(&stage, "silent").await).message;
    assert!(
        message.ends_with("denied the request without explanation"),
        "{message}"
    );
    let status = refusal(create(&stage, "reasoned").await);
    assert_eq!(
        status.message,
        r#"admission webhook "reasoned.k8s.example.com" denied the request: you shall not pass"#
    );
    create(&stage, "other-rule").await.unwrap();
}

#[tokio::test]
async fn a_namespace_is_exempt_by_its_labels() {
    // K57
    let stage = Stage::start("k57").await;
    create_namespace(&stage.client, "k57-other").await;
    let key = "kubernetes.io/metadata.name";
    let here = |operator: &str, name: &str| {
        json!({"matchExpressions": [
            {"key": key, "operator": operator, "values": [name]},
            {"key": key, "operator": "In", "values": ["k57", "k57-other"]},
        ]})
    };
    let denying = |selector: Value| {
        stage
            .hook("/always-deny", created())
            .with("namespaceSelector", selector)
    };
    stage
        .validating(vec![
            denying(here("NotIn", "k57-other")).named("one"),
            denying(json!({"matchLabels": {key: "k57"}})).named("two"),
        ])
        .await;
    create(&stage, "any").await.unwrap_err();
    let other: Api<ConfigMap> = Api::namespaced(stage.client.clone(), "k57-other");
    other
        .create(&dry_run(), &config_map("any", &json!({})))
        .await
        .unwrap();
}

#[tokio::test]
async fn failed_calls_are_ignored_only_by_policy_and_leave_a_trace() {
    // K58, K61
    let stage = Stage::start("k58").await;
    let absent = broken(|call| review(call, Value::Null));
    let failing = |name: &str, case: &str, policy: Option<&str>| {
        let hook = stage
            .hook_at(absent.client_config("/"), created())
            .named(name)
            .condition("of-this-case", &format!("request.name == '{case}'"));
        match policy {
            Some(policy) => hook.with("failurePolicy", policy),
            None => hook,
        }
    };
    stage
        .validating(vec![
            failing("open-1", "open", Some("Ignore")),
            failing("open-2", "open", Some("Ignore")),
            failing("open-3", "open", Some("Ignore")),
            failing("default", "default", None),
            failing("closed", "closed", Some("Fail")),
        ])
        .await;
    for name in ["default", "closed"] {
        let status = refusal(create(&stage, name).await);
        assert_eq!(status.code, 500);
        assert!(
            status.message.ends_with("webhook response was absent"),
            "{status:?}"
        );
    }
    create(&stage, "open").await.unwrap();
    let log = ControlPlane::shared().await.audit_log();
    let event = log.wait_for(|event| {
        let is_open = |object: &Value| object["metadata"]["name"] == "open";
        event.request_object.as_ref().is_some_and(is_open) && event.request_uri.contains("/k58/")
    });
    let annotations = event.await.unwrap().annotations;
    for index in 0..3 {
        let key = format!("failed-open.validating.webhook.admission.k8s.io/round_0_index_{index}");
        assert!(annotations[&key].contains("open-"), "{annotations:?}");
    }
}

#[tokio::test]
async fn a_target_that_is_of_no_use_fails_at_the_call() {
    // K59, K60
    let stage = Stage::start("k59").await;
    let mut no_ca = stage.server.client_config("/always-deny");
    no_ca["caBundle"] = "bm8gUEVN".into();
    let garbage = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = garbage.local_addr().unwrap().port();
    let talking = tokio::spawn(async move {
        while let Ok((mut stream, _)) = garbage.accept().await {
            let _ = stream.write_all(b"quite another protocol\r\n").await;
        }
    });
    let no_tls = json!({"url": format!("https://127.0.0.1:{port}/")});
    stage
        .validating(vec![
            only_for("no-ca", stage.hook_at(no_ca.clone(), created())),
            only_for("no-tls", stage.hook_at(no_tls, created())),
            only_for("open", stage.hook_at(no_ca, created())).with("failurePolicy", "Ignore"),
        ])
        .await;
    let message = refusal(create(&stage, "no-ca").await).message;
    assert!(message.contains("could not get REST client"), "{message}");
    let message = refusal(create(&stage, "no-tls").await).message;
    assert!(message.contains("failed to call webhook"), "{message}");
    create(&stage, "open").await.unwrap();
    talking.abort();
}

#[tokio::test]
async fn a_dry_run_reaches_only_hooks_that_have_no_effects_then() {
    // K62: the API has no other hooks any more.
    let stage = Stage::start("k62").await;
    let (served, calls) = recorder();
    let with = |effects: &str| {
        stage
            .hook_at(served.client_config("/0"), created())
            .with("sideEffects", effects)
    };
    for effects in ["Some", "Unknown"] {
        let configuration = json!({
            "metadata": {"name": "k62"}, "webhooks": [with(effects).named("guard").0],
        });
        let configurations: Api<ValidatingWebhookConfiguration> = Api::all(stage.client.clone());
        let refused = configurations
            .create(
                &PostParams::default(),
                &serde_json::from_value(configuration).unwrap(),
            )
            .await;
        assert!(refusal(refused).message.contains("sideEffects"));
    }
    stage
        .validating(vec![
            with("None").named("a"),
            with("NoneOnDryRun").named("b"),
        ])
        .await;
    calls.take();
    create(&stage, "any").await.unwrap();
    let calls = calls.take();
    assert_eq!(calls.len(), 2);
    assert!(
        calls
            .iter()
            .all(|call| call.review["request"]["dryRun"] == true)
    );
}

#[tokio::test]
async fn a_patch_that_does_not_decode_is_a_failed_call_and_one_that_does_not_apply_is_not() {
    // K66, and an inapplicable patch under `Ignore`
    let stage = Stage::start("k66").await;
    let undecodable = broken(|call| review(call, patching("[{")));
    let inapplicable = broken(|call| {
        review(
            call,
            patching(r#"[{"op": "remove", "path": "/data/nothing"}]"#),
        )
    });
    let at = |name: &str, served: &Served, policy: &str| {
        let hook = stage.hook_at(served.client_config("/"), created());
        only_for(name, hook).with("failurePolicy", policy)
    };
    stage
        .mutating(vec![
            at("closed", &undecodable, "Fail"),
            at("open", &undecodable, "Ignore"),
            at("inapplicable", &inapplicable, "Ignore"),
        ])
        .await;
    let message = refusal(create(&stage, "closed").await).message;
    assert!(
        message.contains("unexpected end of JSON input"),
        "{message}"
    );
    create(&stage, "open").await.unwrap();
    // Which is why the framework tries its patches out before they leave.
    assert_eq!(refusal(create(&stage, "inapplicable").await).code, 500);
}

#[tokio::test]
async fn a_mutator_is_called_again_only_if_it_asks_to_be() {
    // K67
    let stage = Stage::start("k67").await;
    let (router, calls) = answering(move |call: Call| async move {
        if call.path != "/change" || call.review["request"]["object"]["data"].is_object() {
            return review(&call, json!({"allowed": true}));
        }
        let patch = r#"[{"op": "add", "path": "/data", "value": {"changed": "yes"}}]"#;
        review(&call, patching(patch))
    });
    let served = Served::start(router);
    let at = |path: &str| stage.hook_at(served.client_config(path), created());
    stage
        .mutating(vec![
            at("/if-needed").with("reinvocationPolicy", "IfNeeded"),
            at("/never").with("reinvocationPolicy", "Never"),
            at("/default"),
            at("/change").with("reinvocationPolicy", "IfNeeded"),
        ])
        .await;
    calls.take();
    let config_maps: Api<ConfigMap> = stage.api();
    let empty: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "any"}})).unwrap();
    let created = config_maps.create(&dry_run(), &empty).await.unwrap();
    assert_eq!(created.data.unwrap()["changed"], "yes");
    let paths: Vec<_> = calls.take().into_iter().map(|call| call.path).collect();
    assert_eq!(
        paths,
        ["/if-needed", "/never", "/default", "/change", "/if-needed"]
    );
    // Every call has a uid of its own.
    config_maps
        .patch("none", &PatchParams::default(), &Patch::Merge(json!({})))
        .await
        .unwrap_err();
}
