//! The way of a ConversionReview: let in, converted here or on a thread of its own, counted. Routed
//! here by the module above.

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use http::Request;
use tracing::{Span, field};

use crate::{
    Fault,
    conversion::{self, Converted, Star},
    envelope::Deadline,
    metrics::{ConversionOutcome, UNKNOWN},
    register::{Inner, intake},
};

/// Answers a ConversionReview by the star of its group and kind.
pub(super) async fn answer(
    inner: Arc<Inner>,
    stars: Arc<[Arc<Star>]>,
    request: Request<Body>,
) -> Result<Vec<u8>, Fault> {
    let deadline = Deadline::from_query(request.uri().query(), TIMEOUT);
    let span = tracing::info_span!(
        "conversion",
        uid = field::Empty,
        from = field::Empty,
        to = field::Empty,
        objects = field::Empty,
        outcome = field::Empty,
    );
    let result = convert(&inner, &stars, request, deadline, &span).await;
    tell(&inner, &stars, &result, &span);
    result.map(|converted| converted.body)
}

async fn convert(
    inner: &Inner,
    stars: &Arc<[Arc<Star>]>,
    request: Request<Body>,
    deadline: Deadline,
    span: &Span,
) -> Result<Converted, Fault> {
    let limits = &inner.limits;
    let (body, share) = intake::body(
        request,
        &inner.gate,
        limits.conversion,
        limits.body_deadline,
    )
    .await?;
    if body.len() <= LARGEST_INLINE {
        return span.in_scope(|| conversion::answer(stars, &body, || deadline.has_passed()));
    }
    // A list of a thousand objects would keep the reactor for 30 ms.
    let turn = tokio::time::timeout_at(deadline.instant().into(), inner.gate.thread())
        .await
        .map_err(|_| Fault::timeout("no thread became free in time to convert the objects"))?;
    let (stars, span) = (Arc::clone(stars), span.clone());
    let caller = Arc::new(());
    let waiting = Arc::downgrade(&caller);
    let conversion = move || {
        // The thread goes on until it sees that the caller has gone, and holds its share till then.
        let _held = (share, turn);
        let is_over = || deadline.has_passed() || waiting.strong_count() == 0;
        span.in_scope(|| conversion::answer(&stars, &body, is_over))
    };
    tokio::task::spawn_blocking(conversion).await?
}

fn tell(inner: &Inner, stars: &[Arc<Star>], result: &Result<Converted, Fault>, span: &Span) {
    let label = |version: &str| label(stars, version);
    let (from, to, outcome, objects) = match result {
        Ok(done) => (
            label(&done.from),
            label(&done.to),
            done.outcome,
            done.objects,
        ),
        Err(fault) => {
            let outcome = match fault.code() {
                429 => ConversionOutcome::Shed,
                408 | 504 => ConversionOutcome::Timeout,
                _ => ConversionOutcome::Faulted,
            };
            (Arc::from(UNKNOWN), Arc::from(UNKNOWN), outcome, 0)
        }
    };
    span.record("outcome", outcome.as_str());
    let _entered = span.enter();
    if let Err(fault) = result {
        tracing::warn!(
            code = fault.code(),
            message = fault.log_message(),
            "conversion failed"
        );
    }
    inner.metrics.converted(&from, &to, outcome, objects);
}

/// Only versions that are converted here, since whoever calls can ask for any.
fn label(stars: &[Arc<Star>], version: &str) -> Arc<str> {
    let is_known = version == conversion::MIXED || stars.iter().any(|star| star.knows(version));
    Arc::from(if is_known { version } else { UNKNOWN })
}

/// What the API server always gives a conversion.
const TIMEOUT: Duration = Duration::from_secs(30);
const LARGEST_INLINE: usize = 256 * 1024;
