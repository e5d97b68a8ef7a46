//! A webhook that denies everything, or patches it at `/mutate`, and keeps what it
//! was sent.

use std::collections::HashMap;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use control_plane::ControlPlane;
use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use super::support::eventually;

/// A call, as it came over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) at: SocketAddr,
    pub(crate) alpn: Option<String>,
    pub(crate) sni: Option<String>,
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) user: String,
}

/// The webhook; its tasks end with it.
pub(crate) struct Webhook {
    pub(crate) ca: String,
    calls: Arc<Mutex<Vec<Call>>>,
    acceptor: TlsAcceptor,
    servers: JoinSet<()>,
    stops: HashMap<SocketAddr, AbortHandle>,
}

impl Webhook {
    /// A webhook that is not served anywhere yet, with a certificate for `name`, that
    /// offers these protocols.
    pub(crate) fn new(name: &str, protocols: &[&str]) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &ca).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        config.alpn_protocols = protocols
            .iter()
            .map(|name| name.as_bytes().to_vec())
            .collect();
        Self {
            ca: ca.pem(),
            calls: Arc::default(),
            acceptor: TlsAcceptor::from(Arc::new(config)),
            servers: JoinSet::new(),
            stops: HashMap::new(),
        }
    }

    /// Serves at one more address.
    pub(crate) async fn serve(&mut self, address: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (acceptor, calls) = (self.acceptor.clone(), self.calls.clone());
        let stop = self.servers.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer(stream, address, acceptor.clone(), calls.clone()));
            }
        });
        self.stops.insert(address, stop);
        address
    }

    /// Stops serving at an address, and closes all connections to it.
    pub(crate) fn stop(&mut self, address: SocketAddr) {
        self.stops.remove(&address).unwrap().abort();
    }

    /// Registers the webhook for config maps, and waits until it is called for one.
    pub(crate) async fn first_call(
        &self,
        control_plane: &ControlPlane,
        client_config: Value,
    ) -> Call {
        let validating: Api<ValidatingWebhookConfiguration> = Api::all(control_plane.client());
        register(&validating, &self.ca, client_config).await;
        self.next_call(control_plane, |_| true).await
    }

    /// Makes requests until a call is one that is waited for.
    pub(crate) async fn next_call(
        &self,
        control_plane: &ControlPlane,
        matches: impl Fn(&Call) -> bool,
    ) -> Call {
        self.calls.lock().unwrap().clear();
        let client = control_plane
            .client_as("dave", &["system:masters"])
            .unwrap();
        let config_maps: Api<ConfigMap> = Api::namespaced(client, "default");
        let call = eventually("the API server calls the webhook", async || {
            let mut config_map = ConfigMap::default();
            config_map.metadata.generate_name = Some("any-".to_owned());
            let created = config_maps
                .create(&PostParams::default(), &config_map)
                .await;
            let call = self.calls.lock().unwrap().pop()?;
            let refusal = created.unwrap_err().to_string();
            assert!(refusal.contains("not on my watch"), "{refusal}");
            Some(call).filter(&matches)
        });
        call.await
    }
}

/// Registers a webhook that, out of reach, lets all requests pass.
async fn register<K>(configurations: &Api<K>, ca: &str, mut client_config: Value)
where
    K: Clone + Debug + DeserializeOwned + Serialize,
{
    client_config["caBundle"] = STANDARD.encode(ca).into();
    let configuration = serde_json::from_value(json!({
        "metadata": {"name": "tests"},
        "webhooks": [{
            "name": "tests.example.com",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Ignore",
            "timeoutSeconds": 5,
            "clientConfig": client_config,
            "rules": [{
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["configmaps"],
            }],
            "matchConditions": [{
                "name": "of-dave",
                "expression": "request.userInfo.username == 'dave'",
            }],
        }],
    }));
    let configuration: K = configuration.unwrap();
    let created = configurations
        .create(&PostParams::default(), &configuration)
        .await;
    created.unwrap();
}

