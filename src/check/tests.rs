//! One broken cluster per finding, as a value.

mod world;

use k8s_openapi::{
    api::core::v1::{Pod, Secret},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::json;

use self::world::{World, later, now};
use super::{
    Severity, examine,
    observed::{Dial, Reading, Setting, Spool, SpoolContent, Unread},
    report,
};

type Break = fn(&mut World);

/// What is broken, and the finding that must come of it: its id and severity, and a word each of
/// what is said and of the command.
const TABLE: &[(Break, &str, Severity, &str, &str)] = &[
    (
        |world| world.observed.hosts_namespace = Reading::Missing,
        "hosts-namespace-missing",
        Severity::Error,
        "is not there",
        "kubectl get baremetalhosts.metal3.io --all-namespaces",
    ),
    (
        |world| {
            world
                .configurations()
                .retain(|one| !one.kind.starts_with("Validating"))
        },
        "configuration-missing",
        Severity::Error,
        "is not there",
        "harbormaster generate webhooks --namespace harbormaster-system --k8s-namespace metal3 |",
    ),
    (
        |world| drop(world.configurations()[0].hooks.remove(0)),
        "webhook-missing",
        Severity::Error,
        "lacks this webhook",
        "harbormaster generate webhooks",
    ),
    (
        |world| {
            let hooks = &mut world.configurations()[0].hooks;
            let mut old = hooks[0].clone();
            old.name = "old.baremetalhost.harbormaster.dev".to_owned();
            hooks.push(old);
        },
        "webhook-unknown",
        Severity::Warning,
        "doesn't have",
        "kubectl delete validatingwebhookconfigurations harbormaster",
    ),
    (
        |world| world.hook()["rules"][0]["operations"] = json!(["CREATE"]),
        "rules-changed",
        Severity::Error,
        "rules[0].operations is [\"CREATE\"] instead of",
        "harbormaster generate webhooks",
    ),
    (
        |world| world.hook()["clientConfig"]["service"]["path"] = json!("/validate/other"),
        "target-changed",
        Severity::Error,
        "clientConfig.service.path is \"/validate/other\" instead of",
        "harbormaster generate webhooks",
    ),
    (
        |world| world.hook()["failurePolicy"] = json!("Ignore"),
        "failure-policy-changed",
        Severity::Warning,
        "failurePolicy is Ignore instead of Fail",
        "harbormaster generate webhooks",
    ),
    (
        |world| world.hook()["timeoutSeconds"] = json!(30),
        "timeout-too-long",
        Severity::Warning,
        "timeoutSeconds is 30",
        "harbormaster generate webhooks",
    ),
    (
        |world| world.hook()["namespaceSelector"] = json!({"matchLabels": {"guarded": "yes"}}),
        "namespace-excluded",
        Severity::Error,
        "leaves out the namespace metal3",
        "harbormaster generate webhooks",
    ),
    (
        |world| world.hook()["objectSelector"] = json!({"matchLabels": {"guarded": "yes"}}),
        "objects-excluded",
        Severity::Warning,
        "objectSelector",
        "harbormaster generate webhooks",
    ),
    (
        |world| world.hook()["matchConditions"][0]["expression"] = json!("false"),
        "conditions-changed",
        Severity::Warning,
        "matchConditions[0].expression is \"false\" instead of",
        "harbormaster generate webhooks",
    ),
    (
        |world| {
            let conditions = world.hook()["matchConditions"].as_array_mut().unwrap();
            conditions.push(json!({"name": "weekdays", "expression": "false"}));
        },
        "conditions-changed",
        Severity::Warning,
        "matchConditions is [",
        "harbormaster generate webhooks",
    ),
    (
        |world| world.hook()["matchPolicy"] = json!("Exact"),
        "webhook-changed",
        Severity::Warning,
        "matchPolicy is \"Exact\" instead of \"Equivalent\"",
        "harbormaster generate webhooks",
    ),
    (
        |world| drop(world.observed.crds.insert(CRD.to_owned(), Reading::Missing)),
        "crd-missing",
        Severity::Error,
        "is not there",
        "harbormaster generate crds",
    ),
    (
        |world| {
            world.crd().status = serde_json::from_value(json!({
                "acceptedNames": {"kind": "", "plural": ""},
                "conditions": [{
                    "type": "NamesAccepted", "status": "False", "reason": "ShortNamesConflict",
                    "message": "\"rsv\" is already in use", "lastTransitionTime": null,
                }],
            }))
            .ok();
        },
        "crd-not-served",
        Severity::Error,
        "NamesAccepted is False",
        "kubectl describe crd reservations.harbormaster.dev",
    ),
    (
        |world| world.crd().spec.conversion = None,
        "conversion-off",
        Severity::Error,
        "strategy is None instead of Webhook",
        "harbormaster generate crds",
    ),
    (
        |world| world.conversion().service.as_mut().unwrap().namespace = "elsewhere".to_owned(),
        "conversion-target-changed",
        Severity::Error,
        "namespace is \"elsewhere\" instead of",
        "harbormaster generate crds",
    ),
    (
        |world| {
            let versions = &mut world.crd().spec.versions;
            versions.iter_mut().find(|one| !one.storage).unwrap().served = false;
        },
        "version-not-served",
        Severity::Error,
        "is not served",
        "harbormaster generate crds",
    ),
    (
        |world| {
            let schema = world.crd().spec.versions[0].schema.as_mut().unwrap();
            let root = schema.open_api_v3_schema.as_mut().unwrap();
            root.properties.as_mut().unwrap().remove("status");
        },
        "schema-outdated",
        Severity::Warning,
        "properties.status is missing",
        "harbormaster generate crds",
    ),
    (
        |world| world.stored(&["v1alpha1", "v1"]),
        "stored-version-left",
        Severity::Warning,
        "still names v1alpha1; v1 is",
        "kubectl replace -f -; kubectl patch crd reservations.harbormaster.dev --subresource=status",
    ),
    (
        |world| world.stored(&["v0", "v1"]),
        "stored-version-not-served",
        Severity::Error,
        "names v0, which is not served",
        "--subresource=status",
    ),
    (
        |world| world.observed.hosts_crd = Reading::Missing,
        "hosts-crd-missing",
        Severity::Error,
        "is not there",
        "BMH_API_GROUP",
    ),
    (
        |world| {
            let Reading::Found(crd) = &mut world.observed.hosts_crd else {
                return;
            };
            crd.spec.versions[0].name = "v1beta1".to_owned();
        },
        "hosts-crd-missing",
        Severity::Error,
        "version v1alpha1 is not served",
        "BMH_API_VERSION",
    ),
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
        "harbormaster generate manifests",
    ),
    (
        |world| world.port().target_port = Some(IntOrString::String("webhook".to_owned())),
        "target-port",
        Severity::Error,
        "targetPort webhook is a name that no container port has",
        "harbormaster generate manifests",
    ),
    (
        |world| world.port().target_port = Some(IntOrString::Int(8080)),
        "target-port",
        Severity::Error,
        "leads to port 8080, and we listen on 5001",
        "harbormaster generate manifests",
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
        "--from-literal=PROVISION_IMAGE=",
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
        |world| world.spool(Ok(waiting(3, "uid-1"))),
        "events-waiting",
        Severity::Warning,
        "3 events wait, the oldest for 3600 s",
        "/readyz?verbose",
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
        oldest: Some(now() - jiff::SignedDuration::from_hours(1)),
        cluster: Some(cluster.to_owned()),
        this_cluster: Some("uid-1".to_owned()),
    }
}

