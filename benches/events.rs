//! What a durable answer costs: signed events through the event door, stored by the API
//! server or by the spool alone, next to a constant 200 on the same stack and to the disk's
//! own fdatasync.
//!
//! `cargo bench -p harbormaster --bench events`; `BENCH_SECONDS=10` for longer runs. Plain
//! HTTP/1.1 with keep-alive, server and senders in one process, so that the machine's cores
//! are shared by both (and, in the API server's case, by it and etcd). Nothing is asserted:
//! figures of a shared machine are for people to judge. Linux only: memory is read from
//! `/proc`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its table, and has nobody to hand an error to"
)]

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::FileExt,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, routing::post};
use control_plane::ControlPlane;
use futures::future::join_all;
use harbormaster::{
    api::{crd, v1::Reservation},
    clock::Clock,
    events::{
        intake::{Door, routes},
        intent::Filters,
        metrics::EventMetrics,
        record::Recorder,
        signature::{Secrets, sign},
        spool::Spool,
    },
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
    runtime::{conditions, wait::await_condition},
};
use kube_webhook::Server;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("nothing is measured without `cargo bench`");
        return;
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(run());
}

async fn run() {
    let period = std::env::var("BENCH_SECONDS").ok();
    let period = Duration::from_secs(period.map_or(5, |text| text.parse().unwrap()));
    println!(
        "{:<40} {:>10} {:>9} {:>9} {:>9}",
        "signed flat events", "events/s", "p50 us", "p99 us", "max us"
    );

    let constant = Router::new().route("/webhook", post(|_: Bytes| async { "{}" }));
    let (addr, _constant) = serve(constant);
    print(
        "constant 200, 8 senders",
        &measure(addr, 8, None, period).await,
    );
    print(
        "constant 200, 200 events/s",
        &measure(addr, 8, Some(200), period).await,
    );

    let folder = tempfile::tempdir().unwrap();
    print("the disk alone, 200 a second", &disk(folder.path(), period));
    let (addr, _spool) = spool_alone(folder.path());
    print(
        "spool alone, 8 senders",
        &measure(addr, 8, None, period).await,
    );
    print(
        "spool alone, 64 senders",
        &measure(addr, 64, None, period).await,
    );
    print(
        "spool alone, 200 events/s",
        &measure(addr, 8, Some(200), period).await,
    );
    idle(addr).await;

    let control_plane = ControlPlane::start().await.unwrap();
    let reservations = define(&control_plane).await;
    let recorder = Recorder::new(reservations, "portal".to_owned()).within(Duration::from_secs(30));
    let (addr, _recording) = serve(routes(door(recorder)));
    print(
        "API server, 1 sender",
        &measure(addr, 1, None, period).await,
    );
    print(
        "API server, 8 senders",
        &measure(addr, 8, None, period).await,
    );
    control_plane.stop().await.unwrap();
}

/// A server, as long as the handle is kept.
fn serve(router: Router) -> (SocketAddr, tokio::task::JoinHandle<std::io::Result<()>>) {
    let server = Server::bind_plain((Ipv4Addr::LOCALHOST, 0).into(), router).unwrap();
    let addr = server.local_addr();
    (addr, tokio::spawn(server.serve(std::future::pending())))
}

fn door(recorder: Recorder) -> Door {
    Door {
        secrets: Secrets::from_text(SECRET),
        filters: Filters::default(),
        recorder,
        metrics: EventMetrics::default(),
        clock: Clock::system(),
    }
}

/// As while the API server is away: nobody listens on the discard port.
fn spool_alone(folder: &Path) -> (SocketAddr, impl Sized) {
    let nowhere = kube::Config::new("http://127.0.0.1:9".parse().unwrap());
    let client = Client::try_from(nowhere).unwrap();
    let (spool, writer) = Spool::open(folder, 1 << 30).unwrap();
    let recorder = Recorder::new(Api::namespaced(client, "default"), "portal".to_owned());
    let (addr, server) = serve(routes(door(recorder.spooling(spool))));
    (addr, (server, writer))
}

async fn define(control_plane: &ControlPlane) -> Api<Reservation> {
    let client = control_plane.client();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = crd::reservations(None).unwrap();
    let params = PostParams::default();
    definitions.create(&params, &definition).await.unwrap();
    let name = "reservations.harbormaster.dev";
    let established = conditions::is_crd_established();
    await_condition(definitions, name, established)
        .await
        .unwrap();
    let reservations = Api::namespaced(client, "default");
    // The first list of a new kind waits for the API server's own cache of it.
    reservations.list(&ListParams::default()).await.unwrap();
    reservations
}

/// The times of all answers, sorted, and how long it took to collect them.
struct Figures {
    times: Vec<Duration>,
    elapsed: Duration,
}

