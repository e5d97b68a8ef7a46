//! Who reaches the pods, and by which name; and the component `events-http`.

use k8s_openapi::{
    api::{
        core::v1::{Service, ServicePort, ServiceSpec},
        networking::v1::{
            NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
            NetworkPolicySpec,
        },
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use serde_json::json;

use super::{
    Installation, ManifestError, NAME,
    component::{Component, Part},
    labels, value, workload,
};

impl Installation {
    pub(super) fn service(&self) -> Result<Part, ManifestError> {
        let service = self.service_of(NAME, named("https"), port("https", 443));
        Part::of("service.yaml", [value(&service)])
    }

    /// TLS from anywhere: the API server is no pod that could be selected. The probes' port is
    /// the kubelet's alone, whom no policy keeps out; components admit others to theirs.
    /// Nothing is said of what goes out: where the API server and the portal are, is not known
    /// here.
    pub(super) fn network_policy(&self) -> Result<Part, ManifestError> {
        let policy = self.policy(NAME, named("https"), None);
        Part::of("network-policy.yaml", [value(&policy)])
    }

    /// Events over plain HTTP: for a sender in the cluster, or an ingress that ends TLS.
    pub(super) fn events_http(&self, number: u16) -> Result<Component, ManifestError> {
        // By number: the port may also have been set in the ConfigMap.
        let service = self.service_of(EVENTS, IntOrString::Int(number.into()), port("http", 80));
        let policy = self.admit(
            EVENTS,
            IntOrString::Int(number.into()),
            "harbormaster.dev/allow-events",
        );
        let container = json!({
            "name": NAME,
            "env": [{"name": "EVENTS_HTTP_PORT", "value": number.to_string()}],
            "ports": [{"name": "events", "containerPort": number}],
        });
        Ok(Component {
            parts: vec![
                Part::of("events-service.yaml", [value(&service)])?,
                Part::of("events-network-policy.yaml", [value(&policy)])?,
            ],
            patches: vec![workload::pod_patch(
                "events-port.yaml",
                &json!({"containers": [container]}),
            )],
        })
    }

    pub(super) fn service_of(&self, name: &str, target: IntOrString, port: ServicePort) -> Service {
        let mut metadata = self.named(&self.namespace);
        metadata.name = Some(name.to_owned());
        Service {
            metadata,
            spec: Some(ServiceSpec {
                selector: Some(labels()),
                ports: Some(vec![ServicePort {
                    target_port: Some(target),
                    ..port
                }]),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        }
    }

    /// Lets the pods of the namespaces that bear a label reach a port.
    pub(super) fn admit(&self, name: &str, port: IntOrString, label: &str) -> NetworkPolicy {
        let namespaces = LabelSelector {
            match_labels: Some([(label.to_owned(), "true".to_owned())].into()),
            ..LabelSelector::default()
        };
        self.policy(name, port, Some(namespaces))
    }

    fn policy(
        &self,
        name: &str,
        port: IntOrString,
        namespaces: Option<LabelSelector>,
    ) -> NetworkPolicy {
        let mut metadata = self.named(&self.namespace);
        metadata.name = Some(name.to_owned());
        let peers = namespaces.map(|namespaces| {
            vec![NetworkPolicyPeer {
                namespace_selector: Some(namespaces),
                ..NetworkPolicyPeer::default()
            }]
        });
        NetworkPolicy {
            metadata,
            spec: Some(NetworkPolicySpec {
                pod_selector: Some(LabelSelector {
                    match_labels: Some(labels()),
                    ..LabelSelector::default()
                }),
                policy_types: Some(vec!["Ingress".to_owned()]),
                ingress: Some(vec![NetworkPolicyIngressRule {
                    from: peers,
                    ports: Some(vec![NetworkPolicyPort {
                        port: Some(port),
                        ..NetworkPolicyPort::default()
                    }]),
                }]),
                ..NetworkPolicySpec::default()
            }),
        }
    }
}

pub(super) fn port(name: &str, number: i32) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: number,
        ..ServicePort::default()
    }
}

/// A port of the container's, by its name.
pub(super) fn named(port: &str) -> IntOrString {
    IntOrString::String(port.to_owned())
}

/// Where the portal's URL leads, without TLS.
const EVENTS: &str = "harbormaster-events";
