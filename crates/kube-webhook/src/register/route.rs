//! The routes of the registered webhooks. Called by `Registered::router`.

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
    routing::{MethodRouter, post},
};
use bytes::Bytes;
use http::{Request, header};

use super::{
    Inner,
    intake::{self, JSON, Limits},
    webhook::AdmissionHook,
};
use crate::{
    Fault,
    admission::Review,
    conversion::{self, Star},
    envelope::Deadline,
};

pub(super) fn router(inner: &Arc<Inner>) -> Router {
    let mut router = Router::new();
    for kind in [Admission::Validate, Admission::Mutate] {
        let hooks = kind.hooks(inner);
        for (index, hook) in hooks.iter().enumerate() {
            let inner = Arc::clone(inner);
            let route =
                endpoint(move |request| admit(Arc::clone(&inner), kind, Some(index), request));
            router = router.route(&hook.route, route);
        }
        if !hooks.is_empty() {
            let inner = Arc::clone(inner);
            let route = endpoint(move |request| admit(Arc::clone(&inner), kind, None, request));
            router = router.route(kind.route(), route);
        }
    }
    for hook in &inner.conversions {
        let limits = inner.limits;
        let stars = vec![Arc::clone(&hook.star)];
        let route = endpoint(move |request| convert(stars.clone(), limits, request));
        router = router.route(&hook.route, route);
    }
    if !inner.conversions.is_empty() {
        let limits = inner.limits;
        let stars: Vec<_> = inner
            .conversions
            .iter()
            .map(|hook| Arc::clone(&hook.star))
            .collect();
        let route = endpoint(move |request| convert(stars.clone(), limits, request));
        router = router.route("/convert", route);
    }
    router
}

#[derive(Clone, Copy)]
enum Admission {
    Validate,
    Mutate,
}

impl Admission {
    fn hooks(self, inner: &Inner) -> &[AdmissionHook] {
        match self {
            Self::Validate => &inner.validations,
            Self::Mutate => &inner.mutations,
        }
    }

    fn route(self) -> &'static str {
        match self {
            Self::Validate => "/validate",
            Self::Mutate => "/mutate",
        }
    }
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
                Err(fault) => {
                    tracing::warn!(
                        code = fault.code(),
                        message = fault.message(),
                        "review failed"
                    );
                    fault.into_response()
                }
            }
        }
    })
    .fallback(async || -> Response { Fault::method_not_allowed().into_response() })
}

/// Answers an AdmissionReview by the hook at `index`, or by the one for the review's kind.
async fn admit(
    inner: Arc<Inner>,
    admission: Admission,
    index: Option<usize>,
    request: Request<Body>,
) -> Result<Vec<u8>, Fault> {
    let deadline = Deadline::from_query(request.uri().query(), ADMISSION_TIMEOUT);
    let body = intake::body(request, inner.limits.review, inner.limits.body_deadline).await?;
    let review = Review::read(&body)?;
    let hooks = admission.hooks(&inner);
    let hook = match index.and_then(|index| hooks.get(index)) {
        Some(hook) => of_its_kind(hook, &review)?,
        None => by_kind(hooks, &review)?,
    };
    review.judge(&*hook.handler, deadline).await
}

/// A review of another kind means that the configuration in the cluster isn't the one that was
/// generated; decoded as the hook's type, its objects would be misread.
fn of_its_kind<'h>(
    hook: &'h AdmissionHook,
    review: &Review<'_>,
) -> Result<&'h AdmissionHook, Fault> {
    match review.kind() {
        Some(kind) if !hook.served.is(&kind) => Err(Fault::invalid_object(format!(
            "{} serves {} {}, but the review is about {:?} {:?} {:?}: apply the generated webhook \
             configuration",
            hook.route,
            hook.served.api_version(),
            hook.served.kind,
            kind.group(),
            kind.version(),
            kind.kind(),
        ))),
        _ => Ok(hook),
    }
}

fn by_kind<'h>(
    hooks: &'h [AdmissionHook],
    review: &Review<'_>,
) -> Result<&'h AdmissionHook, Fault> {
    let kind = review
        .kind()
        .ok_or_else(|| Fault::invalid_object("the review doesn't say which kind it is about"))?;
    let mut fitting = hooks.iter().filter(|hook| hook.served.is(&kind));
    match (fitting.next(), fitting.next()) {
        (Some(hook), None) => Ok(hook),
        (Some(_), Some(_)) => Err(Fault::invalid_object(format!(
            "several hooks serve {}: call one by its own route",
            kind.kind()
        ))),
        (None, _) => Err(Fault::invalid_object(format!(
            "no hook serves {:?} {:?} {:?}",
            kind.group(),
            kind.version(),
            kind.kind()
        ))),
    }
}

/// Answers a ConversionReview by the star of its group and kind.
async fn convert(
    stars: Vec<Arc<Star>>,
    limits: Limits,
    request: Request<Body>,
) -> Result<Vec<u8>, Fault> {
    let deadline = Deadline::from_query(request.uri().query(), CONVERSION_TIMEOUT);
    let body: Bytes = intake::body(request, limits.conversion, limits.body_deadline).await?;
    if body.len() <= LARGEST_INLINE {
        return conversion::answer(&stars, &body, deadline);
    }
    // A list of a thousand objects would keep the reactor for 30 ms.
    tokio::task::spawn_blocking(move || conversion::answer(&stars, &body, deadline)).await?
}

/// The API server's own defaults, for callers that don't say.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(10);
const CONVERSION_TIMEOUT: Duration = Duration::from_secs(30);
const LARGEST_INLINE: usize = 256 * 1024;
