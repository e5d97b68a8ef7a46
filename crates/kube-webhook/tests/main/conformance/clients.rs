//! Kubernetes' cases of who calls, and over which connections: K28, K32, K35, K68 and K69.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, response::Response};
use base64::{Engine, engine::general_purpose::STANDARD};
use control_plane::{ControlPlane, in_network_namespace};
use http::{Request, header};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingWebhookConfiguration, core::v1::ConfigMap,
};
use kube::{Api, api::DeleteParams};
use kube_webhook::{Metrics, Server, TlsIdentity};
use prometheus_client::registry::Registry;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::{
    RootCertStore, ServerConfig, crypto::ring, pki_types::PrivateKeyDer,
    server::WebPkiClientVerifier,
};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::{
    broken::{Call, answering, review},
    network::serve,
    stage::{PATIENCE, Served, Stage, config_map, dry_run, eventually, refusal, rule},
};

fn created() -> Value {
    rule("", "v1", "configmaps", &["CREATE"])
}

/// Allows whoever says the token.
fn for_the_bearer_of(token: &'static str) -> Router {
    Router::new().fallback(async move |request: Request<Body>| -> Response {
        let said = request.headers().get(header::AUTHORIZATION).cloned();
        let body = axum::body::to_bytes(request.into_body(), usize::MAX).await;
        let call = Call {
            path: String::new(),
            query: String::new(),
            review: serde_json::from_slice(&body.unwrap()).unwrap(),
        };
        let allowed = said.is_some_and(|said| said == format!("Bearer {token}"));
        review(
            &call,
            json!({"allowed": allowed, "status": {"message": "another token"}}),
        )
    })
}

/// A server that nobody reaches without a certificate of its CA.
struct Guarded {
    addr: SocketAddr,
    ca: String,
    client: (String, String),
    refused: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Guarded {
    async fn start() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let issued = |name: &str, usage| {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.extended_key_usages = vec![usage];
            (params.signed_by(&key, &issuer).unwrap(), key)
        };
        let (server, server_key) = issued("127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
        let (client, client_key) = issued("apiserver", ExtendedKeyUsagePurpose::ClientAuth);
        let mut roots = RootCertStore::empty();
        roots.add(issuer.der().clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![server.der().clone()],
                PrivateKeyDer::try_from(server_key.serialize_der()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .unwrap();
        let addr = listener.local_addr().unwrap();
        let (router, _) = answering(async |call: Call| review(&call, json!({"allowed": true})));
        let refused = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&refused);
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(stream) = acceptor.accept(stream).await else {
                    counted.fetch_add(1, Ordering::SeqCst);
                    continue;
                };
                let service = TowerToHyperService::new(router.clone());
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self {
            addr,
            ca: issuer.pem(),
            client: (client.pem(), client_key.serialize_pem()),
            refused,
            task,
        }
    }

    fn client_config(&self, path: &str) -> Value {
        json!({
            "url": format!("https://{}{path}", self.addr),
            "caBundle": STANDARD.encode(&self.ca),
        })
    }
}

#[tokio::test]
async fn the_api_server_shows_a_webhook_the_credentials_kept_for_it() {
    // K28: the exact host and port beat the host, and both beat what is for all.
    let bearer = Served::start(for_the_bearer_of("of the port"));
    let stranger = Served::start(for_the_bearer_of("of all"));
    // K68
    let guarded = Guarded::start().await;
    let (certificate, key) = &guarded.client;
    let folder = tempfile::tempdir().unwrap();
    let kubeconfig = folder.path().join("kubeconfig.json");
    let address = |served: &Served| served.base.trim_start_matches("https://").to_owned();
    let user = |name: String, user: Value| json!({"name": name, "user": user});
    let users = [
        user("127.0.0.1".to_owned(), json!({"token": "of the host"})),
        user("*.0.0.1".to_owned(), json!({"token": "of the suffix"})),
        user("*".to_owned(), json!({"token": "of all"})),
        user(address(&bearer), json!({"token": "of the port"})),
        user(
            guarded.addr.to_string(),
            json!({
                "client-certificate-data": STANDARD.encode(certificate),
                "client-key-data": STANDARD.encode(key),
            }),
        ),
    ];
    let config = json!({"apiVersion": "v1", "kind": "Config", "users": users});
    fs::write(&kubeconfig, config.to_string()).unwrap();
    let admission = folder.path().join("admission.json");
    let config = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{
            "name": "ValidatingAdmissionWebhook",
            "configuration": {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "WebhookAdmissionConfiguration",
                "kubeConfigFile": kubeconfig,
            },
        }],
    });
    fs::write(&admission, config.to_string()).unwrap();
    let argument = format!("--admission-control-config-file={}", admission.display());
    let control_plane = ControlPlane::builder()
        .api_server_arg(argument)
        .start()
        .await
        .unwrap();

    let stage = Stage::on(control_plane.client(), "credentials").await;
    let of = |config: Value, name: &str| {
        let hook = stage.hook_at(config, created()).named(name);
        hook.condition("of-this-case", &format!("request.name == '{name}'"))
    };
    stage
        .validating(vec![
            of(bearer.client_config("/"), "bearer"),
            of(stranger.client_config("/"), "stranger"),
            of(guarded.client_config("/"), "guarded"),
        ])
        .await;
    let config_maps: Api<ConfigMap> = stage.api();
    for name in ["bearer", "stranger", "guarded"] {
        let created = config_maps
            .create(&dry_run(), &config_map(name, &json!({})))
            .await;
        created.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    assert_eq!(guarded.refused.load(Ordering::SeqCst), 0);
    control_plane.stop().await.unwrap();

    // Without the credentials nobody gets in.
    let stage = Stage::start("no-credentials").await;
    stage
        .validating(vec![
            stage
                .hook_at(guarded.client_config("/"), created())
                .with("timeoutSeconds", 5),
        ])
        .await;
    let config_maps: Api<ConfigMap> = stage.api();
    let any = config_map("any", &json!({}));
    let status = refusal(config_maps.create(&dry_run(), &any).await);
    assert!(
        status.message.contains("failed calling webhook"),
        "{status:?}"
    );
    assert!(guarded.refused.load(Ordering::SeqCst) > 0);
    guarded.task.abort();
}

