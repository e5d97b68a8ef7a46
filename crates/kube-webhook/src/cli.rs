//! A command line for programs that serve webhooks: `generate` prints what to apply, `lint` says what
//! is wrong with it. (Feature `cli`.)
//!
//! In one line, for a program without other commands:
//!
//! ```no_run
//! # use std::process::ExitCode;
//! # fn webhooks() -> Result<kube_webhook::Registered, kube_webhook::RegistrationError> {
//! #     kube_webhook::Webhooks::new("guard").build()
//! # }
//! fn main() -> ExitCode {
//!     let registered = webhooks().expect("the webhooks fit together");
//!     if let Some(code) = kube_webhook::cli::answer(&registered, &[]) {
//!         return code;
//!     }
//!     // serve ...
//! #   ExitCode::SUCCESS
//! }
//! ```
//!
//! A program with commands of its own has [`Command`] as one of its subcommands, or flattened among
//! them, and calls [`Command::run`].
//!
//! `lint` looks at what is registered; given manifests, at the rest of the installation too; and with
//! `--server`, it has an API server say what it would refuse.

mod lint;
mod manifests;

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::{Args, FromArgMatches, Subcommand, ValueEnum};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;

pub use lint::Lint;

use crate::{
    RbacOptions, Registered, Target,
    lint::{DryRunError, ManifestError},
};

/// Does what the process's arguments ask for, if they begin with `generate` or `lint`; otherwise
/// nothing, and the program goes on.
///
/// `crds` are printed with their conversion stanza; of a converted kind whose CRD isn't among them,
/// only that is printed.
#[must_use]
pub fn answer(registered: &Registered, crds: &[CustomResourceDefinition]) -> Option<ExitCode> {
    let first = std::env::args_os().nth(1)?;
    if first != "generate" && first != "lint" {
        return None;
    }
    // What it is called in its usage is the name that it was started by.
    let command = Command::augment_subcommands(clap::Command::new("webhooks"));
    let parsed = command
        .try_get_matches_from(std::env::args_os())
        .and_then(|matches| Command::from_arg_matches(&matches));
    Some(match parsed {
        Ok(command) => {
            let code = command.run(registered, crds, &mut io::stdout().lock());
            code.unwrap_or_else(|error| failed(&error))
        }
        Err(usage) => {
            let _ = usage.print();
            ExitCode::from(if usage.use_stderr() { USAGE } else { 0 })
        }
    })
}

#[allow(
    clippy::print_stderr,
    reason = "that's where a program's last words go"
)]
fn failed(error: &CliError) -> ExitCode {
    eprintln!("Error: {}", crate::fault::chain(error));
    ExitCode::FAILURE
}

/// The commands.
#[derive(Clone, Debug, Subcommand)]
#[non_exhaustive]
pub enum Command {
    /// Print what to apply to a cluster, as YAML.
    Generate(Generate),
    /// Say what is wrong or unwise about the webhooks.
    Lint(Lint),
}

/// `generate`
#[derive(Args, Clone, Debug)]
pub struct Generate {
    /// What to print.
    #[arg(value_enum, default_value_t = What::All)]
    what: What,
    #[command(flatten)]
    place: Place,
    /// The ServiceAccount that needs the rights; by default the configurations' name.
    #[arg(long)]
    service_account: Option<String>,
    /// Grant the right to patch the program's own configurations and CRDs, so that it can keep their
    /// caBundle itself.
    #[arg(long)]
    keep_ca_bundles: bool,
    /// One file for each manifest in this folder, instead of all on stdout.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// What `generate` prints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// All of it.
    All,
    /// The webhook configurations.
    Webhooks,
    /// The CRDs with their conversion stanzas.
    Crds,
    /// The role and its binding.
    Rbac,
}

/// Where the API server finds the webhooks.
#[derive(Args, Clone, Debug)]
struct Place {
    /// A base URL to which each route is appended, instead of a Service.
    #[arg(long, conflicts_with_all = ["service", "port"], value_name = "https://HOST:PORT")]
    url: Option<String>,
    /// The Service; by default the configurations' name.
    #[arg(long, value_name = "NAME")]
    service: Option<String>,
    /// The Service's port.
    #[arg(long, default_value_t = 443)]
    port: u16,
    /// The namespace of the Service and ServiceAccount; by default NAME-system.
    #[arg(long)]
    namespace: Option<String>,
    /// A file with the CA's certificate in PEM, for the caBundle.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

impl Place {
    fn namespace(&self, registered: &Registered) -> String {
        let own = || format!("{}-system", registered.name());
        self.namespace.clone().unwrap_or_else(own)
    }

