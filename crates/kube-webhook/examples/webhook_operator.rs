//! An operator with a validating and a mutating webhook for one kind of its own.
//!
//! Run it with `cargo run -p kube-webhook --example webhook_operator`: it serves TLS on a free port
//! of the loopback, with a certificate made on the spot, and prints the manifests that make an API
//! server on the same machine call it. `-- generate` prints them for a Service instead, and `-- lint`
//! what could be better about them.

use std::{net::Ipv4Addr, process::ExitCode};

use kube::{CustomResource, CustomResourceExt};
use kube_webhook::{
    Fault, Mutation, Registered, RegistrationError, Server, Target, TlsIdentity, Validation,
    Webhooks,
    admission::{
        AdmissionContext, Create, MutateCreate, MutationResult, MutationWebhook, Old, Update,
        ValidateCreate, ValidateUpdate, ValidationResult, ValidationWebhook,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The entity under test.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "webhook.dev",
    version = "v1",
    kind = "TestEntity",
    root = "V1TestEntity",
    namespaced
)]
pub(crate) struct V1TestEntitySpec {
    /// The user's name.
    #[serde(default)]
    pub username: String,
}

/// Refuses the user name "forbidden".
#[derive(Debug)]
pub(crate) struct TestValidationWebhook;

impl ValidationWebhook<V1TestEntity> for TestValidationWebhook {
    type Operations = (Create, Update);
}

impl ValidateCreate<V1TestEntity> for TestValidationWebhook {
    async fn create(
        &self,
        entity: &V1TestEntity,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        if entity.spec.username == "forbidden" {
            return Ok(ValidationResult::fail("name may not be 'forbidden'.").with_code(422));
        }
        Ok(ValidationResult::success())
    }
}

impl ValidateUpdate<V1TestEntity> for TestValidationWebhook {
    async fn update(
        &self,
        _: &Old<'_, V1TestEntity>,
        new: &V1TestEntity,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        if new.spec.username == "forbidden" {
            return Ok(ValidationResult::fail("name may not be 'forbidden'."));
        }
        Ok(ValidationResult::success())
    }
}

/// Overwrites the user name "overwrite".
#[derive(Debug)]
pub(crate) struct TestMutationWebhook;

impl MutationWebhook<V1TestEntity> for TestMutationWebhook {
    type Operations = (Create,);
}

impl MutateCreate<V1TestEntity> for TestMutationWebhook {
    async fn create(
        &self,
        mut entity: V1TestEntity,
        _: &AdmissionContext<'_>,
    ) -> Result<MutationResult<V1TestEntity>, Fault> {
        if entity.spec.username == "overwrite" {
            entity.spec.username = "random overwritten".to_owned();
            return Ok(MutationResult::modified(entity));
        }
        Ok(MutationResult::no_changes())
    }
}

/// Both webhooks, in one place.
///
/// # Errors
///
/// If they don't fit together.
pub(crate) fn webhooks() -> Result<Registered, RegistrationError> {
    Webhooks::new("webhook-operator")
        .add_webhook(Validation::new(TestValidationWebhook))
        .add_webhook(Mutation::new(TestMutationWebhook))
        .build()
}

#[allow(dead_code, reason = "the tests include this file for the rest of it")]
#[allow(clippy::print_stdout, reason = "the manifests are the output")]
#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let registered = webhooks()?;
    if let Some(code) = kube_webhook::cli::answer(&registered, &[V1TestEntity::crd()]) {
        return Ok(code);
    }
    let (identity, ca) = TlsIdentity::ephemeral(&["127.0.0.1".to_owned()])?;
    let server = Server::bind(
        (Ipv4Addr::LOCALHOST, 0).into(),
        identity,
        registered.router(),
    )?;
    let target = Target::Url {
        base: format!("https://{}", server.local_addr()),
        ca_bundle: Some(ca),
    };
    for manifest in [
        serde_json::to_string_pretty(&registered.validating_configuration(&target))?,
        serde_json::to_string_pretty(&registered.mutating_configuration(&target))?,
    ] {
        println!("{manifest}");
    }
    server
        .serve(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(ExitCode::SUCCESS)
}