#[tokio::test]
async fn hooks_with_one_ca_bundle_share_their_connections() {
    // K69
    let (router, _) = answering(async |call: Call| review(&call, json!({"allowed": true})));
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let (identity, ca) = TlsIdentity::ephemeral(&["127.0.0.1".to_owned()]).unwrap();
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), identity, router).unwrap();
    let server = server.metrics(metrics);
    let base = format!("https://{}", server.local_addr());
    let (_stop, stopped) = oneshot::channel::<()>();
    tokio::spawn(server.serve(async {
        let _ = stopped.await;
    }));
    let handshakes = || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        let line = text.lines().find_map(|line| {
            line.strip_prefix("kube_webhook_tls_handshakes_total{outcome=\"completed\"} ")
        });
        line.map_or(0, |count| count.parse::<u64>().unwrap())
    };
    let stage = Stage::start("k69").await;
    let hook = |path: &str, ca: &str, name: &str| {
        let config = json!({"url": format!("{base}{path}"), "caBundle": STANDARD.encode(ca)});
        stage.hook_at(config, created()).named(name)
    };
    // Serial, as mutators are.
    stage
        .mutating(vec![
            hook("/one", &ca, "a"),
            hook("/one", &ca, "b"),
            hook("/two", &ca, "c"),
            hook("/one", &format!("{ca}{ca}"), "d"),
        ])
        .await;
    let config_maps: Api<ConfigMap> = stage.api();
    let before = handshakes();
    for _ in 0..3 {
        let any = config_map("any", &json!({}));
        config_maps.create(&dry_run(), &any).await.unwrap();
    }
    // Whatever the path, what is trusted makes the client; each has one connection, which it keeps.
    assert_eq!((before, handshakes()), (0, 2));
}

