//! The hooks, called by the real API server: what is common to them, and their defaults.
//! Whom they refuse what is in `guards`.

use kube::api::{Patch, PatchParams};
use serde_json::json;

use crate::{
    guards::{held, merge},
    stage::{hosts, new_host, shared, until},
};

#[tokio::test]
async fn a_checksum_without_a_type_gets_one_when_its_image_is_set_and_only_then() {
    let stage = shared();
    new_host(stage, "defaulted").await;
    let hosts = hosts(stage);
    let image = json!({"spec": {"image": {"url": "http://i", "checksum": "abc"}}});
    let host = merge(&hosts, "defaulted", image).await.unwrap();
    let checksum_type = host.spec.image.unwrap().checksum_type;
    assert_eq!(checksum_type.as_deref(), Some("auto"));
    let host = merge(&hosts, "defaulted", json!({"spec": {"image": null}}))
        .await
        .unwrap();
    assert_eq!(host.spec.image, None);
}

#[tokio::test]
async fn a_dry_run_is_judged_like_the_real_thing() {
    let stage = shared();
    held(stage, "rehearsed", "403").await;
    let patch = json!({"spec": {"image": {"url": "http://mine"}}});
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let refused = hosts(stage)
        .patch("rehearsed", &params, &Patch::Merge(&patch))
        .await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn what_the_hooks_decided_is_counted_on_the_admin_port() {
    let stage = shared();
    held(stage, "counted", "405").await;
    let patch = json!({"spec": {"image": {"url": "http://mine"}}});
    merge(&hosts(stage), "counted", patch).await.unwrap_err();
    let metrics = crate::stage::scrape(stage, "/metrics").await;
    for counted in [
        r#"kube_webhook_reviews_total{webhook="/validate/baremetalhost",operation="UPDATE",outcome="denied"}"#,
        r#"kube_webhook_reviews_total{webhook="/mutate/baremetalhost",operation="UPDATE",outcome="patched"}"#,
        "kube_webhook_certificate_not_after_timestamp_seconds",
    ] {
        assert!(metrics.contains(counted), "{counted} is not in\n{metrics}");
    }
    until("readiness", async || {
        (crate::stage::scrape(stage, "/readyz").await == "ok\n").then_some(())
    })
    .await;
}
