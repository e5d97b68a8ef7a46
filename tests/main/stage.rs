//! The one stage that the tests of this binary share, and how they speak to it.

use std::{
    path::{Path, PathBuf},
    sync::{LazyLock, OnceLock},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use k8s_openapi::{NamespaceResourceScope, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Resource};
use metal3::BareMetalHost;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde_json::{Value, json};
use xtask::stage::{Cast, NAMESPACE, SECRET, Stage, Way};

use harbormaster::{
    api::v1::{Phase, Reservation},
    events::signature::sign,
};

/// The program as cargo built it for this test.
pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_harbormaster"))
}

/// The shared stage. It is set on a thread of its own, whose runtime outlives the tests';
/// the end of the process takes everything down.
pub(crate) fn shared() -> &'static Stage {
    static STAGE: OnceLock<Stage> = OnceLock::new();
    STAGE.get_or_init(|| {
        install_crypto();
        let (sender, receiver) = std::sync::mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let stage = Stage::set(program(), Cast::Simulator, Way::Url).await;
                sender.send(stage).unwrap();
                std::future::pending::<()>().await;
            });
        });
        match receiver.recv().expect("the stage's thread runs") {
            Ok(stage) => stage,
            Err(error) => panic!("the stage can't be set: {error:#}"),
        }
    })
}

/// Held by each test that has a control plane of its own, so that there are two at most.
pub(crate) static OWN_CONTROL_PLANE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

pub(crate) fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An answer of the event door.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// Posts a body to the running program, with a signature or none.
pub(crate) async fn post(stage: &Stage, body: &str, signature: Option<&str>) -> Answer {
    let mut roots = RootCertStore::empty();
    let ca = stage.folder().join("ca.crt");
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let tls = rustls::ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_tls_config(tls)
        .https_only()
        .enable_http1()
        .build();
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    let url = format!("https://localhost:{}/webhook", stage.port());
    let mut request = axum::http::Request::post(url).header("content-type", "application/json");
    if let Some(signature) = signature {
        request = request.header("x-webhook-signature", signature);
    }
    let request = request.body(Full::from(body.to_owned())).unwrap();
    let answer = client.request(request).await.unwrap();
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    Answer {
        status,
        body: serde_json::from_slice(&body).unwrap(),
    }
}

