//! The admin port: plain HTTP for the kubelet's probes, for Prometheus, and for people who
//! want to see the calendar.
//!
//! It needs neither TLS nor the webhooks' limits, and goes last: while the listeners part
//! with their callers, it says that we are not ready. What else readiness depends on comes
//! in as [`Check`]s. Called by the wiring alone.

pub(crate) mod calendar;
mod readiness;

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use axum::{
    Router,
    extract::RawQuery,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use axum_server::Handle;
use prometheus_client::{encoding::text::encode, registry::Registry};
use tokio::{sync::watch, task::JoinHandle};

use self::readiness::report;
pub(crate) use self::readiness::{Check, Verdict};

/// The listener, serving.
pub(crate) struct Admin {
    handle: Handle<SocketAddr>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Admin {
    /// Serves probes, the metrics of `registry` and `pages`; unready once `stopping` is true, or while
    /// a check fails.
    pub(crate) fn serve(
        listener: TcpListener,
        registry: Registry,
        mut checks: Vec<Check>,
        pages: Router,
        stopping: watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        listener.set_nonblocking(true)?;
        let handle = Handle::new();
        let server = axum_server::from_tcp(listener)?.handle(handle.clone());
        checks.push(Check::new("shutdown", move || {
            if *stopping.borrow() {
                Verdict::Unready("shutting down".to_owned())
            } else {
                Verdict::Ready
            }
        }));
        let router = router(registry, checks).merge(pages);
        let task = tokio::spawn(server.serve(router.into_make_service()));
        Ok(Self { handle, task })
    }

    /// Ends it, and says how it went.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        self.handle.graceful_shutdown(Some(DRAIN));
        self.task.await?.context("the admin listener failed")
    }
}

fn router(registry: Registry, checks: Vec<Check>) -> Router {
    let alive = get(|| async { "ok\n" });
    let checks = Arc::new(checks);
    let ready = get(move |RawQuery(query): RawQuery| {
        let verbose = query.is_some_and(|query| query.split('&').any(is_verbose));
        let (ready, text) = report(&checks, verbose);
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        async move { (status, text) }
    });
    let registry = Arc::new(registry);
    let metrics = get(move || {
        let answer = metrics(&registry);
        async move { answer }
    });
    Router::new()
        .route("/healthz", alive.clone())
        .route("/livez", alive)
        .route("/readyz", ready)
        .route("/metrics", metrics)
        .fallback(kube_webhook::not_found)
}

fn metrics(registry: &Registry) -> Response {
    let mut text = String::new();
    if encode(&mut text, registry).is_err() {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response()
}

/// `?verbose`, and `?verbose=` or `?verbose=1`, which kube-apiserver takes as well.
fn is_verbose(word: &str) -> bool {
    word.split('=').next() == Some("verbose")
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const DRAIN: Duration = Duration::from_secs(1);
