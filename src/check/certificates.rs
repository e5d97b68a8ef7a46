//! Reading and verifying certificates at a given instant, as kube-apiserver does. For `trust`.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use kube_webhook::certs::names;
use rustls::{
    CertificateError, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use x509_parser::parse_x509_certificate;

/// What of a certificate matters to an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) subject: String,
    pub(super) issuer: String,
    pub(super) names: Vec<String>,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

impl Facts {
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = parse_x509_certificate(certificate).ok()?;
        let validity = parsed.validity();
        Some(Self {
            subject: parsed.subject().to_string(),
            issuer: parsed.issuer().to_string(),
            names: names(certificate),
            not_before: Timestamp::from_second(validity.not_before.timestamp()).ok()?,
            not_after: Timestamp::from_second(validity.not_after.timestamp()).ok()?,
        })
    }

    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.not_after < now
    }

    /// Whoever renews does so with a third of the life left (cert-manager, and we); with less
    /// than a quarter, nobody has.
    pub(super) fn is_late(&self, now: Timestamp) -> bool {
        let life = self.not_after.as_second() - self.not_before.as_second();
        self.not_after.as_second() - now.as_second() < life / 4
    }
}

/// The certificates of a bundle; `None` if it is not PEM, or has none.
pub(super) fn bundle(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    certificates
        .ok()
        .filter(|certificates| !certificates.is_empty())
}

/// Why a chain is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Distrust {
    Expired,
    NotYet,
    Name,
    Issuer,
    Unusable,
}

/// Whether a chain, leaf first, is good for `name` under these roots, at that time.
pub(super) fn verify(
    chain: &[CertificateDer<'_>],
    roots: &[CertificateDer<'static>],
    name: &str,
    now: Timestamp,
) -> Result<(), Distrust> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider)
        .build()
        // Without a usable root.
        .map_err(|_| Distrust::Issuer)?;
    let (leaf, intermediates) = chain.split_first().ok_or(Distrust::Unusable)?;
    let name = ServerName::try_from(name).map_err(|_| Distrust::Name)?;
    let seconds = u64::try_from(now.as_second()).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    match verifier.verify_server_cert(leaf, intermediates, &name, &[], now) {
        Ok(_) => Ok(()),
        Err(rustls::Error::InvalidCertificate(error)) => Err(match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Distrust::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Distrust::NotYet
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Distrust::Name
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Distrust::Issuer,
            _ => Distrust::Unusable,
        }),
        Err(_) => Err(Distrust::Unusable),
    }
}
