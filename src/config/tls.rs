//! Where the serving certificate comes from, and for which names it is.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use kube_webhook::certs::rotation::Timing;

use super::{AltName, BadSetting, bad};
use crate::api::span;

/// Its settings, as they were given.
#[derive(Args, Clone, Debug)]
pub(super) struct TlsArgs {
    /// Where the serving certificate comes from
    /// [default: self-managed in a cluster, else ephemeral]
    #[arg(long, env = "TLS_MODE", value_enum)]
    tls_mode: Option<TlsModeArg>,

    /// The serving certificate's chain, PEM (files)
    #[arg(long, env = "TLS_CERT_FILE", value_name = "FILE")]
    tls_cert_file: Option<PathBuf>,

    /// The serving certificate's key, PEM (files)
    #[arg(long, env = "TLS_KEY_FILE", value_name = "FILE")]
    tls_key_file: Option<PathBuf>,

    /// More DNS names or addresses for our own certificates, separated by commas
    #[arg(long, env = "TLS_EXTRA_NAMES", value_delimiter = ',')]
    tls_extra_names: Vec<String>,

    /// How long self-managed certificates last, for tests of their exchange
    #[arg(long, env = "CERTIFICATE_TIMES", hide = true, value_parser = certificate_times)]
    certificate_times: Option<Timing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum TlsModeArg {
    Ephemeral,
    Files,
    SelfManaged,
}

/// Where the serving certificate comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsMode {
    /// Made up at the start and forgotten at the end; for development.
    Ephemeral {
        /// The certificate's names beside the usual ones.
        names: Vec<AltName>,
    },
    /// Read from files, again whenever they change.
    Files {
        /// The chain, PEM.
        chain: PathBuf,
        /// The key, PEM.
        key: PathBuf,
    },
    /// Made by ourselves and kept in Secrets, with a CA that is exchanged in time.
    SelfManaged {
        /// The certificate's names beside those that we are registered by.
        names: Vec<AltName>,
        /// How long everything lasts.
        timing: Timing,
    },
}

impl TlsArgs {
    /// `in_cluster`: whether this is a pod.
    pub(super) fn check(self, in_cluster: bool) -> Result<TlsMode, BadSetting> {
        let usual = if in_cluster {
            TlsModeArg::SelfManaged
        } else {
            TlsModeArg::Ephemeral
        };
        let names = extra_names(&self.tls_extra_names);
        let file = |file: Option<PathBuf>, setting| {
            file.ok_or_else(|| bad(setting, "TLS_MODE=files needs it"))
        };
        Ok(match self.tls_mode.unwrap_or(usual) {
            TlsModeArg::Ephemeral => TlsMode::Ephemeral { names: names? },
            TlsModeArg::Files => TlsMode::Files {
                chain: file(self.tls_cert_file, "TLS_CERT_FILE")?,
                key: file(self.tls_key_file, "TLS_KEY_FILE")?,
            },
            TlsModeArg::SelfManaged => TlsMode::SelfManaged {
                names: names?,
                timing: self.certificate_times.unwrap_or(CERTIFICATE_TIMES),
            },
        })
    }
}

/// What `TLS_EXTRA_NAMES` says, to `serve` and to `generate` alike.
pub(crate) fn extra_names(texts: &[String]) -> Result<Vec<AltName>, BadSetting> {
    AltName::list(texts).map_err(|error| bad("TLS_EXTRA_NAMES", error.to_string()))
}

/// `ca=DURATION,leaf=...,settle=...,retire=...`, each of them once.
pub(super) fn certificate_times(text: &str) -> Result<Timing, String> {
    let mut times = CERTIFICATE_TIMES;
    for word in text.split(',') {
        let (name, value) = word.split_once('=').ok_or("say NAME=DURATION")?;
        let time = match name {
            "ca" => &mut times.ca,
            "leaf" => &mut times.leaf,
            "settle" => &mut times.settle,
            "retire" => &mut times.retire,
            _ => return Err(format!("no time is called {name}")),
        };
        *time = span::parse(value).map_err(|error| error.to_string())?;
    }
    times.check()?;
    Ok(times)
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A CA that a sender's trust store can be given once and for all; leaves short enough to show
/// soon that they are renewed.
pub(super) const CERTIFICATE_TIMES: Timing = Timing {
    ca: DAY.saturating_mul(3_650),
    leaf: DAY.saturating_mul(30),
    settle: Duration::from_secs(10),
    retire: Duration::from_secs(10 * 60),
};