#[test]
fn what_the_program_generates_is_healthy() {
    let world = World::healthy();
    let findings = examine(&world.observed, world.now);
    assert!(!report::is_bad(&findings), "{}", report::text(&findings));
    let ids: Vec<_> = findings.iter().map(|finding| finding.id).collect();
    assert_eq!(ids, ["sender-way"]);
}

#[test]
fn each_broken_state_is_found_with_its_cause_and_command() {
    for (broken, id, severity, said, command) in TABLE {
        let mut world = World::healthy();
        broken(&mut world);
        let findings = examine(&world.observed, world.now);
        let all = report::text(&findings);
        let found = findings.iter().find(|finding| {
            let told = format!("{} {}", finding.problem, finding.cause);
            finding.id == *id && told.contains(said)
        });
        let found = found.unwrap_or_else(|| panic!("{id}, {said:?}, is not among\n{all}"));
        assert_eq!(found.severity, *severity, "{id}");
        assert!(found.mend.contains(command), "{id}: {}", found.mend);
        assert!(!found.subject.is_empty() && !found.cause.is_empty(), "{id}");
    }
}

/// One fault must not be told as another: what a state breaks is told by its own finding, or by
/// such as follow from it.
#[test]
fn a_broken_state_is_not_told_as_something_else() {
    let follows: &[(&str, &[&str])] = &[
        ("ca-bundle-expired", &["certificate-expired"]),
        ("certificate-expired", &["certificate-expires-soon"]),
        ("version-not-served", &["schema-outdated"]),
    ];
    for (broken, id, ..) in TABLE {
        let mut world = World::healthy();
        broken(&mut world);
        for finding in examine(&world.observed, world.now) {
            let follows = follows
                .iter()
                .any(|(of, ids)| of == id && ids.contains(&finding.id));
            assert!(
                finding.id == *id || follows || finding.id == "sender-way",
                "{id} is also told as {}: {}",
                finding.id,
                finding.problem
            );
        }
    }
}

