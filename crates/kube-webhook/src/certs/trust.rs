//! Whether a caller with certain CAs would accept a chain, by the library that such callers use:
//! for readiness, and for telling which CA a leaf is of. Judges at a given instant; calls nobody.

use std::{
    net::IpAddr,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pem::{EncodeConfig, LineEnding, Pem, encode_many_config};
use rustls::{
    RootCertStore,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

use super::provider;

/// From when until when a certificate is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// From then.
    pub not_before: SystemTime,
    /// Until then.
    pub not_after: SystemTime,
}

impl Validity {
    /// Of this certificate; `None` if it is none.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = parse_x509_certificate(certificate).ok()?;
        let at = |seconds: i64| {
            let seconds = u64::try_from(seconds).unwrap_or(0);
            UNIX_EPOCH + Duration::from_secs(seconds)
        };
        Some(Self {
            not_before: at(parsed.validity().not_before.timestamp()),
            not_after: at(parsed.validity().not_after.timestamp()),
        })
    }
}

/// The DNS names and addresses that a certificate is for, as a text each.
#[must_use]
pub fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let shown = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            Some(address.ok()?.to_string())
        }
        _ => None,
    };
    let Ok((_, parsed)) = parse_x509_certificate(certificate) else {
        return Vec::new();
    };
    let names = parsed.subject_alternative_name().ok().flatten();
    let names = names.map(|extension| extension.value.general_names.iter());
    names.into_iter().flatten().filter_map(shown).collect()
}

/// The certificates in a PEM, as far as they can be read: what is between them is nobody's business.
#[must_use]
pub fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem)
        .filter_map(Result::ok)
        .collect()
}

/// The PEM of certificates, as it belongs into a `caBundle`.
#[must_use]
pub fn bundle(certificates: &[CertificateDer<'_>]) -> String {
    let config = EncodeConfig::new().set_line_ending(LineEnding::LF);
    let blocks = certificates
        .iter()
        .map(|der| Pem::new("CERTIFICATE", der.as_ref()));
    encode_many_config(&blocks.collect::<Vec<_>>(), config)
}

/// Why a caller wouldn't accept a chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Distrust {
    /// There is no chain, or no such name.
    #[error("{0:?} is no name that a certificate can be good for")]
    Name(String),
    /// The verifier's reason.
    #[error("the certificate is not accepted for {name}")]
    Refused {
        /// The name that the caller asks for.
        name: String,
        /// Why.
        source: rustls::Error,
    },
}

/// Whether a caller that trusts `roots` and asks for `name` accepts `chain`, leaf first, at `now`.
///
/// # Errors
///
/// Why it doesn't.
pub fn verify(
    chain: &[CertificateDer<'_>],
    roots: &[CertificateDer<'_>],
    name: &str,
    now: SystemTime,
) -> Result<(), Distrust> {
    let server = ServerName::try_from(name).map_err(|_| Distrust::Name(name.to_owned()))?;
    let judge = || {
        let (leaf, intermediates) = chain
            .split_first()
            .ok_or(rustls::Error::NoCertificatesPresented)?;
        let leaf = ParsedCertificate::try_from(leaf)?;
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots.iter().map(|root| root.clone().into_owned()));
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        verify_server_cert_signed_by_trust_anchor(
            &leaf,
            &store,
            intermediates,
            UnixTime::since_unix_epoch(since),
            provider().signature_verification_algorithms.all,
        )?;
        verify_server_name(&leaf, &server)
    };
    judge().map_err(|source| Distrust::Refused {
        name: name.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certs::Authority;

    #[test]
    fn a_certificate_says_what_it_is_for() {
        let (now, minute) = (SystemTime::now(), Duration::from_secs(60));
        let ca = Authority::create("ca", now, minute).unwrap();
        let wanted = ["h.n.svc", "192.0.2.1", "2001:db8::1"].map(str::to_owned);
        let leaf = ca.issue(&wanted, now, minute).unwrap();
        let leaf = certificates(leaf.chain.as_bytes());
        assert_eq!(names(&leaf[0]), wanted);
        assert!(names(ca.certificate()).is_empty());
    }

    #[test]
    fn a_bundle_is_read_back_as_it_was() {
        let now = SystemTime::now();
        let der = ["one", "two"].map(|name| {
            let ca = Authority::create(name, now, Duration::from_secs(60)).unwrap();
            ca.certificate().clone()
        });
        let text = bundle(&der);
        assert_eq!(certificates(text.as_bytes()), der);
        assert!(!text.contains('\r') && text.ends_with("-----\n"), "{text}");
    }
}
