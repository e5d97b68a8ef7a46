//! The examples, called by a real kube-apiserver over TLS.

use std::net::Ipv4Addr;

use control_plane::ControlPlane;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use kube::{
    Api, CustomResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use kube_webhook::{Registered, Server, Target, TlsIdentity};
use serde_json::json;
use tokio::{sync::oneshot, task::JoinHandle};

use crate::{
    conformance::stage::{create_crd, eventually, refusal},
    conversion_operator::{self, V1TestEntity, V2TestEntity, V3TestEntity},
    webhook_operator::{self, V1TestEntity as Entity, V1TestEntitySpec as EntitySpec},
};

/// Webhooks served on the loopback until `stop`.
struct Serving {
    target: Target,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Serving {
    fn start(registered: &Registered) -> Self {
        let (identity, ca) = TlsIdentity::ephemeral(&["127.0.0.1".to_owned()]).unwrap();
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let server = Server::bind(address, identity, registered.router()).unwrap();
        let target = Target::Url {
            base: format!("https://{}", server.local_addr()),
            ca_bundle: Some(ca),
        };
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(server.serve(async {
            let _ = stopped.await;
        }));
        Self { target, stop, task }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

fn entity(name: &str, username: &str) -> Entity {
    Entity::new(
        name,
        EntitySpec {
            username: username.to_owned(),
        },
    )
}

#[tokio::test]
async fn the_webhook_operator_judges_and_changes_what_users_write() {
    let client = ControlPlane::shared().await.client();
    let registered = webhook_operator::webhooks().unwrap();
    let serving = Serving::start(&registered);
    create_crd(&client, &json!(Entity::crd())).await;
    let validating: Api<ValidatingWebhookConfiguration> = Api::all(client.clone());
    let configuration = registered
        .validating_configuration(&serving.target)
        .unwrap();
    validating
        .create(&PostParams::default(), &configuration)
        .await
        .unwrap();
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(client.clone());
    let configuration = registered.mutating_configuration(&serving.target).unwrap();
    mutating
        .create(&PostParams::default(), &configuration)
        .await
        .unwrap();

    let entities: Api<Entity> = Api::namespaced(client, "default");
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let forbidden = entity("one", "forbidden");
    let status = eventually(async || entities.create(&dry_run, &forbidden).await.err()).await;
    let status = refusal::<()>(Err(status));
    assert_eq!(status.code, 422);
    assert_eq!(
        status.message,
        "admission webhook \"validate.testentity.webhook.dev\" denied the request: \
         name may not be 'forbidden'."
    );

    let overwritten = eventually(async || {
        let created = entities
            .create(&dry_run, &entity("one", "overwrite"))
            .await
            .unwrap();
        (created.spec.username != "overwrite").then_some(created)
    })
    .await;
    assert_eq!(overwritten.spec.username, "random overwritten");

    let mut created = entities
        .create(&PostParams::default(), &entity("one", "fine"))
        .await
        .unwrap();
    assert_eq!(created.spec.username, "fine");
    created.spec.username = "forbidden".to_owned();
    let status = refusal(
        entities
            .replace("one", &PostParams::default(), &created)
            .await,
    );
    assert_eq!(status.code, 400);

    // A faulty answer is a failed call, and refused only because the policy says `Fail`.
    serving.stop().await;
    created.spec.username = "any".to_owned();
    let status = refusal(
        entities
            .replace("one", &PostParams::default(), &created)
            .await,
    );
    assert_eq!(status.code, 500);
    assert!(status.message.contains("failed calling webhook"));
    entities
        .delete("one", &DeleteParams::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn the_conversion_operator_serves_every_version_of_what_is_stored() {
    let client = ControlPlane::shared().await.client();
    let registered = conversion_operator::webhooks().unwrap();
    let serving = Serving::start(&registered);
    let crd = conversion_operator::crd(&registered, &serving.target).unwrap();
    create_crd(&client, &json!(crd)).await;

    let v1: Api<V1TestEntity> = Api::namespaced(client.clone(), "default");
    let v2: Api<V2TestEntity> = Api::namespaced(client.clone(), "default");
    let v3: Api<V3TestEntity> = Api::namespaced(client, "default");
    let manager = PatchParams::apply("test");
    let ada = json!({
        "apiVersion": "conversionwebhook.dev/v1",
        "kind": "TestEntity",
        "metadata": {"name": "ada", "labels": {"a": "b"}},
        "spec": {"name": "Ada King"},
    });
    eventually(async || v1.patch("ada", &manager, &Patch::Apply(&ada)).await.ok()).await;
    let stored = v3.get("ada").await.unwrap();
    assert_eq!(
        (&*stored.spec.firstname, &*stored.spec.lastname),
        ("Ada", "King")
    );
    assert_eq!(stored.metadata.labels.unwrap()["a"], "b");

    // What v1 and v2 can't say survives an edit through both.
    let middle = json!({"spec": {"middleName": "Byron"}});
    v3.patch("ada", &PatchParams::default(), &Patch::Merge(&middle))
        .await
        .unwrap();
    let lastname = json!({"spec": {"lastname": "Lovelace"}});
    v2.patch("ada", &PatchParams::default(), &Patch::Merge(&lastname))
        .await
        .unwrap();
    let mut view = v1.get("ada").await.unwrap();
    assert_eq!(view.spec.name, "Ada Lovelace");
    view.spec.name = "Augusta Lovelace".to_owned();
    v1.replace("ada", &PostParams::default(), &view)
        .await
        .unwrap();
    let stored = v3.get("ada").await.unwrap();
    assert_eq!(stored.spec.firstname, "Augusta");
    assert_eq!(stored.spec.lastname, "Lovelace");
    assert_eq!(stored.spec.middle_name.as_deref(), Some("Byron"));
    assert!(stored.metadata.annotations.is_none_or(|all| all.is_empty()));

    // A version that says less precisely what was written reads it as it was written.
    let plato = serde_json::from_value(json!({
        "metadata": {"name": "plato"},
        "apiVersion": "conversionwebhook.dev/v1",
        "kind": "TestEntity",
        "spec": {"name": "Plato"},
    }))
    .unwrap();
    v1.create(&PostParams::default(), &plato).await.unwrap();
    assert_eq!(v3.get("plato").await.unwrap().spec.lastname, "");
    assert_eq!(v1.get("plato").await.unwrap().spec.name, "Plato");

    v2.delete("ada", &DeleteParams::default()).await.unwrap();
    v2.delete("plato", &DeleteParams::default()).await.unwrap();
    serving.stop().await;
}
