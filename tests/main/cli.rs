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
        (["--end-grace", "soon"], "--end-grace"),
    ] {
        let output = harbormaster(&arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        let complaint = complaint(&output);
        assert!(complaint.contains(name), "{complaint}");
    }
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
