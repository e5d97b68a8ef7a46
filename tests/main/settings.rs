//! The settings of the event door, each by its name, in runs of the program of their own.

use std::{
    fs, io,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use harbormaster::api::v1::{DesiredState, Phase};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    discovery::ApiResource,
    runtime::{conditions, wait::await_condition},
};
use kube_webhook::certs::{Authority, Pem};
use metal3::BareMetalHost;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::{
    listening::Reply,
    own::{Own, Settings, nowhere},
    site::Site,
    stage::{flat, install_crypto, is_in, shared, until},
};

/// A run without an API server: what is taken is spooled.
fn alone(folder: &Path, more: &[(&str, &str)]) -> Own {
    install_crypto();
    Own::start(&Settings {
        kubeconfig: &nowhere(folder),
        namespace: "settings",
        folder,
        more,
    })
}

fn outcome(answer: Option<(u16, Value)>) -> (u16, Value) {
    let (status, body) = answer.unwrap();
    (status, body["status"].clone())
}

#[tokio::test]
async fn without_a_secret_the_unsigned_mode_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let own = alone(folder.path(), &[("WEBHOOK_SECRET", "")]);
    let (status, text) = own.scrape("/readyz?verbose").await;
    assert!(
        text.contains("[!]events ok, but: no WEBHOOK_SECRET"),
        "{status} {text}"
    );
    let (_, metrics) = own.scrape("/metrics").await;
    assert!(
        metrics.contains("harbormaster_unsigned_mode 1\n"),
        "{metrics}"
    );
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    for warning in [
        "WEBHOOK_SECRET is not set",
        // Its default is the earlier receiver's, and no operator takes it.
        "PROVISION_IMAGE is not set",
    ] {
        assert!(log.contains(warning), "{warning}: {log}");
    }
}

/// SPOOL_DIR, TLS_MODE, TLS_CERT_FILE, EVENTS_TLS_CERT_FILE, USER_DATA_TEMPLATE, empty.
#[tokio::test]
async fn what_is_spelt_out_and_left_empty_is_as_if_it_were_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let own = alone(
        folder.path(),
        &[
            ("XDG_STATE_HOME", state.to_str().unwrap()),
            ("SPOOL_DIR", ""),
            ("TLS_MODE", ""),
            ("TLS_CERT_FILE", ""),
            ("EVENTS_TLS_CERT_FILE", ""),
            ("EVENTS_TLS_KEY_FILE", ""),
            ("USER_DATA_TEMPLATE", ""),
        ],
    );
    let event = json!({"eventType": "EVENT_END", "resourceName": "srv"});
    let answer = own.sender().post(&event).await;
    assert_eq!(outcome(answer), (200, json!("success")));
    assert!(state.join("harbormaster").is_dir());
    assert!(own.log().contains("made up for this run"), "{}", own.log());
}

/// WEBHOOK_SECRET, EVENTS_HTTP_PORT.
#[tokio::test]
async fn an_editors_newline_is_no_part_of_the_secret_and_the_plain_port_is_for_events_alone() {
    let folder = tempfile::tempdir().unwrap();
    let secret = format!("{}\n", xtask::stage::SECRET);
    let own = alone(folder.path(), &[("WEBHOOK_SECRET", &secret)]);
    let taken = own.sender().post(&flat("EVENT_START", "1", "srv")).await;
    assert_eq!(outcome(taken), (200, json!("success")));
    for (line, status) in [
        ("GET /healthz", 200),
        ("GET /metrics", 404),
        ("GET /readyz", 404),
        ("POST /validate", 404),
        ("POST /mutate/baremetalhost", 404),
        ("POST /convert", 404),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let mut stream = TcpStream::connect(own.events()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert_eq!(Reply::read(&answer).status, status, "{line}");
    }
}

/// END_GRACE, EVENT_PROVIDER.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_booking_whose_end_never_comes_is_released_after_the_grace() {
    let site = Site::new("end-grace").await.simulated();
    site.host("srv", json!({})).await;
    let own = site.run(&[("END_GRACE", "1s"), ("EVENT_PROVIDER", "desk")]);
    let end = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(20);
    let mut event = flat("EVENT_START", "413", "srv");
    event["eventEnd"] = json!(end.to_string());
    assert_eq!(own.sender().post(&event).await.unwrap().0, 200);
    let over = site
        .reservation_until("desk-413", "to be over", is_in(Phase::Released))
        .await;
    // By our own clock: nobody asked for it.
    assert_eq!(over.desired_state(), DesiredState::Active);
    assert!(jiff::Timestamp::now() >= end);
}

