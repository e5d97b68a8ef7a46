//! A client that costs little itself: requests are bytes made beforehand, and of an answer only the
//! status and the length are read.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

#[derive(Clone)]
pub(crate) struct Client {
    connector: TlsConnector,
    addr: SocketAddr,
}

impl Client {
    pub(crate) fn new(addr: SocketAddr, ca: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca.as_bytes()).unwrap())
            .unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            connector: Arc::new(config).into(),
            addr,
        }
    }

    pub(crate) async fn connect(&self) -> Connection {
        let stream = TcpStream::connect(self.addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::from(self.addr.ip());
        Connection {
            stream: self.connector.connect(name, stream).await.unwrap(),
            buffer: Vec::new(),
        }
    }
}

pub(crate) fn request(path: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path}?timeout=10s HTTP/1.1\r\nHost: bench\r\nUser-Agent: kube-apiserver-admission\r\n\
         Accept: application/json, */*\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    buffer: Vec<u8>,
}

impl Connection {
    /// Sends a request, and reads its answer into the buffer; gives the answer's body.
    pub(crate) async fn call(&mut self, request: &[u8]) -> &[u8] {
        self.stream.write_all(request).await.unwrap();
        self.stream.flush().await.unwrap();
        self.buffer.clear();
        let (head, length) = loop {
            self.read_more().await;
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break (end + 4, content_length(&self.buffer[..end]));
            }
        };
        assert!(
            self.buffer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&self.buffer[..self.buffer.len().min(1_000)])
        );
        self.buffer.reserve(head + length - self.buffer.len());
        while self.buffer.len() < head + length {
            self.read_more().await;
        }
        &self.buffer[head..]
    }

    /// Calls again and again until then, at once or at a pace; gives the time that each call took, in
    /// microseconds.
    pub(crate) async fn call_until(
        &mut self,
        request: &[u8],
        end: Instant,
        every: Option<Duration>,
    ) -> Vec<u64> {
        let mut times = Vec::new();
        let mut next = Instant::now();
        loop {
            let started = Instant::now();
            if started >= end && !times.is_empty() {
                return times;
            }
            self.call(request).await;
            times.push(u64::try_from(started.elapsed().as_micros()).unwrap());
            if let Some(every) = every {
                next += every;
                tokio::time::sleep_until(next.into()).await;
            }
        }
    }

    async fn read_more(&mut self) {
        let read = self.stream.read_buf(&mut self.buffer).await.unwrap();
        assert_ne!(read, 0, "the server closed the connection");
    }
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|at| at == pattern)
}

fn content_length(head: &[u8]) -> usize {
    let head = std::str::from_utf8(head).unwrap().to_ascii_lowercase();
    let line = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    line.unwrap().trim().parse().unwrap()
}
