//! People who write and read Reservations without a pause, and count what fails: each dry run of a
//! create is two admission calls, each read of an old version one conversion.
//!
//! The API server's own count is the second witness: it knows of calls whose failure nobody saw.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use harbormaster::api::{v1, v1alpha1};
use kube::{Api, Client, api::PostParams};
use serde_json::json;
use tokio::task::JoinSet;

/// The traffic, under way.
pub(crate) struct Traffic {
    client: Client,
    before: Served,
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    people: JoinSet<Vec<String>>,
}

impl Traffic {
    /// So many people at once; the Reservation `name` must be there.
    pub(crate) async fn start(client: &Client, name: &'static str, people: usize) -> Self {
        let mut traffic = Self {
            before: Served::of(client).await,
            client: client.clone(),
            stop: Arc::default(),
            calls: Arc::default(),
            people: JoinSet::new(),
        };
        for person in 0..people {
            let (client, stop, calls) = (
                client.clone(),
                Arc::clone(&traffic.stop),
                Arc::clone(&traffic.calls),
            );
            traffic.people.spawn(async move {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    if let Err(error) = once(&client, name, person).await {
                        failures.push(error.to_string());
                    }
                    calls.fetch_add(CALLS_EACH, Ordering::Relaxed);
                }
                failures
            });
        }
        traffic
    }

    /// How many calls there were until now.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Ends it, and makes sure that not one call was lost, by anybody's count.
    #[expect(
        clippy::print_stderr,
        reason = "figures, for who asks with --nocapture"
    )]
    pub(crate) async fn stop(self, what: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self.people.join_all().await.concat();
        let calls = self.calls.load(Ordering::Relaxed);
        let after = Served::of(&self.client).await;
        let admissions = after.admissions - self.before.admissions;
        let conversions = after.conversions - self.before.conversions;
        let failed = after.failed - self.before.failed;
        let counts = format!(
            "{what}: {calls} calls by the people's count, {} of them failed; by the API server's \
             {admissions} admissions and {conversions} conversions, {failed} failed",
            failures.len()
        );
        eprintln!("{counts}");
        assert!(failures.is_empty(), "{counts}: {failures:#?}");
        assert_eq!(failed, 0, "{counts}:\n{}", after.samples);
        assert!(admissions + conversions >= calls, "{counts}");
    }
}

/// How many calls have failed since the API server's start; a refusal is none.
pub(crate) async fn failed(client: &Client) -> u64 {
    let metrics = metrics(client).await;
    let rejections = "apiserver_admission_webhook_rejection_count";
    let ours = metrics.lines().filter(|line| line.contains("harbormaster"));
    let ours: Vec<_> = ours.collect();
    let errors = sum(
        &ours.join("\n"),
        rejections,
        r#"error_type="calling_webhook_error""#,
    );
    let open = sum(
        &metrics,
        "apiserver_admission_webhook_fail_open_count",
        "harbormaster",
    );
    let conversion = "apiserver_conversion_webhook_request_total";
    errors + open + sum(&metrics, conversion, r#"result="failure""#)
}

/// What the API server has counted since its start.
struct Served {
    /// Calls of our admission webhooks, and of our conversion.
    admissions: u64,
    conversions: u64,
    /// Of them, those that failed, also those whose failure nobody saw.
    failed: u64,
    /// Those of failures, to be read.
    samples: String,
}

impl Served {
    async fn of(client: &Client) -> Self {
        let metrics = metrics(client).await;
        let sum = |name: &str, label: &str| sum(&metrics, name, label);
        let conversion = "apiserver_conversion_webhook_request_total";
        let ours = "harbormaster";
        let failures = [
            ("apiserver_admission_webhook_rejection_count", ours),
            ("apiserver_admission_webhook_fail_open_count", ours),
            (conversion, r#"result="failure""#),
        ];
        let failures = failures.map(|(name, label)| samples(&metrics, name, label));
        let failures = failures.concat();
        Self {
            admissions: sum("apiserver_admission_webhook_request_total", ours),
            conversions: sum(conversion, ""),
            failed: total(&failures),
            samples: failures.join("\n"),
        }
    }
}

/// A Reservation that nothing comes of.
pub(crate) fn reservation(name: &str) -> v1::Reservation {
    serde_json::from_value(json!({
        "apiVersion": "harbormaster.dev/v1",
        "kind": "Reservation",
        "metadata": {"name": name},
        "spec": {
            "window": {"start": "2030-01-02T10:00:00Z"},
            "requester": {"id": "u1"},
            "target": {"hostRef": {"name": "nowhere"}},
        },
    }))
    .unwrap()
}

/// Three calls: defaults, rules, conversion.
pub(crate) async fn once(client: &Client, name: &str, person: usize) -> Result<(), kube::Error> {
    let hub: Api<v1::Reservation> = Api::namespaced(client.clone(), NAMESPACE);
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    hub.create(&dry, &reservation(&format!("dry-{person}")))
        .await?;
    let spokes: Api<v1alpha1::Reservation> = Api::namespaced(client.clone(), NAMESPACE);
    spokes.get(name).await?;
    Ok(())
}

async fn metrics(client: &Client) -> String {
    let request = axum::http::Request::get("/metrics")
        .body(Vec::new())
        .unwrap();
    client.request_text(request).await.unwrap()
}

/// Those of a metric whose labels hold a text.
fn samples<'a>(metrics: &'a str, name: &str, label: &str) -> Vec<&'a str> {
    let is_of = |line: &&str| line.starts_with(&format!("{name}{{")) && line.contains(label);
    metrics.lines().filter(is_of).collect()
}

/// Of all such samples.
fn sum(metrics: &str, name: &str, label: &str) -> u64 {
    total(&samples(metrics, name, label))
}

fn total(samples: &[&str]) -> u64 {
    let values = samples.iter();
    let values = values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.map(|value| value as u64).sum()
}

const CALLS_EACH: u64 = 3;

const NAMESPACE: &str = "default";
