//! What settings become, and which stop the start.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    serve: ServeArgs,
}

fn check(arguments: &[&str], in_cluster: bool) -> Result<Config, BadSetting> {
    let arguments = ["harbormaster"].iter().chain(arguments);
    Cli::try_parse_from(arguments)
        .unwrap()
        .serve
        .check(in_cluster)
}

#[test]
fn the_earlier_receivers_defaults_hold() {
    let config = check(&[], false).unwrap();
    assert_eq!(config.namespace, "default");
    assert_eq!(config.hosts.api_version, "metal3.io/v1alpha1");
    assert_eq!(config.hosts.plural, "baremetalhosts");
    assert_eq!(config.tls_address.to_string(), "0.0.0.0:5001");
    assert!(config.has_placeholder_image());
    assert!(config.secrets.is_unsigned_mode());
    assert_eq!(config.policy.deprovision_image, None);
}

#[test]
fn a_bad_setting_is_named() {
    for (arguments, setting) in [
        (["--event-provider", "host"], "EVENT_PROVIDER"),
        (["--event-provider", "Portal"], "EVENT_PROVIDER"),
        (["--provision-image", ""], "PROVISION_IMAGE"),
        (
            ["--provision-checksum-type", "crc"],
            "PROVISION_CHECKSUM_TYPE",
        ),
        (["--tls-mode", "files"], "TLS_CERT_FILE"),
        (["--events-tls-cert-file", "tls.crt"], "EVENTS_TLS_KEY_FILE"),
        (["--events-tls-key-file", "tls.key"], "EVENTS_TLS_CERT_FILE"),
        (
            ["--notification-endpoint", "ftp://portal/x"],
            "NOTIFICATION_ENDPOINT",
        ),
        (
            ["--webhook-log-endpoint", "/api/webhooks/log"],
            "WEBHOOK_LOG_ENDPOINT",
        ),
    ] {
        let error = check(&arguments, false).unwrap_err();
        assert_eq!(error.setting, setting, "{arguments:?}");
    }
}

#[test]
fn in_a_cluster_the_certificates_are_our_own() {
    let arguments = ["--tls-extra-names", "events.example.org, 192.0.2.1"];
    let names = vec!["192.0.2.1".to_owned(), "events.example.org".to_owned()];
    let timing = CERTIFICATE_TIMES;
    timing.check().unwrap();
    assert_eq!(
        check(&arguments, true).unwrap().tls,
        TlsMode::SelfManaged { names, timing }
    );
    assert_eq!(
        certificate_times("settle=1s,retire=5s").unwrap().leaf,
        timing.leaf
    );
    for bad in ["ca", "leaf=x", "leeway=1s", "leaf=20d"] {
        certificate_times(bad).unwrap_err();
    }
    certificate_times("ca=1m,leaf=1m").unwrap_err();
}

#[test]
fn an_oci_image_has_no_checksum() {
    let arguments = [
        "--provision-image",
        "oci://i",
        "--provision-checksum",
        "abc",
    ];
    let image = check(&arguments, false).unwrap().policy.image;
    assert_eq!((image.checksum, image.checksum_type), (None, None));
}

#[test]
fn a_folder_of_secrets_is_asked_for_by_its_name() {
    assert_eq!(check(&[], false).unwrap().secrets_dir, None);
    let arguments = ["--webhook-secrets-dir", "/etc/secrets"];
    let folder = check(&arguments, false).unwrap().secrets_dir;
    assert_eq!(folder, Some(PathBuf::from("/etc/secrets")));
}

#[test]
fn a_secret_is_not_shown_by_debug_or_help() {
    let config = check(&["--webhook-secret", "hunter2"], false).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}
