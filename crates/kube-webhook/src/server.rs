//! The listener: HTTP/1.1 over TLS or plain, with the limits that API servers and slow clients call
//! for, and a drain. Called by the program with a router; knows nothing of webhooks.
//!
//! Deadlines: TLS handshake 10 s; a request's head 30 s from its first byte; an idle connection 120 s,
//! since the API server keeps connections for 90 s and a close that crosses its POST is a failed call;
//! the drain 45 s. Bodies have theirs where they are read. A head is at most 16 KiB.

mod acceptor;
mod head;

use std::{
    fmt,
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use axum::Router;
use axum_server::Handle;
use hyper_util::rt::TokioTimer;

use acceptor::{PlainAcceptor, TlsAcceptor};

use crate::certs::TlsIdentity;

/// A bound listener with its router.
#[must_use]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    identity: Option<TlsIdentity>,
    router: Router,
    drain: Duration,
}

impl Server {
    /// Listens for TLS on `addr`.
    ///
    /// # Errors
    ///
    /// If the address can't be bound.
    pub fn bind(addr: SocketAddr, identity: TlsIdentity, router: Router) -> io::Result<Self> {
        Self::listen(addr, Some(identity), router)
    }

    /// Listens for plain HTTP on `addr`, with the same limits: for ports that only probes, or a
    /// proxy that ends TLS, can reach.
    ///
    /// # Errors
    ///
    /// If the address can't be bound.
    pub fn bind_plain(addr: SocketAddr, router: Router) -> io::Result<Self> {
        Self::listen(addr, None, router)
    }

    fn listen(addr: SocketAddr, identity: Option<TlsIdentity>, router: Router) -> io::Result<Self> {
        let listener = TcpListener::bind(addr)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            local_addr: listener.local_addr()?,
            listener,
            identity,
            router,
            drain: DRAIN,
        })
    }

    /// How long requests may take to finish after the shutdown: by default 45 s.
    pub fn drain(mut self, deadline: Duration) -> Self {
        self.drain = deadline;
        self
    }

    /// The address that is listened on, with the port that port 0 became.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves until `shutdown`, then drains: no more connections, requests under way finish, idle
    /// connections close, and what is left at the drain's deadline is cut off.
    ///
    /// # Errors
    ///
    /// If the listener can't be used or the TLS settings are unusable.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> io::Result<()> {
        let Self {
            listener,
            local_addr,
            identity,
            router,
            drain,
        } = self;
        let handle = Handle::new();
        let mut server = axum_server::from_tcp(listener)?.handle(handle.clone());
        server
            .http_builder()
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            .max_buf_size(LARGEST_HEAD);
        let server = server.http1_only();
        let service = router.into_make_service();
        match identity {
            Some(identity) => {
                let acceptor = TlsAcceptor::new(&identity).map_err(io::Error::other)?;
                let serving = server.acceptor(acceptor).serve(service);
                until(serving, shutdown, &handle, drain, local_addr).await
            }
            None => {
                let serving = server.acceptor(PlainAcceptor).serve(service);
                until(serving, shutdown, &handle, drain, local_addr).await
            }
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Server")
            .field("local_addr", &self.local_addr)
            .field("identity", &self.identity)
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}

async fn until(
    serving: impl Future<Output = io::Result<()>>,
    shutdown: impl Future<Output = ()>,
    handle: &Handle<SocketAddr>,
    drain: Duration,
    local_addr: SocketAddr,
) -> io::Result<()> {
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        result = &mut serving => return result,
        () = shutdown => {}
    }
    tracing::info!(
        %local_addr,
        connections = handle.connection_count(),
        "draining"
    );
    handle.graceful_shutdown(Some(drain));
    serving.await
}

const IDLE: Duration = Duration::from_secs(120);
const DRAIN: Duration = Duration::from_secs(45);
const LARGEST_HEAD: usize = 16 * 1024;
