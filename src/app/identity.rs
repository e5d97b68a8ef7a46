//! What is presented to callers, by mode: from files, or made up until there is better; and what is
//! asked of them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use kube_webhook::{TlsIdentity, certs::ClientCas};
use tracing::warn;

use crate::config::{AltName, EventsTls, TlsMode};

/// For everybody; `called` is one more name for what we make ourselves. With the CA that was made up
/// for it, PEM, where that is to be trusted.
pub(super) async fn identity(
    mode: &TlsMode,
    called: Option<&AltName>,
) -> anyhow::Result<(TlsIdentity, Option<String>)> {
    match mode {
        TlsMode::Files { chain, key } => {
            let files = from_files(["TLS_CERT_FILE", "TLS_KEY_FILE"], chain, key);
            Ok((files.await?, None))
        }
        TlsMode::Ephemeral { names } => {
            let usual = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
            let told = names.iter().chain(called).map(ToString::to_string);
            let names: Vec<_> = usual.into_iter().chain(told).collect();
            let (identity, ca) = TlsIdentity::ephemeral(&names)?;
            warn!("serving with a certificate made up for this run; its CA is\n{ca}");
            Ok((identity, Some(ca)))
        }
        // Nobody trusts it: for handshakes until the Secret has been read.
        TlsMode::SelfManaged { names, .. } => {
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            Ok((TlsIdentity::ephemeral(&names)?.0, None))
        }
    }
}

/// Who may call the admission hooks, if not everybody may.
pub(super) async fn client_cas(file: Option<PathBuf>) -> anyhow::Result<Option<ClientCas>> {
    let Some(file) = file else {
        return Ok(None);
    };
    let cas = ClientCas::from_file(&file).await;
    let cas = cas.with_context(|| format!("CLIENT_CA_FILE {}", file.display()))?;
    Ok(Some(cas))
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
