//! Whether the program registers itself with API servers, and as what.

use std::path::PathBuf;

use axum::http::Uri;
use clap::{ArgAction, Args};

use super::{AltName, BadSetting, bad};

/// Its settings, as they were given.
#[derive(Args, Clone, Debug)]
pub(super) struct RegistrationArgs {
    /// Apply both webhook configurations and the CRD's conversion, and keep them: for installations
    /// without manifests; `generate rbac --register` prints the rights that it takes
    #[arg(
        long,
        env = "REGISTER",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = false,
        default_missing_value = "true",
        action = ArgAction::Set
    )]
    register: bool,

    /// Where API servers are to call us: https://HOST:PORT (--register)
    /// [default: the Service harbormaster of our own namespace]
    #[arg(long, env = REGISTER_URL, value_name = "BASE")]
    register_url: Option<String>,

    /// The CA that API servers are to trust, PEM (--register, files): beside those in the caBundle; where
    /// there is none, the caBundle stays as it is [default: ca.crt beside TLS_CERT_FILE, if it is there]
    #[arg(long, env = "REGISTER_CA_FILE", value_name = "FILE")]
    register_ca_file: Option<PathBuf>,
}

/// As what we register.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The URL's base, and the name in it; by default a Service is called.
    pub url: Option<(String, AltName)>,
    /// The CA that API servers are to trust, where it isn't our own.
    pub ca_file: Option<PathBuf>,
}

impl RegistrationArgs {
    pub(super) fn check(self) -> Result<Option<Registration>, BadSetting> {
        let url = self.register_url.map(checked).transpose()?;
        Ok(self.register.then_some(Registration {
            url,
            ca_file: self.register_ca_file,
        }))
    }
}

/// What the API server would take: no query and no user, and a name that a certificate can be for.
fn checked(base: String) -> Result<(String, AltName), BadSetting> {
    let problem = || bad(REGISTER_URL, "must be https://HOST:PORT");
    let uri: Uri = base.parse().map_err(|_| problem())?;
    let is_plain = uri.query().is_none() && !base.contains(['@', '#']);
    let name = uri.host().and_then(|host| host.parse().ok());
    match name {
        Some(name) if is_plain && uri.scheme_str() == Some("https") => Ok((base, name)),
        _ => Err(problem()),
    }
}

const REGISTER_URL: &str = "REGISTER_URL";
