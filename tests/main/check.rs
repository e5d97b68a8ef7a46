//! `harbormaster check` on a real API server: one broken cluster per finding, each mended by the
//! very command that the finding names.
//!
//! On a control plane of its own, since what is broken belongs to the whole cluster.

#[path = "check/clinic.rs"]
pub(crate) mod clinic;

use std::process::Command;

use harbormaster::events::{
    event::Booking,
    intent::{BookedWindow, Intent},
    spool::{Spool, Waiting},
};

use self::clinic::Clinic;
use crate::stage::{OWN_CONTROL_PLANE, program};

/// What is broken, and the finding that comes of it.
const BY_COMMAND: &[(&str, &str)] = &[
    (
        "configuration-missing",
        "kubectl delete mutatingwebhookconfiguration harbormaster",
    ),
    (
        "webhook-missing",
        "kubectl patch mutatingwebhookconfiguration harbormaster --type=json \
         -p '[{\"op\":\"remove\",\"path\":\"/webhooks/0\"}]'",
    ),
    (
        "webhook-unknown",
        "kubectl patch validatingwebhookconfiguration harbormaster --type=json \
         -p '[{\"op\":\"add\",\"path\":\"/webhooks/-\",\"value\":{\
         \"name\":\"old.baremetalhost.harbormaster.dev\",\"sideEffects\":\"None\",\
         \"admissionReviewVersions\":[\"v1\"],\"failurePolicy\":\"Ignore\",\
         \"clientConfig\":{\"url\":\"https://127.0.0.1:1/old\"}}}]'",
    ),
    (
        "rules-changed",
        "kubectl patch validatingwebhookconfiguration harbormaster --type=json \
         -p '[{\"op\":\"replace\",\"path\":\"/webhooks/0/rules/0/operations\",\"value\":[\"CREATE\"]}]'",
    ),
    (
        "target-changed",
        "kubectl patch validatingwebhookconfiguration harbormaster --type=json \
         -p '[{\"op\":\"replace\",\"path\":\"/webhooks/0/clientConfig/service/path\",\"value\":\"/old\"}]'",
    ),
    (
        "target-changed",
        "kubectl patch validatingwebhookconfiguration harbormaster --type=json \
         -p '[{\"op\":\"remove\",\"path\":\"/webhooks/0/clientConfig/service\"},\
         {\"op\":\"add\",\"path\":\"/webhooks/0/clientConfig/url\",\"value\":\"https://127.0.0.1:1/x\"}]'",
    ),
    (
        "failure-policy-changed",
        "kubectl patch validatingwebhookconfiguration harbormaster --type=json \
         -p '[{\"op\":\"replace\",\"path\":\"/webhooks/0/failurePolicy\",\"value\":\"Ignore\"}]'",
    ),
    (
        "timeout-too-long",
        "kubectl patch validatingwebhookconfiguration harbormaster --type=json \
         -p '[{\"op\":\"replace\",\"path\":\"/webhooks/0/timeoutSeconds\",\"value\":30}]'",
    ),
    (
        "namespace-excluded",
        "kubectl patch validatingwebhookconfiguration harbormaster --type=json \
         -p '[{\"op\":\"add\",\"path\":\"/webhooks/0/namespaceSelector\",\
         \"value\":{\"matchLabels\":{\"guarded\":\"yes\"}}}]'",
    ),
    (
        "objects-excluded",
        "kubectl patch mutatingwebhookconfiguration harbormaster --type=json \
         -p '[{\"op\":\"add\",\"path\":\"/webhooks/0/objectSelector\",\
         \"value\":{\"matchLabels\":{\"guarded\":\"yes\"}}}]'",
    ),
    (
        "conditions-changed",
        "kubectl patch validatingwebhookconfiguration harbormaster --type=json \
         -p '[{\"op\":\"replace\",\"path\":\"/webhooks/0/matchConditions/0/expression\",\"value\":\"false\"}]'",
    ),
    (
        "condition-added",
        "kubectl patch validatingwebhookconfiguration harbormaster --type=json \
         -p '[{\"op\":\"add\",\"path\":\"/webhooks/0/matchConditions/0\",\
         \"value\":{\"name\":\"weekdays\",\"expression\":\"false\"}}]'",
    ),
    (
        "webhook-changed",
        "kubectl patch validatingwebhookconfiguration harbormaster --type=json \
         -p '[{\"op\":\"replace\",\"path\":\"/webhooks/0/matchPolicy\",\"value\":\"Exact\"}]'",
    ),
    (
        "ca-bundle-empty",
        "kubectl patch validatingwebhookconfiguration harbormaster --type=json \
         -p '[{\"op\":\"remove\",\"path\":\"/webhooks/0/clientConfig/caBundle\"}]'",
    ),
    (
        "ca-bundle-invalid",
        "kubectl patch validatingwebhookconfiguration harbormaster --type=json \
         -p '[{\"op\":\"replace\",\"path\":\"/webhooks/0/clientConfig/caBundle\",\"value\":\"Zm9v\"}]'",
    ),
    (
        "ca-bundle-expired",
        "kubectl patch mutatingwebhookconfiguration harbormaster --type=json \
         -p \"[{\\\"op\\\":\\\"replace\\\",\\\"path\\\":\\\"/webhooks/0/clientConfig/caBundle\\\",\
         \\\"value\\\":\\\"$(base64 -w0 expired-ca.crt)\\\"}]\"",
    ),
    (
        "ca-bundle-mismatch",
        "kubectl patch crd reservations.harbormaster.dev --type=json \
         -p \"[{\\\"op\\\":\\\"replace\\\",\
         \\\"path\\\":\\\"/spec/conversion/webhook/clientConfig/caBundle\\\",\
         \\\"value\\\":\\\"$(base64 -w0 other-ca.crt)\\\"}]\"",
    ),
    (
        "crd-missing",
        "kubectl delete crd reservations.harbormaster.dev --timeout=60s",
    ),
    (
        "conversion-off",
        "kubectl patch crd reservations.harbormaster.dev --type=merge \
         -p '{\"spec\":{\"conversion\":{\"strategy\":\"None\",\"webhook\":null}}}'",
    ),
    (
        "conversion-target-changed",
        "kubectl patch crd reservations.harbormaster.dev --type=merge \
         -p '{\"spec\":{\"conversion\":{\"webhook\":{\"clientConfig\":{\"service\":{\"path\":\"/old\"}}}}}}'",
    ),
    (
        "version-not-served",
        "kubectl patch crd reservations.harbormaster.dev --type=json \
         -p '[{\"op\":\"replace\",\"path\":\"/spec/versions/1/served\",\"value\":false}]'",
    ),
    (
        "schema-outdated",
        "kubectl patch crd reservations.harbormaster.dev --type=json \
         -p '[{\"op\":\"remove\",\
         \"path\":\"/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/source/properties/description\"}]'",
    ),
    (
        "stored-version-left",
        "kubectl patch crd reservations.harbormaster.dev --subresource=status --type=merge \
         -p '{\"status\":{\"storedVersions\":[\"v1alpha1\",\"v1\"]}}'",
    ),
    (
        "stored-version-not-served",
        "kubectl patch crd reservations.harbormaster.dev --subresource=status --type=merge \
         -p '{\"status\":{\"storedVersions\":[\"v1alpha1\",\"v1\"]}}'; \
         kubectl patch crd reservations.harbormaster.dev --type=json \
         -p '[{\"op\":\"replace\",\"path\":\"/spec/versions/1/served\",\"value\":false}]'",
    ),
    (
        "service-missing",
        "kubectl delete service harbormaster --namespace harbormaster-system",
    ),
    (
        "service-port",
        "kubectl patch service harbormaster --namespace harbormaster-system --type=json \
         -p '[{\"op\":\"replace\",\"path\":\"/spec/ports/0/port\",\"value\":8443}]'",
    ),
    (
        "target-port",
        "kubectl patch service harbormaster --namespace harbormaster-system --type=json \
         -p '[{\"op\":\"replace\",\"path\":\"/spec/ports/0/targetPort\",\"value\":\"webhook\"}]'",
    ),
    (
        "rights-missing",
        "kubectl delete rolebinding harbormaster --namespace default",
    ),
    (
        "secret-missing",
        "kubectl delete secret harbormaster-events --namespace harbormaster-system",
    ),
    (
        "secret-empty",
        "kubectl patch secret harbormaster-events --namespace harbormaster-system --type=merge \
         -p '{\"stringData\":{\"WEBHOOK_SECRET\":\"\\n\"}}'",
    ),
    (
        "secret-not-text",
        "kubectl patch secret harbormaster-events --namespace harbormaster-system --type=merge \
         -p '{\"data\":{\"WEBHOOK_SECRET\":\"////\"}}'",
    ),
    (
        "secret-encoded-twice",
        "kubectl patch secret harbormaster-events --namespace harbormaster-system --type=merge \
         -p \"{\\\"stringData\\\":{\\\"WEBHOOK_SECRET\\\":\\\"$(base64 -w0 secret.txt)\\\"}}\"",
    ),
    (
        "signatures-unchecked",
        "kubectl set env deployment/harbormaster --namespace harbormaster-system WEBHOOK_SECRET-",
    ),
    (
        "secret-in-clear",
        "kubectl set env deployment/harbormaster --namespace harbormaster-system WEBHOOK_SECRET-; \
         kubectl set env deployment/harbormaster --namespace harbormaster-system WEBHOOK_SECRET=x",
    ),
    (
        "placeholder-image",
        "kubectl set env deployment/harbormaster --namespace harbormaster-system PROVISION_IMAGE=",
    ),
];

