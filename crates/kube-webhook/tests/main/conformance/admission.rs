//! Kubernetes' end-to-end cases of admission for built-in kinds, K1 to K8, K10 and K13 to K22.

use k8s_openapi::{
    api::{
        admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration},
        core::v1::{ConfigMap, Pod},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use super::stage::{Hook, Stage, config_map, create_namespace, dry_run, eventually, refusal, rule};

fn pod(name: &str, labels: &Value, container: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"containers": [{"name": container, "image": "image"}]},
    }))
    .unwrap()
}

#[tokio::test]
async fn discovery_lists_the_webhook_resources() {
    // K1
    let stage = Stage::start("k1").await;
    let groups = stage.client.list_api_groups().await.unwrap();
    let group = groups
        .groups
        .iter()
        .find(|group| group.name == "admissionregistration.k8s.io")
        .unwrap();
    assert!(group.versions.iter().any(|version| version.version == "v1"));
    let resources = stage
        .client
        .list_api_group_resources("admissionregistration.k8s.io/v1")
        .await
        .unwrap();
    for name in [
        "validatingwebhookconfigurations",
        "mutatingwebhookconfigurations",
    ] {
        assert!(resources.resources.iter().any(|one| one.name == name));
    }
}

#[tokio::test]
async fn unwanted_pods_and_config_maps_are_denied() {
    // K2
    let stage = Stage::start("k2").await;
    let unreachable = json!({"url": "https://127.0.0.1:1/configmaps"});
    stage
        .validating(vec![
            stage
                .hook("/pods", rule("", "v1", "pods", &["CREATE"]))
                .with("timeoutSeconds", 2),
            stage.hook(
                "/configmaps",
                rule("", "v1", "configmaps", &["CREATE", "UPDATE", "DELETE"]),
            ),
            stage
                .hook_at(
                    unreachable,
                    rule("", "v1", "configmaps", &["CREATE", "UPDATE", "DELETE"]),
                )
                .with("failurePolicy", "Ignore"),
        ])
        .await;

    let pods: Api<Pod> = stage.api();
    let disallowed = json!({"webhook-e2e-test": "webhook-disallow"});
    let unwanted = pod("unwanted", &disallowed, "webhook-disallow");
    let status = refusal(pods.create(&PostParams::default(), &unwanted).await);
    for text in [
        "the pod contains unwanted label",
        "the pod contains unwanted container name",
    ] {
        assert!(status.message.contains(text), "{status:?}");
    }
    let hanging = pod("hanging", &json!({"webhook-e2e-test": "wait-forever"}), "a");
    let status = refusal(pods.create(&PostParams::default(), &hanging).await);
    // What the suite looks for.
    assert!(status.message.contains("webhook"), "{status:?}");
    assert!(status.message.contains("deadline"), "{status:?}");
    assert!(pods.get_opt("hanging").await.unwrap().is_none());

    let config_maps: Api<ConfigMap> = stage.api();
    let unwanted = config_map("unwanted", &disallowed);
    let message = "the configmap contains unwanted key and value";
    let status = refusal(config_maps.create(&PostParams::default(), &unwanted).await);
    assert!(status.message.contains(message), "{status:?}");
    let fine = config_map("fine", &json!({"a": "b"}));
    let mut created = config_maps
        .create(&PostParams::default(), &fine)
        .await
        .unwrap();
    created.data.clone_from(&unwanted.data);
    let put = config_maps
        .replace("fine", &PostParams::default(), &created)
        .await;
    assert!(refusal(put).message.contains(message));
    let patch = Patch::Merge(json!({"data": disallowed}));
    let patched = config_maps
        .patch("fine", &PatchParams::default(), &patch)
        .await;
    assert!(refusal(patched).message.contains(message));

    create_namespace(&stage.client, "k2-exempt").await;
    let exempt: Api<ConfigMap> = Api::namespaced(stage.client.clone(), "k2-exempt");
    exempt
        .create(&PostParams::default(), &unwanted)
        .await
        .unwrap();
}

