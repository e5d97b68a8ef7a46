//! The end of the program, as the kubelet brings it about: in order, and within a pod's grace whatever
//! the API server does.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use harbormaster::{api::v1::Reservation, events::signature::sign};
use kube::Api;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use xtask::stage::{SECRET, USER};

use crate::{
    certificates::{FAST, site::Site as Cluster},
    line::Line,
    listening::Reply,
    own::{Own, Settings},
    site::Site,
    stage::{OWN_CONTROL_PLANE, flat, install_crypto, shared, until},
    trust::presented,
};

#[tokio::test]
async fn an_api_server_that_never_answered_does_not_hold_up_the_end() {
    install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let control_plane = shared().control_plane();
    let direct = control_plane.kubeconfig_for("nobody", &[]).unwrap();
    let line = Line::to(control_plane.url()).await;
    line.fall_silent();
    let own = Own::start(&Settings {
        kubeconfig: &line.kubeconfig(&direct, control_plane.url()),
        namespace: "silent",
        folder: folder.path(),
        more: &[("TLS_MODE", "self-managed")],
    });
    line.until_called().await;
    let lasted = end(own).await;
    assert!(lasted < ONE_DEADLINE, "{lasted:?}");
}

#[tokio::test]
async fn an_api_server_that_falls_silent_holds_up_the_end_of_the_elected_for_two_deadlines() {
    let _turn = OWN_CONTROL_PLANE.lock().await;
    let cluster = Cluster::open().await;
    let line = cluster.line().await;
    let settings = [("CERTIFICATE_TIMES", FAST)];
    let own = cluster.start_by(&line, "one", &settings).await;
    cluster.until_called().await;
    line.fall_silent();
    let lasted = end(own).await;
    // What is under way is waited for, and to let go of the Lease is worth a try.
    assert!(lasted < ONE_DEADLINE * 3, "{lasted:?}");
    cluster.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_is_announced_then_awaited_then_drained_and_nothing_answered_is_lost() {
    let site = Site::new("ending").await;
    let control_plane = shared().control_plane();
    let direct = control_plane
        .kubeconfig_for(USER, &["system:masters"])
        .unwrap();
    let line = Line::to(control_plane.url()).await;
    let by_line = line.kubeconfig(&direct, control_plane.url());
    let settings = |kubeconfig| Settings {
        kubeconfig,
        namespace: site.namespace,
        folder: site.folder.path(),
        more: &[("DRAIN_DELAY", "3s")],
    };
    let own = Own::start(&settings(&by_line));
    own.until_ready().await;
    let door: SocketAddr = own.events().parse().unwrap();
    let tls = own.tls();
    let mut kept = Caller::call(door).await;
    let answer = kept.ask(&get()).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.head.contains("connection: close"), "{answer:?}");
    let mut idle = Caller::call(door).await;
    assert_eq!(idle.ask(&get()).await.status, 200);
    let slow = event("952");
    let mut slow_caller = Caller::call(door).await;
    slow_caller.say(&slow[..slow.len() - 5]).await;
    // From here on, what is taken has nowhere to go but the spool.
    line.fall_silent();

    own.terminate();
    until("to be unready, and to say why", async || {
        let (status, text) = own.scrape("/readyz").await;
        (status == 503 && text.contains("shutting down")).then_some(())
    })
    .await;
    // Endpoints name it still.
    let mut late = Caller::call(door).await;
    for (caller, id) in [(&mut late, "950"), (&mut kept, "951")] {
        let answer = caller.ask(&event(id)).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert!(answer.head.contains("connection: close"), "{answer:?}");
        assert_eq!(caller.rest().await, b"");
    }
    let root = std::fs::read(shared().folder().join("ca.crt")).unwrap();
    assert!(presented(tls, "localhost", &root).await.is_some());

    until("to accept no more", async || {
        TcpStream::connect(door).await.err()
    })
    .await;
    assert_eq!(idle.rest().await, b"");
    // What was under way is waited for.
    let answer = slow_caller.ask(&slow[slow.len() - 5..]).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    own.ends_well().await;

    let again = Own::start(&settings(&direct));
    let reservations: Api<Reservation> = site.all();
    for id in ["950", "951", "952"] {
        let name = format!("portal-{id}");
        until("what was answered to be recorded", async || {
            reservations.get_opt(&name).await.unwrap()
        })
        .await;
    }
    drop(again);
}

/// How long it took to end.
async fn end(own: Own) -> Duration {
    let begun = Instant::now();
    own.terminate();
    own.ends_well().await;
    begun.elapsed()
}

/// Somebody with one connection.
struct Caller(TcpStream);

impl Caller {
    async fn call(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).await.unwrap();
    }

    /// Says it, and reads one whole answer.
    async fn ask(&mut self, bytes: &[u8]) -> Reply {
        self.say(bytes).await;
        let mut answer = Vec::new();
        loop {
            let reply = Reply::read(&answer);
            if reply.status != 0 && reply.body != Value::Null {
                return reply;
            }
            let read = self.0.read_buf(&mut answer).await.unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        }
    }

    /// What comes until the other side closes.
    async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let _ = self.0.read_to_end(&mut rest).await;
        rest
    }
}

fn get() -> Vec<u8> {
    b"GET /healthz HTTP/1.1\r\nHost: door\r\n\r\n".to_vec()
}

fn event(id: &str) -> Vec<u8> {
    let body = flat("EVENT_START", id, "nowhere").to_string();
    let signature = sign(SECRET, body.as_bytes());
    let head = format!(
        "POST /webhook HTTP/1.1\r\nHost: door\r\nContent-Length: {}\r\n\
         X-Webhook-Signature: {signature}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}

/// Of a call to the API server: 12 s.
const ONE_DEADLINE: Duration = Duration::from_secs(12);
