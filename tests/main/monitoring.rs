//! Dashboard, alerts and their documentation name metrics that the program exports.

use std::{collections::BTreeSet, fs, path::Path};

use harbormaster::api::{v1::Phase, v1alpha1};
use kube::api::PostParams;
use serde_json::{Value, json};
use xtask::stage::Stage;

use crate::stage::{
    flat, namespaced, new_host, post_signed, reaches, reservations, scrape, shared, until,
};

#[tokio::test]
async fn every_metric_that_is_named_is_exported() {
    let stage = shared();
    // What was never counted has no line. Reviews there were while the stage was being set.
    convert_one(stage).await;
    let text = scrape(stage, "/metrics").await;
    let exported: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let mut named = BTreeSet::new();
    for file in [
        "monitoring/dashboard.json",
        "monitoring/alerts.yaml",
        "docs/monitoring.md",
    ] {
        let text = read(file);
        for metric in metrics(&text) {
            let base = SUFFIXES
                .iter()
                .find_map(|suffix| metric.strip_suffix(suffix));
            let is_there =
                exported.contains(&*metric) || base.is_some_and(|base| exported.contains(base));
            assert!(is_there, "{file}: nothing exports {metric}");
            named.insert(base.unwrap_or(&metric).to_owned());
        }
    }
    // Nobody finds a metric that stands nowhere.
    for metric in exported {
        assert!(
            named.contains(metric),
            "{metric} is exported, and docs/monitoring.md lacks it"
        );
    }
}

#[tokio::test]
async fn a_life_is_counted_by_its_phases_and_the_writes_to_its_host() {
    let stage = shared();
    new_host(stage, "counted-life").await;
    post_signed(stage, &flat("EVENT_START", "901", "counted-life")).await;
    reaches(stage, "portal-901", Phase::Active).await;
    post_signed(stage, &flat("EVENT_END", "901", "counted-life")).await;
    reaches(stage, "portal-901", Phase::Released).await;
    until("the metrics to tell of it", async || {
        let text = scrape(stage, "/metrics").await;
        let is_counted = |series: &str| {
            let mut lines = text.lines();
            let value = lines.find_map(|line| line.strip_prefix(series))?;
            (value.trim().parse::<f64>().ok()? > 0.0).then_some(())
        };
        is_counted("harbormaster_reservations{phase=\"Released\"}")?;
        for phase in ["Pending", "Provisioning", "Active", "Releasing"] {
            is_counted(&format!(
                "harbormaster_phase_seconds_count{{phase=\"{phase}\"}}"
            ))?;
        }
        is_counted("harbormaster_host_writes_total{outcome=\"written\"}")
    })
    .await;
}

#[test]
fn every_alert_says_where_to_read_on() {
    let rules: Value = serde_saphyr::from_str(&read("monitoring/alerts.yaml")).unwrap();
    let groups = rules["groups"].as_array().unwrap();
    let alerts: Vec<_> = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap())
        .collect();
    let mut names = BTreeSet::new();
    for alert in &alerts {
        let name = alert["alert"].as_str().unwrap();
        assert!(names.insert(name), "{name} stands there twice");
        let runbook = alert["annotations"]["runbook"].as_str().unwrap();
        assert!(root().join(runbook).exists(), "{name}: {runbook}");
        let severity = alert["labels"]["severity"].as_str();
        assert!(matches!(severity, Some("critical" | "warning")), "{name}");
    }
    assert!(alerts.len() > 5);
}

#[test]
fn the_dashboard_has_no_panel_without_a_query() {
    let dashboard: Value = serde_json::from_str(&read("monitoring/dashboard.json")).unwrap();
    let mut ids = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        if panel["type"] != "row" {
            let targets = panel["targets"].as_array().unwrap();
            assert!(!targets.is_empty(), "{title}");
            for target in targets {
                // The dashboard is for many installations: the variable chooses which.
                assert!(target["expr"].as_str().unwrap().contains("$job"), "{title}");
            }
        }
    }
}

/// A Reservation that is stored at one version and read at another.
async fn convert_one(stage: &Stage) {
    let reservation = serde_json::from_value(json!({
        "apiVersion": "harbormaster.dev/v1",
        "kind": "Reservation",
        "metadata": {"name": "measured"},
        "spec": {"window": {"start": "2030-01-02T10:00:00Z"}, "resource": {"name": "measured"}},
    }));
    let hub = reservations(stage);
    hub.create(&PostParams::default(), &reservation.unwrap())
        .await
        .unwrap();
    namespaced::<v1alpha1::Reservation>(stage)
        .get("measured")
        .await
        .unwrap();
}

/// Words that can be nothing else.
fn metrics(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let ours = words.filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)));
    ours.map(str::to_owned).collect()
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

const PREFIXES: [&str; 2] = ["harbormaster_", "kube_webhook_"];

const SUFFIXES: [&str; 4] = ["_bucket", "_count", "_sum", "_total"];