#[tokio::test]
async fn attaching_to_a_pod_is_denied() {
    // K3
    let stage = Stage::start("k3").await;
    stage
        .validating(vec![
            stage.hook("/pods/attach", rule("", "v1", "pods/attach", &["CONNECT"])),
        ])
        .await;
    let pods: Api<Pod> = stage.api();
    let guarded = pod("to-be-attached-pod", &json!({}), "container1");
    pods.create(&PostParams::default(), &guarded).await.unwrap();
    let attach = async |query: &str| {
        let uri =
            format!("/api/v1/namespaces/k3/pods/to-be-attached-pod/attach?stdout=true&{query}");
        let answer = stage.raw("POST", &uri, None).await;
        answer.body().to_string()
    };
    let message = "attaching to pod 'to-be-attached-pod' is not allowed";
    let denied = attach("container=container1&stdin=true").await;
    assert!(denied.contains(message), "{denied}");
    // Without input it passes; there is no node to attach to, though.
    let passed = attach("container=container1").await;
    assert!(passed.contains("does not have a host assigned"), "{passed}");
}

#[tokio::test]
async fn a_webhook_that_cannot_be_called_rejects_what_it_guards() {
    // K5
    let stage = Stage::start("k5").await;
    let mut target = stage.server.client_config("/configmaps");
    target["caBundle"] = Value::Null;
    stage
        .validating(vec![
            stage.hook_at(target, rule("", "v1", "configmaps", &["CREATE"])),
        ])
        .await;
    let config_maps: Api<ConfigMap> = stage.api();
    let any = config_map("any", &json!({}));
    let status = refusal(config_maps.create(&PostParams::default(), &any).await);
    assert_eq!((status.code, &*status.reason), (500, "InternalError"));
    assert!(status.message.contains("x509"), "{status:?}");
}

#[tokio::test]
async fn a_config_map_goes_through_two_ordered_stages() {
    // K6
    let stage = Stage::start("k6").await;
    let config_maps = rule("", "v1", "configmaps", &["CREATE"]);
    stage
        .mutating(vec![
            stage.hook("/mutating-configmaps", config_maps.clone()),
            stage.hook("/mutating-configmaps", config_maps),
        ])
        .await;
    let api: Api<ConfigMap> = stage.api();
    let start = config_map("staged", &json!({"mutation-start": "yes"}));
    let created = api.create(&PostParams::default(), &start).await.unwrap();
    assert_eq!(
        json!(created.data),
        json!({
            "mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes",
        })
    );
}

#[tokio::test]
async fn what_is_added_to_a_pod_gets_its_defaults() {
    // K7
    let stage = Stage::start("k7").await;
    let pods = rule("", "v1", "pods", &["CREATE"]);
    stage
        .mutating(vec![
            stage.hook("/mutating-pods", pods.clone()),
            stage.hook("/mutating-pods-sidecar", pods),
        ])
        .await;
    let pods: Api<Pod> = stage.api();
    let plain = pod("webhook-to-be-mutated", &json!({}), "example");
    let spec = pods
        .create(&PostParams::default(), &plain)
        .await
        .unwrap()
        .spec
        .unwrap();
    let added = spec.init_containers.unwrap().remove(0);
    assert_eq!(added.name, "webhook-added-init-container");
    assert_eq!(added.image.as_deref(), Some("webhook-added-image"));
    assert_eq!(added.termination_message_policy.as_deref(), Some("File"));
    let names: Vec<_> = spec.containers.iter().map(|one| &*one.name).collect();
    assert_eq!(names, ["example", "webhook-added-sidecar"]);
    assert_eq!(spec.containers[1].image.as_deref(), Some("sidecar:1"));
}

