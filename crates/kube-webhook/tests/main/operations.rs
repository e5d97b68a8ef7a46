//! Connects and subresources: hooks whose objects are of another kind than the resource's own.

use k8s_openapi::api::{apps::v1::Deployment, autoscaling::v1::Scale, policy::v1::Eviction};
use kube_webhook::{
    Fault, Mutation, Resources, Target, Validation, Webhooks,
    admission::{
        AdmissionContext, CauseReason, Connect, Create, Delete, MutateConnect, MutateCreate,
        MutateUpdate, MutationResult, MutationWebhook, Old, Operation, Update, ValidateConnect,
        ValidateCreate, ValidateDelete, ValidateUpdate, ValidationResult, ValidationWebhook,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::call::{admit, patch_of, post, review};

/// As much of `PodAttachOptions` as the hooks look at.
#[derive(Deserialize, Serialize)]
struct Attach {
    #[serde(default)]
    stdin: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    container: Option<String>,
}

struct NoStdin;

impl ValidationWebhook<Attach> for NoStdin {
    type Operations = (Connect,);
}

impl ValidateConnect<Attach> for NoStdin {
    async fn connect(
        &self,
        options: &Attach,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        assert_eq!(cx.operation(), Operation::Connect);
        assert_eq!(cx.subresource(), Some("attach"));
        assert_eq!(cx.name(), Some("one"));
        Ok(if options.stdin {
            ValidationResult::fail("attach without stdin")
                .with_code(403)
                .with_cause_of(CauseReason::Forbidden, "stdin", "not here")
        } else {
            ValidationResult::success()
        })
    }
}

impl MutationWebhook<Attach> for NoStdin {
    type Operations = (Connect,);
}

impl MutateConnect<Attach> for NoStdin {
    async fn connect(
        &self,
        mut options: Attach,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<Attach>, Fault> {
        options.container = Some("main".to_owned());
        Ok(MutationResult::modified(options))
    }
}

struct AtMostThree;

impl ValidationWebhook<Scale> for AtMostThree {
    type Operations = (Update,);
}

impl ValidateUpdate<Scale> for AtMostThree {
    async fn update(
        &self,
        old: &Old<'_, Scale>,
        new: &Scale,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        let replicas = |scale: &Scale| scale.spec.as_ref().and_then(|spec| spec.replicas);
        Ok(
            if replicas(new) > Some(3) && replicas(&old.decode()?) <= Some(3) {
                ValidationResult::fail("at most three")
            } else {
                ValidationResult::success()
            },
        )
    }
}

struct NoEvictions;

impl ValidationWebhook<Eviction> for NoEvictions {
    type Operations = (Create,);
}

impl ValidateCreate<Eviction> for NoEvictions {
    async fn create(
        &self,
        _: &Eviction,
        cx: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        Ok(ValidationResult::fail(format!(
            "{} stays",
            cx.name().unwrap_or_default()
        )))
    }
}

/// Any operation on anything.
struct Everything;

impl ValidationWebhook<Value> for Everything {
    type Operations = (Create, Update, Delete, Connect);
}

impl ValidateCreate<Value> for Everything {
    async fn create(&self, _: &Value, _: &AdmissionContext<'_>) -> Result<ValidationResult, Fault> {
        Ok(ValidationResult::fail("create"))
    }
}

impl ValidateUpdate<Value> for Everything {
    async fn update(
        &self,
        _: &Old<'_, Value>,
        _: &Value,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        Ok(ValidationResult::fail("update"))
    }
}

impl ValidateDelete<Value> for Everything {
    async fn delete(
        &self,
        _: &Old<'_, Value>,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        Ok(ValidationResult::fail("delete"))
    }
}

impl ValidateConnect<Value> for Everything {
    async fn connect(
        &self,
        _: &Value,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        Ok(ValidationResult::fail("connect"))
    }
}

/// A narrow view of Deployments.
#[derive(Deserialize, Serialize)]
struct Paused {
    spec: PausedSpec,
}

#[derive(Deserialize, Serialize)]
struct PausedSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused: Option<bool>,
}

struct Unpaused;

impl MutationWebhook<Paused> for Unpaused {
    type Operations = (Create, Update);
}

impl MutateCreate<Paused> for Unpaused {
    async fn create(
        &self,
        mut object: Paused,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<Paused>, Fault> {
        object.spec.paused = Some(false);
        Ok(MutationResult::modified(object))
    }
}

impl MutateUpdate<Paused> for Unpaused {
    async fn update(
        &self,
        _: &Old<'_, Paused>,
        _: Paused,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<Paused>, Fault> {
        Ok(MutationResult::no_changes())
    }
}

fn webhooks() -> Webhooks {
    let pods = Resources::new("", "v1", "pods");
    Webhooks::new("subresources")
        .domain("example.com")
        .add_webhook(Validation::for_resources(
            pods.clone().subresource("attach"),
            NoStdin,
        ))
        .add_webhook(Mutation::for_resources(
            pods.clone().subresource("attach"),
            NoStdin,
        ))
        .add_webhook(Validation::for_resources(
            pods.subresource("eviction"),
            NoEvictions,
        ))
        .add_webhook(Validation::for_resources(
            Resources::of::<Deployment>().subresource("scale"),
            AtMostThree,
        ))
        .add_webhook(Mutation::for_resources(
            Resources::of::<Deployment>(),
            Unpaused,
        ))
}

/// A review of `plural/subresource`, whose object is of `kind`.
fn of_subresource(
    operation: &str,
    group: &str,
    plural: &str,
    subresource: &str,
    kind: [&str; 3],
    object: &Value,
    old: &Value,
) -> Value {
    let mut review = review(operation, kind, object, old);
    review["request"]["resource"] = json!({"group": group, "version": "v1", "resource": plural});
    review["request"]["subResource"] = subresource.into();
    review
}

fn attach(stdin: bool) -> Value {
    let object =
        json!({"apiVersion": "v1", "kind": "PodAttachOptions", "stdin": stdin, "tty": true});
    let kind = ["", "v1", "PodAttachOptions"];
    of_subresource("CONNECT", "", "pods", "attach", kind, &object, &Value::Null)
}

#[tokio::test]
async fn a_connect_is_judged_by_its_options() {
    let router = webhooks().build().unwrap().router();
    for path in ["/validate/pods/attach", "/validate"] {
        let denied = admit(&router, path, &attach(true)).await;
        assert_eq!(denied["status"]["code"], 403, "{path}");
        assert_eq!(
            denied["status"]["details"]["causes"],
            json!([{"reason": "FieldValueForbidden", "message": "not here", "field": "stdin"}])
        );
        assert_eq!(admit(&router, path, &attach(false)).await["allowed"], true);
    }
    let patched = admit(&router, "/mutate/pods/attach", &attach(false)).await;
    assert_eq!(
        patch_of(&patched),
        [json!({"op": "add", "path": "/container", "value": "main"})]
    );
}

#[tokio::test]
async fn scale_and_eviction_reach_their_hooks_by_the_resource() {
    let router = webhooks().build().unwrap().router();
    let scale = |replicas: i32| json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "one"}, "spec": {"replicas": replicas}});
    let scaled = |to: i32| {
        let kind = ["autoscaling", "v1", "Scale"];
        of_subresource(
            "UPDATE",
            "apps",
            "deployments",
            "scale",
            kind,
            &scale(to),
            &scale(1),
        )
    };
    for path in ["/validate/deployments/scale", "/validate"] {
        assert_eq!(admit(&router, path, &scaled(3)).await["allowed"], true);
        assert_eq!(admit(&router, path, &scaled(4)).await["allowed"], false);
    }
    let eviction =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "one"}});
    let kind = ["policy", "v1", "Eviction"];
    let evicted = of_subresource(
        "CREATE",
        "",
        "pods",
        "eviction",
        kind,
        &eviction,
        &Value::Null,
    );
    let denied = admit(&router, "/validate", &evicted).await;
    assert_eq!(denied["status"]["message"], "one stays");

    // At the wrong door: the configuration in the cluster is another one.
    let (status, _) = post(&router, "/validate/pods/attach", evicted.to_string()).await;
    assert_eq!(status.as_u16(), 422);
}

