//! Who and what is never held up: our own writes, the operator's, finalizers, statuses, and
//! deletions under way; and that, while we are away, nobody waits for us who needn't.

use k8s_openapi::{
    api::{admissionregistration::v1::ValidatingWebhookConfiguration, core::v1::Namespace},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use serde_json::to_value;

use super::*;

const OPERATOR: &str = "system:serviceaccount:metal3:baremetal-operator";

const NAMESPACE_CONTROLLER: &str = "system:serviceaccount:kube-system:namespace-controller";

#[tokio::test]
async fn we_and_the_operator_and_whoever_ends_a_namespace_are_let_through() {
    let stage = shared();
    held(stage, "excused", "430").await;
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let image = json!({"spec": {"image": {"url": "http://other"}}});
    for user in [USER, OPERATOR] {
        let patched = hosts_of(stage, user)
            .patch("excused", &params, &Patch::Merge(&image))
            .await;
        patched.unwrap();
    }
    for user in [OPERATOR, NAMESPACE_CONTROLLER] {
        let deleted = hosts_of(stage, user).delete("excused", &rehearsed()).await;
        deleted.unwrap();
    }
    let admin = hosts(stage);
    let status = json!({"status": {"hardwareProfile": "unknown"}});
    let written = admin
        .patch_status("excused", &params, &Patch::Merge(&status))
        .await;
    written.unwrap();
}

#[tokio::test]
async fn a_deleted_host_that_is_held_can_still_lose_its_finalizers() {
    let stage = shared();
    held(stage, "doomed", "404").await;
    let hosts = hosts(stage);
    let reason = json!({"metadata": {"annotations": {
        "harbormaster.dev/break-glass": "the rack is being scrapped today",
    }}});
    merge(&hosts, "doomed", reason).await.unwrap();
    hosts
        .delete("doomed", &DeleteParams::default())
        .await
        .unwrap();
    until("the host to be gone", async || {
        let host = hosts.get_opt("doomed").await.unwrap();
        host.is_none().then_some(())
    })
    .await;
    reaches(stage, "portal-404", Phase::Failed).await;
}

/// A copy of our configuration, for one namespace, at whose address nobody answers: what a
/// write meets while every replica is down.
#[tokio::test]
async fn while_we_are_away_only_other_peoples_writes_to_held_hosts_wait_for_us() {
    let stage = shared();
    let client = stage.control_plane().client();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut dark = Namespace::default();
    dark.metadata.name = Some("dark".to_owned());
    namespaces
        .create(&PostParams::default(), &dark)
        .await
        .unwrap();
    let of = |user: &str| -> Api<BareMetalHost> {
        let client = stage.control_plane().client_as(user, &["system:masters"]);
        Api::namespaced_with(client.unwrap(), "dark", &BareMetalHost::resource())
    };
    let (ours, operator, admin) = (of(USER), of(OPERATOR), of("peach"));
    let held = json!({
        "metadata": {"name": "held", "finalizers": ["baremetalhost.metal3.io"]},
        "spec": {"online": true, "consumerRef": {
            "apiVersion": "harbormaster.dev/v1", "kind": "Reservation", "name": "x", "uid": "1",
        }},
    });
    make(&ours, held).await;
    make(
        &admin,
        json!({"metadata": {"name": "free"}, "spec": {"online": false}}),
    )
    .await;

    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(client);
    let mut configuration = configurations.get("harbormaster").await.unwrap();
    configuration.metadata = kube::core::ObjectMeta {
        name: Some("dark".to_owned()),
        ..Default::default()
    };
    for hook in configuration.webhooks.iter_mut().flatten() {
        // Nobody listens on the port for discarding (RFC 863).
        hook.client_config.url = Some("https://127.0.0.1:9/".to_owned());
        hook.client_config.service = None;
        hook.namespace_selector = Some(LabelSelector {
            match_labels: Some([("kubernetes.io/metadata.name".into(), "dark".into())].into()),
            ..LabelSelector::default()
        });
    }
    configurations
        .create(&PostParams::default(), &configuration)
        .await
        .unwrap();
    let note = || json!({"metadata": {"annotations": {"example.com/note": "x"}}});
    let refusal = until("that configuration to be in force", async || {
        merge(&admin, "held", note()).await.err()
    })
    .await;
    assert!(
        refusal.contains("failed calling webhook \"held.baremetalhost.harbormaster.dev\""),
        "{refusal}"
    );

    for hosts in [&ours, &operator] {
        merge(hosts, "held", note()).await.unwrap();
        let image = json!({"spec": {"image": {"url": "http://other"}}});
        merge(hosts, "held", image).await.unwrap();
    }
    let image = json!({"spec": {"image": {"url": "http://mine"}}});
    merge(&admin, "free", image).await.unwrap();
    admin.delete("free", &rehearsed()).await.unwrap();
    let status = json!({"status": {"hardwareProfile": "unknown"}});
    let written = admin
        .patch_status("held", &PatchParams::default(), &Patch::Merge(&status))
        .await;
    written.unwrap();
    // What is being deleted can go, whoever takes the last finalizer off.
    admin.delete("held", &rehearsed()).await.unwrap_err();
    of(NAMESPACE_CONTROLLER)
        .delete("held", &DeleteParams::default())
        .await
        .unwrap();
    let last = json!({"metadata": {"finalizers": null}});
    merge(&admin, "held", last).await.unwrap();
    assert_eq!(admin.get_opt("held").await.unwrap(), None);
    configurations
        .delete("dark", &DeleteParams::default())
        .await
        .unwrap();
}

async fn make(hosts: &Api<BareMetalHost>, host: Value) {
    let mut host = host;
    let resource = to_value(BareMetalHost::new("", &BareMetalHost::resource())).unwrap();
    host["apiVersion"] = resource["apiVersion"].clone();
    host["kind"] = resource["kind"].clone();
    let host = serde_json::from_value(host).unwrap();
    hosts.create(&PostParams::default(), &host).await.unwrap();
}
