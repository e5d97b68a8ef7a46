//! `serve --register` on a real API server that holds our definitions and nothing that leads to us.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use futures::future::LocalBoxFuture;
use harbormaster::api::v1::Reservation;
use kube::{Api, api::PostParams};
use kube_webhook::certs::{Authority, Pem, certificates};
use serde_json::{Value, json};

use crate::{
    certificates::site::{NAMESPACE, Site, WEBHOOKS},
    own::Own,
    rights,
    rollout::fleet::Fleet,
    stage::{OWN_CONTROL_PLANE, until},
    traffic::{self, Traffic},
    trust::presented,
};

#[tokio::test]
async fn a_bare_cluster_calls_us_once_we_answer_and_what_is_broken_is_put_back() {
    let _turn = OWN_CONTROL_PLANE.lock().await;
    let site = Site::open_bare().await;
    let url = site.url();
    let settings = [("REGISTER", "true"), ("REGISTER_URL", &*url)];
    let own = site.start("one", &settings).await;
    until_registered(&site).await;
    site.keep("kept").await;
    let traffic = Traffic::start(&site.client, "kept", 2).await;
    until("some calls", async || (traffic.calls() > 200).then_some(())).await;
    traffic.stop("registered by ourselves").await;
    assert_eq!(site.failed_calls().await, 0, "from the first call on");
    let refused = refused(&site).await;
    assert!(refused.contains("is no public SSH key"), "{refused}");

    let wanted = site.registration().await;
    assert_eq!(wanted.len(), 3);
    for (what, broken) in breakages(&site) {
        broken.await;
        assert_ne!(site.registration().await, wanted, "{what}");
        until(what, async || {
            (site.registration().await == wanted).then_some(())
        })
        .await;
    }

    // As our repairs are told that they were overtaken: by a test, they couldn't be.
    let overtaken = json!([
        {"op": "replace", "path": "/metadata/resourceVersion", "value": "1"},
        {"op": "add", "path": "/webhooks", "value": []},
    ]);
    assert_eq!(site.refusal_of(overtaken).await, 409);
    let tested = json!([{"op": "test", "path": "/metadata/resourceVersion", "value": "1"}]);
    assert_eq!(site.refusal_of(tested).await, 422);

    // Whoever is elected next finds nothing to do.
    let next = site
        .start("two", &[&settings[..], &[("PORT", "0")]].concat())
        .await;
    let versions = site.versions().await;
    own.terminate();
    own.ends_well().await;
    until("the next to have looked", async || {
        next.log()
            .contains("API servers are told of us")
            .then_some(())
    })
    .await;
    assert_eq!(site.versions().await, versions);
    site.assert_no_right_was_missing(&rights::of_registration());
    drop(next);
    site.close().await;
}

