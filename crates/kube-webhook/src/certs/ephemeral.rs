//! A CA and a leaf made in memory. Called by `TlsIdentity::ephemeral`.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

use super::TlsError;

/// All in PEM.
pub(super) struct Made {
    pub(super) ca: String,
    pub(super) chain: String,
    pub(super) key: String,
}

pub(super) fn make(names: &[String]) -> Result<Made, TlsError> {
    let now = SystemTime::now();
    let ca_key = KeyPair::generate().map_err(TlsError::Make)?;
    let mut ca = CertificateParams::default();
    ca.distinguished_name = named("kube-webhook ephemeral CA");
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    ca.not_before = (now - CLOCK_SKEW).into();
    ca.not_after = (now + CA_LIFETIME).into();
    let ca_certificate = ca.self_signed(&ca_key).map_err(TlsError::Make)?;
    let issuer = Issuer::new(ca, ca_key);

    let key = KeyPair::generate().map_err(TlsError::Make)?;
    let mut leaf = CertificateParams::new(names).map_err(TlsError::Make)?;
    leaf.distinguished_name = named("kube-webhook ephemeral leaf");
    leaf.use_authority_key_identifier_extension = true;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.not_before = (now - CLOCK_SKEW).into();
    leaf.not_after = (now + LEAF_LIFETIME).into();
    let leaf_certificate = leaf.signed_by(&key, &issuer).map_err(TlsError::Make)?;

    Ok(Made {
        ca: ca_certificate.pem(),
        chain: leaf_certificate.pem(),
        key: key.serialize_pem(),
    })
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// API servers' clocks may be behind ours.
const CLOCK_SKEW: Duration = Duration::from_secs(5 * 60);
const DAY: u64 = 24 * 60 * 60;
const CA_LIFETIME: Duration = Duration::from_secs(2 * 365 * DAY);
const LEAF_LIFETIME: Duration = Duration::from_secs(365 * DAY);
