//! A second certificate for the event processor, whose Java trusts other CAs than API
//! servers do.

use std::path::PathBuf;

use clap::Args;

use super::{BadSetting, bad};

/// Its settings, as they were given.
#[derive(Args, Clone, Debug)]
pub(super) struct EventsTlsArgs {
    /// A second certificate's chain, PEM: for peers that ask for a name (SNI) which it is for
    /// and the serving certificate is not
    #[arg(long, env = EVENTS_TLS_CERT_FILE, value_name = "FILE")]
    events_tls_cert_file: Option<PathBuf>,

    /// The second certificate's key, PEM
    #[arg(long, env = EVENTS_TLS_KEY_FILE, value_name = "FILE")]
    events_tls_key_file: Option<PathBuf>,
}

/// Where the second certificate is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventsTls {
    /// The chain, PEM.
    pub chain: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

impl EventsTlsArgs {
    pub(super) fn check(self) -> Result<Option<EventsTls>, BadSetting> {
        match (self.events_tls_cert_file, self.events_tls_key_file) {
            (Some(chain), Some(key)) => Ok(Some(EventsTls { chain, key })),
            (None, None) => Ok(None),
            (None, Some(_)) => Err(bad(EVENTS_TLS_CERT_FILE, "EVENTS_TLS_KEY_FILE needs it")),
            (Some(_), None) => Err(bad(EVENTS_TLS_KEY_FILE, "EVENTS_TLS_CERT_FILE needs it")),
        }
    }
}

const EVENTS_TLS_CERT_FILE: &str = "EVENTS_TLS_CERT_FILE";

const EVENTS_TLS_KEY_FILE: &str = "EVENTS_TLS_KEY_FILE";
