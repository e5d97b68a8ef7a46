//! The listener: HTTP/1.1 over TLS or plain, with the limits that API servers and slow clients call
//! for, and a drain. Called by the program with a router; knows nothing of webhooks.
//!
//! Bodies have their deadlines where they are read. A head is at most 16 KiB.

mod accept;
mod acceptor;
mod connection;
mod head;

use std::{
    fmt,
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, middleware::map_response, response::Response};
use http::{HeaderValue, header};

use connection::Connections;

use crate::{
    certs::{ByName, TlsIdentity},
    metrics::Metrics,
};

/// A bound listener with its router.
#[must_use]
pub struct Server {
    listener: TcpListener,
    local_addr: SocketAddr,
    identity: Option<TlsIdentity>,
    others: Vec<TlsIdentity>,
    asks_clients: bool,
    router: Router,
    metrics: Metrics,
    connection_limit: usize,
    handshake_deadline: Duration,
    head_deadline: Duration,
    idle_deadline: Duration,
    parting: Duration,
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
            others: Vec::new(),
            asks_clients: false,
            router,
            metrics: Metrics::default(),
            connection_limit: CONNECTIONS,
            handshake_deadline: HANDSHAKE,
            head_deadline: HEAD,
            idle_deadline: IDLE,
            parting: Duration::ZERO,
            drain: DRAIN,
        })
    }

    /// Presents another certificate as well, to peers that ask for a name (SNI) which it is for and
    /// the first one is not: senders that trust another CA than API servers do. To a plain listener
    /// it makes no difference.
    pub fn presenting_also(mut self, identity: TlsIdentity) -> Self {
        self.others.push(identity);
        self
    }

    /// Asks each caller for a client certificate, and insists on none: for routers made by
    /// [`Registered::router_for`](crate::Registered::router_for), which judge it. To a plain listener
    /// it makes no difference.
    pub fn asking_for_client_certificates(mut self) -> Self {
        self.asks_clients = true;
        self
    }

    /// Counts connections and handshakes there, and shows when the certificate expires.
    pub fn metrics(mut self, metrics: Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// How many connections may be open at once; one beyond them is closed before its handshake. By
    /// default 2,048, of at most 30 kB each: an API server keeps 25 idle ones, and opens as many as
    /// it has calls under way.
    pub fn connection_limit(mut self, connections: usize) -> Self {
        self.connection_limit = connections;
        self
    }

    /// How long a TLS handshake may take: by default 10 s, as long as the API server would wait.
    pub fn handshake_deadline(mut self, deadline: Duration) -> Self {
        self.handshake_deadline = deadline;
        self
    }

    /// How long a request's head may take from its first byte: by default 30 s.
    pub fn head_deadline(mut self, deadline: Duration) -> Self {
        self.head_deadline = deadline;
        self
    }

    /// How long a connection without a request stays open: by default 120 s. Keep it above the 90 s
    /// for which the API server keeps connections: a close that crosses its POST is a failed call.
    pub fn idle_deadline(mut self, deadline: Duration) -> Self {
        self.idle_deadline = deadline;
        self
    }

    /// How long requests may take to finish after the shutdown: by default 45 s.
    pub fn drain(mut self, deadline: Duration) -> Self {
        self.drain = deadline;
        self
    }

    /// How long to go on after the shutdown, closing each connection with its next answer: by default
    /// not at all. An API server keeps calling over the connections that it has, whatever the Service's
    /// endpoints are by then, and a close that crosses its POST is a failed call; told so in an answer,
    /// it opens another connection, elsewhere. Give it a few seconds, beyond those that endpoints need.
    pub fn parting(mut self, delay: Duration) -> Self {
        self.parting = delay;
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
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let tls = match self.identity {
            Some(identity) => {
                for identity in self.others.iter().chain([&identity]) {
                    self.metrics.presents(identity);
                }
                let certificates = ByName::new(identity, self.others);
                let acceptor = acceptor::acceptor(certificates, self.asks_clients);
                Some(acceptor.map_err(io::Error::other)?)
            }
            None => None,
        };
        let parts = Arc::new(AtomicBool::new(false));
        let parting = self.parting;
        let shutdown = {
            let parts = Arc::clone(&parts);
            async move {
                shutdown.await;
                parts.store(true, Ordering::Relaxed);
                tokio::time::sleep(parting).await;
            }
        };
        let connections = Connections {
            tls,
            router: parting_router(self.router, &parts),
            metrics: self.metrics,
            handshake_deadline: self.handshake_deadline,
            head_deadline: self.head_deadline,
            idle_deadline: self.idle_deadline,
        };
        accept::run(
            listener,
            connections,
            self.connection_limit,
            self.drain,
            shutdown,
        )
        .await
    }
}

/// Says `Connection: close` once the server parts, upon which hyper closes.
fn parting_router(router: Router, parts: &Arc<AtomicBool>) -> Router {
    let parts = Arc::clone(parts);
    router.layer(map_response(move |mut response: Response| {
        if parts.load(Ordering::Relaxed) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        std::future::ready(response)
    }))
}

impl fmt::Debug for Server {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Server")
            .field("local_addr", &self.local_addr)
            .field("identity", &self.identity)
            .field("connection_limit", &self.connection_limit)
            .field("drain", &self.drain)
            .finish_non_exhaustive()
    }
}

const CONNECTIONS: usize = 2_048;
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(30);
const IDLE: Duration = Duration::from_secs(120);
const DRAIN: Duration = Duration::from_secs(45);
