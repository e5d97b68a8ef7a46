//! The settings of the event door, each by its name, in runs of the program of their own.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    own::{Own, Settings, nowhere},
    stage::{flat, install_crypto, until},
};

/// A run without an API server: what is taken is spooled.
fn alone(folder: &Path, more: &[(&str, &str)]) -> Own {
    install_crypto();
    Own::start(&Settings {
        kubeconfig: &nowhere(folder),
        namespace: "settings",
        folder,
        more,
    })
}

fn outcome(answer: Option<(u16, Value)>) -> (u16, Value) {
    let (status, body) = answer.unwrap();
    (status, body["status"].clone())
}

#[tokio::test]
async fn without_a_secret_the_unsigned_mode_is_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let own = alone(folder.path(), &[("WEBHOOK_SECRET", "")]);
    let (status, text) = own.scrape("/readyz?verbose").await;
    assert!(
        text.contains("[!]events ok, but: no WEBHOOK_SECRET"),
        "{status} {text}"
    );
    let (_, metrics) = own.scrape("/metrics").await;
    assert!(
        metrics.contains("harbormaster_unsigned_mode 1\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_folder_without_a_secret_keeps_us_unready_until_there_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let secrets = folder.path().join("secrets");
    fs::create_dir(&secrets).unwrap();
    let more = [
        ("WEBHOOK_SECRET", ""),
        ("WEBHOOK_SECRETS_DIR", secrets.to_str().unwrap()),
    ];
    let own = alone(folder.path(), &more);
    let (status, text) = own.scrape("/readyz").await;
    assert_eq!(status, 503);
    assert!(text.contains("WEBHOOK_SECRETS_DIR"), "{text}");
    let refused = own.sender().post(&flat("EVENT_START", "1", "srv")).await;
    assert_eq!(refused.unwrap().0, 401);

    fs::write(secrets.join("7"), xtask::stage::SECRET).unwrap();
    until("the folder's secret to be seen", async || {
        let (_, text) = own.scrape("/readyz?verbose").await;
        text.contains("[+]events ok").then_some(())
    })
    .await;
    let taken = own.sender().post(&flat("EVENT_START", "1", "srv")).await;
    assert_eq!(outcome(taken), (200, json!("success")));
}

#[tokio::test]
async fn other_resource_types_are_ignored_and_what_is_taken_is_counted_by_type() {
    let folder = tempfile::tempdir().unwrap();
    let own = alone(folder.path(), &[("RESOURCE_TYPES", "Server, Storage")]);
    let sender = own.sender();
    let mut port = flat("EVENT_START", "2", "switch-port-1");
    port["resourceType"] = json!("Switch Port");
    assert_eq!(outcome(sender.post(&port).await), (200, json!("ignored")));
    let server = flat("EVENT_START", "3", "srv");
    assert_eq!(outcome(sender.post(&server).await), (200, json!("success")));
    let minimal = json!({"eventType": "EVENT_END", "resourceName": "srv"});
    assert_eq!(
        outcome(sender.post(&minimal).await),
        (200, json!("success"))
    );
    let odd = json!({"eventType": "EVIL\n", "resourceName": "srv"});
    assert_eq!(outcome(sender.post(&odd).await), (200, json!("ignored")));
    assert_eq!(sender.post(&json!([])).await.unwrap().0, 422);

    let (_, metrics) = own.scrape("/metrics").await;
    for line in [
        r#"harbormaster_events_total{type="EVENT_START",outcome="ignored"} 1"#,
        r#"harbormaster_events_total{type="EVENT_START",outcome="spooled"} 1"#,
        r#"harbormaster_events_total{type="EVENT_END",outcome="spooled"} 1"#,
        r#"harbormaster_events_total{type="unknown",outcome="ignored"} 1"#,
        r#"harbormaster_events_total{type="unknown",outcome="rejected"} 1"#,
        "harbormaster_event_ack_seconds_count 5",
        // The switch port's waits as well: it may have been a server's before it was moved.
        "harbormaster_spooled_events 3",
    ] {
        assert!(metrics.contains(&format!("{line}\n")), "{line}: {metrics}");
    }
}
