//! What settings become, and which stop the start.

use clap::Parser;

use super::{
    tls::{CERTIFICATE_TIMES, certificate_times},
    *,
};

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
        (["--tls-extra-names", "a..example.org"], "TLS_EXTRA_NAMES"),
        (["--events-tls-cert-file", "tls.crt"], "EVENTS_TLS_KEY_FILE"),
        (["--events-tls-key-file", "tls.key"], "EVENTS_TLS_CERT_FILE"),
        (["--register-url", "http://127.0.0.1:5001"], "REGISTER_URL"),
        (["--register-url", "https://*.example.org"], "REGISTER_URL"),
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
    let arguments = ["--tls-extra-names", "Events.example.org., 192.0.2.1"];
    let names = ["events.example.org", "192.0.2.1"].map(|name| name.parse().unwrap());
    let timing = CERTIFICATE_TIMES;
    timing.check().unwrap();
    assert_eq!(
        check(&arguments, true).unwrap().tls,
        TlsMode::SelfManaged {
            names: names.into(),
            timing
        }
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
fn who_registers_itself_is_called_by_its_service_or_by_a_url() {
    let registration = |arguments: &[&str]| check(arguments, true).unwrap().registration;
    assert_eq!(registration(&["--register-url", "https://h:1"]), None);
    let by_service = registration(&["--register"]).unwrap();
    assert_eq!((by_service.url, by_service.ca_file), (None, None));
    let by_url = registration(&["--register=true", "--register-url", "https://[::1]:1/x"]).unwrap();
    let expected = ("https://[::1]:1/x".to_owned(), "::1".parse().unwrap());
    assert_eq!(by_url.url, Some(expected));
}

#[test]
fn nobody_is_the_operator_if_the_flag_says_so() {
    let operators = |arguments: &[&str]| check(arguments, true).unwrap().operator_users;
    assert_eq!(operators(&[]).len(), 3);
    assert!(operators(&["--operator-users", ""]).is_empty());
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
