//! The command line: its exit codes, and errors that say what to do.

use std::process::{Command, Output};

use crate::stage::program;

fn harbormaster(arguments: &[&str]) -> Output {
    let mut command = Command::new(program());
    command
        .args(arguments)
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env("KUBECONFIG", "/nonexistent/kubeconfig");
    command.output().unwrap()
}

fn complaint(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_is_an_answer_and_a_wrong_word_is_not() {
    let help = harbormaster(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("send-event"));
    assert_eq!(harbormaster(&["frobnicate"]).status.code(), Some(64));
    assert_eq!(
        harbormaster(&["serve", "--port", "x"]).status.code(),
        Some(64)
    );
}

#[test]
fn a_bad_setting_stops_the_start_with_its_name() {
    for (arguments, name) in [
        (["--event-provider", "host"], "EVENT_PROVIDER"),
        (["--tls-mode", "files"], "TLS_CERT_FILE"),
        (["--end-grace", "soon"], "END_GRACE"),
        (["--spool-limit", "x"], "SPOOL_LIMIT"),
        (["--spool-dir", ""], "SPOOL_DIR"),
        (["--calendar-show-users", "perhaps"], "CALENDAR_SHOW_USERS"),
    ] {
        let output = harbormaster(&arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        let complaint = complaint(&output);
        assert!(complaint.contains(name), "{complaint}");
    }
}

#[test]
fn an_empty_variable_counts_as_unset_unless_that_would_open_a_door() {
    let mut command = harbormaster::cli::command();
    command.build();
    let serve = command.find_subcommand("serve").unwrap();
    let variables = serve.get_arguments().filter_map(|it| it.get_env());
    let variables: Vec<_> = variables.map(|name| name.to_str().unwrap()).collect();
    assert!(variables.contains(&"SPOOL_DIR"), "{variables:?}");
    let start = |empty: &[&str]| {
        let mut command = Command::new(program());
        let empty = empty.iter().map(|name| (*name, ""));
        command.env("KUBECONFIG", "/nonexistent/kubeconfig");
        command.env_remove("KUBERNETES_SERVICE_HOST");
        command.envs(empty).output().unwrap()
    };
    let (meant, others): (Vec<_>, Vec<_>) = variables
        .into_iter()
        .partition(|name| MEANT_WHEN_EMPTY.contains(name));
    // As far as an API server is asked for: all settings were taken.
    let started = start(&others);
    assert_eq!(started.status.code(), Some(1), "{}", complaint(&started));
    assert!(complaint(&started).contains("--kubeconfig"));
    assert_eq!(meant.len(), MEANT_WHEN_EMPTY.len());
    for name in meant {
        let refused = start(&[name]);
        assert_eq!(refused.status.code(), Some(64), "{name}");
        assert!(
            complaint(&refused).contains(name),
            "{}",
            complaint(&refused)
        );
    }
}

#[test]
fn a_name_that_nobody_could_verify_is_refused_by_serve_and_generate_alike() {
    let names = ["--tls-extra-names", "*.example.org"];
    for verb in [&["serve"][..], &["generate", "manifests"]] {
        let refused = harbormaster(&[verb, &names[..]].concat());
        assert_eq!(refused.status.code(), Some(64), "{verb:?}");
        let complaint = complaint(&refused);
        assert!(complaint.contains("TLS_EXTRA_NAMES"), "{complaint}");
    }
}

#[test]
fn cert_manager_is_told_of_addresses_as_addresses() {
    let names = "Events.example.org.,192.0.2.1,2001:db8::1";
    let arguments = [
        "generate",
        "manifests",
        "--cert-manager",
        "--tls-extra-names",
    ];
    let printed = harbormaster(&[&arguments[..], &[names]].concat());
    let text = String::from_utf8(printed.stdout).unwrap();
    let objects: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
    let leaf = objects
        .iter()
        .find(|it| it["kind"] == "Certificate" && it["metadata"]["name"] == "harbormaster");
    let spec = &leaf.unwrap()["spec"];
    let addresses = serde_json::json!(["192.0.2.1", "2001:db8::1"]);
    assert_eq!(spec["ipAddresses"], addresses);
    let dns_names = serde_json::json!([
        "harbormaster.harbormaster-system.svc",
        "harbormaster.harbormaster-system.svc.cluster.local",
        "events.example.org",
    ]);
    assert_eq!(spec["dnsNames"], dns_names);
}

#[test]
fn without_an_api_server_the_start_fails_and_says_what_to_name() {
    let output = harbormaster(&["serve", "--port", "0", "--admin-port", "0"]);
    assert_eq!(output.status.code(), Some(1));
    let complaint = complaint(&output);
    assert!(complaint.contains("--kubeconfig"), "{complaint}");
    assert!(!complaint.contains("backtrace"), "{complaint}");
}

#[test]
fn an_event_is_built_and_signed_without_being_sent() {
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "c2VjcmV0LWtleS0zMi1ieXRlcy1sb25nLWV4YW1wbGU=\n").unwrap();
    let output = harbormaster(&[
        "send-event",
        "--dry-run",
        "--shape=minimal",
        "--type=EVENT_START",
        "--resource=restart-srv01",
        "--secret-file",
        secret.to_str().unwrap(),
    ]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text,
        "x-webhook-signature: 78cYUV2I07TaYMxuNBMOHM4TpcKmTqCPSjGEQzseIIw=\n\n\
         {\"eventType\":\"EVENT_START\",\"resourceName\":\"restart-srv01\"}\n"
    );
}

#[test]
fn manifests_are_converted_offline_lists_and_others_documents_included() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.yaml");
    let manifest = "apiVersion: harbormaster.dev/v1alpha1
kind: Reservation
metadata: {name: one}
spec: {startTime: '2030-01-02T12:00:00+02:00', username: mario}
---
apiVersion: v1
kind: List
items:
- apiVersion: harbormaster.dev/v1beta1
  kind: Reservation
  metadata: {name: two}
  spec: {startTime: '2030-01-02T10:00:00Z', cancelled: true}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: three}
