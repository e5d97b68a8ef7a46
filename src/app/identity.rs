//! What is presented to callers, by mode: from files, or made up until there is better.

use std::path::Path;

use anyhow::Context as _;
use kube_webhook::TlsIdentity;
use tracing::warn;

use crate::config::{EventsTls, TlsMode};

/// For everybody.
pub(super) async fn identity(mode: TlsMode) -> anyhow::Result<TlsIdentity> {
    match mode {
        TlsMode::Files { chain, key } => {
            from_files(["TLS_CERT_FILE", "TLS_KEY_FILE"], &chain, &key).await
        }
        TlsMode::Ephemeral { names } => {
            let usual = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
            let names: Vec<_> = usual.into_iter().chain(names).collect();
            let (identity, ca) = TlsIdentity::ephemeral(&names)?;
            warn!("serving with a certificate made up for this run; its CA is\n{ca}");
            Ok(identity)
        }
        // Nobody trusts it: for handshakes until the Secret has been read.
        TlsMode::SelfManaged { names, .. } => Ok(TlsIdentity::ephemeral(&names)?.0),
    }
}

/// For the event processor.
pub(super) async fn events_identity(files: &EventsTls) -> anyhow::Result<TlsIdentity> {
    let variables = ["EVENTS_TLS_CERT_FILE", "EVENTS_TLS_KEY_FILE"];
    from_files(variables, &files.chain, &files.key).await
}

async fn from_files(
    [of_chain, of_key]: [&str; 2],
    chain: &Path,
    key: &Path,
) -> anyhow::Result<TlsIdentity> {
    let identity = TlsIdentity::from_files(chain, key).await;
    identity.with_context(|| {
        let (chain, key) = (chain.display(), key.display());
        format!("{of_chain} {chain}, {of_key} {key}")
    })
}
