//! A CA that signs serving certificates: made, stored as PEM, read back. Used by the modes that make
//! their own certificates; keeps nothing anywhere itself.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::CertificateDer;

use super::{Pem, TlsError, Validity, certified};

/// A CA with its key.
#[derive(Clone)]
pub struct Authority {
    pem: Pem,
    certificate: CertificateDer<'static>,
    validity: Validity,
}

impl Authority {
    /// A new CA, which may sign leaves alone (path length 0), with an ECDSA P-256 key.
    ///
    /// Its subject should be its own: of two CAs of one name, a verifier may try the wrong one first.
    ///
    /// # Errors
    ///
    /// If the system has no randomness, or the name can't stand in a certificate.
    pub fn create(name: &str, now: SystemTime, lifetime: Duration) -> Result<Self, TlsError> {
        let key = KeyPair::generate().map_err(TlsError::Make)?;
        let mut ca = CertificateParams::default();
        ca.distinguished_name = named(name);
        ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        ca.not_before = (now - CLOCK_SKEW).into();
        ca.not_after = (now + lifetime).into();
        let certificate = ca.self_signed(&key).map_err(TlsError::Make)?;
        Self::from_pem(Pem {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// A CA as it was stored.
    ///
    /// # Errors
    ///
    /// If certificate and key can't be read or don't belong together.
    pub fn from_pem(pem: Pem) -> Result<Self, TlsError> {
        let pair = certified(pem.chain.as_bytes(), pem.key.as_bytes())?;
        let certificate = pair.cert[0].clone();
        let validity = Validity::of(&certificate).ok_or(TlsError::Unreadable)?;
        Ok(Self {
            pem,
            certificate,
            validity,
        })
    }

    /// A leaf for `names` (DNS names and addresses), which never outlives the CA.
    ///
    /// # Errors
    ///
    /// If a name can't stand in a certificate.
    pub fn issue(
        &self,
        names: &[String],
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Pem, TlsError> {
        let mut leaf = CertificateParams::new(names).map_err(TlsError::Make)?;
        leaf.distinguished_name = named("kube-webhook");
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(leaf, now, lifetime)
    }

    /// A certificate by which a client is known as `name`, such as an API server that calls webhooks.
    ///
    /// # Errors
    ///
    /// If the name can't stand in a certificate.
    pub fn issue_to_client(
        &self,
        name: &str,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Pem, TlsError> {
        let mut leaf = CertificateParams::default();
        leaf.distinguished_name = named(name);
        leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(leaf, now, lifetime)
    }

    fn sign(
        &self,
        mut leaf: CertificateParams,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Pem, TlsError> {
        let ca_key = KeyPair::from_pem(&self.pem.key).map_err(TlsError::Make)?;
        let issuer = Issuer::from_ca_cert_pem(&self.pem.chain, ca_key).map_err(TlsError::Make)?;
        let key = KeyPair::generate().map_err(TlsError::Make)?;
        leaf.use_authority_key_identifier_extension = true;
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.not_before = (now - CLOCK_SKEW).into();
        leaf.not_after = (now + lifetime).min(self.validity.not_after).into();
        let certificate = leaf.signed_by(&key, &issuer).map_err(TlsError::Make)?;
        Ok(Pem {
            chain: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// The certificate and its key, to be stored.
    #[must_use]
    pub fn pem(&self) -> &Pem {
        &self.pem
    }

    /// The certificate, which belongs into the `caBundle`.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// When it is good.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Authority")
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// How far certificates are dated back: API servers' clocks may be behind ours.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_never_outlives_its_ca_and_both_are_dated_back() {
        let now = SystemTime::now();
        let ca = Authority::create("ca", now, Duration::from_secs(60)).unwrap();
        let stored = Authority::from_pem(ca.pem().clone()).unwrap();
        let names = ["localhost".to_owned()];
        let pem = stored.issue(&names, now, Duration::from_secs(600)).unwrap();
        let pair = certified(pem.chain.as_bytes(), pem.key.as_bytes()).unwrap();
        let leaf = Validity::of(&pair.cert[0]).unwrap();
        assert_eq!(leaf.not_after, ca.validity().not_after);
        assert!(leaf.not_before < now && ca.validity().not_before < now);
    }

    #[test]
    fn a_key_is_never_shown() {
        let ca = Authority::create("ca", SystemTime::now(), Duration::from_secs(60)).unwrap();
        let shown = format!("{ca:?} {:?}", ca.pem());
        assert!(!shown.contains("PRIVATE"), "{shown}");
    }
}
