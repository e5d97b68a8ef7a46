//! The handlers that look at an object's `data`: of config maps, and of custom resources of whatever
//! kind.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube_webhook::{
    Fault, Mutation, Resources, Validation, Webhook,
    admission::{
        AdmissionContext, Create, Delete, MutateCreate, MutateUpdate, MutationResult,
        MutationWebhook, Old, Update, ValidateCreate, ValidateDelete, ValidateUpdate,
        ValidationResult, ValidationWebhook,
    },
};
use serde::{Deserialize, Serialize};

/// An object's data.
#[derive(Deserialize, Serialize)]
struct Data {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    data: Option<BTreeMap<String, String>>,
}

impl Data {
    fn says(&self, key: &str, value: &str) -> bool {
        let data = self.data.as_ref();
        data.and_then(|data| data.get(key))
            .is_some_and(|own| own == value)
    }
}

/// Denies what the data asks to be denied.
struct Guard {
    on_write: &'static str,
    on_delete: &'static str,
}

impl Guard {
    fn write(&self, object: &Data) -> ValidationResult {
        if object.says(KEY, "webhook-disallow") {
            ValidationResult::fail(self.on_write)
        } else {
            ValidationResult::success()
        }
    }
}

impl ValidationWebhook<Data> for Guard {
    type Operations = (Create, Update, Delete);
}

impl ValidateCreate<Data> for Guard {
    async fn create(
        &self,
        object: &Data,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        Ok(self.write(object))
    }
}

impl ValidateUpdate<Data> for Guard {
    async fn update(
        &self,
        _: &Old<'_, Data>,
        new: &Data,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        Ok(self.write(new))
    }
}

impl ValidateDelete<Data> for Guard {
    async fn delete(
        &self,
        old: &Old<'_, Data>,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        Ok(if old.decode()?.says(KEY, "webhook-nondeletable") {
            ValidationResult::fail(self.on_delete)
        } else {
            ValidationResult::success()
        })
    }
}

/// `/configmaps`
pub(crate) fn config_maps() -> Webhook {
    let guard = Guard {
        on_write: "the configmap contains unwanted key and value",
        on_delete: "the configmap cannot be deleted because it contains unwanted key and value",
    };
    Validation::for_resources(Resources::of::<ConfigMap>(), guard)
        .route("/configmaps")
        .into()
}

/// `/custom-resource`
pub(crate) fn custom_resources() -> Webhook {
    let guard = Guard {
        on_write: "the custom resource contains unwanted data",
        on_delete: "the custom resource cannot be deleted because it contains unwanted key and \
                    value",
    };
    Validation::any_kind(guard)
        .name("custom-resource")
        .route("/custom-resource")
        .into()
}

/// Goes through two stages, one a call: that both have been reached shows that two webhooks were
/// called, the second with what the first had made.
struct Stages;

impl Stages {
    fn next(mut object: Data) -> MutationResult<Data> {
        let next = if object.says(STAGE_1, "yes") {
            STAGE_2
        } else if object.says("mutation-start", "yes") {
            STAGE_1
        } else {
            return MutationResult::no_changes();
        };
        let data = object.data.get_or_insert_default();
        data.insert(next.to_owned(), "yes".to_owned());
        MutationResult::modified(object)
    }
}

impl MutationWebhook<Data> for Stages {
    type Operations = (Create, Update);
}

impl MutateCreate<Data> for Stages {
    async fn create(
        &self,
        object: Data,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<Data>, Fault> {
        Ok(Self::next(object))
    }
}

impl MutateUpdate<Data> for Stages {
    async fn update(
        &self,
        _: &Old<'_, Data>,
        new: Data,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<Data>, Fault> {
        Ok(Self::next(new))
    }
}

/// `/mutating-configmaps`
pub(crate) fn mutated_config_maps() -> Webhook {
    Mutation::for_resources(Resources::of::<ConfigMap>(), Stages)
        .route("/mutating-configmaps")
        .into()
}

/// `/mutating-custom-resource`
pub(crate) fn mutated_custom_resources() -> Webhook {
    Mutation::any_kind(Stages)
        .name("mutating-custom-resource")
        .route("/mutating-custom-resource")
        .into()
}

const KEY: &str = "webhook-e2e-test";
const STAGE_1: &str = "mutation-stage-1";
const STAGE_2: &str = "mutation-stage-2";
