//! The component `cert-manager`: a certificate that cert-manager makes and renews, and the CA
//! bundles that its cainjector writes.

use serde_json::json;

use super::{
    Installation, ManifestError, NAME, TLS_SECRET,
    component::{Component, Part, Patch},
    service_names,
};
use crate::config::AltName;

impl Installation {
    /// A CA of ten years that signs leaves of 90 days. Were the leaf self-signed, each renewal
    /// would change the CA bundle, a minute before the kubelet brings the new leaf.
    pub(super) fn certificate(&self) -> Result<Component, ManifestError> {
        let named = |name: &str| {
            let mut metadata = self.named(&self.namespace);
            metadata.name = Some(name.to_owned());
            metadata
        };
        let object = |kind: &str, name: &str, spec: serde_json::Value| {
            Ok(json!({
                "apiVersion": "cert-manager.io/v1",
                "kind": kind,
                "metadata": named(name),
                "spec": spec,
            }))
        };
        // cert-manager puts a name of either list into a field of its kind, and callers look for an
        // address among the addresses alone.
        let (mut dns_names, mut addresses) = (Vec::new(), Vec::new());
        let service = service_names(&self.namespace);
        for name in service.iter().chain(&self.extra_names) {
            match name {
                AltName::Address(address) => addresses.push(address),
                AltName::Dns(name) => dns_names.push(name),
            }
        }
        let mut leaf = json!({
            "secretName": TLS_SECRET,
            "dnsNames": dns_names,
            "duration": "2160h",
            "issuerRef": {"kind": "Issuer", "name": NAME},
            "privateKey": {"algorithm": "ECDSA", "rotationPolicy": "Always"},
            "usages": ["digital signature", "server auth"],
        });
        if !addresses.is_empty() {
            leaf["ipAddresses"] = json!(addresses);
        }
        let objects = [
            object("Issuer", SELF_SIGNED, json!({"selfSigned": {}})),
            object(
                "Certificate",
                CA,
                json!({
                    "isCA": true,
                    "commonName": "Harbormaster CA",
                    "secretName": CA,
                    "duration": "87600h",
                    "issuerRef": {"kind": "Issuer", "name": SELF_SIGNED},
                    "privateKey": {"algorithm": "ECDSA", "rotationPolicy": "Always"},
                }),
            ),
            object("Issuer", NAME, json!({"ca": {"secretName": CA}})),
            object("Certificate", NAME, leaf),
        ];
        let inject = json!({"metadata": {"annotations": {
            "cert-manager.io/inject-ca-from": format!("{}/{NAME}", self.namespace),
        }}});
        let patch = |file, kinds, name: &str| Patch {
            file,
            kinds,
            name: name.to_owned(),
            change: inject.clone(),
        };
        Ok(Component {
            parts: vec![Part::of("certificate.yaml", objects)?],
            patches: vec![
                patch("inject-into-webhooks.yaml", WEBHOOKS, NAME),
                patch("inject-into-crd.yaml", CRD, "reservations.harbormaster.dev"),
            ],
        })
    }
}

const SELF_SIGNED: &str = "harbormaster-self-signed";

/// Not `harbormaster-ca`, which is our own mode's.
const CA: &str = "harbormaster-cert-manager-ca";

const WEBHOOKS: &[&str] = &[
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
];

const CRD: &[&str] = &["CustomResourceDefinition"];