/// What somebody has to look into, so that the command shows and doesn't mend: here with what
/// mends it.
const BY_HAND: &[(&str, &str, &str)] = &[
    (
        "hosts-crd-missing",
        "kubectl delete crd baremetalhosts.metal3.io --timeout=60s",
        "kubectl create -f hosts-crd.json",
    ),
    (
        "no-ready-endpoints",
        "kubectl delete endpointslices --all --namespace harbormaster-system",
        "kubectl apply -f endpoints.json",
    ),
    (
        "other-webhook-closed",
        "kubectl create -f other.json",
        "kubectl delete validatingwebhookconfiguration other",
    ),
    (
        "lease-missing",
        "kubectl delete lease harbormaster --namespace harbormaster-system",
        "kubectl create -f lease.json",
    ),
    (
        "lease-stale",
        "kubectl patch lease harbormaster --namespace harbormaster-system --type=merge \
         -p '{\"spec\":{\"renewTime\":\"2020-01-01T00:00:00.000000Z\"}}'",
        "kubectl delete -f lease.json; kubectl create -f lease.json",
    ),
    (
        "sender-cannot-trust",
        "kubectl set env deployment/harbormaster --namespace harbormaster-system EVENTS_HTTP_PORT=; \
         kubectl delete service harbormaster-events --namespace harbormaster-system",
        "kubectl create service clusterip harbormaster-events --namespace harbormaster-system \
         --tcp=80:5080; kubectl set env deployment/harbormaster --namespace harbormaster-system \
         EVENTS_HTTP_PORT=5080",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_broken_cluster_is_found_and_mended_by_the_finding_s_own_command() {
    let _turn = OWN_CONTROL_PLANE.lock().await;
    let clinic = Clinic::open().await;
    clinic.assert_healthy("the installation");
    for (id, broken) in BY_COMMAND {
        clinic.shell(broken);
        clinic.assert_found(id);
        clinic.mend(id);
    }
    for (id, broken, mended) in BY_HAND {
        clinic.shell(broken);
        clinic.assert_found(id);
        clinic.shell(mended);
        clinic.assert_healthy(id);
    }
    clinic.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_served_is_looked_at_as_the_api_server_would() {
    let _turn = OWN_CONTROL_PLANE.lock().await;
    let clinic = Clinic::open().await;
    for (id, break_it) in clinic::CERTIFICATES {
        clinic.serve(*break_it);
        clinic.assert_found(id);
    }
    clinic.serve(clinic::Served::good());
    clinic.assert_healthy("a good certificate");

    let report = clinic.check(&["--connect", "127.0.0.1:1"]);
    assert!(report.ids().contains(&"no-tls-answer"), "{}", report.text());

    let report = clinic.check(&["--k8s-namespace", "nowhere"]);
    assert!(
        report.ids().contains(&"hosts-namespace-missing"),
        "{}",
        report.text()
    );

    the_spool_is_looked_into(&clinic).await;

    // From outside, the pods of a Service can't be reached: said, and not taken for a fault.
    let report = clinic.check_endpoints();
    assert_eq!(report.code, 0, "{}", report.text());
    assert!(
        report.text().contains("kubectl port-forward"),
        "{}",
        report.text()
    );

    // Somebody without rights is told what he may not see, and nothing is made up of it.
    let report = clinic.check_as_nobody();
    assert_eq!(report.code, 0, "{}", report.text());
    assert!(
        report.text().contains("mutatingwebhookconfigurations"),
        "{}",
        report.text()
    );
    clinic.close().await;
}

async fn the_spool_is_looked_into(clinic: &Clinic) {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--spool-dir", folder.path().to_str().unwrap()];
    let report = clinic.check(&arguments);
    assert!(
        report.ids().contains(&"spool-unreadable"),
        "{}",
        report.text()
    );

    let (spool, writer) = Spool::open(folder.path(), 1024 * 1024).unwrap();
    let received = "2026-01-01T10:00:00Z".parse().unwrap();
    let window = BookedWindow {
        start: received,
        end: None,
    };
    let booking = Box::new(Booking::default());
    let intent = Intent::Begin { booking, window };
    spool
        .append(vec![Waiting { received, intent }])
        .await
        .unwrap();
    let report = clinic.check(&arguments);
    assert_eq!(report.code, 0, "{}", report.text());
    assert!(report.text().contains("has it open"), "{}", report.text());

    spool.close().await;
    tokio::task::spawn_blocking(|| writer.join()).await.unwrap();
    let report = clinic.check(&arguments);
    assert_eq!(report.ids(), ["events-waiting"], "{}", report.text());
}

#[test]
fn bad_usage_is_64_and_no_api_server_is_1() {
    let run = |arguments: &[&str]| {
        let mut check = Command::new(program());
        check.arg("check").args(arguments);
        check.env_remove("KUBERNETES_SERVICE_HOST");
        check
            .env("KUBECONFIG", "/nonexistent/kubeconfig")
            .output()
            .unwrap()
    };
    assert_eq!(run(&["--output", "xml"]).status.code(), Some(64));
    let away = run(&[]);
    assert_eq!(away.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&away.stderr).contains("--kubeconfig"));
}