";
    std::fs::write(&file, manifest).unwrap();
    let file = file.to_str().unwrap();
    let there = harbormaster(&["convert", "--to", "v1", file]);
    let text = String::from_utf8(there.stdout.clone()).unwrap();
    assert_eq!(there.status.code(), Some(0), "{}", complaint(&there));
    let documents: Vec<serde_json::Value> = serde_saphyr::from_multiple(&text).unwrap();
    assert_eq!(documents[0]["apiVersion"], "harbormaster.dev/v1");
    assert_eq!(documents[0]["spec"]["requester"]["username"], "mario");
    let items = &documents[1]["items"];
    assert_eq!(items[0]["spec"]["lifecycle"]["desiredState"], "Released");
    assert_eq!(items[1]["kind"], "ConfigMap");
    // And back, to the letter.
    let stored = folder.path().join("stored.yaml");
    std::fs::write(&stored, text).unwrap();
    let back = harbormaster(&["convert", "--to", "v1alpha1", stored.to_str().unwrap()]);
    let text = String::from_utf8(back.stdout).unwrap();
    assert!(text.contains("2030-01-02T12:00:00+02:00"), "{text}");
}

#[test]
fn a_saved_review_is_replayed_and_its_patched_object_shown() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("review.json");
    let kind = serde_json::json!({
        "group": "harbormaster.dev", "version": "v1", "kind": "Reservation",
    });
    let review = serde_json::json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "1", "operation": "CREATE", "namespace": "metal3", "name": "mine",
            "kind": kind, "requestKind": kind,
            "resource": {
                "group": "harbormaster.dev", "version": "v1", "resource": "reservations",
            },
            "userInfo": {"username": "mario"},
            "object": {
                "apiVersion": "harbormaster.dev/v1", "kind": "Reservation",
                "metadata": {"name": "mine", "namespace": "metal3"},
                "spec": {
                    "target": {"hostRef": {"name": "srv"}},
                    "window": {"start": "2030-01-02T12:00:00+02:00"},
                    "access": {"authorizedKeys": [{"key": "no key"}]},
                },
            },
        },
    });
    std::fs::write(&file, review.to_string()).unwrap();
    let replayed = harbormaster(&["replay", file.to_str().unwrap()]);
    let text = String::from_utf8(replayed.stdout.clone()).unwrap();
    assert_eq!(replayed.status.code(), Some(0), "{}", complaint(&replayed));
    for told in [
        "# /mutate",
        "username: mario",
        "2030-01-02T10:00:00Z",
        "# /validate",
        "is no public SSH key",
    ] {
        assert!(text.contains(told), "{told} is not in\n{text}");
    }
    std::fs::write(&file, "kind: Pod").unwrap();
    let other = harbormaster(&["replay", file.to_str().unwrap()]);
    assert_eq!(other.status.code(), Some(1));
    assert!(complaint(&other).contains("neither an AdmissionReview"));
}

/// What was begun there and not ended would open a door, or give hosts no image.
const MEANT_WHEN_EMPTY: [&str; 3] = ["CLIENT_CA_FILE", "PROVISION_IMAGE", "WEBHOOK_SECRETS_DIR"];