/// Reads a path of the running program's admin port.
pub(crate) async fn scrape(stage: &Stage, path: &str) -> String {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let url = format!("http://127.0.0.1:{}{path}", stage.admin_port());
    let answer = client.get(url.parse().unwrap()).await.unwrap();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Posts a body with the right signature, until it could be stored: on a machine that
/// several control planes share, an API server may take longer than an event has.
pub(crate) async fn post_signed(stage: &Stage, body: &Value) -> Answer {
    let body = body.to_string();
    let signature = sign(SECRET, body.as_bytes());
    until("an event to be stored", async || {
        let answer = post(stage, &body, Some(&signature)).await;
        (answer.status != 503).then_some(answer)
    })
    .await
}

/// The flat body of the current processor, for a host and a booking.
pub(crate) fn flat(event_type: &str, event_id: &str, host: &str) -> Value {
    // One window for all events of a run: an END names the start that its START named.
    static NOW: LazyLock<jiff::Timestamp> = LazyLock::new(jiff::Timestamp::now);
    let now = *NOW;
    json!({
        "eventType": event_type,
        "timestamp": jiff::Timestamp::now().to_string(),
        "eventId": event_id,
        "webhookId": 7,
        "userId": "6f1c2f0e-0000-4000-8000-000000000001",
        "username": "mario.rossi",
        "sshPublicKey": KEY,
        "eventTitle": "Prenotazione è 😀",
        "eventStart": now.to_string(),
        "eventEnd": now.checked_add(jiff::SignedDuration::from_hours(2)).unwrap().to_string(),
        "customParameters": "{\"os\":\"noble\"}",
        "resourceId": 1,
        "resourceName": host,
        "resourceType": "Server",
        "resourceSpecs": "16 cores, 64GB",
        "resourceLocation": "Rack 1",
        "siteId": "site-1",
    })
}

/// A host of its own for a test, available.
pub(crate) async fn new_host(stage: &Stage, name: &str) -> BareMetalHost {
    create_host(stage, name).await;
    host_until(stage, name, "to be available", BareMetalHost::is_available).await
}

/// A host that nobody has looked at yet.
pub(crate) async fn create_host(stage: &Stage, name: &str) {
    let hosts = hosts(stage);
    let mut host = BareMetalHost::new(name, &BareMetalHost::resource());
    host.metadata.namespace = Some(NAMESPACE.to_owned());
    host.spec.online = Some(false);
    // Without one, a host is never managed.
    host.spec.bmc = Some(metal3::Bmc {
        address: Some("redfish://192.0.2.9/redfish/v1/Systems/1".to_owned()),
        credentials_name: Some(format!("{name}-bmc")),
        ..metal3::Bmc::default()
    });
    host.spec.boot_mac_address = Some("02:00:00:00:01:01".to_owned());
    hosts
        .create(&kube::api::PostParams::default(), &host)
        .await
        .unwrap();
}

/// Writes a Reservation as the program's own user.
pub(crate) async fn reserve(stage: &Stage, name: &str, spec: Value) {
    let reservation = Reservation {
        metadata: named(name),
        spec: serde_json::from_value(spec).unwrap(),
        ..Reservation::default()
    };
    let params = kube::api::PostParams::default();
    let reservations = reservations(stage);
    reservations.create(&params, &reservation).await.unwrap();
}

pub(crate) fn hosts(stage: &Stage) -> Api<BareMetalHost> {
    let client = stage.control_plane().client();
    Api::namespaced_with(client, NAMESPACE, &BareMetalHost::resource())
}

pub(crate) fn reservations(stage: &Stage) -> Api<Reservation> {
    namespaced(stage)
}

pub(crate) fn namespaced<K>(stage: &Stage) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    Api::namespaced(stage.control_plane().client(), NAMESPACE)
}

pub(crate) async fn host_until(
    stage: &Stage,
    name: &str,
    what: &str,
    is_so: impl Fn(&BareMetalHost) -> bool,
) -> BareMetalHost {
    let hosts = hosts(stage);
    until(&format!("host {name} {what}"), async || {
        let host = hosts.get_opt(name).await.unwrap()?;
        is_so(&host).then_some(host)
    })
    .await
}

pub(crate) async fn reservation_until(
    stage: &Stage,
    name: &str,
    what: &str,
    is_so: impl Fn(&Reservation) -> bool,
) -> Reservation {
    let reservations = reservations(stage);
    let mut last = None;
    let found = found(async || {
        let reservation = reservations.get_opt(name).await.unwrap()?;
        let is_so = is_so(&reservation);
        last = Some(reservation);
        is_so.then_some(())
    });
    let found = found.await;
    let last = serde_json::to_string(&last).unwrap();
    assert!(
        found.is_some(),
        "waited too long for reservation {name} {what}: {last}"
    );
    serde_json::from_str(&last).unwrap()
}

/// Waits until a reservation is in a phase.
pub(crate) async fn reaches(stage: &Stage, name: &str, phase: Phase) -> Reservation {
    reservation_until(stage, name, &format!("to be {phase:?}"), is_in(phase)).await
}

pub(crate) fn is_in(phase: Phase) -> impl Fn(&Reservation) -> bool {
    move |reservation| reservation.status.as_ref().and_then(|status| status.phase) == Some(phase)
}

/// Polls until there is something.
pub(crate) async fn until<T>(what: &str, poll: impl AsyncFnMut() -> Option<T>) -> T {
    match found(poll).await {
        Some(found) => found,
        None => panic!("waited too long for {what}"),
    }
}

async fn found<T>(mut poll: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let found = poll().await;
        if found.is_some() || begun.elapsed() >= PATIENCE {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(NAMESPACE.to_owned()),
        ..ObjectMeta::default()
    }
}

/// A file of the requests captured from the real sender.
pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/events")
        .join(name)
}

pub(crate) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINdW1mt/Z2l61OPFR45LujWvy75ogTfykvNWhrqO369B mario@laptop";

const PATIENCE: Duration = Duration::from_secs(60);
