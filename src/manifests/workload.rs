//! The pods, and the component `durable-spool`.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, ConfigMapEnvSource, ConfigMapVolumeSource, Container, ContainerPort,
            EmptyDirVolumeSource, EnvFromSource, EnvVar, EnvVarSource, HTTPGetAction,
            PodSecurityContext, PodSpec, PodTemplateSpec, Probe, ResourceRequirements,
            SeccompProfile, SecretKeySelector, SecretVolumeSource, SecurityContext,
            TopologySpreadConstraint, Volume, VolumeMount,
        },
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use serde_json::{Value, json};

use super::{
    Installation, ManifestError, NAME, TLS_SECRET,
    component::{Component, Part, Patch},
    labels, value,
};

impl Installation {
    pub(super) fn deployment(&self) -> Result<Part, ManifestError> {
        let deployment = Deployment {
            metadata: self.named(&self.namespace),
            spec: Some(DeploymentSpec {
                replicas: Some(2),
                selector: selector(),
                // The new pod serves before the old one goes: the sender asks only once.
                strategy: Some(DeploymentStrategy {
                    type_: Some("RollingUpdate".to_owned()),
                    rolling_update: Some(RollingUpdateDeployment {
                        max_surge: Some(IntOrString::Int(1)),
                        max_unavailable: Some(IntOrString::Int(0)),
                    }),
                }),
                template: PodTemplateSpec {
                    metadata: Some(ObjectMeta {
                        labels: Some(labels()),
                        ..ObjectMeta::default()
                    }),
                    spec: Some(self.pod()),
                },
                ..DeploymentSpec::default()
            }),
            ..Deployment::default()
        };
        Part::of("deployment.yaml", [value(&deployment)])
    }

