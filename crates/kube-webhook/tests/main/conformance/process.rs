//! The example as a process: its flags, its readiness, its end.

use std::{
    env, fs,
    process::{Child, Command, ExitCode, Stdio},
};

use kube_webhook::testing::{ApiServer, Review};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::stage::{config_map, eventually};
use crate::conformance_server;

/// In a child of the test it is the server, with the arguments that the parent gave.
#[test]
fn the_server_itself() {
    let Ok(arguments) = env::var(ARGUMENTS) else {
        return;
    };
    let arguments = std::iter::once("conformance").chain(arguments.split(' '));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let code = runtime.block_on(conformance_server::run(arguments.map(Into::into)));
    assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::SUCCESS));
}

struct Process {
    child: Child,
    port: u16,
    ca: String,
    _files: tempfile::TempDir,
}

impl Process {
    /// With a certificate for the loopback, made as an operator would make one.
    fn start(command: &str, more: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let ca_key = rcgen::KeyPair::generate().unwrap();
        let mut ca = rcgen::CertificateParams::default();
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = rcgen::CertifiedIssuer::self_signed(ca, ca_key).unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let leaf = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &ca).unwrap();
        fs::write(files.path().join("tls.crt"), leaf.pem()).unwrap();
        fs::write(files.path().join("tls.key"), key.serialize_pem()).unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let folder = files.path().display();
        let arguments = format!(
            "{command} --tls-cert-file={folder}/tls.crt --tls-private-key-file={folder}/tls.key \
             --alsologtostderr -v=4 --port={port}{more}"
        );
        let child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "conformance::process::the_server_itself"])
            .env(ARGUMENTS, arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            child,
            port,
            ca: ca.pem(),
            _files: files,
        }
    }

    fn api_server(&self) -> ApiServer {
        ApiServer::at(&format!("https://127.0.0.1:{}", self.port), &self.ca).unwrap()
    }

    async fn ends_on_sigterm(mut self) {
        let kill = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        assert!(kill.unwrap().success());
        let child = &mut self.child;
        let status = eventually(|| std::future::ready(child.try_wait().unwrap())).await;
        assert!(status.success(), "{status}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn the_webhook_server_takes_agnhosts_flags_and_ends_on_sigterm() {
    let process = Process::start("webhook", " --sidecar-image=image:2");
    let api_server = process.api_server();
    let plain = Review::create(&config_map("any", &json!({})));
    let verdict = eventually(async || api_server.mutate("/add-label", &plain).await.ok()).await;
    assert!(verdict.patch().is_some());
    let pod: k8s_openapi::api::core::v1::Pod = serde_json::from_value(json!({
        "metadata": {"name": "any"}, "spec": {"containers": [{"name": "a", "image": "b"}]},
    }))
    .unwrap();
    let verdict = api_server
        .mutate("/mutating-pods-sidecar", &Review::create(&pod))
        .await
        .unwrap();
    let containers = &verdict.object().unwrap()["spec"]["containers"];
    assert_eq!(containers[1]["image"], "image:2");
    let ready = get(process.port, &process.ca, "/readyz").await;
    assert!(
        ready.starts_with("HTTP/1.1 200") && ready.ends_with("ok"),
        "{ready}"
    );
    process.ends_on_sigterm().await;
}

#[tokio::test]
async fn the_conversion_server_speaks_json_and_yaml() {
    let process = Process::start("crd-conversion-webhook", "");
    let api_server = process.api_server();
    let v1 = json!({
        "apiVersion": "stable.example.com/v1", "kind": "Whatever",
        "metadata": {"name": "one"}, "hostPort": "localhost:80",
    });
    let convert = async || {
        let v2 = "stable.example.com/v2";
        let objects = std::slice::from_ref(&v1);
        api_server.convert("/crdconvert", v2, objects).await.ok()
    };
    let converted = eventually(convert).await.remove(0);
    assert_eq!(converted["kind"], "Whatever");
    assert_eq!(
        (&converted["host"], &converted["port"]),
        (&json!("localhost"), &json!("80"))
    );
    assert!(
        get(process.port, &process.ca, "/readyz")
            .await
            .ends_with("ok")
    );
    process.ends_on_sigterm().await;

    let router = conformance_server::conversion().unwrap();
    let post = async |content_type: &str, accept: &str, body: String| {
        use tower::ServiceExt;
        let request = http::Request::post("/crdconvert")
            .header("content-type", content_type)
            .header("accept", accept)
            .body(axum::body::Body::from(body))
            .unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        let status = answer.status().as_u16();
        let body = axum::body::to_bytes(answer.into_body(), usize::MAX).await;
        (status, String::from_utf8(body.unwrap().to_vec()).unwrap())
    };
    let review = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
        "request": {"uid": "1", "desiredAPIVersion": "stable.example.com/v2", "objects": [v1]},
    });
    let yaml = serde_saphyr::to_string(&review).unwrap();
    let (json_type, yaml_type) = ("application/json", "application/yaml");
    let (_, from_yaml) = post(yaml_type, json_type, yaml.clone()).await;
    let from_yaml: Value = serde_json::from_str(&from_yaml).unwrap();
    assert_eq!(
        from_yaml["response"]["convertedObjects"][0]["host"],
        "localhost"
    );
    let (_, to_yaml) = post(json_type, yaml_type, review.to_string()).await;
    let to_yaml: Value = serde_saphyr::from_str(&to_yaml).unwrap();
    assert_eq!(to_yaml, from_yaml);
    let (_, liked) = post(
        yaml_type,
        "application/json;q=0.1, application/yaml",
        yaml.clone(),
    )
    .await;
    assert!(!liked.starts_with('{'), "{liked}");
    for (given, wanted) in [("text/plain", "*/*"), ("", "*/*"), (yaml_type, "text/html")] {
        assert_eq!(post(given, wanted, yaml.clone()).await.0, 400);
    }
}

/// What curl would show.
async fn get(port: u16, ca: &str, path: &str) -> String {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
        .unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let name = "127.0.0.1".try_into().unwrap();
    let mut stream = connector.connect(name, stream).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

const ARGUMENTS: &str = "CONFORMANCE_ARGUMENTS";
