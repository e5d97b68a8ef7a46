//! How many calls the API server has had: by its own metrics, and by its audit log.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufRead, BufReader, Seek, SeekFrom},
};

use axum::http::Request;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use xtask::stage::{Stage, USER};

/// Calls by verb and resource, and how many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calls(BTreeMap<(String, String), u64>);

impl Calls {
    /// All calls about what matters here, since the API server began.
    pub(crate) async fn of(stage: &Stage) -> Self {
        let request = Request::get("/metrics").body(Vec::new()).unwrap();
        let client = stage.control_plane().client();
        let metrics = client.request_text(request).await.unwrap();
        let mut calls = Self::default();
        for line in metrics.lines() {
            let Some(sample) = line.strip_prefix("apiserver_request_total{") else {
                continue;
            };
            let (labels, count) = sample.rsplit_once("} ").unwrap();
            let label = |name: &str| {
                let mut labels = labels.split(',').filter_map(|label| label.split_once('='));
                let found = labels.find(|(found, _)| *found == name);
                found.map_or("", |(_, value)| value.trim_matches('"'))
            };
            let count: f64 = count.parse().unwrap();
            calls.add(
                label("verb"),
                label("resource"),
                label("subresource"),
                count as u64,
            );
        }
        calls
    }

    fn add(&mut self, verb: &str, resource: &str, subresource: &str, count: u64) {
        if !RESOURCES.contains(&resource) || verb.eq_ignore_ascii_case("watch") {
            return;
        }
        // What applies is a patch by the metrics' count, and another verb by none.
        let verb = match verb {
            "APPLY" => "patch".to_owned(),
            verb => verb
                .to_lowercase()
                .replace("put", "update")
                .replace("post", "create"),
        };
        let part = if subresource.is_empty() { "" } else { "/" };
        let what = (verb, format!("{resource}{part}{subresource}"));
        *self.0.entry(what).or_default() += count;
    }

    /// Those that came after.
    pub(crate) fn since(mut self, before: &Self) -> Self {
        for (what, count) in &mut self.0 {
            *count -= before.0.get(what).copied().unwrap_or_default();
        }
        self.0.retain(|_, count| *count > 0);
        self
    }

    pub(crate) fn total(&self) -> u64 {
        self.0.values().sum()
    }

    pub(crate) fn print(&self, whose: &str, reservations: usize) {
        let (mut reads, mut writes) = (0, 0);
        for ((verb, resource), count) in &self.0 {
            println!("  {count:>9}  {verb} {resource}");
            if matches!(verb.as_str(), "get" | "list") {
                reads += count;
            } else {
                writes += count;
            }
        }
        println!(
            "{whose}: {writes} writes and {reads} reads; {:.1} and {:.1} a reservation",
            writes as f64 / reservations as f64,
            reads as f64 / reservations as f64
        );
    }
}

/// The program's calls by the audit log from a length of it on, and how long it is.
pub(crate) fn audited(stage: &Stage, read: u64) -> (Calls, u64) {
    let path = stage.control_plane().folder().join("audit.log");
    let mut file = File::open(path).unwrap();
    file.seek(SeekFrom::Start(read)).unwrap();
    let (mut calls, mut read) = (Calls::default(), read);
    let mut lines = BufReader::new(file);
    let mut line = String::new();
    loop {
        line.clear();
        let length = lines.read_line(&mut line).unwrap();
        if !line.ends_with('\n') {
            return (calls, read);
        }
        read += u64::try_from(length).unwrap();
        // Most lines are long, and others'.
        if !line.contains(USER) {
            continue;
        }
        let event: Value = serde_json::from_str(&line).unwrap();
        if event["user"]["username"] == USER && event["stage"] == "ResponseComplete" {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let object = &event["objectRef"];
            let (verb, resource) = (text(&event["verb"]), text(&object["resource"]));
            calls.add(&verb, &resource, &text(&object["subresource"]), 1);
        }
    }
}

/// What the program itself has counted.
pub(crate) async fn print_program(stage: &Stage) {
    let mut stream = TcpStream::connect(("127.0.0.1", stage.admin_port()))
        .await
        .unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    println!("\nBy the program's own metrics:");
    let told = ["harbormaster_host_writes", "harbormaster_phase_seconds_"];
    for line in answer.lines().filter(|line| {
        let is_told = told.iter().any(|metric| line.starts_with(metric));
        is_told && !line.contains("_bucket")
    }) {
        println!("  {line}");
    }
}

const RESOURCES: [&str; 5] = [
    "baremetalhosts",
    "events",
    "hostcalendars",
    "reservations",
    "secrets",
];
