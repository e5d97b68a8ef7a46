//! How a user reaches the API server.
//!
//! Owns the two forms of the same knowledge (address, CA, client certificate): a
//! configuration of a [`kube::Client`], and a kubeconfig file for other programs.
//! Both carry their PEM data inline, so they depend on no other file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use kube::Config;
use serde_json::json;

use crate::authority::{Authority, Identity};

/// The address of an API server and the CA that vouches for it.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    url: String,
    uri: Uri,
    ca_pem: String,
    ca_der: Vec<u8>,
}

impl Access {
    /// Access to the API server on a loopback port.
    pub(crate) fn new(port: u16, authority: &Authority) -> Self {
        let url = format!("https://127.0.0.1:{port}");
        Self {
            uri: url.parse().expect("scheme, address and port are a URI"),
            url,
            ca_pem: authority.pem(),
            ca_der: authority.der(),
        }
    }

    /// The URL of the API server.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// What a client needs to be the user with this identity.
    ///
    /// Nothing comes from the environment, not even a proxy.
    pub(crate) fn config(&self, identity: &Identity) -> Config {
        let mut config = Config::new(self.uri.clone());
        config.root_cert = Some(vec![self.ca_der.clone()]);
        config.auth_info.client_certificate_data = Some(STANDARD.encode(&identity.certificate));
        config.auth_info.client_key_data = Some(STANDARD.encode(&identity.key).into());
        config
    }

    /// The text of a kubeconfig for the user with this identity, which is JSON as
    /// all of YAML may be.
    pub(crate) fn kubeconfig(&self, user: &str, identity: &Identity) -> String {
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": CONTEXT,
            "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user}}],
            "clusters": [{"name": CONTEXT, "cluster": {
                "server": self.url,
                "certificate-authority-data": STANDARD.encode(&self.ca_pem),
            }}],
            "users": [{"name": user, "user": {
                "client-certificate-data": STANDARD.encode(&identity.certificate),
                "client-key-data": STANDARD.encode(&identity.key),
            }}],
        });
        format!("{kubeconfig:#}\n")
    }
}

const CONTEXT: &str = "control-plane";