    /// A drain of nodes takes one replica at a time; one that is broken never stands in its way.
    pub(super) fn disruption_budget(&self) -> Result<Part, ManifestError> {
        let budget = PodDisruptionBudget {
            metadata: self.named(&self.namespace),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
                selector: Some(selector()),
                ..PodDisruptionBudgetSpec::default()
            }),
            ..PodDisruptionBudget::default()
        };
        Part::of("disruption-budget.yaml", [value(&budget)])
    }

    /// A StatefulSet, since only that gives a pod its predecessor's volume: a generic
    /// ephemeral volume goes with its pod, and a volume that all replicas share would leave the
    /// spool of a pod that is gone to nobody. The price: an update takes one replica away
    /// before the new one comes, and that of a lost node waits until the node is given up.
    pub(super) fn durable_spool(&self) -> Component {
        let claim = json!({
            "metadata": {"name": SPOOL},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        });
        let pod = json!({
            "topologySpreadConstraints": spread("controller-revision-hash"),
            "volumes": [{"name": SPOOL, "$patch": "delete"}],
        });
        let change = json!({
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "spec": {
                "podManagementPolicy": "Parallel",
                "serviceName": NAME,
                "strategy": null,
                "template": {"spec": pod},
                "volumeClaimTemplates": [claim],
            },
        });
        Component {
            parts: Vec::new(),
            patches: vec![Patch {
                file: "stateful-set.yaml",
                kinds: &["Deployment"],
                name: NAME.to_owned(),
                change,
            }],
        }
    }

    fn pod(&self) -> PodSpec {
        PodSpec {
            service_account_name: Some(NAME.to_owned()),
            // A Service called harbormaster would set HARBORMASTER_* in every pod.
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(GRACE_PERIOD),
            topology_spread_constraints: Some(spread("pod-template-hash")),
            security_context: Some(PodSecurityContext {
                run_as_non_root: Some(true),
                run_as_user: Some(65532),
                run_as_group: Some(65532),
                // The spool's volume is root's otherwise.
                fs_group: Some(65532),
                seccomp_profile: Some(SeccompProfile {
                    type_: "RuntimeDefault".to_owned(),
                    ..SeccompProfile::default()
                }),
                ..PodSecurityContext::default()
            }),
            containers: vec![self.container()],
            volumes: Some(vec![
                Volume {
                    name: "tls".to_owned(),
                    secret: Some(SecretVolumeSource {
                        secret_name: Some(TLS_SECRET.to_owned()),
                        ..SecretVolumeSource::default()
                    }),
                    ..Volume::default()
                },
                // Survives restarts of the container, not the pod.
                Volume {
                    name: SPOOL.to_owned(),
                    empty_dir: Some(EmptyDirVolumeSource {
                        size_limit: Some(Quantity("512Mi".to_owned())),
                        ..EmptyDirVolumeSource::default()
                    }),
                    ..Volume::default()
                },
                // Without it the folder is empty, and fills within a minute or two once it is there.
                Volume {
                    name: USER_DATA.to_owned(),
                    config_map: Some(ConfigMapVolumeSource {
                        name: "harbormaster-user-data".to_owned(),
                        optional: Some(true),
                        ..ConfigMapVolumeSource::default()
                    }),
                    ..Volume::default()
                },
            ]),
            ..PodSpec::default()
        }
    }

    fn container(&self) -> Container {
        let mut container = self.plain_container();
        if !self.extra_names.is_empty() {
            let names = self.extra_names.iter().map(ToString::to_string);
            let names = env("TLS_EXTRA_NAMES", &names.collect::<Vec<_>>().join(","));
            container.env.get_or_insert_default().push(names);
        }
        container
    }

    fn plain_container(&self) -> Container {
        Container {
            name: NAME.to_owned(),
            image: Some(self.image.clone()),
            // Every other setting of `serve`, by its name.
            env_from: Some(vec![EnvFromSource {
                config_map_ref: Some(ConfigMapEnvSource {
                    name: NAME.to_owned(),
                    optional: Some(true),
                }),
                ..EnvFromSource::default()
            }]),
            env: Some(vec![
                env("K8S_NAMESPACE", &self.hosts_namespace),
                env("BMH_API_GROUP", &self.hosts.group),
                env("BMH_API_VERSION", &self.hosts.version),
                env("BMH_PLURAL", &self.hosts.plural),
                env("TLS_MODE", "files"),
                env("TLS_CERT_FILE", "/etc/harbormaster/tls/tls.crt"),
                env("TLS_KEY_FILE", "/etc/harbormaster/tls/tls.key"),
                EnvVar {
                    name: "WEBHOOK_SECRET".to_owned(),
                    value_from: Some(EnvVarSource {
                        secret_key_ref: Some(SecretKeySelector {
                            name: "harbormaster-events".to_owned(),
                            key: "WEBHOOK_SECRET".to_owned(),
                            // Without it the pod must not start: it would take unsigned events.
                            optional: Some(false),
                        }),
                        ..EnvVarSource::default()
                    }),
                    ..EnvVar::default()
                },
            ]),
            ports: Some(vec![port("https", 5001), port("admin", 8080)]),
            // Only a program that hangs for a minute is helped by a restart.
            liveness_probe: Some(Probe {
                failure_threshold: Some(6),
                ..probe("/livez")
            }),
            readiness_probe: Some(Probe {
                period_seconds: Some(5),
                ..probe("/readyz")
            }),
            // No limit of processor time: what is throttled answers too late.
            resources: Some(ResourceRequirements {
                requests: Some(quantities(&[("cpu", "50m"), ("memory", "64Mi")])),
                limits: Some(quantities(&[("memory", "512Mi")])),
                ..ResourceRequirements::default()
            }),
            security_context: Some(SecurityContext {
                allow_privilege_escalation: Some(false),
                read_only_root_filesystem: Some(true),
                capabilities: Some(Capabilities {
                    drop: Some(vec!["ALL".to_owned()]),
                    ..Capabilities::default()
                }),
                ..SecurityContext::default()
            }),
            volume_mounts: Some(vec![
                VolumeMount {
                    name: "tls".to_owned(),
                    mount_path: "/etc/harbormaster/tls".to_owned(),
                    read_only: Some(true),
                    ..VolumeMount::default()
                },
                VolumeMount {
                    name: SPOOL.to_owned(),
                    mount_path: "/var/lib/harbormaster".to_owned(),
                    ..VolumeMount::default()
                },
                // A folder: the kubelet never renews what is mounted by `subPath`.
                VolumeMount {
                    name: USER_DATA.to_owned(),
                    mount_path: "/etc/harbormaster/user-data".to_owned(),
                    read_only: Some(true),
                    ..VolumeMount::default()
                },
            ]),
            ..Container::default()
        }
    }
}

