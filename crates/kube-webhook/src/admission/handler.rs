//! From a review to its answer: decodes what the callback needs, calls it within the deadline,
//! catches its panics, and writes the verdict down. Called by `register`'s routes.
//!
//! `allowed: false` leaves here only as a hook's verdict; everything that goes wrong is a [`Fault`].

use std::{marker::PhantomData, panic::AssertUnwindSafe};

use futures::future::{BoxFuture, FutureExt};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    AdmissionContext, GroupVersionKind, GroupVersionResource, MutationCallbacks, MutationWebhook,
    Old, Operation, OperationSet, ValidationCallbacks, ValidationWebhook, budget,
    old::decode,
    patch,
    result::{Denial, Verdict},
};
use crate::{
    Fault,
    envelope::{
        AdmissionRequest, AdmissionResponse, Deadline, Json, Rejection, RejectionDetails,
        ReviewVersion, admission_review,
    },
    metrics::ReviewOutcome,
};

/// A review that has been read, but not yet given to a hook.
#[derive(Debug)]
pub(crate) struct Review<'a> {
    version: ReviewVersion,
    request: AdmissionRequest<'a>,
}

impl<'a> Review<'a> {
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, Fault> {
        let (version, request) = AdmissionRequest::read(body)?;
        Ok(Self { version, request })
    }

    /// The kind that the review says it is about, else the kind that its object says it is.
    pub(crate) fn kind(&self) -> Option<GroupVersionKind<'_>> {
        match &self.request.kind {
            Some(kind) if !kind.is_empty() => Some(kind.clone()),
            _ => self
                .request
                .object
                .or(self.request.old_object)
                .and_then(GroupVersionKind::of_object),
        }
    }

    pub(crate) fn uid(&self) -> &str {
        &self.request.uid
    }

    pub(crate) fn operation(&self) -> Option<Operation> {
        Operation::parse(&self.request.operation)
    }

    /// The resource that the review is about, and its subresource, empty if it is the resource itself.
    pub(crate) fn resource(&self) -> Option<(&GroupVersionResource<'a>, &str)> {
        let resource = self.request.resource.as_ref()?;
        Some((resource, &self.request.sub_resource))
    }

    /// What the review is about, for messages.
    pub(crate) fn subject(&self) -> String {
        let kind = self.kind().unwrap_or_default();
        let mut subject = format!("{:?} {:?} {:?}", kind.group(), kind.version(), kind.kind());
        if let Some((resource, subresource)) = self.resource()
            && !subresource.is_empty()
        {
            subject.push_str(&format!(" ({}/{subresource})", resource.resource()));
        }
        subject
    }

    /// Lets `handler` judge it, and writes the answer. Beyond the deadline, or when the caller goes,
    /// the hook's future is dropped.
    pub(crate) async fn judge(
        self,
        handler: &dyn AdmissionHandler,
        deadline: Deadline,
    ) -> Result<Judged, Fault> {
        let objects = Objects {
            new: self.request.object,
            old: self.request.old_object,
        };
        let cx = AdmissionContext::of(self.request, deadline)?;
        let call = AssertUnwindSafe(handler.call(objects, &cx)).catch_unwind();
        let outcome = tokio::time::timeout_at(deadline.instant().into(), call)
            .await
            .map_err(|_| Fault::timeout("the hook gave no verdict by the deadline"))?
            .map_err(|panic| {
                tracing::error!(uid = cx.uid(), panic = panic_text(&*panic), "hook panicked");
                Fault::internal("the hook panicked")
            })??;
        Ok(Judged {
            body: answer(self.version, &cx, &outcome)?,
            outcome: match &outcome {
                Outcome { verdict, .. } if verdict.denial.is_some() => ReviewOutcome::Denied,
                Outcome { patch: Some(_), .. } => ReviewOutcome::Patched,
                _ => ReviewOutcome::Allowed,
            },
        })
    }
}

/// An answer, and what it says.
#[derive(Debug)]
pub(crate) struct Judged {
    pub(crate) body: Vec<u8>,
    pub(crate) outcome: ReviewOutcome,
}

/// A hook of whatever type.
pub(crate) trait AdmissionHandler: Send + Sync {
    fn call<'a>(
        &'a self,
        objects: Objects<'a>,
        cx: &'a AdmissionContext<'a>,
    ) -> BoxFuture<'a, Result<Outcome, Fault>>;
}

/// A verdict, and the patch that goes with it, never empty.
#[derive(Debug)]
pub(crate) struct Outcome {
    verdict: Verdict,
    patch: Option<Vec<u8>>,
}

