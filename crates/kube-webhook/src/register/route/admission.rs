//! The way of an AdmissionReview: let in, read, given to its hook, counted and logged. Routed here by
//! the module above.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Body;
use http::Request;
use tracing::{Instrument, Span, field};

use crate::{
    Fault,
    admission::{Judged, Operation, Review},
    certs::{ClientCas, ClientChain},
    envelope::Deadline,
    metrics::ReviewOutcome,
    register::{Inner, intake, webhook::AdmissionHook},
};

#[derive(Clone, Copy)]
pub(super) enum Admission {
    Validate,
    Mutate,
}

impl Admission {
    pub(super) fn hooks(self, inner: &Inner) -> &[AdmissionHook] {
        match self {
            Self::Validate => &inner.validations,
            Self::Mutate => &inner.mutations,
        }
    }

    pub(super) fn route(self) -> &'static str {
        match self {
            Self::Validate => "/validate",
            Self::Mutate => "/mutate",
        }
    }
}

/// Where AdmissionReviews come in.
pub(super) struct Door {
    pub(super) inner: Arc<Inner>,
    /// Whose callers may come in; `None`: everybody's.
    pub(super) clients: Option<ClientCas>,
    pub(super) kind: Admission,
    /// The hook that answers; `None`: the one for what the review is about.
    pub(super) index: Option<usize>,
    pub(super) route: Arc<str>,
}

pub(super) async fn answer(door: Arc<Door>, request: Request<Body>) -> Result<Vec<u8>, Fault> {
    let deadline = Deadline::from_query(request.uri().query(), TIMEOUT);
    let asked = request.uri().path_and_query().cloned();
    let mut seen = Seen {
        started: Instant::now(),
        route: Arc::clone(&door.route),
        operation: None,
        bytes: 0,
        span: Span::none(),
    };
    let result = judge(&door, request, deadline, &mut seen).await;
    seen.tell(&door.inner, &result);
    // Without our answer, the API server would tell its user which call ran out of time, and how much
    // time it had; Kubernetes' own tests want to read it.
    result
        .map(|judged| judged.body)
        .map_err(|fault| match asked {
            Some(asked) if fault.code() == 504 => fault.of_call(&asked),
            _ => fault,
        })
}

/// What is known of a review so far, for whoever looks at it from outside. The span, the log and the
/// metrics tell it, and never what an object holds.
struct Seen {
    started: Instant,
    route: Arc<str>,
    operation: Option<Operation>,
    bytes: usize,
    span: Span,
}

async fn judge(
    door: &Door,
    request: Request<Body>,
    deadline: Deadline,
    seen: &mut Seen,
) -> Result<Judged, Fault> {
    door.admit(&request)?;
    let inner = &door.inner;
    let limits = &inner.limits;
    let (body, _share) =
        intake::body(request, &inner.gate, limits.review, limits.body_deadline).await?;
    seen.bytes = body.len();
    let review = Review::read(&body)?;
    seen.operation = review.operation();
    seen.span = tracing::info_span!(
        "review",
        uid = review.uid(),
        kind = field::Empty,
        operation = seen.operation.map(Operation::as_str),
        outcome = field::Empty,
    );
    if let Some(kind) = review.kind() {
        seen.span.record("kind", kind.kind());
    }
    let hooks = door.kind.hooks(inner);
    let hook = match door.index.and_then(|index| hooks.get(index)) {
        Some(hook) => of_its_kind(hook, &review)?,
        None => by_kind(hooks, &review)?,
    };
    if door.index.is_none() {
        seen.route = Arc::from(&*hook.route);
    }
    let judged = review.judge(&*hook.handler, deadline);
    judged.instrument(seen.span.clone()).await
}

impl Door {
    /// Before anything of the body is read.
    fn admit(&self, request: &Request<Body>) -> Result<(), Fault> {
        let Some(clients) = &self.clients else {
            return Ok(());
        };
        let Some(chain) = request.extensions().get::<ClientChain>() else {
            return Err(Fault::unauthorized(
                "no client certificate was presented: name one for this webhook in the kubeconfig of \
                 the API server's AdmissionConfiguration",
            ));
        };
        clients.judge(chain).map_err(|error| {
            Fault::forbidden(format!("the client certificate is not accepted: {error}"))
        })
    }
}

impl Seen {
    fn tell(&self, inner: &Inner, result: &Result<Judged, Fault>) {
        let elapsed = self.started.elapsed();
        let outcome = match result {
            Ok(judged) => judged.outcome,
            Err(fault) => match fault.code() {
                429 => ReviewOutcome::Shed,
                408 | 504 => ReviewOutcome::Timeout,
                _ => ReviewOutcome::Faulted,
            },
        };
        self.span.record("outcome", outcome.as_str());
        let _entered = self.span.enter();
        if let Err(fault) = result {
            tracing::warn!(
                webhook = &*self.route,
                code = fault.code(),
                message = fault.log_message(),
                "review failed"
            );
        }
        if elapsed >= inner.limits.slow_review {
            tracing::info!(
                webhook = &*self.route,
                outcome = outcome.as_str(),
                bytes = self.bytes,
                ?elapsed,
                "review was slow"
            );
        }
        let metrics = &inner.metrics;
        let operation = self.operation.map(Operation::as_str);
        metrics.reviewed(&self.route, operation, outcome, elapsed);
    }
}

/// A review of another kind means that the configuration in the cluster isn't the one that was
/// generated; decoded as the hook's type, its objects would be misread.
fn of_its_kind<'h>(
    hook: &'h AdmissionHook,
    review: &Review<'_>,
) -> Result<&'h AdmissionHook, Fault> {
    if hook.served.is_about(review) != Some(false) {
        return Ok(hook);
    }
    Err(Fault::invalid_object(format!(
        "{} serves {}, but the review is about {}: apply the generated webhook configuration",
        hook.route,
        hook.served,
        review.subject(),
    )))
}

fn by_kind<'h>(
    hooks: &'h [AdmissionHook],
    review: &Review<'_>,
) -> Result<&'h AdmissionHook, Fault> {
    if review.kind().is_none() {
        return Err(Fault::invalid_object(
            "the review doesn't say which kind it is about",
        ));
    }
    let mut fitting = hooks
        .iter()
        .filter(|hook| hook.served.is_about(review) == Some(true));
    match (fitting.next(), fitting.next()) {
        (Some(hook), None) => Ok(hook),
        (Some(_), Some(_)) => Err(Fault::invalid_object(format!(
            "several hooks serve {}: call one by its own route",
            review.subject()
        ))),
        (None, _) => Err(Fault::invalid_object(format!(
            "no hook serves {}",
            review.subject()
        ))),
    }
}

/// The API server's own default, for callers that don't say.
const TIMEOUT: Duration = Duration::from_secs(10);
