//! What a server takes at once: connections, reviews and their bytes; and what it does with peers
//! that stall.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body};
use bytes::Bytes;
use futures::{FutureExt, future::join_all, stream};
use http::{Request, StatusCode, header};
use k8s_openapi::api::core::v1::ConfigMap;
use kube_webhook::{
    Fault, Metrics, Server, TlsIdentity, Validation, Webhooks,
    admission::{AdmissionContext, Create, ValidateCreate, ValidationResult, ValidationWebhook},
};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Notify,
};

use crate::{
    call::{admit, json_of, post, review, send},
    metrics::{text, value_of},
    server::{PATIENCE, answer, ask, connect, loopback, names, router, serve},
};

/// Waits for `leave`, and counts the futures that were dropped before.
#[derive(Clone, Default)]
struct Waiting {
    entered: Arc<Notify>,
    leave: Arc<Notify>,
    dropped: Arc<AtomicUsize>,
}

struct OnDrop(Arc<AtomicUsize>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl ValidationWebhook<ConfigMap> for Waiting {
    type Operations = (Create,);
}

impl ValidateCreate<ConfigMap> for Waiting {
    async fn create(
        &self,
        _: &ConfigMap,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        let dropped = OnDrop(Arc::clone(&self.dropped));
        self.entered.notify_one();
        self.leave.notified().await;
        std::mem::forget(dropped);
        Ok(ValidationResult::success())
    }
}

fn create() -> Value {
    let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}});
    review("CREATE", ["", "v1", "ConfigMap"], &object, &Value::Null)
}

fn hooks(hook: &Waiting) -> Webhooks {
    Webhooks::new("waiting")
        .domain("waiting.example.com")
        .add_webhook(Validation::new(hook.clone()))
}

const PATH: &str = "/validate/configmap";

#[tokio::test]
async fn a_hook_is_dropped_at_the_deadline_and_when_its_caller_goes() {
    let hook = Waiting::default();
    let router = hooks(&hook).build().unwrap().router();
    let (status, _) = post(
        &router,
        "/validate/configmap?timeout=50ms",
        create().to_string(),
    )
    .await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(hook.dropped.load(Ordering::SeqCst), 1);

    let serving = serve(Server::bind_plain(loopback(), router).unwrap());
    let mut stream = TcpStream::connect(serving.addr).await.unwrap();
    hook.entered.notified().await;
    let body = create().to_string();
    let head = format!(
        "POST {PATH} HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    hook.entered.notified().await;
    drop(stream);
    wait_until(|| hook.dropped.load(Ordering::SeqCst) == 2).await;
}

#[tokio::test]
async fn reviews_beyond_the_limit_are_shed_before_their_bodies_are_read() {
    let hook = Waiting::default();
    let mut registry = Registry::default();
    let router = hooks(&hook)
        .in_flight_limit(2)
        .metrics(Metrics::register(&mut registry))
        .build()
        .unwrap()
        .router();
    let busy = || {
        let router = router.clone();
        tokio::spawn(async move { admit(&router, PATH, &create()).await })
    };
    let under_way = [busy(), busy()];
    wait_until(|| text(&registry).contains("kube_webhook_in_flight 2")).await;

    let unread = Body::from_stream(stream::once(async {
        Err::<Bytes, _>(std::io::Error::other("the body was read"))
    }));
    let request = Request::post(PATH)
        .header(header::CONTENT_TYPE, "application/json")
        .body(unread)
        .unwrap();
    let response = send(&router, request).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()[header::RETRY_AFTER], "1");
    let status = json_of(response).await;
    assert_eq!(
        (&status["kind"], &status["code"]),
        (&json!("Status"), &json!(429))
    );

    for review in under_way {
        hook.leave.notify_one();
        assert_eq!(review.await.unwrap()["allowed"], true);
    }
    hook.leave.notify_one();
    assert_eq!(admit(&router, PATH, &create()).await["allowed"], true);
    let text = text(&registry);
    assert_eq!(value_of(&text, "kube_webhook_in_flight"), 0.0);
    assert_eq!(
        value_of(
            &text,
            r#"kube_webhook_reviews_total{webhook="/validate/configmap",operation="unknown",outcome="shed"}"#
        ),
        1.0
    );
}

#[tokio::test]
async fn bytes_beyond_the_budget_are_shed_whether_announced_or_not() {
    let hook = Waiting::default();
    let router = hooks(&hook)
        .review_limit(64 * 1024)
        .conversion_limit(1)
        .bytes_in_flight_limit(64 * 1024)
        .build()
        .unwrap()
        .router();
    // Half of the budget is in flight.
    let mut large = create();
    large["request"]["object"]["data"] = json!({"a": "x".repeat(40 * 1024)});
    let under_way = tokio::spawn({
        let (router, large) = (router.clone(), large.clone());
        async move { admit(&router, PATH, &large).await }
    });
    hook.entered.notified().await;

    let (status, _) = post(&router, PATH, large.to_string()).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    // Announced or not: a body of unknown length takes its room as it comes.
    let large = large.to_string();
    let pieces: Vec<_> = large
        .as_bytes()
        .chunks(1024)
        .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
        .collect();
    let (status, _) = post(&router, PATH, Body::from_stream(stream::iter(pieces))).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    // A body that is announced but doesn't come takes nothing.
    let stalled = Request::post(PATH)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_LENGTH, 20 * 1024)
        .body(Body::from_stream(stream::pending::<
            Result<Bytes, std::io::Error>,
        >()))
        .unwrap();
    let mut stalled = send(&router, stalled).boxed();
    assert!((&mut stalled).now_or_never().is_none());
    let small = tokio::spawn({
        let router = router.clone();
        async move { admit(&router, PATH, &create()).await }
    });
    hook.entered.notified().await;
    hook.leave.notify_one();
    hook.leave.notify_one();
    assert_eq!(small.await.unwrap()["allowed"], true);
    under_way.await.unwrap();
}

