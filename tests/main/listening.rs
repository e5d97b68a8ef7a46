//! An event door that really listens, with an empty namespace behind it and a clock that
//! stands still: for requests that no well-behaved client would send.

use std::{net::Ipv4Addr, time::Duration};

use harbormaster::{
    api::v1::Reservation,
    clock::Clock,
    events::{
        intake::{Door, routes},
        intent::Filters,
        metrics::EventMetrics,
        record::Recorder,
        signature::{Secrets, sign},
    },
};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};
use kube_webhook::Server;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};
use xtask::stage::USER;

use crate::stage::shared;

/// The secret of the vectors.
pub(crate) const S: &str = "c2VjcmV0LWtleS0zMi1ieXRlcy1sb25nLWV4YW1wbGU=";

/// Between the vectors' bookings' early STARTs and their starts.
pub(crate) const NOW: &str = "2025-07-03T15:16:00Z";

/// A door; closed when it is dropped.
pub(crate) struct Listening {
    pub(crate) reservations: Api<Reservation>,
    pub(crate) address: std::net::SocketAddr,
    server: JoinHandle<std::io::Result<()>>,
}

/// An answer, as it came over the wire.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl Listening {
    pub(crate) async fn open(namespace: &str) -> Self {
        Self::open_with(namespace, |door| door).await
    }

    /// One whose settings differ.
    pub(crate) async fn open_with(namespace: &str, settle: impl FnOnce(Door) -> Door) -> Self {
        let namespaces: Api<Namespace> = Api::all(shared().control_plane().client());
        let object = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        let params = PostParams::default();
        namespaces.create(&params, &object).await.unwrap();
        // As the program itself: what anybody else writes is judged as if made by hand.
        let program = shared()
            .control_plane()
            .client_as(USER, &["system:masters"])
            .unwrap();
        let reservations: Api<Reservation> = Api::namespaced(program, namespace);
        let door = settle(Door {
            secrets: Secrets::from_text(S),
            filters: Filters::default(),
            // Several control planes share this machine: slow isn't what is tested here.
            recorder: Recorder::new(reservations.clone(), "portal".to_owned())
                .within(Duration::from_secs(30)),
            metrics: EventMetrics::default(),
            clock: Clock::fixed(NOW.parse().unwrap()),
        });
        let server = Server::bind_plain((Ipv4Addr::LOCALHOST, 0).into(), routes(door)).unwrap();
        Self {
            reservations,
            address: server.local_addr(),
            server: tokio::spawn(server.serve(std::future::pending())),
        }
    }

    /// Sends these bytes, and reads until the door closes the connection.
    pub(crate) async fn send(&self, request: &[u8]) -> Reply {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request).await.unwrap();
        let mut answer = Vec::new();
        // A door that has heard enough resets the rest of what is being sent.
        let _ = stream.read_to_end(&mut answer).await;
        Reply::read(&answer)
    }

    /// Posts a body with these header lines.
    pub(crate) async fn post_with(&self, headers: &str, body: &[u8]) -> Reply {
        let length = body.len();
        let head = format!(
            "POST /webhook HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\
             Content-Length: {length}\r\n{headers}\r\n"
        );
        self.send(&[head.as_bytes(), body].concat()).await
    }

    /// Posts a body, signed.
    pub(crate) async fn post(&self, body: &[u8]) -> Reply {
        let signature = format!("X-Webhook-Signature: {}\r\n", sign(S, body));
        self.post_with(&signature, body).await
    }

    /// The names of what was recorded.
    pub(crate) async fn names(&self) -> Vec<String> {
        let all = self.reservations.list(&Default::default()).await.unwrap();
        let names = all.items.into_iter().filter_map(|it| it.metadata.name);
        names.collect()
    }
}

impl Reply {
    pub(crate) fn read(answer: &[u8]) -> Self {
        let text = String::from_utf8_lossy(answer);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Self {
            status: status.unwrap_or_default(),
            head: head.to_lowercase(),
            body: serde_json::from_str(body).unwrap_or_default(),
        }
    }

    /// The answer's word, or the refusal's.
    pub(crate) fn said(&self) -> &str {
        let said = [&self.body["status"], &self.body["detail"]];
        said.into_iter().find_map(Value::as_str).unwrap_or_default()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.server.abort();
    }
}
