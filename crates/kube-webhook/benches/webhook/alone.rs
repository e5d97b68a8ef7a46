//! A case's calls within this process, without sockets and TLS: for whoever counts instructions,
//! which a shared machine doesn't change.
//!
//! `valgrind --tool=callgrind PROGRAM --alone 'mutate 5.7 kB' 1000`, twice with different numbers of
//! calls: what both have in common, the start, is taken away by subtraction.

use bytes::Bytes;
use http::{Request, header};
use prometheus_client::registry::Registry;
use tower::ServiceExt;

use crate::{
    cases::cases,
    process::Role,
    servers::{framework, lossless},
};
use kube_webhook::Metrics;

pub(crate) async fn run(name: &str, calls: usize) {
    let Some(case) = cases().into_iter().find(|case| case.name == name) else {
        let names: Vec<_> = cases().iter().map(|case| case.name).collect();
        println!("no case is called {name:?}; there are {}", names.join("; "));
        return;
    };
    let metrics = Metrics::register(&mut Registry::default());
    let router = match case.role() {
        Role::Lossless => lossless(metrics),
        _ => framework(metrics),
    };
    let body = Bytes::from((case.body)());
    for _ in 0..calls {
        let request = Request::post(format!("{}?timeout=10s", case.path))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONTENT_LENGTH, body.len())
            .body(axum::body::Body::from(body.clone()))
            .unwrap();
        let answer = router.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 200);
        axum::body::to_bytes(answer.into_body(), usize::MAX)
            .await
            .unwrap();
    }
}