#[tokio::test]
async fn a_handshake_that_stalls_is_cut_off() {
    let mut registry = Registry::default();
    let (identity, _) = TlsIdentity::ephemeral(&names()).unwrap();
    let server = Server::bind(loopback(), identity, router())
        .unwrap()
        .handshake_deadline(Duration::from_millis(50))
        .metrics(Metrics::register(&mut registry));
    let serving = serve(server);
    let mut stalled = TcpStream::connect(serving.addr).await.unwrap();
    // A handshake record that announces more than comes.
    stalled.write_all(&[22, 3, 1, 2, 0, 1]).await.unwrap();
    until_closed(&mut stalled).await;
    let mut garbage = TcpStream::connect(serving.addr).await.unwrap();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    until_closed(&mut garbage).await;
    wait_until(|| {
        let text = text(&registry);
        text.contains(r#"kube_webhook_tls_handshakes_total{outcome="timeout"} 1"#)
            && text.contains(r#"kube_webhook_tls_handshakes_total{outcome="failed"} 1"#)
    })
    .await;
}

#[tokio::test]
async fn heads_and_bodies_that_stall_are_cut_off_and_idle_connections_are_not() {
    let hook = Waiting::default();
    hook.leave.notify_one();
    let registered = hooks(&hook)
        .body_deadline(Duration::from_millis(50))
        .build()
        .unwrap();
    let server = Server::bind_plain(loopback(), registered.router().merge(router()))
        .unwrap()
        .head_deadline(Duration::from_millis(50));
    let serving = serve(server);
    let mut idle = TcpStream::connect(serving.addr).await.unwrap();
    assert!(ask(&mut idle, "/").await.ends_with("hello"));

    let mut head = TcpStream::connect(serving.addr).await.unwrap();
    head.write_all(b"POST /validate/configmap HT")
        .await
        .unwrap();
    until_closed(&mut head).await;

    let mut body = TcpStream::connect(serving.addr).await.unwrap();
    body.write_all(
        b"POST /validate/configmap HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n\
          Content-Length: 100\r\n\r\n{",
    )
    .await
    .unwrap();
    assert!(answer(&mut body).await.starts_with("HTTP/1.1 408"));
    // Both took longer than a head may.
    assert!(ask(&mut idle, "/").await.ends_with("hello"));
}

#[tokio::test]
async fn a_thousand_idle_connections_keep_nobody_out() {
    let mut registry = Registry::default();
    let server = Server::bind_plain(loopback(), router())
        .unwrap()
        .connection_limit(1_001)
        .metrics(Metrics::register(&mut registry));
    let serving = serve(server);
    let idle = join_all((0..1_000).map(|_| async {
        let mut stream = TcpStream::connect(serving.addr).await.unwrap();
        assert!(ask(&mut stream, "/").await.ends_with("hello"));
        stream
    }))
    .await;
    assert_eq!(
        value_of(&text(&registry), "kube_webhook_connections"),
        1_000.0
    );
    let mut last = TcpStream::connect(serving.addr).await.unwrap();
    assert!(ask(&mut last, "/").await.ends_with("hello"));

    // One more is closed at once, and let in when another has gone.
    let mut refused = TcpStream::connect(serving.addr).await.unwrap();
    assert_eq!(answer(&mut refused).await, "");
    drop(idle);
    wait_until(|| text(&registry).contains("kube_webhook_connections 1\n")).await;
    let mut let_in = TcpStream::connect(serving.addr).await.unwrap();
    assert!(ask(&mut let_in, "/").await.ends_with("hello"));
    assert_eq!(
        value_of(
            &text(&registry),
            r#"kube_webhook_tls_handshakes_total{outcome="refused"}"#
        ),
        1.0
    );
}

#[tokio::test]
async fn a_panic_ends_neither_the_connection_nor_the_server() {
    let panics = Router::new().route("/panics", axum::routing::get(|| async { panics() }));
    let (identity, ca) = TlsIdentity::ephemeral(&names()).unwrap();
    let serving = serve(Server::bind(loopback(), identity, router().merge(panics)).unwrap());
    // A route that isn't a webhook's takes its own connection along, but no other.
    let mut other = connect(serving.addr, &ca, &[]).await.unwrap();
    let mut stream = connect(serving.addr, &ca, &[]).await.unwrap();
    stream
        .write_all(b"GET /panics HTTP/1.1\r\nHost: test\r\n\r\n")
        .await
        .unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    assert!(ask(&mut other, "/").await.ends_with("hello"));
    assert!(!serving.task.is_finished());
}

fn panics() -> &'static str {
    panic!("on purpose")
}

async fn until_closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest));
    let _ = closed.await.unwrap();
}

async fn wait_until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    if tokio::time::timeout(PATIENCE, met).await.is_err() {
        panic!("the condition was not met in time");
    }
}