/// As fast as `senders` get their answers, or `rate` events a second among them.
async fn measure(addr: SocketAddr, senders: u32, rate: Option<u32>, period: Duration) -> Figures {
    let begun = Instant::now();
    let count = senders;
    let senders = join_all((0..senders).map(|sender| async move {
        let mut connection = Connection::open(addr).await;
        let mut times = Vec::new();
        // One after the other, so that the senders' events are evenly spread.
        let every = rate.map(|rate| Duration::from_secs(1) / rate);
        let step = every.map(|every| every * count);
        let mut due = Instant::now() + every.unwrap_or_default() * sender;
        while begun.elapsed() < period {
            if let Some(step) = step {
                tokio::time::sleep_until(due.into()).await;
                due += step;
            }
            let request = request(&booking());
            let asked = Instant::now();
            connection.call(&request).await;
            times.push(asked.elapsed());
        }
        times
    }))
    .await;
    let mut times = senders.concat();
    times.sort();
    Figures {
        times,
        elapsed: begun.elapsed(),
    }
}

/// What no durable answer can be faster than: 4 KiB written in place and synced.
fn disk(folder: &Path, period: Duration) -> Figures {
    let file = File::create(folder.join("disk")).unwrap();
    file.write_all_at(&vec![0; 256 * BLOCK], 0).unwrap();
    file.sync_all().unwrap();
    let begun = Instant::now();
    let mut times = Vec::new();
    for n in 0_u32.. {
        let due = begun + n * Duration::from_secs(1) / 200;
        if due - begun >= period {
            break;
        }
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let asked = Instant::now();
        let offset = u64::from(n) % 256 * BLOCK as u64;
        file.write_all_at(&[1; BLOCK], offset).unwrap();
        file.sync_data().unwrap();
        times.push(asked.elapsed());
    }
    times.sort();
    Figures {
        times,
        elapsed: begun.elapsed(),
    }
}

fn print(name: &str, figures: &Figures) {
    let at = |share: f64| {
        let index = (figures.times.len() as f64 * share) as usize;
        figures.times[index.min(figures.times.len() - 1)].as_micros()
    };
    println!(
        "{name:<40} {:>10.0} {:>9} {:>9} {:>9}",
        figures.times.len() as f64 / figures.elapsed.as_secs_f64(),
        at(0.5),
        at(0.99),
        at(1.0),
    );
}

/// A thousand senders that keep their connections, and send what leaves nothing behind: memory
/// of this process, which is theirs as well.
async fn idle(addr: SocketAddr) {
    let before = resident();
    let mut connections = join_all((0..1000).map(|_| Connection::open(addr))).await;
    let mut after = Vec::new();
    for _ in 0..4 {
        for connection in &mut connections {
            connection.call(&request(TEST)).await;
        }
        after.push(resident().saturating_sub(before).to_string());
    }
    println!(
        "1,000 senders that keep their connections: {} kB more after each of 4 rounds",
        after.join(", ")
    );
}

fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Another booking each time.
fn booking() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(
        "{{\"eventType\":\"EVENT_START\",\"timestamp\":\"2030-01-02T09:56:00.123456789Z\",\
         \"eventId\":\"{id}\",\"webhookId\":7,\"userId\":\"6f1c2f0e-0000-4000-8000-000000000001\",\
         \"username\":\"mario.rossi\",\"email\":\"mario.rossi@example.com\",\
         \"sshPublicKey\":\"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLEKEYEXAMPLEKEYEXAMPLEKEY01 \
         mario\",\"eventTitle\":\"Test\",\"eventStart\":\"2030-01-02T10:00:00Z\",\
         \"eventEnd\":\"2030-01-02T12:00:00Z\",\"customParameters\":\"{{\\\"os\\\":\\\"noble\\\"}}\",\
         \"resourceId\":{id},\"resourceName\":\"restart-srv{id}\",\"resourceType\":\"Server\",\
         \"resourceSpecs\":\"16 cores, 64GB\",\"resourceLocation\":\"Rack 1\",\
         \"siteId\":\"site-1\",\"siteName\":\"Torino\"}}"
    )
}

fn request(body: &str) -> Vec<u8> {
    let signature = sign(SECRET, body.as_bytes());
    format!(
        "POST /webhook HTTP/1.1\r\nContent-Type: application/json\r\n\
         X-Webhook-Signature: {signature}\r\nHost: bench\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A client that costs little itself: of an answer, only the status and the length are read.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            buffer: Vec::new(),
        }
    }

    async fn call(&mut self, request: &[u8]) {
        self.stream.write_all(request).await.unwrap();
        self.buffer.clear();
        loop {
            assert_ne!(self.stream.read_buf(&mut self.buffer).await.unwrap(), 0);
            let text = String::from_utf8_lossy(&self.buffer);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            assert!(head.starts_with("HTTP/1.1 200"), "{text}");
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .unwrap();
            if body.len() >= length.parse().unwrap() {
                return;
            }
        }
    }
}

const TEST: &str = r#"{"eventType":"ALL","webhookId":"7","data":{"webhookId":7}}"#;

const BLOCK: usize = 4096;

const SECRET: &str = "c2VjcmV0LWtleS0zMi1ieXRlcy1sb25nLWV4YW1wbGU=";
