//! What a program registers as manifests, each with the name of its file. Called by `generate`, and by
//! `lint --server`.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use serde_json::{Value, json};

use super::CliError;
use crate::{RbacOptions, Registered, Target};

pub(super) struct Manifest {
    pub(super) file: String,
    pub(super) object: Value,
}

impl Manifest {
    fn of(file: impl Into<String>, object: &impl Serialize) -> Result<Self, CliError> {
        Ok(Self {
            file: format!("{}.yaml", file.into()),
            object: serde_json::to_value(object).map_err(CliError::Json)?,
        })
    }

    pub(super) fn yaml(&self) -> Result<String, CliError> {
        let mut yaml = serde_saphyr::to_string(&self.object).map_err(CliError::Yaml)?;
        if !yaml.ends_with('\n') {
            yaml.push('\n');
        }
        Ok(yaml)
    }
}

pub(super) fn webhooks(
    registered: &Registered,
    target: &Target,
) -> Result<Vec<Manifest>, CliError> {
    let validating = registered
        .validating_configuration(target)
        .map(|one| Manifest::of("validating-webhook-configuration", &one));
    let mutating = registered
        .mutating_configuration(target)
        .map(|one| Manifest::of("mutating-webhook-configuration", &one));
    validating.into_iter().chain(mutating).collect()
}

/// Whole where the CRD is known; else what to apply onto it, under a field manager of one's own.
pub(super) fn crds(
    registered: &Registered,
    crds: &[CustomResourceDefinition],
    target: &Target,
) -> Result<Vec<Manifest>, CliError> {
    let mut manifests = Vec::new();
    for crd in crds {
        let mut crd = crd.clone();
        let (group, plural) = (&crd.spec.group, &crd.spec.names.plural);
        if let Some(stanza) = registered.conversion(group, plural, target) {
            crd.spec.conversion = Some(stanza);
        }
        let file = format!("{}.{}", crd.spec.names.plural, crd.spec.group);
        manifests.push(Manifest::of(file, &crd)?);
    }
    for (group, plural) in registered.conversions() {
        let is_whole = |crd: &CustomResourceDefinition| {
            crd.spec.group == group && crd.spec.names.plural == plural
        };
        if crds.iter().any(is_whole) {
            continue;
        }
        let name = format!("{plural}.{group}");
        let part = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
            "spec": {"conversion": registered.conversion(group, plural, target)},
        });
        manifests.push(Manifest::of(format!("{name}-conversion"), &part)?);
    }
    Ok(manifests)
}

pub(super) fn rbac(
    registered: &Registered,
    options: &RbacOptions,
) -> Result<Vec<Manifest>, CliError> {
    let Some(rbac) = registered.rbac(options) else {
        return Ok(Vec::new());
    };
    Ok(vec![
        Manifest::of("cluster-role", &rbac.role)?,
        Manifest::of("cluster-role-binding", &rbac.binding)?,
    ])
}
