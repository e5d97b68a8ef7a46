//! What may be wrong with Service, pods, certificates, rights, senders and upkeep.

use jiff::SignedDuration;
use k8s_openapi::{
    api::core::v1::{Pod, Secret},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::json;

use super::{
    Row,
    world::{self, World, later, now},
};
use crate::check::{
    Severity,
    observed::{Reading, Spool, SpoolContent, Unread},
};

pub(super) const ROWS: &[Row] = &[
    (
        |world| world.observed.service = Reading::Missing,
        "service-missing",
        Severity::Error,
        "is not there in the namespace harbormaster-system",
        "harbormaster generate manifests",
    ),
    (
        |world| world.port().port = 8443,
        "service-port",
        Severity::Error,
        "has no port 443",
        r#"[{"op":"replace","path":"/spec/ports/0/port","value":443}]"#,
    ),
    (
        |world| world.port().target_port = Some(IntOrString::String("webhook".to_owned())),
        "target-port",
        Severity::Error,
        "targetPort webhook is a name that no container port has",
        r#""path":"/spec/ports/0/targetPort","value":5001"#,
    ),
    (
        |world| world.port().target_port = Some(IntOrString::Int(8080)),
        "target-port",
        Severity::Error,
        "leads to port 8080, and we listen on 5001",
        r#""path":"/spec/ports/0/targetPort","value":5001"#,
    ),
    (
        |world| world.pods(&[]),
        "no-ready-endpoints",
        Severity::Error,
        "no ready endpoint",
        "kubectl get deployment,replicaset,pod --namespace harbormaster-system",
    ),
    (
        |world| {
            let waits: Pod = serde_json::from_value(json!({
                "metadata": {"name": "harbormaster-1"},
                "status": {"containerStatuses": [{
                    "name": "harbormaster", "image": "i", "imageID": "", "ready": false,
                    "restartCount": 0,
                    "state": {"waiting": {
                        "reason": "CreateContainerConfigError",
                        "message": "secret \"harbormaster-events\" not found",
                    }},
                }]},
            }))
            .unwrap();
            world.pods(&[waits]);
        },
        "no-ready-endpoints",
        Severity::Error,
        "harbormaster-1: CreateContainerConfigError: secret \"harbormaster-events\" not found",
        "kubectl describe pod --namespace harbormaster-system --selector app.kubernetes.io/name=harbormaster",
    ),
    (
        |world| world.observed.dials[0].chain = Err("connection refused".to_owned()),
        "no-tls-answer",
        Severity::Error,
        "connection refused",
        "kubectl logs --namespace harbormaster-system deployment/harbormaster",
    ),
    (
        |world| world.bundles(b""),
        "ca-bundle-empty",
        Severity::Error,
        "caBundle is empty",
        "harbormaster generate webhooks",
    ),
    (
        |world| world.bundles(b"Zm9v"),
        "ca-bundle-invalid",
        Severity::Error,
        "not PEM",
        "harbormaster generate webhooks",
    ),
    (
        |world| world.now = later(world::CA_DAYS + 1),
        "ca-bundle-expired",
        Severity::Error,
        "test CA",
        "harbormaster generate webhooks",
    ),
    (
        |world| world.now = later(world::LEAF_DAYS + 1),
        "certificate-expired",
        Severity::Error,
        "expired at",
        "kubectl",
    ),
    (
        |world| world.now = later(-2),
        "certificate-not-yet-valid",
        Severity::Error,
        "is valid from",
        "date --utc",
    ),
    (
        |world| world.now = later(world::LEAF_DAYS - 10),
        "certificate-expires-soon",
        Severity::Warning,
        "expires at",
        "kubectl",
    ),
    (
        |world| world.serve(&["localhost"]),
        "certificate-name",
        Severity::Error,
        "is for localhost, and not for harbormaster.harbormaster-system.svc",
        "with the DNS name harbormaster.harbormaster-system.svc",
    ),
    (
        |world| {
            let other = world::Authority::new();
            world.bundles(other.pem.as_bytes());
        },
        "ca-bundle-mismatch",
        Severity::Error,
        "does not cover what 10.1.0.7:5001 serves",
        "harbormaster generate webhooks",
    ),
    (
        |world| world.serve_for_clients(),
        "certificate-unusable",
        Severity::Error,
        "can't be verified",
        "kubectl",
    ),
    (
        |world| {
            let one = world.observed.expected.rights.first().unwrap().clone();
            world.observed.missing_rights = Reading::Found(vec![one]);
        },
        "rights-missing",
        Severity::Error,
        "system:serviceaccount:harbormaster-system:harbormaster may not",
        "harbormaster generate rbac",
    ),
    (
        |world| {
            let expected = &mut world.observed.expected;
            let before = expected.rights.clone();
            expected.registering_itself();
            let more: Vec<_> = expected.rights.difference(&before).cloned().collect();
            assert!(more.iter().any(|right| right.verb == "create"), "{more:?}");
            world.observed.missing_rights = Reading::Found(more);
        },
        "rights-missing",
        Severity::Error,
        "may not create, patch validatingwebhookconfigurations",
        "--register | kubectl apply",
    ),
    (
        |world| {
            world.observed.expected.registering_itself();
            world.observed.configurations = Reading::Found(Vec::new());
        },
        "configuration-missing",
        Severity::Error,
        "is not there",
        "the program puts it right by itself",
    ),
    (
        |world| world.other_webhook(Reading::Found(0)),
        "other-webhook-closed",
        Severity::Error,
        "its Service elsewhere/gone has no ready endpoint",
        "kubectl delete validatingwebhookconfigurations other",
    ),
    (
        |world| world.other_webhook(Reading::Missing),
        "other-webhook-closed",
        Severity::Error,
        "its Service elsewhere/gone is not there",
        "kubectl get deployment,pod,endpointslice --namespace elsewhere",
    ),
    (
        |world| drop(world.observed.settings.remove("WEBHOOK_SECRET")),
        "signatures-unchecked",
        Severity::Warning,
        "neither WEBHOOK_SECRET nor WEBHOOK_SECRETS_DIR",
        "kubectl create secret generic harbormaster-events",
    ),
    (
        |world| world.set("WEBHOOK_SECRET", "in the clear"),
        "secret-in-clear",
        Severity::Warning,
        "stands in the Deployment",
        "kubectl create secret generic harbormaster-events",
    ),
    (
        |world| world.secret(Reading::Missing),
        "secret-missing",
        Severity::Error,
        "no key WEBHOOK_SECRET",
        "kubectl create secret generic harbormaster-events",
    ),
    (
        |world| world.secret(Reading::Found(world::secret(b"\n"))),
        "secret-empty",
        Severity::Error,
        "is empty",
        "kubectl rollout restart deployment/harbormaster",
    ),
    (
        |world| world.secret(Reading::Found(world::secret(&[0xff; 32]))),
        "secret-not-text",
        Severity::Error,
        "bytes that are no text",
        "kubectl create secret generic harbormaster-events",
    ),
    (
        |world| {
            let twice = b"WkdWdGJ5MXpaV055WlhRdE16SXRZbmwwWlhNdGJHOXVaeTFsZUdGdGNHdz0=";
            world.secret(Reading::Found(world::secret(twice)));
        },
        "secret-encoded-twice",
        Severity::Warning,
        "base64 of what looks like the portal's secret",
        "kubectl create secret generic harbormaster-events",
    ),
    (
        |world| {
            world.observed.secrets_folder = Some("senders".to_owned());
            let empty = Reading::Found(Secret::default());
            world.observed.secrets.insert("senders".to_owned(), empty);
        },
        "secrets-dir-empty",
        Severity::Error,
        "missing or empty",
        "kubectl create secret generic senders",
    ),
    (
        |world| {
            world.observed.settings.remove("EVENTS_HTTP_PORT");
            world.observed.events_service = Reading::Missing;
        },
        "sender-cannot-trust",
        Severity::Warning,
        "cluster's own CA",
        "docs/sender-trust.md",
    ),
    (
        |world| world.observed.events_service = Reading::Missing,
        "events-service-missing",
        Severity::Warning,
        "no Service leads there",
        "harbormaster generate manifests",
    ),
    (
        |world| {
            world.second_certificate(&["portal.example.org"]);
            let secrets = &mut world.observed.secrets;
            secrets.insert("site".to_owned(), Reading::Missing);
        },
        "events-certificate-missing",
        Severity::Error,
        "no certificate tls.crt",
        "kubectl create secret tls site",
    ),
    (
        |world| {
            world.second_certificate(&["portal.example.org"]);
            world.now = later(world::LEAF_DAYS + 1);
        },
        "events-certificate-expired",
        Severity::Error,
        "expired at 2030-02-10",
        "kubectl create secret tls site",
    ),
    (
        |world| {
            world.second_certificate(&["portal.example.org"]);
            world.now = later(world::LEAF_DAYS - 8);
        },
        "events-certificate-expires-soon",
        Severity::Warning,
        "expires at 2030-02-10",
        "kubectl create secret tls site",
    ),
    (
        |world| world.set("TLS_EXTRA_NAMES", "booking.example.org"),
        "extra-name-missing",
        Severity::Error,
        "not for booking.example.org",
        "--tls-extra-names booking.example.org",
    ),
    (
        |world| world.observed.clocks = Some((now(), later(1))),
        "clock-skew",
        Severity::Warning,
        "86400 s ahead of the API server's",
        "timedatectl",
    ),
    (
        |world| world.set("PROVISION_IMAGE", "default-provision-image-url"),
        "placeholder-image",
        Severity::Warning,
        "PROVISION_IMAGE is not set",
        "kubectl set env deployment/harbormaster",
    ),
    (
        |world| {
            let lease = json!({"spec": {
                "holderIdentity": "harbormaster-1",
                "leaseDurationSeconds": 15,
                "renewTime": "2030-01-01T11:00:00.000000Z",
            }});
            world.observed.lease = Reading::Found(serde_json::from_value(lease).unwrap());
        },
        "lease-stale",
        Severity::Error,
        "harbormaster-1 holds it, and has not renewed it since 2030-01-01T11:00:00Z",
        "kubectl logs --namespace harbormaster-system deployment/harbormaster",
    ),
    (
        |world| world.observed.lease = Reading::Missing,
        "lease-missing",
        Severity::Error,
        "no replica has ever been elected",
        "kubectl get lease harbormaster --namespace harbormaster-system",
    ),
    (
        |world| world.spool(Ok(waiting(3, "uid-1"))),
        "events-waiting",
        Severity::Warning,
        "3 events wait, the oldest for 3600 s",
        "/readyz?verbose",
    ),
    (
        |world| {
            let mut content = waiting(0, "uid-1");
            content.set_aside = vec!["spec.window: Invalid value".to_owned()];
            world.spool(Ok(content));
        },
        "event-set-aside",
        Severity::Warning,
        "will never be recorded: spec.window: Invalid value",
        "harbormaster send-event",
    ),
    (
        |world| world.spool(Ok(waiting(0, "uid-2"))),
        "spool-of-another-cluster",
        Severity::Error,
        "for the cluster uid-2, and this is uid-1",
        "kubectl get namespace kube-system",
    ),
    (
        |world| world.spool(Err("Permission denied".to_owned())),
        "spool-unreadable",
        Severity::Error,
        "Permission denied",
        "ls -ld",
    ),
    (
        |world| {
            world.observed.unread.push(Unread {
                what: "Pods in harbormaster-system".to_owned(),
                why: "pods is forbidden".to_owned(),
                mend: "harbormaster check --kubeconfig FILE".to_owned(),
            });
        },
        "not-checked",
        Severity::Note,
        "pods is forbidden",
        "--kubeconfig",
    ),
    (
        |_| {},
        "sender-way",
        Severity::Note,
        "http://harbormaster-events.harbormaster-system.svc/webhook",
        "harbormaster send-event --type ALL",
    ),
];

fn waiting(events: u64, cluster: &str) -> SpoolContent {
    SpoolContent {
        events,
        oldest: Some(now() - SignedDuration::from_hours(1)),
        set_aside: Vec::new(),
        cluster: Some(cluster.to_owned()),
        this_cluster: Some("uid-1".to_owned()),
    }
}

impl World {
    fn spool(&mut self, content: Result<SpoolContent, String>) {
        self.observed.spool = Some(Spool {
            folder: "/var/lib/harbormaster".to_owned(),
            content,
        });
    }
}
