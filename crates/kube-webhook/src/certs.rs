//! The certificate that a server presents: read from PEM or files, or made up in memory, and
//! exchanged while connections go on. Given to `server`.
//!
//! Owns no renewal; refuses a key that doesn't belong to its certificate, and keeps the last good
//! pair when a new one is bad.

mod authority;
mod clients;
mod ephemeral;
pub mod rotation;
mod sni;
mod trust;

use std::{
    fmt,
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

pub(crate) use clients::{AskOnly, ClientChain};
pub(crate) use sni::ByName;

pub use authority::{Authority, CLOCK_SKEW};
pub use clients::ClientCas;
pub use trust::{Distrust, Validity, bundle, certificates, names, verify};

/// A certificate chain and its key, which can be exchanged while a server uses them. Clones share
/// the exchange.
#[derive(Clone)]
pub struct TlsIdentity {
    current: Arc<Current<CertifiedKey>>,
    files: Option<Files>,
}

impl TlsIdentity {
    /// From the PEM of a chain, leaf first, and of its key (PKCS #8, SEC 1 or PKCS #1).
    ///
    /// # Errors
    ///
    /// If either can't be read, or the key isn't the leaf's.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Ok(Self {
            current: Arc::new(Current::of(certified(chain, key)?)),
            files: None,
        })
    }

    /// From files such as the `tls.crt` and `tls.key` of a mounted Secret. Let
    /// [`watch`](Self::watch) run to follow their renewal.
    ///
    /// # Errors
    ///
    /// As for [`from_pem`](Self::from_pem), and if a file can't be read.
    pub async fn from_files(
        chain: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self, TlsError> {
        let files = Files {
            chain: chain.into(),
            key: key.into(),
        };
        let (chain, key) = files.read().await?;
        Ok(Self {
            files: Some(files),
            ..Self::from_pem(&chain, &key)?
        })
    }

    /// A certificate for `names` (DNS names and addresses) from a CA made up on the spot, and the
    /// CA's PEM, which belongs into the `caBundle`. The CA's key is forgotten: for development and
    /// tests.
    ///
    /// # Errors
    ///
    /// If a name can't stand in a certificate.
    pub fn ephemeral(names: &[String]) -> Result<(Self, String), TlsError> {
        let made = ephemeral::make(names)?;
        let identity = Self::from_pem(made.leaf.chain.as_bytes(), made.leaf.key.as_bytes())?;
        Ok((identity, made.ca))
    }

    /// Presents another chain from the next handshake on.
    ///
    /// # Errors
    ///
    /// As for [`from_pem`](Self::from_pem); the present pair then stays.
    pub fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), TlsError> {
        self.current.set(certified(chain, key)?);
        Ok(())
    }

    /// Reads the files again; says whether they hold another chain, which is then presented. Without
    /// files, nothing happens.
    ///
    /// # Errors
    ///
    /// As for [`from_files`](Self::from_files); the present pair then stays.
    pub async fn reload(&self) -> Result<bool, TlsError> {
        let renewal = self.renewal().await?;
        Ok(renewal.map(Renewal::present).is_some())
    }

    /// What the files hold by now, if that is another chain than the one presented, for programs that
    /// choose when to present it. Without files, nothing.
    ///
    /// # Errors
    ///
    /// As for [`from_files`](Self::from_files).
    pub async fn renewal(&self) -> Result<Option<Renewal>, TlsError> {
        let Some(files) = &self.files else {
            return Ok(None);
        };
        let (chain, key) = files.read().await?;
        let pair = certified(&chain, &key)?;
        let is_new = pair.cert != self.current.get().cert;
        Ok(is_new.then(|| Renewal {
            current: Arc::clone(&self.current),
            pair,
        }))
    }

    /// Reloads whenever the files have changed, until `shutdown`: to be run as a task and joined.
    ///
    /// Looks at the content every ten seconds rather than asking to be notified: the kubelet
    /// exchanges a symbolic link two levels up, after which a watch on the file never fires again.
    pub async fn watch(self, shutdown: impl Future<Output = ()>) {
        follow("serving certificate", || self.reload(), shutdown).await;
    }

    /// The chain presented at present, leaf first.
    #[must_use]
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.current.get().cert.clone()
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("TlsIdentity")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// A chain and its key that belong together, and that aren't presented yet.
#[must_use]
pub struct Renewal {
    current: Arc<Current<CertifiedKey>>,
    pair: Arc<CertifiedKey>,
}

