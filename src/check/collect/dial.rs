//! What is served: a TLS handshake as kube-apiserver begins it, taking whatever chain comes.

use std::{sync::Arc, time::Duration};

use axum::http::Uri;
use futures::future::join_all;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsConnector;

use super::Asker;
use crate::{
    check::observed::{Dial, Observed, Unread},
    manifests::NAME,
};

impl Asker {
    /// Dials every replica, since each has its own copy of the certificate.
    pub(super) async fn dial(&mut self, observed: &mut Observed, connect: Option<String>) {
        let expected = &observed.expected;
        let Some(name) = expected.server_name() else {
            return;
        };
        let is_told = connect.is_some() || expected.url.is_some();
        let addresses = match (connect, &expected.url) {
            (Some(address), _) => vec![address],
            (None, Some(url)) => url
                .parse()
                .ok()
                .as_ref()
                .and_then(authority)
                .into_iter()
                .collect(),
            (None, None) => {
                let endpoints = observed.endpoints.found().into_iter().flatten();
                let ready = endpoints.filter(|endpoint| endpoint.is_ready);
                ready.map(|endpoint| endpoint.address.clone()).collect()
            }
        };
        let handshakes = addresses.iter().map(|address| handshake(address, &name));
        for (address, result) in addresses.iter().zip(join_all(handshakes).await) {
            let chain = match result {
                Ok(chain) => Ok(chain),
                // Pods are reached from inside the cluster alone: that proves nothing.
                Err(Failure::Unreachable(why)) if !is_told && !observed.inside => {
                    self.unread
                        .push(self.unreachable(address, &why, &expected.namespace));
                    continue;
                }
                Err(Failure::Unreachable(why) | Failure::Handshake(why)) => Err(why),
            };
            observed.dials.push(Dial {
                address: address.clone(),
                chain,
            });
        }
    }

    fn unreachable(&self, address: &str, why: &str, namespace: &str) -> Unread {
        Unread {
            what: format!("the certificate served at {address}"),
            why: format!("a pod can't be reached from here ({why})"),
            mend: format!(
                "kubectl port-forward --namespace {namespace} service/{NAME} 5001:443 & \
                 harbormaster check --connect localhost:5001"
            ),
        }
    }
}

/// `HOST:PORT` of a URL.
fn authority(url: &Uri) -> Option<String> {
    Some(format!("{}:{}", url.host()?, url.port_u16().unwrap_or(443)))
}

enum Failure {
    Unreachable(String),
    Handshake(String),
}

async fn handshake(address: &str, name: &str) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let name = ServerName::try_from(name.to_owned())
        .map_err(|error| Failure::Handshake(error.to_string()))?;
    let stream = match timeout(DEADLINE, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(Failure::Unreachable(error.to_string())),
        Err(_) => return Err(Failure::Unreachable("no answer".to_owned())),
    };
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(TakeAny(provider.clone()));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::Handshake(error.to_string()))?;
    let mut config = config
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    // All that the API server offers a Service.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    match timeout(DEADLINE, connector.connect(name, stream)).await {
        Ok(Ok(stream)) => {
            let (_, session) = stream.get_ref();
            let chain = session.peer_certificates().unwrap_or_default();
            Ok(chain.iter().map(|one| one.clone().into_owned()).collect())
        }
        Ok(Err(error)) => Err(Failure::Handshake(error.to_string())),
        Err(_) => Err(Failure::Handshake("no answer to the handshake".to_owned())),
    }
}

/// The chain is looked at afterwards, against each bundle. Nothing is sent over this connection.
#[derive(Debug)]
struct TakeAny(Arc<CryptoProvider>);

impl ServerCertVerifier for TakeAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// A third of what the API server gives a handshake: whoever needs longer is in trouble.
const DEADLINE: Duration = Duration::from_secs(3);