    fn target(&self, registered: &Registered) -> Result<Target, CliError> {
        let ca_bundle = self.ca_file.as_ref().map(|path| {
            fs::read_to_string(path).map_err(|source| CliError::File {
                path: path.clone(),
                source,
            })
        });
        let ca_bundle = ca_bundle.transpose()?;
        Ok(match &self.url {
            Some(base) => Target::Url {
                base: base.clone(),
                ca_bundle,
            },
            None => Target::Service {
                namespace: self.namespace(registered),
                name: self
                    .service
                    .clone()
                    .unwrap_or_else(|| registered.name().to_owned()),
                port: self.port,
                ca_bundle,
            },
        })
    }
}

impl Command {
    /// Does it; what is to be read goes to `out`. The code is 2 for findings of `lint` that are
    /// errors, or with `--strict` warnings.
    ///
    /// # Errors
    ///
    /// If a file can't be read or written.
    pub fn run(
        &self,
        registered: &Registered,
        crds: &[CustomResourceDefinition],
        out: &mut impl Write,
    ) -> Result<ExitCode, CliError> {
        match self {
            Self::Generate(generate) => generate.run(registered, crds, out),
            Self::Lint(lint) => lint.run(registered, crds, out),
        }
    }
}

impl Generate {
    fn run(
        &self,
        registered: &Registered,
        crds: &[CustomResourceDefinition],
        out: &mut impl Write,
    ) -> Result<ExitCode, CliError> {
        let target = self.place.target(registered)?;
        let wants = |what| self.what == What::All || self.what == what;
        let mut manifests = Vec::new();
        if wants(What::Crds) {
            manifests.extend(manifests::crds(registered, crds, &target)?);
        }
        if wants(What::Rbac) {
            let account = self.service_account.as_deref();
            let account = account.unwrap_or_else(|| registered.name());
            let mut options = RbacOptions::new(self.place.namespace(registered), account);
            if self.keep_ca_bundles {
                options = options.keep_ca_bundles();
            }
            manifests.extend(manifests::rbac(registered, &options)?);
        }
        if wants(What::Webhooks) {
            manifests.extend(manifests::webhooks(registered, &target)?);
        }
        match &self.out {
            None => {
                for manifest in &manifests {
                    write!(out, "---\n{}", manifest.yaml()?).map_err(CliError::Print)?;
                }
            }
            Some(folder) => {
                for manifest in &manifests {
                    let path = folder.join(&manifest.file);
                    let yaml = manifest.yaml()?;
                    fs::create_dir_all(folder)
                        .and_then(|()| fs::write(&path, yaml))
                        .map_err(|source| CliError::File { path, source })?;
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Why a command could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CliError {
    /// The API server can't be called.
    #[error("the API server can't be called")]
    Client(#[source] kube::Error),
    /// An API server's dry run came to no verdict.
    #[error(transparent)]
    DryRun(DryRunError),
    /// A file can't be read or written.
    #[error("{} can't be read or written", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A manifest can't be written as JSON.
    #[error("a manifest can't be written as JSON")]
    Json(#[source] serde_json::Error),
    /// An object that was given is not what its kind says.
    #[error(transparent)]
    Manifest(ManifestError),
    /// A file is not YAML.
    #[error("{} is not YAML", path.display())]
    NotYaml {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<serde_saphyr::Error>,
    },
    /// The output can't be written.
    #[error("the output can't be written")]
    Print(#[source] io::Error),
    /// No runtime can be made to call the API server from.
    #[error("no runtime can be made to call the API server from")]
    Runtime(#[source] io::Error),
    /// A manifest can't be written as YAML.
    #[error("a manifest can't be written as YAML")]
    Yaml(#[source] serde_saphyr::ser::Error),
}

/// `EX_USAGE`.
const USAGE: u8 = 64;

#[cfg(test)]
mod tests;
