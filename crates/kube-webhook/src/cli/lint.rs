//! `lint`: findings about what is registered, about the installation around it, and those of an API
//! server itself.

use std::{
    fs, io,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use serde_json::Value;

use super::{CliError, Place, manifests};
use crate::{
    Registered,
    lint::{self, Finding, Severity},
};

/// `lint`
#[derive(Args, Clone, Debug)]
pub struct Lint {
    /// Manifests to look at beside what the program registers: YAML files, folders of them, or - for stdin.
    ///
    /// Deployments and StatefulSets with their PodDisruptionBudgets, Roles, ClusterRoles, webhook
    /// configurations and CRDs are looked at, other kinds passed over.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    place: Place,
    /// Have an API server say, too, what it would refuse: the one of the current kubeconfig.
    ///
    /// By a dry run of applying the webhook configurations and CRDs: nothing is stored. It compiles the
    /// matchConditions, and needs the right to patch (and create) these kinds.
    #[arg(long)]
    server: bool,
    /// Fail on warnings, too.
    #[arg(long)]
    strict: bool,
}

impl Lint {
    pub(super) fn run(
        &self,
        registered: &Registered,
        crds: &[CustomResourceDefinition],
        out: &mut impl Write,
    ) -> Result<ExitCode, CliError> {
        let target = self.place.target(registered)?;
        let mut findings = registered.lint(&target);
        let mut objects = Vec::new();
        for path in &self.files {
            read(path, &mut objects)?;
        }
        // All at once: a Deployment and its budget may be in two files.
        findings.extend(lint::manifests(&objects).map_err(CliError::Manifest)?);
        if self.server {
            let mut own = manifests::webhooks(registered, &target)?;
            own.extend(manifests::crds(registered, crds, &target)?);
            objects.extend(own.into_iter().map(|manifest| manifest.object));
            findings.extend(dry_run(&objects)?);
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        for finding in &findings {
            writeln!(out, "{finding}").map_err(CliError::Print)?;
        }
        let worst = if self.strict {
            Severity::Warning
        } else {
            Severity::Error
        };
        let fails = findings.iter().any(|finding| finding.severity >= worst);
        Ok(ExitCode::from(if fails { FINDINGS } else { 0 }))
    }
}

fn read(path: &Path, objects: &mut Vec<Value>) -> Result<(), CliError> {
    let failed = |source| CliError::File {
        path: path.to_owned(),
        source,
    };
    if path.is_dir() {
        let files = fs::read_dir(path).map_err(failed)?;
        let files: io::Result<Vec<_>> = files.map(|file| Ok(file?.path())).collect();
        let mut files = files.map_err(failed)?;
        files.sort_unstable();
        let is_manifest = |file: &PathBuf| {
            let extension = file.extension().and_then(|extension| extension.to_str());
            matches!(extension, Some("json" | "yaml" | "yml"))
        };
        let mut manifests = files.iter().filter(|file| is_manifest(file));
        return manifests.try_for_each(|file| read(file, objects));
    }
    let text = if path == Path::new("-") {
        io::read_to_string(io::stdin())
    } else {
        fs::read_to_string(path)
    };
    let text = text.map_err(failed)?;
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).map_err(|source| CliError::NotYaml {
            path: path.to_owned(),
            source: source.into(),
        })?;
    objects.extend(documents.into_iter().filter(Value::is_object));
    Ok(())
}

/// On a thread of its own: the caller may be within a runtime, which must not be blocked on.
fn dry_run(objects: &[Value]) -> Result<Vec<Finding>, CliError> {
    let ask = async {
        let client = Client::try_default().await.map_err(CliError::Client)?;
        lint::dry_run(&client, objects)
            .await
            .map_err(CliError::DryRun)
    };
    let asked = std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.map_err(CliError::Runtime)?.block_on(ask)
        });
        asking.join()
    });
    asked.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

const FINDINGS: u8 = 2;
