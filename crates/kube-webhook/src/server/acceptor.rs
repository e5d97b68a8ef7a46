//! The TLS side of a connection: its settings, and the handshake with its deadline. Used by
//! `connection`, in each connection's own task, so that a slow peer holds up nobody else.

use std::{io, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    certs::{AskOnly, ByName, provider},
    metrics::{HandshakeOutcome, Metrics},
};

/// One configuration for life: the identity is exchanged behind it.
pub(super) fn acceptor(
    certificates: ByName,
    asks_clients: bool,
) -> Result<TlsAcceptor, rustls::Error> {
    let builder = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()?;
    let builder = if asks_clients {
        builder.with_client_cert_verifier(Arc::new(AskOnly::new()))
    } else {
        builder.with_no_client_auth()
    };
    let mut config = builder.with_cert_resolver(Arc::new(certificates));
    // What the API server offers to a Service; over loopback it would also take HTTP/2, which
    // would only be more surface.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // The API server's client keeps no tickets.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config).into())
}

pub(super) async fn handshake(
    tls: &TlsAcceptor,
    stream: TcpStream,
    deadline: Duration,
    metrics: &Metrics,
) -> io::Result<TlsStream<TcpStream>> {
    let peer = stream.peer_addr().ok();
    let (outcome, result) = match tokio::time::timeout(deadline, tls.accept(stream)).await {
        Ok(Ok(stream)) => (HandshakeOutcome::Completed, Ok(stream)),
        Ok(Err(error)) => (HandshakeOutcome::Failed, Err(error)),
        Err(_) => (
            HandshakeOutcome::Timeout,
            Err(io::ErrorKind::TimedOut.into()),
        ),
    };
    metrics.handshake(outcome);
    if let Err(error) = &result {
        // Debug: probes and port scans end here all day long.
        tracing::debug!(?peer, %error, "TLS handshake failed");
    }
    result
}
