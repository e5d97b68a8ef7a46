//! A server whose process has no file descriptors left, as its peers and its processor see it.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use axum::{Router, routing::post};
use kube_webhook::{Server, TlsIdentity, testing::ApiServer};
use serde_json::json;

use crate::conformance::stage::eventually;

/// In a child of the test it is the server, and says where, and whom to trust.
#[tokio::test]
async fn the_server_itself() {
    if env::var_os(CHILD).is_none() {
        return;
    }
    let (identity, ca) = TlsIdentity::ephemeral(&["127.0.0.1".to_owned()]).unwrap();
    let router = Router::new().route("/", post(async || "{}"));
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), identity, router).unwrap();
    let place = json!([format!("https://{}", server.local_addr()), ca]);
    let mut out = std::io::stdout();
    writeln!(out, "\n{PLACE}{place}").unwrap();
    out.flush().unwrap();
    server.serve(std::future::pending()).await.unwrap();
}

/// Ends with the test, however that ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    fn with_descriptors(limit: usize) -> (Self, String, String) {
        let itself = env::current_exe().unwrap();
        let command = format!(
            "ulimit -n {limit}; exec '{}' --exact descriptors::the_server_itself --nocapture",
            itself.display()
        );
        let mut child = Command::new("sh")
            .args(["-c", &command])
            .env(CHILD, "")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let process = Self(child);
        let mut lines = lines.map(Result::unwrap);
        let place = lines.find_map(|line| Some(line.strip_prefix(PLACE)?.to_owned()));
        let (base, ca) = serde_json::from_str(&place.unwrap()).unwrap();
        (process, base, ca)
    }

    /// What it used of a processor, in hundredths of a second.
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields: Vec<_> = fields.split(' ').collect();
        let number = |index: usize| fields[index].parse::<u64>().unwrap();
        number(11) + number(12)
    }

    fn descriptors(&self) -> usize {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.0.id())).unwrap();
        folder.count()
    }
}

#[tokio::test]
async fn a_server_without_descriptors_waits_for_some_and_goes_on() {
    let (process, base, ca) = Process::with_descriptors(LIMIT);
    let address = base.strip_prefix("https://").unwrap();
    // The kernel takes them all; the server can't accept so many.
    let idle: Vec<_> = (0..2 * LIMIT)
        .map(|_| TcpStream::connect(address).unwrap())
        .collect();
    eventually(async || (process.descriptors() >= LIMIT).then_some(())).await;

    let before = process.ticks();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let used = process.ticks() - before;
    assert!(
        used < 50,
        "{used} hundredths of a processor's second, of 200"
    );

    drop(idle);
    let api_server = ApiServer::at(&base, &ca).unwrap();
    let patience = Duration::from_secs(10);
    eventually(async || api_server.post("/", patience, &json!({})).await.ok()).await;
}

const CHILD: &str = "KUBE_WEBHOOK_TEST_DESCRIPTORS";
const PLACE: &str = "place: ";
const LIMIT: usize = 64;
