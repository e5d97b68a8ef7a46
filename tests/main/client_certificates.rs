//! CLIENT_CA_FILE: API servers must say who they are, by a certificate that a real one presents as its
//! AdmissionConfiguration tells it to; and nobody else who comes over the same port must.

use std::{
    fs, io,
    net::SocketAddr,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use control_plane::ControlPlane;
use harbormaster::api::v1alpha1;
use kube::Api;
use kube_webhook::certs::{Authority, Pem, certificates};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{PrivateKeyDer, ServerName, pem::PemObject},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::{
    certificates::site::Site,
    listening::Reply,
    stage::{OWN_CONTROL_PLANE, until},
    traffic,
};

#[tokio::test]
async fn reviews_are_taken_from_api_servers_that_say_who_they_are_and_conversions_from_all() {
    let _turn = OWN_CONTROL_PLANE.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    let now = SystemTime::now();
    let [ca, other] = ["clients", "others"].map(|name| Authority::create(name, now, day).unwrap());
    let issue = |ca: &Authority| ca.issue_to_client("kube-apiserver", now, day).unwrap();
    let client = issue(&ca);
    let configuration = admission_configuration(folder.path(), &client);
    let builder = ControlPlane::builder();
    let builder =
        builder.api_server_arg(format!("--admission-control-config-file={configuration}"));
    let site = Site::open_on(builder).await;
    let file = folder.path().join("client-ca.crt");
    let trust = |ca: &Authority| fs::write(&file, &ca.pem().chain).unwrap();
    trust(&ca);
    let settings = [("CLIENT_CA_FILE", file.to_str().unwrap())];
    let own = site.start("one", &settings).await;
    site.until_called().await;
    assert!(!own.log().contains("review failed"), "{}", own.log());

    let roots = site.root().await;
    let review =
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}).to_string();
    for route in [
        "/validate/reservation",
        "/mutate",
        "/validate",
        "/mutate/baremetalhost",
    ] {
        let caller = Caller::new(own.tls(), &roots);
        let missing = caller.post(route, &review).await.unwrap();
        assert_eq!(missing.status, 401, "{route}: {missing:?}");
        assert_eq!(missing.body["reason"], "Unauthorized");
        let wrong = caller.showing(&issue(&other)).post(route, &review).await;
        let wrong = wrong.unwrap();
        assert_eq!(wrong.status, 403, "{route}: {wrong:?}");
        assert_eq!(wrong.body["kind"], "Status");
        // Let in, and told what is wrong with the review itself.
        let right = caller.showing(&client).post(route, &review).await.unwrap();
        assert!([400, 422].contains(&right.status), "{route}: {right:?}");
    }
    // With a stranger's certificate as well as without one.
    for caller in [
        Caller::new(own.tls(), &roots),
        Caller::new(own.tls(), &roots).showing(&issue(&other)),
    ] {
        for (path, status) in [("/convert", 422), ("/webhook", 401), ("/healthz", 405)] {
            let answer = caller.post(path, "{}").await.unwrap();
            assert_eq!(answer.status, status, "{path}: {answer:?}");
        }
    }

    // Other CAs count within seconds, and over connections that are there.
    trust(&other);
    let refusal = until("the API server to be refused", async || {
        let refused = traffic::once(&site.client, "called", 0).await;
        refused.err().map(|error| error.to_string())
    })
    .await;
    assert!(
        refusal.contains("failed calling webhook")
            && refusal.contains("the client certificate is not accepted"),
        "{refusal}"
    );
    let spokes: Api<v1alpha1::Reservation> = Api::namespaced(site.client.clone(), "default");
    spokes.get("called").await.unwrap();
    let log = own.log();
    let line = log
        .lines()
        .find(|line| line.contains("review failed") && line.contains(r#""code":403"#));
    assert!(
        line.is_some_and(|line| line.contains("not accepted")),
        "{log}"
    );
    assert!(log.contains("client CAs renewed"), "{log}");
    let (status, text) = own.scrape("/readyz").await;
    assert_eq!(status, 200, "{text}");
    trust(&ca);
    site.until_called().await;
    drop(own);
    site.close().await;
}

/// What makes an API server present this certificate to each webhook.
fn admission_configuration(folder: &Path, client: &Pem) -> String {
    let file = |name: &str, text: &str| {
        let file = folder.join(name);
        fs::write(&file, text).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let user = json!({
        "client-certificate": file("client.crt", &client.chain),
        "client-key": file("client.key", &client.key),
    });
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "users": [{"name": "*", "user": user}],
    });
    let kubeconfig = file("webhooks.kubeconfig", &kubeconfig.to_string());
    let plugin = |name: &str| {
        json!({"name": name, "configuration": {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": kubeconfig,
        }})
    };
    let configuration = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [plugin("ValidatingAdmissionWebhook"), plugin("MutatingAdmissionWebhook")],
    });
    file("admission.json", &configuration.to_string())
}

/// Somebody who calls over TLS, with or without a certificate.
#[derive(Clone)]
struct Caller {
    address: SocketAddr,
    roots: RootCertStore,
    certificate: Option<Pem>,
}

impl Caller {
    fn new(address: SocketAddr, pem: &[u8]) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(pem));
        Self {
            address,
            roots,
            certificate: None,
        }
    }

    fn showing(&self, certificate: &Pem) -> Self {
        Self {
            certificate: Some(certificate.clone()),
            ..self.clone()
        }
    }

    async fn post(&self, path: &str, body: &str) -> io::Result<Reply> {
        let config = ClientConfig::builder().with_root_certificates(self.roots.clone());
        let config = match &self.certificate {
            None => config.with_no_client_auth(),
            Some(pem) => {
                let key = PrivateKeyDer::from_pem_slice(pem.key.as_bytes()).unwrap();
                let chain = certificates(pem.chain.as_bytes());
                config.with_client_auth_cert(chain, key).unwrap()
            }
        };
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let mut stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        Ok(Reply::read(&answer))
    }
}
