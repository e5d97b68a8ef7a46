//! Whose client certificates are accepted, which can be exchanged while a server runs. Asked for by
//! `server`, judged where a route wants it (`register`).
//!
//! A handshake never fails for want of a certificate, nor for one of a stranger: conversions, probes
//! and senders of events come without one over the same port, and an answer that says what is missing
//! helps more than a broken connection. So the handshake only proves that the caller has the key of
//! what it shows; whether that is good for anything is looked at for each request, by what is trusted
//! by then. It does fail for a certificate whose key can't be read, such as one of X.509 v1, which
//! webpki takes for a CA's alone: whoever shows one could be known by nothing.

use std::{fmt, future::Future, path::PathBuf, sync::Arc};

use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime, pem::PemObject},
    server::{
        WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use super::{Current, TlsError, follow, provider, read};

/// The CAs whose client certificates are accepted. Clones share an exchange.
#[derive(Clone)]
pub struct ClientCas {
    current: Arc<Current<Trusted>>,
    file: Option<PathBuf>,
}

/// What a caller showed in its handshake, leaf first; the connection's requests bear it.
#[derive(Clone, Debug)]
pub(crate) struct ClientChain(pub(crate) Arc<[CertificateDer<'static>]>);

impl ClientCas {
    /// From the PEM of one CA or more.
    ///
    /// # Errors
    ///
    /// If there is none, or one that can't be used: were that passed over, its clients would be
    /// refused, and nobody would know why.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        Ok(Self {
            current: Arc::new(Current::of(Arc::new(Trusted::of(pem)?))),
            file: None,
        })
    }

    /// From a file. Let [`watch`](Self::watch) run to follow its changes.
    ///
    /// # Errors
    ///
    /// As for [`from_pem`](Self::from_pem), and if it can't be read.
    pub async fn from_file(file: impl Into<PathBuf>) -> Result<Self, TlsError> {
        let file = file.into();
        Ok(Self {
            file: Some(file.clone()),
            ..Self::from_pem(&read(&file).await?)?
        })
    }

    /// Reads the file again; says whether it holds other CAs, which then count. Without a file,
    /// nothing happens.
    ///
    /// # Errors
    ///
    /// As for [`from_file`](Self::from_file); the present ones then stay.
    pub async fn reload(&self) -> Result<bool, TlsError> {
        let Some(file) = &self.file else {
            return Ok(false);
        };
        let renewed = Trusted::of(&read(file).await?)?;
        if renewed.cas == self.current.get().cas {
            return Ok(false);
        }
        self.current.set(Arc::new(renewed));
        Ok(true)
    }

    /// Reloads whenever the file has changed, until `shutdown`: to be run as a task and joined.
    pub async fn watch(self, shutdown: impl Future<Output = ()>) {
        follow("client CAs", || self.reload(), shutdown).await;
    }

    /// Whether a caller with this chain is one of theirs.
    ///
    /// # Errors
    ///
    /// Why it isn't.
    pub(crate) fn judge(&self, chain: &ClientChain) -> Result<(), Error> {
        let (leaf, intermediates) = chain
            .0
            .split_first()
            .ok_or(Error::NoCertificatesPresented)?;
        let current = self.current.get();
        let now = UnixTime::now();
        current
            .verifier
            .verify_client_cert(leaf, intermediates, now)?;
        Ok(())
    }
}

impl fmt::Debug for ClientCas {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ClientCas")
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

struct Trusted {
    cas: Vec<CertificateDer<'static>>,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Trusted {
    fn of(pem: &[u8]) -> Result<Self, TlsError> {
        let mut cas = Vec::new();
        let mut roots = RootCertStore::empty();
        for (index, ca) in CertificateDer::pem_slice_iter(pem).enumerate() {
            let number = index + 1;
            let ca = ca.map_err(|error| Error::General(error.to_string()));
            let added = ca.and_then(|ca| {
                roots.add(ca.clone())?;
                cas.push(ca);
                Ok(())
            });
            added.map_err(|source| TlsError::ClientCa { number, source })?;
        }
        let provider = Arc::new(provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider)
            .build()
            .map_err(TlsError::ClientCas)?;
        Ok(Self { cas, verifier })
    }
}

/// Asks for a certificate, insists on none, and takes whatever comes with its key.
#[derive(Debug)]
pub(crate) struct AskOnly(WebPkiSupportedAlgorithms);

impl AskOnly {
    pub(crate) fn new() -> Self {
        Self(provider().signature_verification_algorithms)
    }
}

impl ClientCertVerifier for AskOnly {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: a client would send nothing where it finds no hint of its own CA, and ours may change.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::certs::{Authority, Pem, certificates};

    fn ca(name: &str) -> Authority {
        Authority::create(name, SystemTime::now(), Duration::from_secs(60)).unwrap()
    }

    fn chain(pem: &Pem) -> ClientChain {
        ClientChain(certificates(pem.chain.as_bytes()).into())
    }

    #[test]
    fn only_a_certificate_for_clients_of_one_of_the_cas_is_accepted() {
        let (ours, next, theirs) = (ca("ours"), ca("next"), ca("theirs"));
        let both = format!("{}{}", ours.pem().chain, next.pem().chain);
        let cas = ClientCas::from_pem(both.as_bytes()).unwrap();
        let (now, minute) = (SystemTime::now(), Duration::from_secs(60));
        for ca in [&ours, &next] {
            let client = ca.issue_to_client("kube-apiserver", now, minute).unwrap();
            cas.judge(&chain(&client)).unwrap();
        }
        let name = ["kube-apiserver".to_owned()];
        let long_ago = now - Duration::from_secs(600);
        for refused in [
            theirs.issue_to_client("kube-apiserver", now, minute),
            ours.issue(&name, now, minute),
            ours.issue_to_client("kube-apiserver", long_ago, minute),
        ] {
            cas.judge(&chain(&refused.unwrap())).unwrap_err();
        }
        ClientCas::from_pem(b"").unwrap_err();
    }

    #[test]
    fn a_ca_that_can_not_be_read_is_not_passed_over() {
        let good = ca("good").pem().chain.clone();
        let no_certificate = "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n";
        let (half, _) = good.split_at(good.len() / 2);
        for bad in [no_certificate, half] {
            let error = ClientCas::from_pem(format!("{good}{bad}").as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), "client CA number 2 can't be read");
        }
        // What is between certificates is nobody's business.
        ClientCas::from_pem(format!("# ours\n{good}\n# end\n").as_bytes()).unwrap();
    }

    #[tokio::test]
    async fn cas_are_exchanged_by_their_file_and_a_broken_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.crt");
        let (one, other) = (ca("one"), ca("other"));
        std::fs::write(&file, &one.pem().chain).unwrap();
        let cas = ClientCas::from_file(&file).await.unwrap();
        let client = other.issue_to_client("c", SystemTime::now(), Duration::from_secs(60));
        let client = chain(&client.unwrap());
        cas.judge(&client).unwrap_err();
        assert!(!cas.reload().await.unwrap());
        std::fs::write(&file, "no PEM").unwrap();
        cas.reload().await.unwrap_err();
        std::fs::write(&file, &other.pem().chain).unwrap();
        assert!(cas.reload().await.unwrap());
        cas.judge(&client).unwrap();
    }
}