/// Answers the requests of one connection, as far as HTTP/1.1 goes here.
async fn answer(
    stream: TcpStream,
    at: SocketAddr,
    acceptor: TlsAcceptor,
    calls: Arc<Mutex<Vec<Call>>>,
) -> Option<()> {
    let stream = acceptor.accept(stream).await.ok()?;
    let (_, tls) = stream.get_ref();
    let alpn = tls
        .alpn_protocol()
        .map(|name| String::from_utf8_lossy(name).into_owned());
    let sni = tls.server_name().map(str::to_owned);
    let mut stream = BufReader::new(stream);
    loop {
        let (mut head, mut line) = (Vec::new(), String::new());
        while stream.read_line(&mut line).await.ok()? > 2 {
            head.push(line.trim_end().to_owned());
            line.clear();
        }
        let header = |name: &str| {
            head.iter().skip(1).find_map(|line| {
                let (key, value) = line.split_once(": ")?;
                key.eq_ignore_ascii_case(name).then(|| value.to_owned())
            })
        };
        let mut body = vec![0; header("content-length")?.parse().ok()?];
        stream.read_exact(&mut body).await.ok()?;
        let review: Value = serde_json::from_slice(&body).ok()?;
        calls.lock().unwrap().push(Call {
            at,
            alpn: alpn.clone(),
            sni: sni.clone(),
            path: head.first()?.split(' ').nth(1)?.to_owned(),
            host: header("host")?,
            user: review["request"]["userInfo"]["username"]
                .as_str()?
                .to_owned(),
        });
        let mut response = if head.first()?.contains("/mutate") {
            let patch = STANDARD.encode(r#"[{"op": "add", "path": "/data", "value": {"a": "b"}}]"#);
            json!({"allowed": true, "patchType": "JSONPatch", "patch": patch})
        } else {
            json!({"allowed": false, "status": {"message": "not on my watch"}})
        };
        response["uid"] = review["request"]["uid"].clone();
        let answer = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": response,
        })
        .to_string();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        );
        stream.get_mut().write_all(answer.as_bytes()).await.ok()?;
    }
}

#[tokio::test]
async fn calls_reach_a_url() {
    let control_plane = ControlPlane::start().await.unwrap();
    // What it is called at a URL by, if it can, is HTTP/2.
    let mut webhook = Webhook::new("127.0.0.1", &["http/1.1"]);
    let address = webhook.serve("127.0.0.1:0".parse().unwrap()).await;
    let url = json!({"url": format!("https://{address}/validate")});
    let call = webhook.first_call(&control_plane, url).await;
    assert_eq!(call.path, "/validate?timeout=5s");
    assert_eq!(call.user, "dave");
}

#[tokio::test]
async fn the_audit_log_shows_what_a_webhook_patched() {
    let control_plane = ControlPlane::start().await.unwrap();
    let mut webhook = Webhook::new("127.0.0.1", &["http/1.1"]);
    let address = webhook.serve("127.0.0.1:0".parse().unwrap()).await;
    let url = json!({"url": format!("https://{address}/mutate")});
    let mutating: Api<MutatingWebhookConfiguration> = Api::all(control_plane.client());
    register(&mutating, &webhook.ca, url).await;

    let dave = control_plane
        .client_as("dave", &["system:masters"])
        .unwrap();
    let config_maps: Api<ConfigMap> = Api::namespaced(dave, "default");
    let name = eventually("a config map is patched", async || {
        let mut config_map = ConfigMap::default();
        config_map.metadata.generate_name = Some("any-".to_owned());
        let created = config_maps
            .create(&PostParams::default(), &config_map)
            .await;
        let created = created.unwrap();
        created.data.and(created.metadata.name)
    })
    .await;

    let log = control_plane.audit_log();
    // What has no name in the request has none in the reference either.
    let event = log.wait_for(|event| {
        let response = event.response_object.as_ref();
        response.is_some_and(|object| object["metadata"]["name"] == name.as_str())
    });
    let annotations = event.await.unwrap().annotations;
    let patch = &annotations["patch.webhook.admission.k8s.io/round_0_index_0"];
    assert!(patch.contains(r#""path":"/data""#), "{patch}");
}