#[tokio::test]
async fn a_folder_without_a_secret_keeps_us_unready_until_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join("secrets");
    fs::create_dir(&secrets).unwrap();
    let more = [
        ("WEBHOOK_SECRET", ""),
        ("WEBHOOK_SECRETS_DIR", secrets.to_str().unwrap()),
    ];
    let own = alone(folder.path(), &more);
    let (status, text) = own.scrape("/readyz").await;
    assert_eq!(status, 503);
    assert!(text.contains("WEBHOOK_SECRETS_DIR"), "{text}");
    let refused = own.sender().post(&flat("EVENT_START", "1", "srv")).await;
    assert_eq!(refused.unwrap().0, 401);

    fs::write(secrets.join("7"), xtask::stage::SECRET).unwrap();
    until("the folder's secret to be seen", async || {
        let (_, text) = own.scrape("/readyz?verbose").await;
        text.contains("[+]events ok").then_some(())
    })
    .await;
    let taken = own.sender().post(&flat("EVENT_START", "1", "srv")).await;
    assert_eq!(outcome(taken), (200, json!("success")));
}

#[tokio::test]
async fn other_resource_types_are_ignored_and_what_is_taken_is_counted_by_type() {
    let folder = tempfile::tempdir().unwrap();
    let own = alone(folder.path(), &[("RESOURCE_TYPES", "Server, Storage")]);
    let sender = own.sender();
    let mut port = flat("EVENT_START", "2", "switch-port-1");
    port["resourceType"] = json!("Switch Port");
    assert_eq!(outcome(sender.post(&port).await), (200, json!("ignored")));
    let server = flat("EVENT_START", "3", "srv");
    assert_eq!(outcome(sender.post(&server).await), (200, json!("success")));
    let minimal = json!({"eventType": "EVENT_END", "resourceName": "srv"});
    assert_eq!(
        outcome(sender.post(&minimal).await),
        (200, json!("success"))
    );
    let odd = json!({"eventType": "EVIL\n", "resourceName": "srv"});
    assert_eq!(outcome(sender.post(&odd).await), (200, json!("ignored")));
    assert_eq!(sender.post(&json!([])).await.unwrap().0, 422);

    let (_, metrics) = own.scrape("/metrics").await;
    for line in [
        r#"harbormaster_events_total{type="EVENT_START",outcome="ignored"} 1"#,
        r#"harbormaster_events_total{type="EVENT_START",outcome="spooled"} 1"#,
        r#"harbormaster_events_total{type="EVENT_END",outcome="spooled"} 1"#,
        r#"harbormaster_events_total{type="unknown",outcome="ignored"} 1"#,
        r#"harbormaster_events_total{type="unknown",outcome="rejected"} 1"#,
        "harbormaster_event_ack_seconds_count 5",
        // The switch port's waits as well: it may have been a server's before it was moved.
        "harbormaster_spooled_events 3",
    ] {
        assert!(metrics.contains(&format!("{line}\n")), "{line}: {metrics}");
    }
}

/// A CA of its own, and a leaf of it for a name.
fn certificate(name: &str) -> (CertificateDer<'static>, Pem) {
    let now = SystemTime::now();
    let authority = Authority::create("another CA", now, LIFETIME).unwrap();
    let leaf = authority.issue(&[name.to_owned()], now, LIFETIME).unwrap();
    (authority.certificate().clone(), leaf)
}

/// The status of an answer over TLS, by a peer that asks for a name and trusts one CA.
async fn over_tls(
    address: &str,
    name: &'static str,
    ca: &CertificateDer<'static>,
) -> io::Result<u16> {
    let mut roots = RootCertStore::empty();
    roots.add(ca.clone()).unwrap();
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from(name).unwrap();
    let mut stream = TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await?;
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await?;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    Ok(Reply::read(&answer).status)
}

/// EVENTS_TLS_CERT_FILE, EVENTS_TLS_KEY_FILE.
#[tokio::test]
async fn the_sender_gets_a_certificate_that_it_trusts_by_the_name_that_it_asks_for() {
    let folder = tempfile::tempdir().unwrap();
    let [chain, key] = ["events.crt", "events.key"].map(|name| folder.path().join(name));
    let write = |leaf: &Pem| {
        fs::write(&chain, &leaf.chain).unwrap();
        fs::write(&key, &leaf.key).unwrap();
    };
    let (ca, leaf) = certificate("events.example.org");
    write(&leaf);
    let more = [
        ("EVENTS_TLS_CERT_FILE", chain.to_str().unwrap()),
        ("EVENTS_TLS_KEY_FILE", key.to_str().unwrap()),
    ];
    let own = alone(folder.path(), &more);
    let log = fs::read_to_string(folder.path().join("log")).unwrap();
    let address = log.lines().find_map(|line| {
        let line: Value = serde_json::from_str(line).ok()?;
        Some(line.get("tls")?.as_str()?.to_owned())
    });
    let address = address.unwrap();
    let ours = CertificateDer::from_pem_file(shared().folder().join("ca.crt")).unwrap();
    assert_eq!(
        over_tls(&address, "events.example.org", &ca).await.unwrap(),
        200
    );
    // What the API server asks for stays as it is, and so does what nobody has a certificate for.
    assert_eq!(over_tls(&address, "localhost", &ours).await.unwrap(), 200);
    assert!(over_tls(&address, "localhost", &ca).await.is_err());
    assert!(over_tls(&address, "other.example.org", &ca).await.is_err());

    let (renewed, leaf) = certificate("events.example.org");
    write(&leaf);
    until("the renewed certificate to be presented", async || {
        let answer = over_tls(&address, "events.example.org", &renewed).await;
        answer.is_ok().then_some(())
    })
    .await;
    assert!(over_tls(&address, "events.example.org", &ca).await.is_err());
    drop(own);
}