#[test]
fn what_cannot_be_read_is_not_taken_for_missing() {
    let mut world = World::healthy();
    let mut blind = super::observed::Observed::unasked(world.observed.expected.clone());
    std::mem::swap(&mut blind, &mut world.observed);
    let findings = examine(&world.observed, world.now);
    assert!(findings.is_empty(), "{}", report::text(&findings));
}

#[test]
fn the_certificate_of_each_replica_is_looked_at() {
    let mut world = World::healthy();
    let good = world.observed.dials[0].clone();
    world.serve(&["localhost"]);
    world.observed.dials.insert(
        0,
        Dial {
            address: "10.1.0.8:5001".to_owned(),
            ..good
        },
    );
    let findings = examine(&world.observed, world.now);
    let bad: Vec<_> = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .map(|finding| (finding.id, &*finding.subject))
        .collect();
    assert_eq!(bad, [("certificate-name", "10.1.0.7:5001")]);
}

#[test]
fn a_chain_is_good_under_the_old_ca_beside_the_new() {
    let mut world = World::healthy();
    let both = format!("{}{}", world::Authority::new().pem, world.authority.pem);
    world.bundles(both.as_bytes());
    assert!(!report::is_bad(&examine(&world.observed, world.now)));
}

#[test]
fn each_way_of_the_sender_is_told() {
    let mut world = World::healthy();
    world.observed.settings.remove("EVENTS_HTTP_PORT");
    world.observed.events_service = Reading::Missing;
    world.set("TLS_EXTRA_NAMES", "booking.example.org");
    world.set("EVENTS_TLS_CERT_FILE", "/etc/harbormaster/events/tls.crt");
    let ingress = json!({
        "metadata": {"name": "events"},
        "spec": {"rules": [{
            "host": "events.example.org",
            "http": {"paths": [{"pathType": "Exact", "path": "/webhook", "backend": {
                "service": {"name": "harbormaster-events", "port": {"number": 80}},
            }}]},
        }]},
    });
    world.observed.ingresses = Reading::Found(vec![serde_json::from_value(ingress).unwrap()]);
    let findings = examine(&world.observed, world.now);
    assert!(!report::is_bad(&findings), "{}", report::text(&findings));
    let text = report::text(&findings);
    for said in [
        "https://events.example.org/webhook",
        "keytool -importcert",
        "https://booking.example.org/webhook",
        "/etc/harbormaster/events/tls.crt",
    ] {
        assert!(text.contains(said), "{said} is not in\n{text}");
    }
}

#[test]
fn a_secret_is_judged_and_never_shown() {
    let mut world = World::healthy();
    let shown = |world: &World| report::json(&examine(&world.observed, world.now)).unwrap();
    assert!(!shown(&world).contains(world::SECRET));
    world.observed.settings.insert(
        "WEBHOOK_SECRET".to_owned(),
        Setting::Value(world::SECRET.to_owned()),
    );
    assert!(!shown(&world).contains(world::SECRET));
}

#[test]
fn the_worst_comes_first() {
    let mut world = World::healthy();
    world.hook()["timeoutSeconds"] = json!(30);
    world.observed.service = Reading::Missing;
    let findings = examine(&world.observed, world.now);
    let severities: Vec<_> = findings.iter().map(|finding| finding.severity).collect();
    assert_eq!(
        severities,
        [Severity::Error, Severity::Warning, Severity::Note]
    );
}

impl World {
    fn spool(&mut self, content: Result<SpoolContent, String>) {
        self.observed.spool = Some(Spool {
            folder: "/var/lib/harbormaster".to_owned(),
            content,
        });
    }
}

const CRD: &str = "reservations.harbormaster.dev";
