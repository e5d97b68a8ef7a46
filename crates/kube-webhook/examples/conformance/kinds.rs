//! The handlers that take objects of any kind, and what they look at of one.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    middleware::map_response,
    response::Response,
};
use http::StatusCode;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube_webhook::{
    Fault, Mutation, Resources, Validation, Webhook,
    admission::{
        AdmissionContext, Connect, Create, Delete, MutateCreate, MutateUpdate, MutationResult,
        MutationWebhook, Old, Update, ValidateConnect, ValidateCreate, ValidateDelete,
        ValidateUpdate, ValidationResult, ValidationWebhook,
    },
    status_response,
};
use serde::{Deserialize, Serialize};

/// Nothing of an object.
#[derive(Deserialize)]
struct Anything {}

/// An object's labels.
#[derive(Deserialize, Serialize)]
struct Labelled {
    metadata: Metadata,
}

#[derive(Deserialize, Serialize)]
struct Metadata {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    labels: Option<BTreeMap<String, String>>,
}

/// Answers the same to whatever is asked, be it later.
struct Always {
    after: Duration,
    answer: fn() -> ValidationResult,
}

impl Always {
    async fn answer(&self) -> Result<ValidationResult, Fault> {
        tokio::time::sleep(self.after).await;
        Ok((self.answer)())
    }
}

impl ValidationWebhook<Anything> for Always {
    type Operations = (Create, Update, Delete, Connect);
}

impl ValidateCreate<Anything> for Always {
    async fn create(
        &self,
        _: &Anything,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        self.answer().await
    }
}

impl ValidateUpdate<Anything> for Always {
    async fn update(
        &self,
        _: &Old<'_, Anything>,
        _: &Anything,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        self.answer().await
    }
}

impl ValidateDelete<Anything> for Always {
    async fn delete(
        &self,
        _: &Old<'_, Anything>,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        self.answer().await
    }
}

impl ValidateConnect<Anything> for Always {
    async fn connect(
        &self,
        _: &Anything,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        self.answer().await
    }
}

/// `/always-deny`
pub(crate) fn always_deny() -> Webhook {
    let hook = Always {
        after: Duration::ZERO,
        answer: || ValidationResult::fail("this webhook denies all requests"),
    };
    Validation::any_kind(hook)
        .name("always-deny")
        .route("/always-deny")
        .into()
}

/// `/always-allow-delay-5s`
pub(crate) fn always_allow_delay() -> Webhook {
    let hook = Always {
        after: Duration::from_secs(5),
        answer: ValidationResult::success,
    };
    Validation::any_kind(hook)
        .name("always-allow-delay-5s")
        .route("/always-allow-delay-5s")
        .into()
}

struct AddLabel;

impl AddLabel {
    fn label(mut object: Labelled) -> MutationResult<Labelled> {
        let labels = object.metadata.labels.get_or_insert_default();
        labels.insert("added-label".to_owned(), "yes".to_owned());
        MutationResult::modified(object)
    }
}

impl MutationWebhook<Labelled> for AddLabel {
    type Operations = (Create, Update);
}

impl MutateCreate<Labelled> for AddLabel {
    async fn create(
        &self,
        object: Labelled,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<Labelled>, Fault> {
        Ok(Self::label(object))
    }
}

impl MutateUpdate<Labelled> for AddLabel {
    async fn update(
        &self,
        _: &Old<'_, Labelled>,
        new: Labelled,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<Labelled>, Fault> {
        Ok(Self::label(new))
    }
}

/// `/add-label`
pub(crate) fn add_label() -> Webhook {
    Mutation::any_kind(AddLabel)
        .name("add-label")
        .route("/add-label")
        .into()
}

struct NoUnwantedCrds;

impl ValidationWebhook<Labelled> for NoUnwantedCrds {
    type Operations = (Create,);
}

impl ValidateCreate<Labelled> for NoUnwantedCrds {
    async fn create(
        &self,
        crd: &Labelled,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        let labels = crd.metadata.labels.as_ref();
        let label = labels.and_then(|labels| labels.get("webhook-e2e-test"));
        Ok(match label.map(String::as_str) {
            Some("webhook-disallow") => ValidationResult::fail("the crd contains unwanted label"),
            _ => ValidationResult::success(),
        })
    }
}

/// `/crd`
pub(crate) fn crds() -> Webhook {
    let crds = Resources::of::<CustomResourceDefinition>();
    Validation::for_resources(crds, NoUnwantedCrds)
        .route("/crd")
        .into()
}

/// agnhost answers 400 to reviews of a version or kind that it doesn't know, where the framework
/// answers 422. Either is a failed call.
pub(crate) fn with_unknown_kinds_as_bad_requests(router: Router) -> Router {
    router.layer(map_response(async |response: Response| {
        if response.status() != StatusCode::UNPROCESSABLE_ENTITY {
            return response;
        }
        let body = to_bytes(Body::new(response.into_body()), LONGEST_STATUS).await;
        let status: Message = body
            .ok()
            .and_then(|body| serde_json::from_slice(&body).ok())
            .unwrap_or_default();
        status_response(StatusCode::BAD_REQUEST, "BadRequest", &status.message)
    }))
}

#[derive(Default, Deserialize)]
struct Message {
    message: String,
}

const LONGEST_STATUS: usize = 64 * 1024;
