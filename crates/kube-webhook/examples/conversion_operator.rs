//! An operator whose kind has three versions, with a webhook that converts between them.
//!
//! Run it with `cargo run -p kube-webhook --example conversion_operator`: it serves TLS on a free
//! port of the loopback, with a certificate made on the spot, and prints the CRD that makes an API
//! server on the same machine call it. `-- generate` prints it for a Service instead, and `-- lint`
//! what could be better about it.

use std::{net::Ipv4Addr, process::ExitCode};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{CustomResource, CustomResourceExt, core::crd::merge_crds};
use kube_webhook::{
    Conversion, Registered, RegistrationError, Server, Target, TlsIdentity, Webhooks,
    conversion::{ConversionError, ConversionWebhook, Converter, Converters},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The first version: one name for all.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "conversionwebhook.dev",
    version = "v1",
    kind = "TestEntity",
    root = "V1TestEntity",
    namespaced
)]
pub(crate) struct V1TestEntitySpec {
    /// First and last name, with a space between.
    #[serde(default)]
    pub name: String,
}

/// The second version: two names.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "conversionwebhook.dev",
    version = "v2",
    kind = "TestEntity",
    root = "V2TestEntity",
    namespaced
)]
pub(crate) struct V2TestEntitySpec {
    /// The first name.
    #[serde(default)]
    pub firstname: String,
    /// The last name.
    #[serde(default)]
    pub lastname: String,
}

/// The third version, which is stored: a middle name, too.
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "conversionwebhook.dev",
    version = "v3",
    kind = "TestEntity",
    root = "V3TestEntity",
    namespaced
)]
#[serde(rename_all = "camelCase")]
pub(crate) struct V3TestEntitySpec {
    /// The first name.
    #[serde(default)]
    pub firstname: String,
    /// The last name.
    #[serde(default)]
    pub lastname: String,
    /// The middle name, which no earlier version has: it travels in an annotation there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub middle_name: Option<String>,
}

/// v1 <-> v3.
#[derive(Debug)]
pub(crate) struct V1ToV3;

impl Converter for V1ToV3 {
    type From = V1TestEntity;
    type Storage = V3TestEntity;

    fn convert(&self, from: V1TestEntity) -> Result<V3TestEntity, ConversionError> {
        let name = &from.spec.name;
        let (firstname, lastname) = name.split_once(' ').unwrap_or((name, ""));
        Ok(V3TestEntity {
            spec: V3TestEntitySpec {
                firstname: firstname.to_owned(),
                lastname: lastname.to_owned(),
                middle_name: None,
            },
            metadata: from.metadata,
        })
    }

    fn revert(&self, storage: V3TestEntity) -> Result<V1TestEntity, ConversionError> {
        Ok(V1TestEntity {
            spec: V1TestEntitySpec {
                name: format!("{} {}", storage.spec.firstname, storage.spec.lastname),
            },
            metadata: storage.metadata,
        })
    }
}

/// v2 <-> v3.
#[derive(Debug)]
pub(crate) struct V2ToV3;

impl Converter for V2ToV3 {
    type From = V2TestEntity;
    type Storage = V3TestEntity;

    fn convert(&self, from: V2TestEntity) -> Result<V3TestEntity, ConversionError> {
        Ok(V3TestEntity {
            spec: V3TestEntitySpec {
                firstname: from.spec.firstname,
                lastname: from.spec.lastname,
                middle_name: None,
            },
            metadata: from.metadata,
        })
    }

    fn revert(&self, storage: V3TestEntity) -> Result<V2TestEntity, ConversionError> {
        Ok(V2TestEntity {
            spec: V2TestEntitySpec {
                firstname: storage.spec.firstname,
                lastname: storage.spec.lastname,
            },
            metadata: storage.metadata,
        })
    }
}

/// All versions, by way of v3.
#[derive(Debug)]
pub(crate) struct TestConversionWebhook;

impl ConversionWebhook for TestConversionWebhook {
    type Storage = V3TestEntity;

    fn converters(&self) -> Converters<V3TestEntity> {
        Converters::new().add(V1ToV3).add(V2ToV3)
    }
}

/// The webhook, registered.
///
/// # Errors
///
/// If its converters don't fit together.
pub(crate) fn webhooks() -> Result<Registered, RegistrationError> {
    Webhooks::new("conversion-operator")
        .add_webhook(
            Conversion::new(TestConversionWebhook).annotation_prefix("conversionwebhook.dev"),
        )
        .build()
}

/// The CRD with all versions and the conversion stanza.
///
/// # Errors
///
/// If the versions don't fit together.
pub(crate) fn crd(
    registered: &Registered,
    target: &Target,
) -> Result<CustomResourceDefinition, kube::core::crd::MergeError> {
    let versions = vec![
        V1TestEntity::crd(),
        V2TestEntity::crd(),
        V3TestEntity::crd(),
    ];
    let mut crd = merge_crds(versions, "v3")?;
    crd.spec.conversion = registered.conversion(&crd.spec.group, &crd.spec.names.plural, target);
    Ok(crd)
}

#[allow(dead_code, reason = "the tests include this file for the rest of it")]
#[allow(clippy::print_stdout, reason = "the manifests are the output")]
#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let registered = webhooks()?;
    let crds = [
        V1TestEntity::crd(),
        V2TestEntity::crd(),
        V3TestEntity::crd(),
    ];
    if let Some(code) = kube_webhook::cli::answer(&registered, &[merge_crds(crds.to_vec(), "v3")?])
    {
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
    println!(
        "{}",
        serde_json::to_string_pretty(&crd(&registered, &target)?)?
    );
    server
        .serve(async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(ExitCode::SUCCESS)
}
