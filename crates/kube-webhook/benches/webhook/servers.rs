//! The two servers, each in a process of its own.

use std::{
    io::{Read, Write},
    net::Ipv4Addr,
    sync::{Arc, PoisonError, RwLock},
};

use axum::{
    Router, body::Body, extract::State, http::header, response::IntoResponse, routing::post,
};
use bytes::Bytes;
use kube_webhook::{
    Conversion, Metrics, Mutation, Resources, Server, TlsIdentity, Validation, Webhooks,
};
use prometheus_client::registry::Registry;

use crate::{
    fixtures::Host,
    hooks::{Defaults, NarrowDefaults, Unchanged, Versions, Whole},
    process::Role,
};

pub(crate) async fn run(role: Role) {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let router = match role {
        Role::Constant => constant(),
        Role::Framework => framework(metrics.clone()),
        Role::Lossless => lossless(metrics.clone()),
    };
    let (identity, ca) = TlsIdentity::ephemeral(&["127.0.0.1".to_owned()]).unwrap();
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), identity, router)
        .unwrap()
        .connection_limit(20_000)
        .metrics(metrics);
    let mut out = std::io::stdout();
    write!(out, "{}\n{}\n{ca}", server.local_addr(), ca.len()).unwrap();
    out.flush().unwrap();
    let parent = tokio::task::spawn_blocking(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
    });
    server
        .serve(async {
            let _ = parent.await;
        })
        .await
        .unwrap();
}

/// Every hook that a case calls.
pub(crate) fn framework(metrics: Metrics) -> Router {
    Webhooks::new("bench")
        .domain("bench.example.com")
        .metrics(metrics)
        .add_webhook(Validation::new(Whole))
        .add_webhook(
            Validation::for_resources(Resources::of::<Host>(), Unchanged)
                .name("narrow")
                .route("/narrow"),
        )
        .add_webhook(Mutation::new(Defaults))
        .add_webhook(
            Mutation::for_resources(Resources::of::<Host>(), NarrowDefaults)
                .name("narrow-defaults")
                .route("/narrow-defaults"),
        )
        .add_webhook(Conversion::new(Versions).route("/plain"))
        .build()
        .unwrap()
        .router()
}

/// Apart, since one registration would refuse a second hook for the same kind.
pub(crate) fn lossless(metrics: Metrics) -> Router {
    Webhooks::new("bench")
        .metrics(metrics)
        .add_webhook(
            Conversion::new(Versions)
                .annotation_prefix("bench.example.com")
                .route("/lossless"),
        )
        .build()
        .unwrap()
        .router()
}

/// Reads each body to its end, and answers what it was last given at `/reply`.
fn constant() -> Router {
    let reply: Reply = Arc::default();
    Router::new()
        .route("/reply", post(set))
        .fallback(answer)
        .with_state(reply)
}

type Reply = Arc<RwLock<Bytes>>;

async fn set(State(reply): State<Reply>, body: Body) {
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    *reply.write().unwrap_or_else(PoisonError::into_inner) = body;
}

async fn answer(State(reply): State<Reply>, body: Body) -> impl IntoResponse {
    let _ = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let reply = reply.read().unwrap_or_else(PoisonError::into_inner).clone();
    ([(header::CONTENT_TYPE, "application/json")], reply)
}
