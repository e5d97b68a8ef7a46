//! The pods, the Service in front of them, and the certificate that they serve with.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Capabilities, ConfigMapEnvSource, Container, ContainerPort, EmptyDirVolumeSource,
            EnvFromSource, EnvVar, EnvVarSource, HTTPGetAction, PodSecurityContext, PodSpec,
            PodTemplateSpec, Probe, ResourceRequirements, SeccompProfile, SecretKeySelector,
            SecretVolumeSource, SecurityContext, Service, ServicePort, ServiceSpec, Volume,
            VolumeMount,
        },
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use serde_json::json;

use super::{Installation, Manifest, ManifestError, NAME, labels, manifest, yaml};

impl Installation {
    pub(super) fn service(&self) -> Result<Manifest, ManifestError> {
        let service = Service {
            metadata: self.named(&self.namespace),
            spec: Some(ServiceSpec {
                selector: Some(labels()),
                ports: Some(vec![ServicePort {
                    name: Some("https".to_owned()),
                    port: 443,
                    target_port: Some(IntOrString::String("https".to_owned())),
                    ..ServicePort::default()
                }]),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        };
        Ok(manifest("service.yaml", &[yaml(&service)?]))
    }

    pub(super) fn deployment(&self) -> Result<Manifest, ManifestError> {
        let deployment = Deployment {
            metadata: self.named(&self.namespace),
            spec: Some(DeploymentSpec {
                replicas: Some(1),
                selector: LabelSelector {
                    match_labels: Some(labels()),
                    ..LabelSelector::default()
                },
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
        Ok(manifest("deployment.yaml", &[yaml(&deployment)?]))
    }

    fn pod(&self) -> PodSpec {
        PodSpec {
            service_account_name: Some(NAME.to_owned()),
            // A Service called harbormaster would set HARBORMASTER_* in every pod.
            enable_service_links: Some(false),
            termination_grace_period_seconds: Some(60),
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
                        secret_name: Some("harbormaster-tls".to_owned()),
                        ..SecretVolumeSource::default()
                    }),
                    ..Volume::default()
                },
                // Survives restarts of the container, not the pod.
                Volume {
                    name: "spool".to_owned(),
                    empty_dir: Some(EmptyDirVolumeSource {
                        size_limit: Some(Quantity("512Mi".to_owned())),
                        ..EmptyDirVolumeSource::default()
                    }),
                    ..Volume::default()
                },
            ]),
            ..PodSpec::default()
        }
    }

    fn container(&self) -> Container {
        Container {
            name: NAME.to_owned(),
            image: Some(format!("{NAME}:{}", env!("CARGO_PKG_VERSION"))),
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
            liveness_probe: Some(probe("/livez")),
            readiness_probe: Some(probe("/readyz")),
            resources: Some(ResourceRequirements {
                requests: Some(quantities(&[("cpu", "50m"), ("memory", "32Mi")])),
                limits: Some(quantities(&[("memory", "256Mi")])),
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
                    name: "spool".to_owned(),
                    mount_path: "/var/lib/harbormaster".to_owned(),
                    ..VolumeMount::default()
                },
            ]),
            ..Container::default()
        }
    }

    /// A certificate of our own CA, made and renewed by cert-manager.
    pub(super) fn certificate(&self) -> Result<Manifest, ManifestError> {
        let metadata = self.named(&self.namespace);
        let issuer = json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "Issuer",
            "metadata": metadata,
            "spec": {"selfSigned": {}},
        });
        let service = format!("{NAME}.{}.svc", self.namespace);
        let certificate = json!({
            "apiVersion": "cert-manager.io/v1",
            "kind": "Certificate",
            "metadata": metadata,
            "spec": {
                "secretName": "harbormaster-tls",
                "dnsNames": [service, format!("{service}.cluster.local")],
                "issuerRef": {"kind": "Issuer", "name": NAME},
                "privateKey": {"algorithm": "ECDSA", "rotationPolicy": "Always"},
            },
        });
        let documents = [yaml(&issuer)?, yaml(&certificate)?];
        Ok(manifest("certificate.yaml", &documents))
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
        ..Probe::default()
    }
}

fn quantities(pairs: &[(&str, &str)]) -> BTreeMap<String, Quantity> {
    pairs
        .iter()
        .map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())))
        .collect()
}