#[tokio::test]
async fn a_broken_webhook_for_everything_keeps_no_api_server_from_starting() {
    // K32
    let control_plane = ControlPlane::start().await.unwrap();
    let configuration: ValidatingWebhookConfiguration = serde_json::from_value(json!({
        "metadata": {"name": "broken"},
        "webhooks": [{
            "name": "broken.k8s.example.com",
            // The port of TCP's discard service, where nobody listens.
            "clientConfig": {"url": "https://127.0.0.1:9/"},
            "rules": [rule("*", "*", "*/*", &["*"])],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "failurePolicy": "Fail",
            "timeoutSeconds": 1,
        }],
    }))
    .unwrap();
    let configurations: Api<ValidatingWebhookConfiguration> = Api::all(control_plane.client());
    configurations
        .create(&Default::default(), &configuration)
        .await
        .unwrap();
    let config_maps: Api<ConfigMap> = Api::namespaced(control_plane.client(), "default");
    let any = config_map("any", &json!({}));
    eventually(async || {
        let refused = config_maps.create(&dry_run(), &any).await.err()?;
        refused
            .to_string()
            .contains("broken.k8s.example.com")
            .then_some(())
    })
    .await;

    control_plane.stop_api_server().await.unwrap();
    control_plane.start_api_server().await.unwrap();
    refusal(config_maps.create(&dry_run(), &any).await);
    configurations
        .delete("broken", &DeleteParams::default())
        .await
        .unwrap();
    eventually(async || config_maps.create(&dry_run(), &any).await.ok()).await;
    control_plane.stop().await.unwrap();
}

#[test]
fn an_address_that_another_server_took_over_is_called_no_more() {
    in_network_namespace(
        "conformance::clients::an_address_that_another_server_took_over_is_called_no_more",
        async |network| {
            // K35
            let (reused, next) = (Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 1, 0, 2));
            network.add_address(reused).unwrap();
            network.add_address(next).unwrap();
            let control_plane = ControlPlane::builder()
                .endpoint_routing()
                .start()
                .await
                .unwrap();
            let name = "webhooks.default.svc".to_owned();
            let (identity, ca) = TlsIdentity::ephemeral(std::slice::from_ref(&name)).unwrap();
            let (stop, task) = serve(reused, 8443, &identity);
            let endpoints = control_plane
                .endpoints_service("default", "webhooks", &[(reused, 8443).into()])
                .await
                .unwrap();
            let stage = Stage::on(control_plane.client(), "reuse").await;
            let service = json!({
                "service": {"namespace": "default", "name": "webhooks", "path": "/configmaps"},
                "caBundle": STANDARD.encode(&ca),
            });
            stage
                .validating(vec![stage.hook_at(service, created())])
                .await;
            let config_maps: Api<ConfigMap> = stage.api();
            let any = config_map("any", &json!({}));
            config_maps.create(&dry_run(), &any).await.unwrap();

            drop(stop);
            tokio::time::timeout(PATIENCE, task)
                .await
                .unwrap()
                .unwrap()
                .unwrap();
            // Of the same name, but of a CA that the configuration doesn't have.
            let (router, calls) =
                answering(async |call: Call| review(&call, json!({"allowed": true})));
            let (foreign, _) = TlsIdentity::ephemeral(&[name]).unwrap();
            let server = Server::bind((reused, 8443).into(), foreign, router).unwrap();
            let (_stop_foreign, stopped) = oneshot::channel::<()>();
            tokio::spawn(server.serve(async {
                let _ = stopped.await;
            }));
            let status = refusal(config_maps.create(&dry_run(), &any).await);
            assert!(
                status.message.contains("failed calling webhook"),
                "{status:?}"
            );

            let (_stop_next, _task) = serve(next, 8443, &identity);
            endpoints.set(&[(next, 8443).into()]).await.unwrap();
            eventually(async || config_maps.create(&dry_run(), &any).await.ok()).await;
            assert!(calls.take().is_empty());
            control_plane.stop().await.unwrap();
        },
    );
}

#[tokio::test]
async fn idle_connections_outlive_the_pauses_of_many_callers() {
    // A close that crosses a call is a failed call: the server's idle time is beyond the API server's,
    // so pauses of any length between calls, of many callers at once, fail none of them.
    let stage = Stage::start("pauses").await;
    stage
        .validating(vec![stage.hook("/configmaps", created())])
        .await;
    let callers = (0..8_u64).map(|caller| {
        let config_maps: Api<ConfigMap> = stage.api();
        tokio::spawn(async move {
            for pause in [0, 1, 7, 40, 150, 400, 1_100, 3] {
                let any = config_map("any", &json!({}));
                config_maps.create(&dry_run(), &any).await.unwrap();
                tokio::time::sleep(Duration::from_millis(pause + caller)).await;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
}