#[tokio::test]
async fn webhooks_neither_change_nor_keep_webhook_configurations() {
    // K8
    let stage = Stage::start("k8").await;
    let everything = |path: &str| {
        let mut hook = stage.hook(path, rule("admissionregistration.k8s.io", "*", "*", &["*"]));
        hook.0["namespaceSelector"] = Value::Null;
        hook
    };
    stage.validating(vec![everything("/always-deny")]).await;
    stage.mutating(vec![everything("/add-label")]).await;

    let dummy = json!({
        "metadata": {"name": "k8-dummy"},
        "webhooks": [stage.hook("/configmaps", rule("", "v1", "invalid", &["CREATE"]))
            .named("dummy").0],
    });
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(stage.client.clone());
    let configuration = serde_json::from_value(dummy.clone()).unwrap();
    let created = validating
        .create(&PostParams::default(), &configuration)
        .await
        .unwrap();
    assert_eq!(created.metadata.labels, None);
    validating
        .delete("k8-dummy", &DeleteParams::default())
        .await
        .unwrap();
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(stage.client.clone());
    let configuration = serde_json::from_value(dummy).unwrap();
    let created = mutating
        .create(&PostParams::default(), &configuration)
        .await
        .unwrap();
    assert_eq!(created.metadata.labels, None);
    mutating
        .delete("k8-dummy", &DeleteParams::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn an_unwanted_crd_is_denied() {
    // K10
    let stage = Stage::start("k10").await;
    let mut hook = stage.hook(
        "/crd",
        rule(
            "apiextensions.k8s.io",
            "*",
            "customresourcedefinitions",
            &["CREATE"],
        ),
    );
    hook.0["namespaceSelector"] = Value::Null;
    // The other cases make CRDs, too.
    hook.0["objectSelector"] = json!({"matchLabels": {"case": "k10"}});
    stage.validating(vec![hook]).await;
    let crds: Api<CustomResourceDefinition> = Api::all(stage.client.clone());
    let crd = serde_json::from_value(json!({
        "metadata": {
            "name": "denials.k10.example.com",
            "labels": {"webhook-e2e-test": "webhook-disallow", "case": "k10"},
        },
        "spec": {
            "group": "k10.example.com",
            "scope": "Namespaced",
            "names": {"plural": "denials", "kind": "Denial"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {
                "openAPIV3Schema": {"type": "object"},
            }}],
        },
    }))
    .unwrap();
    let status = refusal(crds.create(&PostParams::default(), &crd).await);
    assert!(status.message.contains("the crd contains unwanted label"));
}

#[tokio::test]
async fn a_timeout_is_honoured_whatever_the_policy() {
    // K13
    let stage = Stage::start("k13").await;
    let slow = |name: &str| {
        stage
            .hook(
                "/always-allow-delay-5s",
                rule("", "v1", "configmaps", &["CREATE"]),
            )
            .named(name)
            .condition("one-of-several", &format!("request.name == '{name}'"))
    };
    let mut unset = slow("unset");
    unset.0.as_object_mut().unwrap().remove("timeoutSeconds");
    stage
        .validating(vec![
            slow("fail").with("timeoutSeconds", 1),
            slow("ignore")
                .with("timeoutSeconds", 1)
                .with("failurePolicy", "Ignore"),
            slow("long"),
            unset,
        ])
        .await;
    let config_maps: Api<ConfigMap> = stage.api();
    let create = async |name: &str| {
        let any = config_map(name, &json!({}));
        config_maps.create(&PostParams::default(), &any).await
    };
    let (fail, ignore, long, unset) = tokio::join!(
        create("fail"),
        create("ignore"),
        create("long"),
        create("unset")
    );
    let status = refusal(fail);
    // What the suite looks for.
    assert!(
        status.message.contains("/always-allow-delay-5s?timeout=1s"),
        "{status:?}"
    );
    assert!(status.message.contains("timeout"), "{status:?}");
    for passed in [ignore, long, unset] {
        passed.unwrap();
    }
}

#[tokio::test]
async fn changes_of_a_configuration_take_effect() {
    // K14, K15
    let stage = Stage::start("k14").await;
    let hook = |operations: &[&str]| {
        stage
            .hook("/configmaps", rule("", "v1", "configmaps", operations))
            .named("guard")
    };
    let stages = |operations: &[&str]| {
        stage
            .hook(
                "/mutating-configmaps",
                rule("", "v1", "configmaps", operations),
            )
            .named("stages")
    };
    stage.validating(vec![hook(&["CREATE"])]).await;
    stage.mutating(vec![stages(&["CREATE"])]).await;
    let config_maps: Api<ConfigMap> = stage.api();
    let unwanted = config_map("any", &json!({"webhook-e2e-test": "webhook-disallow"}));
    let start = config_map("any", &json!({"mutation-start": "yes"}));
    let is_denied = async || config_maps.create(&dry_run(), &unwanted).await.is_err();
    let is_mutated = async || {
        let created = config_maps.create(&dry_run(), &start).await.unwrap();
        created.data.unwrap().contains_key("mutation-stage-1")
    };
    assert!(is_denied().await && is_mutated().await);

    let validating: Api<ValidatingWebhookConfiguration> = Api::all(stage.client.clone());
    let mut configuration = validating.get("k14-validating").await.unwrap();
    let rules = &mut configuration.webhooks.as_mut().unwrap()[0].rules;
    rules.as_mut().unwrap()[0].operations = Some(vec!["UPDATE".to_owned()]);
    validating
        .replace("k14-validating", &PostParams::default(), &configuration)
        .await
        .unwrap();
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(stage.client.clone());
    let patched = |operation: &str| {
        Patch::Json::<()>(
            serde_json::from_value(json!([{
                "op": "replace",
                "path": "/webhooks/0/rules/0/operations/0",
                "value": operation,
            }]))
            .unwrap(),
        )
    };
    let parameters = PatchParams::default();
    mutating
        .patch("k14-mutating", &parameters, &patched("UPDATE"))
        .await
        .unwrap();
    eventually(async || (!is_denied().await).then_some(())).await;
    eventually(async || (!is_mutated().await).then_some(())).await;

    validating
        .patch("k14-validating", &parameters, &patched("CREATE"))
        .await
        .unwrap();
    mutating
        .patch("k14-mutating", &parameters, &patched("CREATE"))
        .await
        .unwrap();
    eventually(async || is_denied().await.then_some(())).await;
    eventually(async || is_mutated().await.then_some(())).await;
}

#[tokio::test]
async fn configurations_are_listed_and_deleted_together() {
    // K16, K17
    let stage = Stage::start("k16").await;
    let of_the_test = ListParams::default().labels("case=k16");
    let configuration = |index: usize, hook: Hook| {
        json!({
            "metadata": {"name": format!("k16-{index}"), "labels": {"case": "k16"}},
            "webhooks": [hook.named("guard").0],
        })
    };
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(stage.client.clone());
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(stage.client.clone());
    let config_maps = rule("", "v1", "configmaps", &["CREATE"]);
    for index in 0..10 {
        let guard = configuration(index, stage.hook("/configmaps", config_maps.clone()));
        let guard = serde_json::from_value(guard).unwrap();
        validating
            .create(&PostParams::default(), &guard)
            .await
            .unwrap();
        let stages = stage.hook("/mutating-configmaps", config_maps.clone());
        let stages = serde_json::from_value(configuration(index, stages)).unwrap();
        mutating
            .create(&PostParams::default(), &stages)
            .await
            .unwrap();
    }
    assert_eq!(validating.list(&of_the_test).await.unwrap().items.len(), 10);
    assert_eq!(mutating.list(&of_the_test).await.unwrap().items.len(), 10);
    let api: Api<ConfigMap> = stage.api();
    let unwanted = config_map("any", &json!({"webhook-e2e-test": "webhook-disallow"}));
    eventually(async || api.create(&dry_run(), &unwanted).await.err()).await;

    let parameters = DeleteParams::default();
    validating
        .delete_collection(&parameters, &of_the_test)
        .await
        .unwrap();
    mutating
        .delete_collection(&parameters, &of_the_test)
        .await
        .unwrap();
    eventually(async || api.create(&dry_run(), &unwanted).await.ok()).await;
    let start = config_map("any", &json!({"mutation-start": "yes"}));
    eventually(async || {
        let created = api.create(&dry_run(), &start).await.unwrap();
        (created.data.unwrap().len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn match_conditions_that_do_not_compile_are_refused() {
    // K18 to K21
    let stage = Stage::start("k18").await;
    let conditions = |expression: &str| {
        let hook = stage.hook("/configmaps", rule("", "v1", "configmaps", &["CREATE"]));
        let hook = hook.condition("second", expression).named("guard");
        json!({"metadata": {"name": "k18"}, "webhooks": [hook.0]})
    };
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(stage.client.clone());
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(stage.client.clone());
    let bad = conditions("... [] bad expression");
    let good = conditions("object.metadata.namespace == 'k18'");
    let status = refusal(
        validating
            .create(
                &PostParams::default(),
                &serde_json::from_value(bad.clone()).unwrap(),
            )
            .await,
    );
    assert!(status.message.contains("compilation failed"), "{status:?}");
    let status = refusal(
        mutating
            .create(
                &PostParams::default(),
                &serde_json::from_value(bad.clone()).unwrap(),
            )
            .await,
    );
    assert!(status.message.contains("compilation failed"), "{status:?}");

    validating
        .create(
            &PostParams::default(),
            &serde_json::from_value(good.clone()).unwrap(),
        )
        .await
        .unwrap();
    mutating
        .create(
            &PostParams::default(),
            &serde_json::from_value(good).unwrap(),
        )
        .await
        .unwrap();
    let patch = Patch::Merge(&bad);
    let parameters = PatchParams::default();
    let status = refusal(validating.patch("k18", &parameters, &patch).await);
    assert!(status.message.contains("compilation failed"), "{status:?}");
    let status = refusal(mutating.patch("k18", &parameters, &patch).await);
    assert!(status.message.contains("compilation failed"), "{status:?}");
}

#[tokio::test]
async fn match_conditions_except_what_is_to_be_skipped() {
    // K22, K33
    let stage = Stage::start("k22").await;
    let config_maps = rule("", "v1", "configmaps", &["CREATE"]);
    let conditional = |name: &str, expression: &str, policy: &str| {
        stage
            .hook("/always-deny", config_maps.clone())
            .named(name)
            .condition("of-this-case", &format!("request.name == '{name}'"))
            .condition("the-case", expression)
            .with("failurePolicy", policy)
    };
    stage
        .mutating(vec![
            stage
                .hook("/mutating-configmaps", config_maps.clone())
                .condition("skip", "object.metadata.name != 'skip-me'"),
        ])
        .await;
    stage
        .validating(vec![
            conditional("matches", "true", "Fail"),
            conditional("matches-not", "false", "Fail"),
            // There is no such field.
            conditional("errs-closed", "object.nowhere == 'a'", "Fail"),
            conditional("errs-open", "object.nowhere == 'a'", "Ignore"),
        ])
        .await;
    let api: Api<ConfigMap> = stage.api();
    for (name, stages) in [("skip-me", 1), ("any", 2)] {
        let start = config_map(name, &json!({"mutation-start": "yes"}));
        let created = api.create(&PostParams::default(), &start).await.unwrap();
        assert_eq!(created.data.unwrap().len(), stages, "{name}");
    }
    let create = async |name: &str| api.create(&dry_run(), &config_map(name, &json!({}))).await;
    let status = refusal(create("matches").await);
    assert!(status.message.contains("denies all requests"), "{status:?}");
    create("matches-not").await.unwrap();
    assert_eq!(refusal(create("errs-closed").await).code, 403);
    create("errs-open").await.unwrap();
}
