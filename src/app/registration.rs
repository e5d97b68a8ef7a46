//! As what we are registered, if we do it ourselves: the settings, as the registrar takes them.

use std::collections::BTreeSet;

use kube::discovery::ApiResource;
use kube_webhook::Target;

use crate::{
    certificates::Secrets,
    config::{AltName, Registration, TlsMode},
    manifests::{Installation, NAME, service_names},
    registration::Roots,
};

/// By which name API servers are to call us.
pub(super) fn server_name(registration: &Registration, own_namespace: &str) -> AltName {
    match &registration.url {
        Some((_, name)) => name.clone(),
        None => {
            let [name, _] = service_names(own_namespace);
            name
        }
    }
}

/// What `generate` would be told.
pub(super) fn installation(
    registration: &Registration,
    own_namespace: &str,
    hosts_namespace: &str,
    hosts: &ApiResource,
) -> Installation {
    let target = match &registration.url {
        Some((base, _)) => Target::Url {
            base: base.clone(),
            ca_bundle: None,
        },
        None => Target::Service {
            namespace: own_namespace.to_owned(),
            name: NAME.to_owned(),
            port: 443,
            ca_bundle: None,
        },
    };
    Installation {
        namespace: own_namespace.to_owned(),
        hosts_namespace: hosts_namespace.to_owned(),
        hosts: hosts.clone(),
        target,
        // Of the pods, which aren't ours to apply.
        image: String::new(),
        extra_names: Vec::new(),
        extras: BTreeSet::new(),
    }
}

/// Whom API servers are to trust; `made_up`: the CA of this run.
pub(super) fn roots(
    registration: &Registration,
    mode: &TlsMode,
    made_up: Option<String>,
    own: &Secrets,
) -> Roots {
    match (mode, &registration.ca_file) {
        (TlsMode::SelfManaged { .. }, _) => Roots::SelfManaged(Box::new(own.clone())),
        (TlsMode::Ephemeral { .. }, _) => Roots::Ephemeral(made_up.unwrap_or_default()),
        (TlsMode::Files { .. }, Some(file)) => Roots::File {
            file: file.clone(),
            is_named: true,
        },
        // Where cert-manager's Secret has it.
        (TlsMode::Files { chain, .. }, None) => Roots::File {
            file: chain.with_file_name("ca.crt"),
            is_named: false,
        },
    }
}
