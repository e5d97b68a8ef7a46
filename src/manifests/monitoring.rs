//! The component `monitoring`: for the Prometheus operator.

use serde_json::{Value, json};

use super::{
    Installation, ManifestError,
    component::{Component, Part},
    labels, network, value,
};

impl Installation {
    pub(super) fn monitoring(&self) -> Result<Component, ManifestError> {
        let mut service = self.service_of(
            METRICS,
            network::named("admin"),
            network::port("admin", 8080),
        );
        // Each replica counts for itself.
        if let Some(spec) = &mut service.spec {
            spec.cluster_ip = Some("None".to_owned());
        }
        let policy = self.admit(
            METRICS,
            network::named("admin"),
            "harbormaster.dev/allow-metrics",
        );
        let object = |kind: &str, spec: Value| {
            Ok(json!({
                "apiVersion": "monitoring.coreos.com/v1",
                "kind": kind,
                "metadata": self.named(&self.namespace),
                "spec": spec,
            }))
        };
        let rules: Value = serde_saphyr::from_str(ALERTS)?;
        let objects = [
            value(&service),
            value(&policy),
            object(
                "ServiceMonitor",
                json!({
                    // The dashboard's variable; else it were the Service's name.
                    "jobLabel": "app.kubernetes.io/name",
                    "selector": {"matchLabels": labels()},
                    "endpoints": [{"port": "admin", "path": "/metrics"}],
                }),
            ),
            object("PrometheusRule", rules),
        ];
        Ok(Component {
            parts: vec![Part::of("monitoring.yaml", objects)?],
            patches: Vec::new(),
        })
    }
}

const METRICS: &str = "harbormaster-metrics";

const ALERTS: &str = include_str!("../../monitoring/alerts.yaml");