/// The objects of a review, not yet decoded.
#[allow(
    unnameable_types,
    unreachable_pub,
    reason = "stands in the signature of a sealed trait"
)]
#[derive(Clone, Copy, Debug)]
pub struct Objects<'a> {
    new: Option<Json<'a>>,
    old: Option<Json<'a>>,
}

impl<'a> Objects<'a> {
    pub(super) fn decode_new<K: DeserializeOwned>(&self) -> Result<K, Fault> {
        decode(self.sent()?, "object")
    }

    pub(super) fn old<K>(&self) -> Result<Old<'a, K>, Fault> {
        self.old
            .map(Old::of)
            .ok_or_else(|| Fault::invalid_object("the review has no oldObject"))
    }

    pub(super) fn sent(&self) -> Result<Json<'a>, Fault> {
        self.new
            .ok_or_else(|| Fault::invalid_object("the review has no object"))
    }
}

pub(crate) struct ValidationHandler<H, K> {
    hook: H,
    object: PhantomData<fn() -> K>,
}

impl<H, K> ValidationHandler<H, K> {
    pub(crate) fn new(hook: H) -> Self {
        Self {
            hook,
            object: PhantomData,
        }
    }
}

impl<H, K> AdmissionHandler for ValidationHandler<H, K>
where
    H: ValidationWebhook<K>,
    H::Operations: ValidationCallbacks<H, K>,
    K: 'static,
{
    fn call<'a>(
        &'a self,
        objects: Objects<'a>,
        cx: &'a AdmissionContext<'a>,
    ) -> BoxFuture<'a, Result<Outcome, Fault>> {
        async move {
            let result = H::Operations::call(&self.hook, objects, cx).await?;
            Ok(Outcome {
                verdict: result.verdict,
                patch: None,
            })
        }
        .boxed()
    }
}

pub(crate) struct MutationHandler<H, K> {
    hook: H,
    object: PhantomData<fn() -> K>,
}

impl<H, K> MutationHandler<H, K> {
    pub(crate) fn new(hook: H) -> Self {
        Self {
            hook,
            object: PhantomData,
        }
    }
}

impl<H, K> AdmissionHandler for MutationHandler<H, K>
where
    H: MutationWebhook<K>,
    H::Operations: MutationCallbacks<H, K>,
    K: Serialize + DeserializeOwned + Send + 'static,
{
    fn call<'a>(
        &'a self,
        objects: Objects<'a>,
        cx: &'a AdmissionContext<'a>,
    ) -> BoxFuture<'a, Result<Outcome, Fault>> {
        async move {
            let mut before = None;
            let mut object = None;
            if cx.operation() != Operation::Delete
                && H::Operations::OPERATIONS.contains(&cx.operation())
            {
                let new: K = objects.decode_new()?;
                before = Some(patch::Seen::of(&new, objects.sent()?)?);
                object = Some(new);
            }
            let result = H::Operations::call(&self.hook, object, objects, cx).await?;
            let patch = match (result.object, before) {
                (Some(object), Some(before)) => {
                    patch::between::<K>(objects.sent()?, &before, &object)?
                }
                _ => None,
            };
            Ok(Outcome {
                verdict: result.verdict,
                patch,
            })
        }
        .boxed()
    }
}

fn answer(
    version: ReviewVersion,
    cx: &AdmissionContext<'_>,
    outcome: &Outcome,
) -> Result<Vec<u8>, Fault> {
    let verdict = &outcome.verdict;
    let warnings = budget::warnings(&verdict.warnings);
    let mut response = AdmissionResponse {
        uid: cx.uid(),
        allowed: verdict.denial.is_none(),
        status: verdict.denial.as_ref().map(|denial| rejection(denial, cx)),
        warnings: warnings.iter().map(|text| &**text).collect(),
        audit_annotations: budget::audit_annotations(&verdict.audit_annotations),
        ..AdmissionResponse::default()
    };
    if let Some(patch) = &outcome.patch {
        response.set_patch(patch);
    }
    admission_review(version, &response)
}

fn rejection<'a>(denial: &'a Denial, cx: &'a AdmissionContext<'_>) -> Rejection<'a> {
    // Without causes the details must stay out: for code 422 kubectl prints the message only if
    // there are none.
    let details = (!denial.causes.is_empty()).then(|| RejectionDetails {
        name: cx.name().unwrap_or_default(),
        group: cx.kind().map_or("", GroupVersionKind::group),
        kind: cx.kind().map_or("", GroupVersionKind::kind),
        causes: &denial.causes,
    });
    Rejection {
        status: "Failure",
        message: &denial.message,
        reason: denial.reason.as_deref(),
        details,
        code: denial.code,
    }
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
