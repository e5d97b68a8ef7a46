//! `TLS_MODE=self-managed` on a real API server: the program, under its own role, makes its
//! certificates, and keeps whom API servers trust.

#[path = "certificates/site.rs"]
pub(crate) mod site;

use std::{
    fs,
    time::{Duration, SystemTime},
};

use k8s_openapi::ByteString;
use kube::api::DeleteParams;
use kube_webhook::certs::{Authority, Pem};
use serde_json::{Value, json};

use self::site::{Site, WEBHOOKS};
use crate::{
    own::{Own, Settings, nowhere},
    stage::{OWN_CONTROL_PLANE, install_crypto, until},
    traffic::Traffic,
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

#[tokio::test]
async fn a_leaf_is_renewed_also_where_it_can_not_be_told_whom_callers_trust() {
    let _turn = OWN_CONTROL_PLANE.lock().await;
    let site = Site::open().await;
    let times = "ca=10m,leaf=15s,settle=2s,retire=5s";
    let own = site.start("one", &[("CERTIFICATE_TIMES", times)]).await;
    site.until_called().await;
    let root = site.root().await;
    let bundles = site.bundles().await;
    // The right to read the places; the Secrets are another role's.
    site.kubectl(&["delete", "clusterrolebinding", "harbormaster"]);
    until("it to be told of", async || {
        let log = own.log();
        log.contains("certificates can't be kept").then_some(())
    })
    .await;
    let mut last = None;
    for which in ["the present leaf", "the next", "the one after it"] {
        last = Some(
            until(which, async || {
                let chain = presented(own.tls(), "127.0.0.1", &root).await?;
                (Some(&chain) != last.as_ref()).then_some(chain)
            })
            .await,
        );
    }
    // A replica that starts now has none to go on with. How we are registered isn't known, but what our
    // Service is called.
    let name = "harbormaster.harbormaster-system.svc";
    let params = DeleteParams::default();
    site.secrets
        .delete("harbormaster-tls", &params)
        .await
        .unwrap();
    until("another in place of one that is deleted", async || {
        let chain = presented(own.tls(), name, &root).await?;
        let is_stored = site.secrets.get_opt("harbormaster-tls").await.unwrap();
        (is_stored.is_some() && Some(&chain) != last.as_ref()).then_some(())
    })
    .await;
    assert_eq!(site.bundles().await, bundles);
    assert_eq!(site.root().await, root);
    drop(own);
    site.close().await;
}

/// TLS_MODE=files, as with cert-manager where the kubelet is faster than the cainjector.
#[tokio::test]
async fn a_renewed_certificate_of_another_ca_waits_until_each_place_trusts_it() {
    let _turn = OWN_CONTROL_PLANE.lock().await;
    let site = Site::open().await;
    let day = Duration::from_secs(24 * 60 * 60);
    let now = SystemTime::now();
    let [old, new] = ["old", "new"].map(|name| Authority::create(name, now, day).unwrap());
    let issue = |ca: &Authority| ca.issue(&["127.0.0.1".to_owned()], now, day).unwrap();
    let [chain, key] = ["tls.crt", "tls.key"].map(|name| site.folder().join(name));
    let write = |leaf: &Pem| {
        fs::write(&chain, &leaf.chain).unwrap();
        fs::write(&key, &leaf.key).unwrap();
    };
    write(&issue(&old));
    site.trust(&[&old]).await;
    let settings = [
        ("TLS_MODE", "files"),
        ("TLS_CERT_FILE", chain.to_str().unwrap()),
        ("TLS_KEY_FILE", key.to_str().unwrap()),
    ];
    let own = site.start("one", &settings).await;
    site.until_called().await;
    site.keep("kept").await;
    let traffic = Traffic::start(&site.client, "kept", 2).await;
    let is_accepted_by = async |ca: &Authority| {
        let roots = ca.pem().chain.as_bytes();
        presented(own.tls(), "127.0.0.1", roots).await.is_some()
    };

    write(&issue(&new));
    until("it to be held back", async || {
        own.log()
            .contains("a renewed certificate is held back")
            .then_some(())
    })
    .await;
    assert!(is_accepted_by(&old).await);
    site.trust(&[&old, &new]).await;
    until("the new one to be presented", async || {
        is_accepted_by(&new).await.then_some(())
    })
    .await;
    site.trust(&[&new]).await;
    // Calls by the last bundle, and not by what the API server had pooled.
    let calls = traffic.calls();
    until("some more calls", async || {
        (traffic.calls() > calls + 100).then_some(())
    })
    .await;
    traffic.stop("a CA exchanged in files").await;

    // Of the same CA: nobody has to be waited for but each API server's copy of the bundle.
    let renewed = issue(&new);
    write(&renewed);
    let expected = kube_webhook::certs::certificates(renewed.chain.as_bytes());
    until("a leaf of the same CA to be presented", async || {
        let roots = new.pem().chain.as_bytes();
        let served = presented(own.tls(), "127.0.0.1", roots).await;
        (served.as_ref() == Some(&expected)).then_some(())
    })
    .await;
    // Bundles that are broken later keep nobody's events out.
    site.trust(&[&old]).await;
    until("it to be told of", async || {
        let (status, text) = own.scrape("/readyz?verbose").await;
        assert_eq!(status, 200, "{text}");
        text.contains("[!]trust ok, but: API servers can't call us")
            .then_some(())
    })
    .await;
    let event = json!({"eventType": "EVENT_END", "resourceName": "srv"});
    assert_eq!(own.sender().post(&event).await.unwrap().0, 200);
    // Whoever starts now is no use to callers, and others are there.
    let next = site
        .start("two", &[&settings[..], &[("PORT", "0")]].concat())
        .await;
    until("the next to say that it isn't trusted", async || {
        let (status, text) = next.scrape("/readyz").await;
        (status == 503 && text.contains("UnknownIssuer")).then_some(())
    })
    .await;
    drop((own, next));
    site.close().await;
}

/// A CA that is exchanged half a minute after it was made.
pub(crate) const FAST: &str = "ca=45s,leaf=15s,settle=2s,retire=5s";