/// TLS_MODE=files, REGISTER_CA_FILE; and ephemeral.
#[tokio::test]
async fn bundles_follow_the_certificates_of_each_mode() {
    let _turn = OWN_CONTROL_PLANE.lock().await;
    let site = Site::open_bare().await;
    let url = site.url();
    let day = Duration::from_secs(24 * 60 * 60);
    let now = SystemTime::now();
    let [old, new] = ["old", "new"].map(|name| Authority::create(name, now, day).unwrap());
    let mounted = tempfile::tempdir().unwrap();
    let file = |name: &str| mounted.path().join(name).to_str().unwrap().to_owned();
    let (chain, key, ca) = (file("tls.crt"), file("tls.key"), file("ca.crt"));
    let write = |authority: &Authority| {
        let Pem {
            chain: cert,
            key: secret,
        } = authority
            .issue(&["127.0.0.1".to_owned()], now, day)
            .unwrap();
        // As in a mounted Secret, all at once.
        fs::write(&ca, &authority.pem().chain).unwrap();
        fs::write(&chain, cert).unwrap();
        fs::write(&key, secret).unwrap();
    };
    write(&old);
    // `ca.crt` is found beside the certificate.
    let settings = [
        ("REGISTER", "true"),
        ("REGISTER_URL", &*url),
        ("TLS_MODE", "files"),
        ("TLS_CERT_FILE", &*chain),
        ("TLS_KEY_FILE", &*key),
    ];
    let own = site.start("files", &settings).await;
    until_registered(&site).await;
    until_trusted(&site, &[&old]).await;
    site.keep("kept").await;
    let traffic = Traffic::start(&site.client, "kept", 2).await;
    write(&new);
    until_trusted(&site, &[&new, &old]).await;
    until("the new leaf to be presented", async || {
        let roots = new.pem().chain.as_bytes();
        presented(own.tls(), "127.0.0.1", roots).await
    })
    .await;
    traffic
        .stop("a CA exchanged in files, and in bundles of ours")
        .await;
    // The API server begins all watches of a definition anew when its CA changes.
    let log = own.log();
    let warnings = log.lines().filter(|line| line.contains("\"WARN\""));
    let of_watches: Vec<_> = warnings.filter(|line| line.contains("watch")).collect();
    assert_eq!(of_watches, Vec::<&str>::new());
    end(own).await;

    // A CA that nobody will ever present again is of no use to anybody.
    let settings = [
        ("REGISTER", "true"),
        ("REGISTER_URL", &*url),
        ("TLS_MODE", "ephemeral"),
    ];
    let own = site.start("ephemeral", &settings).await;
    until("the bundles of the run", async || {
        let bundles = site.bundles().await;
        let served = presented(own.tls(), "127.0.0.1", bundles.first()?).await;
        (certificates(&bundles[0]).len() == 1 && served.is_some()).then_some(())
    })
    .await;
    site.until_called().await;
    end(own).await;
    site.close().await;
}

/// TLS_MODE=files without a ca.crt: whom callers trust is somebody else's to say.
#[tokio::test]
async fn a_bundle_of_which_we_know_nothing_outlives_our_repairs() {
    let _turn = OWN_CONTROL_PLANE.lock().await;
    let site = Site::open_bare().await;
    let url = site.url();
    let day = Duration::from_secs(24 * 60 * 60);
    let now = SystemTime::now();
    let [ours, theirs] = ["ours", "theirs"].map(|name| Authority::create(name, now, day).unwrap());
    let mounted = tempfile::tempdir().unwrap();
    let [chain, key, ca] = ["tls.crt", "tls.key", "ca.crt"].map(|name| mounted.path().join(name));
    let leaf = ours.issue(&["127.0.0.1".to_owned()], now, day).unwrap();
    fs::write(&chain, leaf.chain).unwrap();
    fs::write(&key, leaf.key).unwrap();
    fs::write(&ca, &ours.pem().chain).unwrap();
    let settings = [
        ("REGISTER", "true"),
        ("REGISTER_URL", &*url),
        ("TLS_MODE", "files"),
        ("TLS_CERT_FILE", chain.to_str().unwrap()),
        ("TLS_KEY_FILE", key.to_str().unwrap()),
    ];
    let own = site.start("files", &settings).await;
    until_registered(&site).await;
    site.keep("kept").await;
    let traffic = Traffic::start(&site.client, "kept", 2).await;

    // What we wrote ourselves, when nobody tells us any more whom to trust.
    fs::remove_file(&ca).unwrap();
    until_repaired(&site, &own).await;
    until_trusted(&site, &[&ours]).await;
    // What somebody else has written since, such as cert-manager.
    site.trust(&[&theirs, &ours]).await;
    until_repaired(&site, &own).await;
    until_trusted(&site, &[&theirs, &ours]).await;

    traffic.stop("repaired without a CA of ours").await;
    end(own).await;
    site.close().await;
}

