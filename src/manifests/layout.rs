//! The folder that `generate manifests --out` writes, for `kubectl apply -k`:
//!
//! - `base/`: what every installation has,
//! - `components/`: each [`Extra`], to be combined at will in a kustomization of one's own,
//! - `overlays/`: the base with one of them, and with one that cares for the certificate,
//! - `kustomization.yaml`: the base with what was asked for.

use kube_webhook::Registered;
use serde_json::{Value, json};

use super::{
    Extra, Installation, Manifest, ManifestError,
    component::Component,
    workload::{client_ca, events_tls},
};

impl Installation {
    /// The folder's files.
    pub fn tree(&self, registered: &Registered) -> Result<Vec<Manifest>, ManifestError> {
        let mut files = Vec::new();
        let mut names = Vec::new();
        for part in self.base(registered)? {
            names.push(part.file);
            files.push(part.manifest("base/")?);
        }
        files.push(kustomization("base", &json!({"resources": names}))?);
        for extra in self.every_extra() {
            let component = self.component(extra)?;
            let folder = format!("components/{}", extra.name());
            files.extend(component.files(&folder)?);
            if extra == Extra::SelfManaged {
                continue;
            }
            let mut components = vec![extra];
            if extra != Extra::CertManager {
                components.push(Extra::SelfManaged);
            }
            let components = components.iter();
            let components = components.map(|extra| format!("../../components/{}", extra.name()));
            let overlay = json!({
                "resources": ["../../base"],
                "components": components.collect::<Vec<_>>(),
            });
            files.push(kustomization(
                &format!("overlays/{}", extra.name()),
                &overlay,
            )?);
        }
        let asked: Vec<_> = self
            .extras
            .iter()
            .map(|extra| format!("components/{}", extra.name()))
            .collect();
        let mut root = json!({"resources": ["base"]});
        if !asked.is_empty() {
            root["components"] = json!(asked);
        }
        files.push(kustomization("", &root)?);
        for file in &mut files {
            file.yaml.insert_str(0, HEADER);
        }
        Ok(files)
    }

    pub(super) fn component(&self, extra: Extra) -> Result<Component, ManifestError> {
        match extra {
            Extra::CertManager => self.certificate(),
            Extra::ClientCa => Ok(client_ca()),
            Extra::DurableSpool => Ok(self.durable_spool()),
            Extra::EventsHttp { port } => self.events_http(port),
            Extra::EventsTls => Ok(events_tls()),
            Extra::Monitoring => self.monitoring(),
            Extra::Register => self.register(),
            Extra::SelfManaged => self.self_managed(),
        }
    }

    /// Those that were asked for, as they were asked for, and the others.
    fn every_extra(&self) -> Vec<Extra> {
        let mut extras: Vec<_> = self.extras.iter().copied().collect();
        for other in [
            Extra::CertManager,
            Extra::ClientCa,
            Extra::DurableSpool,
            Extra::EventsHttp { port: EVENTS_PORT },
            Extra::EventsTls,
            Extra::Monitoring,
            Extra::Register,
            Extra::SelfManaged,
        ] {
            if !extras.iter().any(|extra| extra.name() == other.name()) {
                extras.push(other);
            }
        }
        extras
    }
}

impl Extra {
    /// Its folder, and its flag of `generate`.
    pub fn name(self) -> &'static str {
        match self {
            Self::CertManager => "cert-manager",
            Self::ClientCa => "client-ca",
            Self::DurableSpool => "durable-spool",
            Self::EventsHttp { .. } => "events-http",
            Self::EventsTls => "events-tls",
            Self::Monitoring => "monitoring",
            Self::Register => "register",
            Self::SelfManaged => "self-managed",
        }
    }
}

impl Component {
    fn files(&self, folder: &str) -> Result<Vec<Manifest>, ManifestError> {
        let mut files = Vec::new();
        let mut own = json!({
            "apiVersion": "kustomize.config.k8s.io/v1alpha1",
            "kind": "Component",
        });
        let names: Vec<_> = self.parts.iter().map(|part| part.file).collect();
        if !names.is_empty() {
            own["resources"] = json!(names);
        }
        for part in &self.parts {
            files.push(part.manifest(&format!("{folder}/"))?);
        }
        let mut patches = Vec::new();
        for patch in &self.patches {
            let target = json!({"kind": patch.kinds.join("|"), "name": patch.name});
            let mut entry = json!({"path": patch.file, "target": target});
            if patch.changes_kind() {
                entry["options"] = json!({"allowKindChange": true});
            }
            patches.push(entry);
            // Kustomize reads it as an object, though it goes by the target alone.
            let mut change = patch.change.clone();
            for (key, text) in [("apiVersion", "v1"), ("kind", patch.kinds[0])] {
                if change.get(key).is_none() {
                    change[key] = json!(text);
                }
            }
            change["metadata"]["name"] = json!(patch.name);
            files.push(Manifest {
                file: format!("{folder}/{}", patch.file),
                yaml: serde_saphyr::to_string(&change)?,
            });
        }
        if !patches.is_empty() {
            own["patches"] = json!(patches);
        }
        files.push(Manifest {
            file: format!("{folder}/kustomization.yaml"),
            yaml: serde_saphyr::to_string(&own)?,
        });
        Ok(files)
    }
}

fn kustomization(folder: &str, fields: &Value) -> Result<Manifest, ManifestError> {
    let mut own = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
    });
    for (key, value) in fields.as_object().into_iter().flatten() {
        own[key] = value.clone();
    }
    let separator = if folder.is_empty() { "" } else { "/" };
    Ok(Manifest {
        file: format!("{folder}{separator}kustomization.yaml"),
        yaml: serde_saphyr::to_string(&own)?,
    })
}

const HEADER: &str = "# Written by `harbormaster generate manifests`.\n";

/// In the container, and only there: the Service has 80.
const EVENTS_PORT: u16 = 5080;