/// DEPROVISION_IMAGE.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_that_is_free_carries_the_image_for_free_hosts_and_is_lent_all_the_same() {
    const FREE: &str = "https://images.example.com/parking.qcow2";
    let site = Site::new("deprovision-image").await.simulated();
    site.host("srv", json!({})).await;
    let own = site.run(&[("DEPROVISION_IMAGE", FREE)]);
    let hosts = site.hosts();
    for (event_id, minimal) in [("410", false), ("411", true)] {
        let event = |event_type: &str| {
            if minimal {
                json!({"eventType": event_type, "resourceName": "srv"})
            } else {
                flat(event_type, event_id, "srv")
            }
        };
        assert_eq!(
            own.sender().post(&event("EVENT_START")).await.unwrap().0,
            200
        );
        let name = if minimal { "host-srv" } else { "portal-410" };
        site.reservation_until(name, "to be active", is_in(Phase::Active))
            .await;
        let host = hosts.get("srv").await.unwrap();
        assert_eq!(
            host.wanted_image_url(),
            Some("https://images.example.com/noble.qcow2")
        );
        assert_eq!(own.sender().post(&event("EVENT_END")).await.unwrap().0, 200);
        let free = until("the host to carry the image for free hosts", async || {
            let host = hosts.get("srv").await.unwrap();
            (host.wanted_image_url() == Some(FREE)).then_some(host)
        })
        .await;
        assert!(free.consumer().is_none());
        assert_eq!(free.spec.online, Some(true));
        assert_eq!(free.spec.user_data, None);
        assert!(free.last_deprovision().is_some(), "it was wiped before");
    }
}

/// BMH_API_GROUP, BMH_API_VERSION, BMH_PLURAL.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_may_be_of_another_kind() {
    let client = shared().control_plane().client();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = json!({"metadata": {"name": "machines.metal.example.org"}, "spec": {
        "group": "metal.example.org", "scope": "Namespaced",
        "names": {"kind": "BareMetalHost", "plural": "machines", "singular": "machine"},
        "versions": [{"name": "v1beta1", "served": true, "storage": true,
            "subresources": {"status": {}},
            "schema": {"openAPIV3Schema":
                {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
    }});
    let params = PostParams::default();
    definitions
        .create(&params, &serde_json::from_value(definition).unwrap())
        .await
        .unwrap();
    await_condition(
        definitions,
        "machines.metal.example.org",
        conditions::is_crd_established(),
    )
    .await
    .unwrap();
    let site = Site::new("another-kind").await;
    let kind = ApiResource {
        group: "metal.example.org".to_owned(),
        version: "v1beta1".to_owned(),
        api_version: "metal.example.org/v1beta1".to_owned(),
        plural: "machines".to_owned(),
        ..BareMetalHost::resource()
    };
    let machines: Api<BareMetalHost> = Api::namespaced_with(client, site.namespace, &kind);
    let machine = json!({"apiVersion": "metal.example.org/v1beta1", "kind": "BareMetalHost",
        "metadata": {"name": "srv"}, "spec": {"online": false}});
    machines
        .create(&params, &serde_json::from_value(machine).unwrap())
        .await
        .unwrap();
    let available = json!({"status": {"operationalStatus": "OK", "poweredOn": false,
        "provisioning": {"state": "available"}}});
    machines
        .patch_status("srv", &PatchParams::default(), &Patch::Merge(&available))
        .await
        .unwrap();
    let own = site.run(&[
        ("BMH_API_GROUP", "metal.example.org"),
        ("BMH_API_VERSION", "v1beta1"),
        ("BMH_PLURAL", "machines"),
    ]);
    assert_eq!(
        own.sender()
            .post(&flat("EVENT_START", "412", "srv"))
            .await
            .unwrap()
            .0,
        200
    );
    let machine = until("the machine to get its image", async || {
        let machine = machines.get("srv").await.unwrap();
        machine.wanted_image_url().is_some().then_some(machine)
    })
    .await;
    let consumer = machine.consumer().unwrap();
    assert_eq!(consumer.name.as_deref(), Some("portal-412"));
    assert_eq!(machine.spec.online, Some(true));
}

const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