impl Renewal {
    /// The chain, leaf first.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.pair.cert
    }

    /// Presents it from the next handshake on.
    pub fn present(self) {
        self.current.set(self.pair);
    }
}

impl fmt::Debug for Renewal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Renewal").finish_non_exhaustive()
    }
}

/// A certificate chain and its key, in PEM. The key is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// The chain, leaf first.
    pub chain: String,
    /// The private key.
    pub key: String,
}

impl fmt::Debug for Pem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Pem")
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

/// Why a certificate can't be presented.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file can't be read.
    #[error("{} can't be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The chain is not PEM.
    #[error("the certificate chain is not PEM with at least one certificate")]
    Chain(#[source] rustls::pki_types::pem::Error),
    /// The key is not PEM.
    #[error("the key is not a PEM private key")]
    Key(#[source] rustls::pki_types::pem::Error),
    /// Chain and key don't belong together, or are of no use.
    #[error("the certificate and its key can't be used together")]
    Pair(#[source] rustls::Error),
    /// One of the CAs for client certificates can't be used.
    #[error("client CA number {number} can't be read")]
    ClientCa {
        /// Which, from 1 on.
        number: usize,
        /// Why.
        source: rustls::Error,
    },
    /// There is no CA for client certificates.
    #[error("the client CAs are not PEM with at least one certificate")]
    ClientCas(#[source] rustls::server::VerifierBuilderError),
    /// A certificate that fits its key can't be read all the same.
    #[error("the certificate can't be read")]
    Unreadable,
    /// No certificate can be made for the names given.
    #[error("no certificate can be made: check the names")]
    Make(#[source] rcgen::Error),
}

#[derive(Clone, Debug)]
struct Files {
    chain: PathBuf,
    key: PathBuf,
}

impl Files {
    /// A pair read in the middle of its exchange doesn't fit together, and is refused then.
    async fn read(&self) -> Result<(Vec<u8>, Vec<u8>), TlsError> {
        Ok((read(&self.chain).await?, read(&self.key).await?))
    }
}

/// Reloads every ten seconds until `shutdown`, and says what came of it: each trouble once.
async fn follow<F>(what: &str, reload: impl Fn() -> F, shutdown: impl Future<Output = ()>)
where
    F: Future<Output = Result<bool, TlsError>>,
{
    let mut shutdown = std::pin::pin!(shutdown);
    let mut complaint = None;
    loop {
        tokio::select! {
            () = &mut shutdown => return,
            () = tokio::time::sleep(POLL_PERIOD) => {}
        }
        match reload().await {
            Ok(renewed) => {
                complaint = None;
                if renewed {
                    tracing::info!("{what} renewed");
                }
            }
            Err(error) => {
                let text = crate::fault::chain(&error);
                if complaint.as_ref() != Some(&text) {
                    tracing::warn!(error = text, "{what} not renewed");
                    complaint = Some(text);
                }
            }
        }
    }
}

async fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    tokio::fs::read(path)
        .await
        .map_err(|source| TlsError::File {
            path: path.to_owned(),
            source,
        })
}

fn certified(chain: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
        .collect::<Result<_, _>>()
        .map_err(TlsError::Chain)?;
    if chain.is_empty() {
        return Err(TlsError::Chain(rustls::pki_types::pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
    let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(TlsError::Pair)?;
    Ok(Arc::new(certified))
}

/// Given explicitly wherever it is needed: to install a process-wide provider is for programs.
pub(crate) fn provider() -> CryptoProvider {
    ring::default_provider()
}

/// What counts at present, as an exchange leaves it.
struct Current<T>(RwLock<Arc<T>>);

impl<T> Current<T> {
    fn of(first: Arc<T>) -> Self {
        Self(RwLock::new(first))
    }

    fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, next: Arc<T>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = next;
    }
}

impl<T> fmt::Debug for Current<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Current").finish_non_exhaustive()
    }
}

const POLL_PERIOD: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let names = ["localhost".to_owned()];
        let one = ephemeral::make(&names).unwrap();
        let other = ephemeral::make(&names).unwrap();
        let (chain, key) = (one.leaf.chain, other.leaf.key);
        let error = TlsIdentity::from_pem(chain.as_bytes(), key.as_bytes()).unwrap_err();
        assert!(matches!(error, TlsError::Pair(_)));
    }

    #[test]
    fn a_bad_pair_leaves_the_good_one_in_place() {
        let (identity, _) = TlsIdentity::ephemeral(&["localhost".to_owned()]).unwrap();
        let before = identity.chain();
        identity.replace(b"", b"").unwrap_err();
        assert_eq!(identity.chain(), before);
    }
}
