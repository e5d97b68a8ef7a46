//! Where the API server finds the webhooks. Given by the program, used by `configuration`.

use k8s_openapi::{
    ByteString, api::admissionregistration::v1 as admission,
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as extensions,
};

/// Where the API server finds the webhooks, and whom it trusts there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A Service of the cluster. The serving certificate must be good for `NAME.NAMESPACE.svc`.
    Service {
        /// The Service's namespace.
        namespace: String,
        /// The Service's name.
        name: String,
        /// The Service's port, not the container's.
        port: u16,
        /// PEM of the CAs that the serving certificate may come from; several while they rotate.
        ca_bundle: Option<String>,
    },
    /// A URL, for webhooks outside of the cluster.
    Url {
        /// `https://HOST:PORT`, to which each route is appended; no query, fragment or user.
        base: String,
        /// PEM of the CAs that the serving certificate may come from; several while they rotate.
        ca_bundle: Option<String>,
    },
}

/// Each API group has types of its own for it.
macro_rules! client_configs {
    ($($group:ident $function:ident)+) => {
        impl Target {$(
            pub(super) fn $function(&self, route: &str) -> $group::WebhookClientConfig {
                let service = self.service();
                $group::WebhookClientConfig {
                    ca_bundle: self.ca_bundle(),
                    service: service.map(|(namespace, name, port)| $group::ServiceReference {
                        namespace,
                        name,
                        port: Some(port),
                        path: Some(route.to_owned()),
                    }),
                    url: self.url(route),
                }
            }
        )+}
    };
}

client_configs! {
    admission admission
    extensions conversion
}

impl Target {
    fn ca_bundle(&self) -> Option<ByteString> {
        let (Self::Service { ca_bundle, .. } | Self::Url { ca_bundle, .. }) = self;
        ca_bundle
            .as_ref()
            .map(|pem| ByteString(pem.clone().into_bytes()))
    }

    fn service(&self) -> Option<(String, String, i32)> {
        match self {
            Self::Service {
                namespace,
                name,
                port,
                ..
            } => Some((namespace.clone(), name.clone(), i32::from(*port))),
            Self::Url { .. } => None,
        }
    }

    fn url(&self, route: &str) -> Option<String> {
        match self {
            Self::Service { .. } => None,
            Self::Url { base, .. } => Some(format!("{}{route}", base.trim_end_matches('/'))),
        }
    }
}