/// A certificate that the sender trusts already, which it is shown by the name that it asks for.
/// Its Secret must be there before the pods are: without it, each event would be lost silently.
pub(super) fn events_tls() -> Component {
    let pod = json!({
        "containers": [{
            "name": NAME,
            "env": [
                {"name": "EVENTS_TLS_CERT_FILE", "value": format!("{EVENTS_TLS_FOLDER}/tls.crt")},
                {"name": "EVENTS_TLS_KEY_FILE", "value": format!("{EVENTS_TLS_FOLDER}/tls.key")},
            ],
            "volumeMounts": [
                {"name": EVENTS_TLS, "mountPath": EVENTS_TLS_FOLDER, "readOnly": true},
            ],
        }],
        "volumes": [{"name": EVENTS_TLS, "secret": {"secretName": "harbormaster-events-tls"}}],
    });
    Component {
        parts: Vec::new(),
        patches: vec![pod_patch("certificate.yaml", &pod)],
    }
}

/// Whose client certificates API servers must present. Its ConfigMap must be there before the pods are:
/// without it, everybody would be let in.
pub(super) fn client_ca() -> Component {
    let pod = json!({
        "containers": [{
            "name": NAME,
            "env": [{"name": "CLIENT_CA_FILE", "value": format!("{CLIENT_CA_FOLDER}/ca.crt")}],
            "volumeMounts": [
                {"name": CLIENT_CA, "mountPath": CLIENT_CA_FOLDER, "readOnly": true},
            ],
        }],
        "volumes": [{"name": CLIENT_CA, "configMap": {"name": "harbormaster-client-ca"}}],
    });
    Component {
        parts: Vec::new(),
        patches: vec![pod_patch("client-ca.yaml", &pod)],
    }
}

/// A change of the pods, whatever runs them.
pub(super) fn pod_patch(file: &'static str, pod: &Value) -> Patch {
    Patch {
        file,
        kinds: KINDS,
        name: NAME.to_owned(),
        change: json!({"spec": {"template": {"spec": pod}}}),
    }
}

fn env(name: &str, value: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        value_from: None,
    }
}

fn port(name: &str, number: i32) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        ..ContainerPort::default()
    }
}

fn probe(path: &str) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String("admin".to_owned()),
            ..HTTPGetAction::default()
        }),
        timeout_seconds: Some(5),
        ..Probe::default()
    }
}

fn selector() -> LabelSelector {
    LabelSelector {
        match_labels: Some(labels()),
        ..LabelSelector::default()
    }
}

/// Over nodes and zones, each generation of pods for itself: counted among the old ones that
/// an update is about to remove, the new ones could end on one node.
fn spread(generation: &str) -> Vec<TopologySpreadConstraint> {
    let over = |key: &str| TopologySpreadConstraint {
        topology_key: key.to_owned(),
        max_skew: 1,
        // One node is better than none.
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector()),
        match_label_keys: Some(vec![generation.to_owned()]),
        ..TopologySpreadConstraint::default()
    };
    vec![
        over("kubernetes.io/hostname"),
        over("topology.kubernetes.io/zone"),
    ]
}

fn quantities(pairs: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    pairs
        .iter()
        .map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())))
        .collect()
}

/// Either may be what runs the pods.
pub(super) const KINDS: &[&str] = &["Deployment", "StatefulSet"];

/// `DRAIN_DELAY` (10 s by default), the drain of at most 45 s, and the rest for the spool.
const GRACE_PERIOD: i64 = 60;

const SPOOL: &str = "spool";

const USER_DATA: &str = "user-data";

const CLIENT_CA: &str = "client-ca";

const CLIENT_CA_FOLDER: &str = "/etc/harbormaster/client-ca";

const EVENTS_TLS: &str = "events-tls";

const EVENTS_TLS_FOLDER: &str = "/etc/harbormaster/events-tls";