#[test]
fn behind_a_service_no_call_comes_before_there_is_an_endpoint() {
    let test = "registration::behind_a_service_no_call_comes_before_there_is_an_endpoint";
    let _turn = OWN_CONTROL_PLANE.blocking_lock();
    control_plane::in_network_namespace(test, async |network| {
        let site = Site::open_bare_as_service().await;
        let settings = [("TLS_MODE", "self-managed"), ("REGISTER", "true")];
        let mut fleet = Fleet::new(&site, &network, &settings).await;
        fleet.add(&[]).await;
        fleet.add(&[]).await;
        until_registered(&site).await;
        site.keep("kept").await;
        let traffic = Traffic::start(&site.client, "kept", 2).await;
        fleet.add(&[]).await;
        fleet.remove_the_oldest().await;
        traffic.stop("registered behind a Service").await;
        assert_eq!(site.failed_calls().await, 0, "from the first call on");
        drop(fleet);
        site.close().await;
    });
}

async fn until_registered(site: &Site) {
    until("us to be registered", async || {
        (site.bundles().await.len() == WEBHOOKS).then_some(())
    })
    .await;
}

/// Breaks what an apply mends, and what it can't, and waits for all to be as it was.
async fn until_repaired(site: &Site, own: &Own) {
    let wanted = site.registration().await;
    let selector = json!({"matchLabels": {"a": "b"}});
    for (path, value) in [
        ("failurePolicy", json!("Fail")),
        ("objectSelector", selector),
    ] {
        let path = format!("/webhooks/0/{path}");
        let broken = json!([{"op": "add", "path": path, "value": value}]);
        site.patch_mutating(broken).await;
        until(&path, async || {
            (site.registration().await == wanted).then_some(())
        })
        .await;
    }
    until("a line of what was taken away", async || {
        own.log().contains(": objectSelector").then_some(())
    })
    .await;
}

async fn until_trusted(site: &Site, cas: &[&Authority]) {
    let wanted: Vec<_> = cas.iter().map(|ca| ca.certificate().clone()).collect();
    until("the bundles to hold the CAs", async || {
        let bundles = site.bundles().await;
        let is_so = |bundle: &Vec<u8>| {
            let trusted = certificates(bundle);
            trusted.len() == wanted.len() && wanted.iter().all(|ca| trusted.contains(ca))
        };
        bundles.iter().all(is_so).then_some(())
    })
    .await;
}

/// What is said to somebody whose Reservation isn't one.
async fn refused(site: &Site) -> String {
    let mut reservation = serde_json::to_value(traffic::reservation("refused")).unwrap();
    reservation["spec"]["access"] = json!({"authorizedKeys": [{"key": "no key"}]});
    let reservation: Reservation = serde_json::from_value(reservation).unwrap();
    let reservations: Api<Reservation> = Api::namespaced(site.client.clone(), "default");
    let params = PostParams::default();
    let refused = reservations.create(&params, &reservation).await;
    refused.unwrap_err().to_string()
}

async fn end(own: Own) {
    own.terminate();
    own.ends_well().await;
}

/// What people and other controllers do to configurations.
fn breakages(site: &Site) -> Vec<(&'static str, LocalBoxFuture<'_, ()>)> {
    let of_first = |path: &str, value: Value| {
        let path = format!("/webhooks/0{path}");
        json!([{"op": "add", "path": path, "value": value}])
    };
    let condition = json!({"name": "nobody", "expression": "false"});
    vec![
        ("what was deleted", Box::pin(site.delete_webhooks())),
        (
            "the failurePolicy",
            Box::pin(site.patch_mutating(of_first("/failurePolicy", json!("Fail")))),
        ),
        (
            "the objectSelector",
            Box::pin(site.patch_mutating(of_first(
                "/objectSelector",
                json!({"matchLabels": {"a": "b"}}),
            ))),
        ),
        (
            "the conditions",
            Box::pin(site.patch_mutating(of_first("/matchConditions/-", condition))),
        ),
        (
            "a webhook that was taken away",
            Box::pin(site.patch_mutating(json!([{"op": "remove", "path": "/webhooks/0"}]))),
        ),
        (
            "the target",
            Box::pin(site.patch_mutating(of_first(
                "/clientConfig",
                json!({"service": {"name": "else", "namespace": NAMESPACE}}),
            ))),
        ),
        ("the conversion", Box::pin(site.convert_nowhere())),
    ]
}
