//! The listener's limits, its exchange of certificates and its drain, as clients meet them.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{Router, routing::get};
use kube_webhook::{Server, TlsIdentity, not_found};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, oneshot},
    task::JoinHandle,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub(crate) struct Serving {
    pub(crate) addr: SocketAddr,
    stop: oneshot::Sender<()>,
    pub(crate) task: JoinHandle<std::io::Result<()>>,
}

pub(crate) fn serve(server: Server) -> Serving {
    let (stop, stopped) = oneshot::channel();
    Serving {
        addr: server.local_addr(),
        stop,
        task: tokio::spawn(server.serve(async {
            let _ = stopped.await;
        })),
    }
}

pub(crate) fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

pub(crate) fn router() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .fallback(not_found)
}

pub(crate) async fn connect(
    addr: SocketAddr,
    ca: &str,
    alpn: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
        .unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(addr).await?;
    let name = ServerName::from(addr.ip());
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
}

pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    answer(stream).await
}

/// The head of the answer, and what of the body came with it.
pub(crate) async fn answer<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut buffer = vec![0; 4096];
    let length = tokio::time::timeout(PATIENCE, stream.read(&mut buffer))
        .await
        .unwrap()
        .unwrap();
    String::from_utf8(buffer[..length].to_vec()).unwrap()
}

pub(crate) fn names() -> Vec<String> {
    vec!["127.0.0.1".to_owned(), "operator.hooks.svc".to_owned()]
}

#[tokio::test]
async fn http_1_1_is_all_that_is_offered() {
    let (identity, ca) = TlsIdentity::ephemeral(&names()).unwrap();
    let serving = serve(Server::bind(loopback(), identity, router()).unwrap());
    for alpn in [&[] as &[&[u8]], &[b"http/1.1"], &[b"h2", b"http/1.1"]] {
        let mut stream = connect(serving.addr, &ca, alpn).await.unwrap();
        assert_ne!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        assert!(ask(&mut stream, "/").await.ends_with("hello"));
        // Kept alive, as the API server's pool expects.
        assert!(ask(&mut stream, "/none").await.starts_with("HTTP/1.1 404"));
    }
    assert!(connect(serving.addr, &ca, &[b"h2"]).await.is_err());
}

#[tokio::test]
async fn another_certificate_is_presented_without_a_new_listener() {
    let (identity, old_ca) = TlsIdentity::ephemeral(&names()).unwrap();
    let serving = serve(Server::bind(loopback(), identity.clone(), router()).unwrap());
    let mut old = connect(serving.addr, &old_ca, &[]).await.unwrap();

    let (chain, key, new_ca) = pair();
    identity.replace(chain.as_bytes(), key.as_bytes()).unwrap();
    let mut new = connect(serving.addr, &new_ca, &[]).await.unwrap();
    assert!(connect(serving.addr, &old_ca, &[]).await.is_err());
    assert!(ask(&mut old, "/").await.ends_with("hello"));
    assert!(ask(&mut new, "/").await.ends_with("hello"));
}

#[tokio::test]
async fn files_are_read_again_as_often_as_the_kubelet_exchanges_them() {
    let folder = std::env::temp_dir().join(format!("kube-webhook-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let [chain_file, key_file] = ["tls.crt", "tls.key"].map(|name| folder.join(name));
    let write = || {
        let (chain, key, _) = pair();
        std::fs::write(&chain_file, &chain).unwrap();
        std::fs::write(&key_file, &key).unwrap();
    };
    write();
    let identity = TlsIdentity::from_files(&chain_file, &key_file)
        .await
        .unwrap();
    assert!(!identity.reload().await.unwrap());
    for _ in 0..3 {
        let before = identity.chain();
        write();
        assert!(identity.reload().await.unwrap());
        assert_ne!(identity.chain(), before);
    }
    let before = identity.chain();
    std::fs::write(&chain_file, pair().0).unwrap();
    identity.reload().await.unwrap_err();
    assert_eq!(identity.chain(), before);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn a_request_under_way_finishes_and_idle_connections_close_in_the_drain() {
    let entered = Arc::new(Notify::new());
    let leave = Arc::new(Notify::new());
    let (enter, wait) = (Arc::clone(&entered), Arc::clone(&leave));
    let router = router().route(
        "/slow",
        get(move || async move {
            enter.notify_one();
            wait.notified().await;
            "done"
        }),
    );
    let serving = serve(Server::bind_plain(loopback(), router).unwrap());
    let mut idle = TcpStream::connect(serving.addr).await.unwrap();
    assert!(ask(&mut idle, "/").await.ends_with("hello"));
    let mut busy = TcpStream::connect(serving.addr).await.unwrap();
    let asked = tokio::spawn(async move { ask(&mut busy, "/slow").await });
    entered.notified().await;

    serving.stop.send(()).unwrap();
    assert_eq!(answer(&mut idle).await, "");
    assert!(!serving.task.is_finished());
    leave.notify_one();
    let answer = asked.await.unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    tokio::time::timeout(PATIENCE, serving.task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn what_does_not_finish_is_cut_off_at_the_drain_s_deadline() {
    let router = router().route("/hangs", get(std::future::pending::<&'static str>));
    let server = Server::bind_plain(loopback(), router)
        .unwrap()
        .drain(Duration::from_millis(100));
    let serving = serve(server);
    let mut busy = TcpStream::connect(serving.addr).await.unwrap();
    busy.write_all(b"GET /hangs HTTP/1.1\r\nHost: test\r\n\r\n")
        .await
        .unwrap();
    serving.stop.send(()).unwrap();
    tokio::time::timeout(PATIENCE, serving.task)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_head_that_is_too_large_is_refused() {
    let serving = serve(Server::bind_plain(loopback(), router()).unwrap());
    let mut stream = TcpStream::connect(serving.addr).await.unwrap();
    let head = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(32 * 1024));
    let _ = stream.write_all(head.as_bytes()).await;
    assert!(answer(&mut stream).await.starts_with("HTTP/1.1 431"));
}

/// A chain, its key and its CA, in PEM.
fn pair() -> (String, String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(names()).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem(), certificate.pem())
}

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
