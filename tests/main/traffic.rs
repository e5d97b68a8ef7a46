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
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    people: JoinSet<Vec<String>>,
}

/// How it went.
#[derive(Debug)]
pub(crate) struct Counts {
    /// As the people counted.
    pub(crate) calls: u64,
    /// What they were told when a call failed.
    pub(crate) failures: Vec<String>,
    /// As the API server counted: calls of our admission webhooks, and of our conversion.
    pub(crate) admissions: u64,
    pub(crate) conversions: u64,
    /// Of them, those that failed.
    pub(crate) failed: u64,
}

impl Traffic {
    /// So many people at once; the Reservation `name` must be there.
    pub(crate) fn start(client: &Client, name: &'static str, people: usize) -> Self {
        let mut traffic = Self {
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
    #[expect(dead_code, reason = "for what goes on until so many were counted")]
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) async fn stop(self) -> Counts {
        self.stop.store(true, Ordering::Relaxed);
        let failures = self.people.join_all().await.concat();
        let metrics = metrics(&self.client).await;
        let admission = "apiserver_admission_webhook_request_total";
        let conversion = "apiserver_conversion_webhook_request_total";
        let rejected = sum(
            &metrics,
            "apiserver_admission_webhook_rejection_count",
            "harbormaster",
        );
        let open = sum(&metrics, "apiserver_admission_webhook_fail_open_count", "");
        let failed = sum(&metrics, conversion, r#"result="failure""#);
        Counts {
            calls: self.calls.load(Ordering::Relaxed),
            failures,
            admissions: sum(&metrics, admission, "harbormaster"),
            conversions: sum(&metrics, conversion, ""),
            failed: rejected + open + failed,
        }
    }
}

impl Counts {
    /// Not one was lost, by anybody's count.
    #[expect(
        clippy::print_stderr,
        reason = "figures, for who asks with --nocapture"
    )]
    pub(crate) fn assert_none_failed(&self) {
        eprintln!("{self:?}");
        assert!(self.failures.is_empty(), "{self:#?}");
        assert_eq!(self.failed, 0, "{self:#?}");
        assert!(
            self.admissions + self.conversions >= self.calls,
            "{self:#?}"
        );
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

/// Of all samples of a metric whose labels hold a text.
fn sum(metrics: &str, name: &str, label: &str) -> u64 {
    let samples = metrics
        .lines()
        .filter(|line| line.starts_with(&format!("{name}{{")) && line.contains(label));
    let values = samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
    values.map(|value| value as u64).sum()
}

const CALLS_EACH: u64 = 3;

const NAMESPACE: &str = "default";