#[tokio::test]
async fn a_narrow_view_changes_what_it_sees_and_nothing_else() {
    let router = webhooks().build().unwrap().router();
    let object = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 2}});
    let create = review(
        "CREATE",
        ["apps", "v1", "Deployment"],
        &object,
        &Value::Null,
    );
    let patched = admit(&router, "/mutate/deployments", &create).await;
    assert_eq!(
        patch_of(&patched),
        [json!({"op": "add", "path": "/spec/paused", "value": false})]
    );
}

#[tokio::test]
async fn a_hook_can_serve_every_operation_on_everything() {
    let all = Resources::new("*", "*", "*").subresource("*");
    let registered = Webhooks::new("everything")
        .domain("example.com")
        .add_webhook(Validation::for_resources(all, Everything))
        .build()
        .unwrap();
    let router = registered.router();
    let object = json!({"kind": "ConfigMap", "apiVersion": "v1"});
    for (operation, object, old) in [
        ("CREATE", &object, &Value::Null),
        ("UPDATE", &object, &object),
        ("DELETE", &Value::Null, &object),
        ("CONNECT", &object, &Value::Null),
    ] {
        let review = review(operation, ["", "v1", "ConfigMap"], object, old);
        let response = admit(&router, "/validate", &review).await;
        assert_eq!(response["status"]["message"], operation.to_lowercase());
    }
    let target = Target::Url {
        base: "https://127.0.0.1".to_owned(),
        ca_bundle: None,
    };
    let configuration = registered.validating_configuration(&target).unwrap();
    let webhook = &configuration.webhooks.unwrap()[0];
    assert_eq!(webhook.name, "validate.any.any.example.com");
    let rule = &webhook.rules.as_ref().unwrap()[0];
    assert_eq!(rule.api_groups.as_deref().unwrap(), ["*"]);
    assert_eq!(rule.resources.as_deref().unwrap(), ["*/*"]);
    assert_eq!(
        rule.operations.as_deref().unwrap(),
        ["CREATE", "UPDATE", "DELETE", "CONNECT"]
    );
}

#[test]
fn rules_name_the_subresource_alone() {
    let registered = webhooks().build().unwrap();
    let target = Target::Url {
        base: "https://127.0.0.1".to_owned(),
        ca_bundle: None,
    };
    let configuration = registered.validating_configuration(&target).unwrap();
    let named: Vec<_> = configuration
        .webhooks
        .unwrap()
        .into_iter()
        .map(|webhook| {
            let rule = webhook.rules.unwrap().remove(0);
            (webhook.name, rule.resources.unwrap().remove(0))
        })
        .collect();
    let expected = [
        ("validate.attach.pods.example.com", "pods/attach"),
        ("validate.eviction.pods.example.com", "pods/eviction"),
        (
            "validate.scale.deployments.example.com",
            "deployments/scale",
        ),
    ];
    assert_eq!(
        named,
        expected.map(|(name, resource)| (name.to_owned(), resource.to_owned()))
    );
}
