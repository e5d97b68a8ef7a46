//! The routes of the registered webhooks. Called by `Registered::router`.

mod admission;
mod conversion;

use std::{future::Future, sync::Arc};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use http::{Request, header};

use super::{Inner, intake::JSON};
use crate::{Fault, certs::ClientCas};
use admission::{Admission, Door};

pub(super) fn router(inner: &Arc<Inner>, clients: Option<&ClientCas>) -> Router {
    let mut router = Router::new();
    for kind in [Admission::Validate, Admission::Mutate] {
        let hooks = kind.hooks(inner);
        for (index, hook) in hooks.iter().enumerate() {
            let reviews = reviews(inner, clients, kind, Some(index), &hook.route);
            router = router.route(&hook.route, reviews);
        }
        if !hooks.is_empty() {
            let reviews = reviews(inner, clients, kind, None, kind.route());
            router = router.route(kind.route(), reviews);
        }
    }
    for (index, hook) in inner.conversions.iter().enumerate() {
        router = router.route(&hook.route, conversions(inner, Some(index)));
    }
    if !inner.conversions.is_empty() {
        router = router.route("/convert", conversions(inner, None));
    }
    router
}

fn reviews(
    inner: &Arc<Inner>,
    clients: Option<&ClientCas>,
    kind: Admission,
    index: Option<usize>,
    route: &str,
) -> MethodRouter {
    let door = Arc::new(Door {
        inner: Arc::clone(inner),
        clients: clients.cloned(),
        kind,
        index,
        route: route.into(),
    });
    endpoint(move |request| admission::answer(Arc::clone(&door), request))
}

fn conversions(inner: &Arc<Inner>, index: Option<usize>) -> MethodRouter {
    let hooks = match index {
        Some(index) => &inner.conversions[index..=index],
        None => &inner.conversions,
    };
    let stars: Arc<[_]> = hooks.iter().map(|hook| Arc::clone(&hook.star)).collect();
    let inner = Arc::clone(inner);
    endpoint(move |request| conversion::answer(Arc::clone(&inner), Arc::clone(&stars), request))
}

/// A POST route whose failures are Status bodies; other methods are answered 405.
fn endpoint<F, R>(answer: F) -> MethodRouter
where
    F: Fn(Request<Body>) -> R + Clone + Send + Sync + 'static,
    R: Future<Output = Result<Vec<u8>, Fault>> + Send + 'static,
{
    post(move |request: Request<Body>| {
        let answer = answer(request);
        async move {
            match answer.await {
                Ok(body) => ([(header::CONTENT_TYPE, JSON)], body).into_response(),
                Err(fault) => fault.into_response(),
            }
        }
    })
    .fallback(async || -> Response { Fault::method_not_allowed().into_response() })
}
