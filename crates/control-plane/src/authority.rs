//! The control plane's own certificate authority.
//!
//! Owns one throwaway CA per control plane: it signs the API server's serving
//! certificate (so that a kubeconfig has a real CA, not a leaf passed off as one)
//! and the client certificates by which users are known. Keys lie in the control
//! plane's folder, which only its owner can read and which goes with it; that is
//! why no certificate here has a short life.
//!
//! Called by [`builder`](crate::builder) and [`control_plane`](crate::control_plane).

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

use crate::error::Error;

mod user;

/// A certificate and its private key, both PEM.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// A CA that lives as long as its control plane.
#[derive(Debug)]
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// Makes the CA.
    pub(crate) fn generate() -> Result<Self, Error> {
        let generate = || {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, NAME);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            CertifiedIssuer::self_signed(params, KeyPair::generate()?)
        };
        match generate() {
            Ok(issuer) => Ok(Self { issuer }),
            Err(source) => Err(certificate_error(NAME, source)),
        }
    }

    /// The CA's certificate, PEM.
    pub(crate) fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// The CA's certificate, DER.
    pub(crate) fn der(&self) -> Vec<u8> {
        self.issuer.der().to_vec()
    }

    /// A serving certificate for `names`, which are DNS names and addresses.
    pub(crate) fn server(&self, names: Vec<String>) -> Result<Identity, Error> {
        let generate = || {
            let key = KeyPair::generate()?;
            let mut params = CertificateParams::new(names)?;
            params
                .distinguished_name
                .push(DnType::CommonName, "kube-apiserver");
            params.use_authority_key_identifier_extension = true;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            let certificate = params.signed_by(&key, &self.issuer)?;
            Ok(Identity {
                certificate: certificate.pem(),
                key: key.serialize_pem(),
            })
        };
        generate().map_err(|source| certificate_error("kube-apiserver", source))
    }

    /// A client certificate by which the API server knows `user`, in `groups`.
    pub(crate) fn user(&self, user: &str, groups: &[&str]) -> Result<Identity, Error> {
        let generate = || {
            let key = KeyPair::generate()?;
            let certificate = user::certificate(user, groups, &key, NAME, self.issuer.key())?;
            Ok(Identity {
                certificate,
                key: key.serialize_pem(),
            })
        };
        generate().map_err(|source| certificate_error(user, source))
    }
}

/// A key pair for signing the tokens of service accounts: private and public PEM.
pub(crate) fn token_key() -> Result<(String, String), Error> {
    match KeyPair::generate() {
        Ok(key) => Ok((key.serialize_pem(), key.public_key_pem())),
        Err(source) => Err(certificate_error("service account tokens", source)),
    }
}

fn certificate_error(subject: &str, source: rcgen::Error) -> Error {
    Error::Certificate {
        subject: subject.to_owned(),
        source,
    }
}

/// The subject of the CA.
const NAME: &str = "control-plane-ca";
