//! From an accepted socket to a connection that hyper serves: TCP_NODELAY, the TLS handshake with its
//! deadline, the deadline of heads. All in the connection's own task, so that a slow peer holds up
//! nobody else. Used by `Server::serve`.

use std::{io, sync::Arc, time::Duration};

use axum_server::accept::Accept;
use futures::future::{BoxFuture, FutureExt};
use rustls::ServerConfig;
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::head::HeadDeadline;
use crate::certs::{TlsIdentity, provider};

#[derive(Clone)]
pub(super) struct PlainAcceptor;

impl<S: Send + 'static> Accept<TcpStream, S> for PlainAcceptor {
    type Stream = HeadDeadline<TcpStream>;
    type Service = S;
    type Future = std::future::Ready<io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let accepted = stream.set_nodelay(true);
        std::future::ready(accepted.map(|()| (HeadDeadline::new(stream, HEAD), service)))
    }
}

#[derive(Clone)]
pub(super) struct TlsAcceptor {
    tls: tokio_rustls::TlsAcceptor,
}

impl TlsAcceptor {
    /// One configuration for life: the identity is exchanged behind it.
    pub(super) fn new(identity: &TlsIdentity) -> Result<Self, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(identity.resolver());
        // What the API server offers to a Service; over loopback it would also take HTTP/2, which
        // would only be more surface.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        // The API server's client keeps no tickets.
        config.send_tls13_tickets = 0;
        Ok(Self {
            tls: Arc::new(config).into(),
        })
    }
}

impl<S: Send + 'static> Accept<TcpStream, S> for TlsAcceptor {
    type Stream = HeadDeadline<TlsStream<TcpStream>>;
    type Service = S;
    type Future = BoxFuture<'static, io::Result<(Self::Stream, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let tls = self.tls.clone();
        async move {
            let peer = stream.peer_addr().ok();
            match handshake(&tls, stream).await {
                Ok(stream) => Ok((HeadDeadline::new(stream, HEAD), service)),
                Err(error) => {
                    // Debug: probes and port scans end here all day long.
                    tracing::debug!(?peer, %error, "TLS handshake failed");
                    Err(error)
                }
            }
        }
        .boxed()
    }
}

async fn handshake(
    tls: &tokio_rustls::TlsAcceptor,
    stream: TcpStream,
) -> io::Result<TlsStream<TcpStream>> {
    stream.set_nodelay(true)?;
    tokio::time::timeout(HANDSHAKE, tls.accept(stream))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(30);
