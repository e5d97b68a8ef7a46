//! A TLS client that trusts what it is told, and nothing else: what an API server does with a
//! `caBundle`, and a sender with its trust store.

use std::{net::SocketAddr, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The chain that is presented, if a client with these roots (PEM) accepts it for this name.
pub(crate) async fn presented(
    address: SocketAddr,
    name: &str,
    roots: &[u8],
) -> Option<Vec<CertificateDer<'static>>> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(kube_webhook::certs::certificates(roots));
    let config = ClientConfig::builder()
        .with_root_certificates(store)
        .with_no_client_auth();
    let server = ServerName::try_from(name.to_owned()).unwrap();
    let stream = TcpStream::connect(address).await.ok()?;
    let connector = TlsConnector::from(Arc::new(config));
    let stream = connector.connect(server, stream).await.ok()?;
    let (_, session) = stream.get_ref();
    Some(
        session
            .peer_certificates()?
            .iter()
            .map(|one| one.clone().into_owned())
            .collect(),
    )
}
