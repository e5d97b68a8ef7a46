//! `TLS_MODE=self-managed` on a real API server: the program, under its own role, makes its
//! certificates, and keeps whom API servers trust.

#[path = "certificates/site.rs"]
pub(crate) mod site;

use k8s_openapi::ByteString;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use self::site::{Site, WEBHOOKS};
use crate::{
    own::{Own, Settings, nowhere},
    stage::{OWN_CONTROL_PLANE, install_crypto, until},
    trust::presented,
};

#[tokio::test]
async fn the_first_start_makes_everything_and_another_replica_shares_it() {
    let _turn = OWN_CONTROL_PLANE.lock().await;
    let site = Site::open().await;
    site.add_strangers().await;
    let strangers = site.strangers().await;
    let one = site.start("one", &[]).await;
    let two = site
        .start(
            "two",
            &[("PORT", "0"), ("TLS_EXTRA_NAMES", "events.example.org")],
        )
        .await;
    site.until_called().await;

    let bundle = site.bundles().await;
    assert_eq!(bundle.len(), WEBHOOKS, "{bundle:?}");
    assert!(bundle.iter().all(|one| *one == bundle[0]), "{bundle:?}");
    let root = site.root().await;
    assert_eq!(bundle[0], root);
    let chain = presented(one.tls(), "127.0.0.1", &root).await.unwrap();
    until("the other to present the same", async || {
        let other = presented(two.tls(), "127.0.0.1", &root).await;
        (other.as_ref() == Some(&chain)).then_some(())
    })
    .await;
    let service = presented(two.tls(), "harbormaster.harbormaster-system.svc", &root).await;
    assert_eq!(service, Some(chain));
    assert_eq!(site.strangers().await, strangers);
    site.assert_only_bundles_are_ours().await;
    let (_, metrics) = one.scrape("/metrics").await;
    let expires = metrics.lines().find_map(|line| {
        line.strip_prefix("kube_webhook_certificate_not_after_timestamp_seconds ")
    });
    let expires: i64 = expires.unwrap().parse().unwrap();
    let days = (expires - jiff::Timestamp::now().as_second()) / (24 * 60 * 60);
    assert!((28..=30).contains(&days), "{days}");
    assert!(!format!("{}{}", one.log(), two.log()).contains("PRIVATE KEY"));
    drop((one, two));
    site.close().await;
}

#[tokio::test]
async fn what_is_deleted_damaged_or_overwritten_is_made_good() {
    let _turn = OWN_CONTROL_PLANE.lock().await;
    let site = Site::open().await;
    let own = site.start("one", &[]).await;
    site.until_called().await;
    let secrets = &site.secrets;
    let root = site.root().await;
    let first = presented(own.tls(), "127.0.0.1", &root).await.unwrap();

    // The leaf: a new one of the same CA, which everybody trusts already.
    secrets
        .delete("harbormaster-tls", &DeleteParams::default())
        .await
        .unwrap();
    let second = until("another leaf", async || {
        presented(own.tls(), "127.0.0.1", &root)
            .await
            .filter(|chain| *chain != first)
    })
    .await;
    let damaged = json!({"data": {"tls.crt": ByteString(b"no PEM".to_vec())}});
    site.merge("harbormaster-tls", &damaged).await;
    until("yet another", async || {
        presented(own.tls(), "127.0.0.1", &root)
            .await
            .filter(|chain| *chain != second)
    })
    .await;
    assert_eq!(site.root().await, root);
    assert!(own.log().contains("serving certificate not renewed"));

    // The CA: a new one beside the old, which stays trusted as long as its leaf is served.
    until("the CA to issue", async || {
        let secret = secrets.get("harbormaster-ca").await.unwrap();
        secret.data?.contains_key("tls.key").then_some(())
    })
    .await;
    site.merge(
        "harbormaster-ca",
        &json!({"data": {"tls.key": ByteString(b"no key".to_vec())}}),
    )
    .await;
    site.until_trusted_are(2).await;
    site.until_called().await;
    secrets
        .delete("harbormaster-ca", &DeleteParams::default())
        .await
        .unwrap();
    site.until_trusted_are(3).await;
    site.until_called().await;

    // What others write into our places.
    let bundles = site.bundles().await;
    site.tamper(&json!(null)).await;
    until("the bundles to be as they were", async || {
        (site.bundles().await == bundles).then_some(())
    })
    .await;
    site.tamper(&Value::from("bm9uZQ==")).await;
    until("the bundles to be as they were, again", async || {
        (site.bundles().await == bundles).then_some(())
    })
    .await;
    site.until_called().await;

    // A configuration that is deleted is not made anew; one that comes back is filled in.
    site.delete_webhooks().await;
    site.apply_webhooks();
    until("the bundles to be there", async || {
        (site.bundles().await == bundles).then_some(())
    })
    .await;
    drop(own);
    site.close().await;
}

#[tokio::test]
async fn without_an_api_server_the_door_opens_all_the_same() {
    install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(&Settings {
        kubeconfig: &nowhere(folder.path()),
        namespace: "default",
        folder: folder.path(),
        more: &[("TLS_MODE", "self-managed")],
    });
    let event = json!({"eventType": "EVENT_END", "resourceName": "srv"});
    let (status, _) = own.sender().post(&event).await.unwrap();
    assert_eq!(status, 200);
    let dialled = tokio::net::TcpStream::connect(own.tls()).await;
    dialled.unwrap();
}

/// A CA that is exchanged half a minute after it was made.
pub(crate) const FAST: &str = "ca=45s,leaf=15s,settle=2s,retire=5s";
