//! One connection, from the accepted socket to its end: TCP_NODELAY, the handshake, and then hyper
//! with its deadlines. Run by `accept` as a task for each.

use std::{io, time::Duration};

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{acceptor::handshake, head::HeadDeadline};
use crate::{certs::ClientChain, metrics::Metrics};

/// What all connections of a listener share.
pub(super) struct Connections {
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) router: Router,
    pub(super) metrics: Metrics,
    pub(super) handshake_deadline: Duration,
    pub(super) head_deadline: Duration,
    pub(super) idle_deadline: Duration,
}

impl Connections {
    /// Serves until the peer or a deadline ends it, or until it is drained after `stop`.
    pub(super) async fn serve(&self, stream: TcpStream, mut stop: watch::Receiver<bool>) {
        let served = match &self.tls {
            None => match stream.set_nodelay(true) {
                Ok(()) => self.speak(stream, self.router.clone(), stop).await,
                Err(error) => Err(error),
            },
            Some(tls) => {
                // A handshake that a drain meets is not worth waiting for.
                let greeted = tokio::select! {
                    biased;
                    _ = stop.wait_for(|stopped| *stopped) => return,
                    greeted = self.greet(tls, stream) => greeted,
                };
                match greeted {
                    Ok(stream) => {
                        let router = self.router_for(&stream);
                        self.speak(stream, router, stop).await
                    }
                    Err(error) => Err(error),
                }
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "connection ended");
        }
    }

    async fn greet(
        &self,
        tls: &TlsAcceptor,
        stream: TcpStream,
    ) -> io::Result<TlsStream<TcpStream>> {
        stream.set_nodelay(true)?;
        handshake(tls, stream, self.handshake_deadline, &self.metrics).await
    }

    /// Each request bears what its caller has shown, if that was asked for.
    fn router_for(&self, stream: &TlsStream<TcpStream>) -> Router {
        let router = self.router.clone();
        let (_, session) = stream.get_ref();
        match session.peer_certificates() {
            None => router,
            Some(chain) => {
                let chain = chain.iter().map(|one| one.clone().into_owned());
                router.layer(Extension(ClientChain(chain.collect())))
            }
        }
    }

    async fn speak<S>(
        &self,
        stream: S,
        router: Router,
        mut stop: watch::Receiver<bool>,
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(HeadDeadline::new(stream, self.head_deadline));
        let service = TowerToHyperService::new(router);
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.idle_deadline)
            .max_buf_size(LARGEST_HEAD)
            .serve_connection(stream, service);
        let mut connection = std::pin::pin!(connection);
        let served = tokio::select! {
            biased;
            _ = stop.wait_for(|stopped| *stopped) => None,
            served = &mut connection => Some(served),
        };
        let served = match served {
            Some(served) => served,
            None => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        served.map_err(io::Error::other)
    }
}

const LARGEST_HEAD: usize = 16 * 1024;
