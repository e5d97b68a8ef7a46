//! Where a webhook is to be found. Used by `refused` for both sorts of webhooks.

use k8s_openapi::{
    ByteString, api::admissionregistration::v1 as admission,
    apiextensions_apiserver::pkg::apis::apiextensions::v1 as extensions,
};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{Findings, Severity};
use crate::names::is_subdomain;

/// Of either API group, each of which has types of its own for it.
pub(super) struct Client<'a> {
    url: Option<&'a str>,
    service: Option<Service<'a>>,
    ca_bundle: Option<&'a ByteString>,
}

struct Service<'a> {
    namespace: &'a str,
    name: &'a str,
    path: Option<&'a str>,
    port: Option<i32>,
}

macro_rules! clients {
    ($($group:ident)+) => {$(
        impl<'a> From<&'a $group::WebhookClientConfig> for Client<'a> {
            fn from(config: &'a $group::WebhookClientConfig) -> Self {
                Self {
                    url: config.url.as_deref(),
                    service: config.service.as_ref().map(|service| Service {
                        namespace: &service.namespace,
                        name: &service.name,
                        path: service.path.as_deref(),
                        port: service.port,
                    }),
                    ca_bundle: config.ca_bundle.as_ref(),
                }
            }
        }
    )+};
}

clients! { admission extensions }

pub(super) fn check(subject: &str, client: &Client<'_>, findings: &mut Findings) {
    match (client.url, &client.service) {
        (Some(url), None) => check_url(subject, url, findings),
        (None, Some(service)) => check_service(subject, service, findings),
        (Some(_), Some(_)) => findings.error(
            "A4",
            subject,
            "it has both a url and a service",
            "keep one of them",
        ),
        (None, None) => findings.error(
            "A4",
            subject,
            "it has neither a url nor a service",
            "set one of them",
        ),
    }
    check_ca_bundle(subject, client.ca_bundle, findings);
}

fn check_url(subject: &str, url: &str, findings: &mut Findings) {
    let Ok(uri) = url.parse::<http::Uri>() else {
        return findings.error("A5", subject, format!("{url:?} is no url"), URL_FORM);
    };
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    let flaw = if uri.scheme_str() != Some("https") {
        "does not begin with https://"
    } else if uri.host().is_none_or(str::is_empty) {
        "has no host"
    } else if authority.contains('@') {
        "names a user"
    } else if uri.query().is_some() {
        "has a query"
    } else if url.contains('#') {
        "has a fragment"
    } else {
        ""
    };
    if !flaw.is_empty() {
        findings.error("A5", subject, format!("{url:?} {flaw}"), URL_FORM);
    }
    if uri.path() != "/" && uri.path().ends_with('/') {
        findings.add(
            "A7",
            Severity::Warning,
            subject,
            "the path ends in '/', which the API server drops when it calls",
            "drop it, and serve the path without",
        );
    }
}

fn check_service(subject: &str, service: &Service<'_>, findings: &mut Findings) {
    for (what, name) in [("namespace", service.namespace), ("name", service.name)] {
        if name.is_empty() {
            findings.error(
                "A6",
                subject,
                format!("the service has no {what}"),
                format!("set clientConfig.service.{what}"),
            );
        }
    }
    if let Some(port) = service.port.filter(|port| !(1..=65_535).contains(port)) {
        findings.error(
            "A6",
            subject,
            format!("the service's port is {port}"),
            "the Service's own port, 1 to 65535; without one it is 443",
        );
    }
    let Some(path) = service.path.filter(|path| *path != "/") else {
        return;
    };
    let segments = path
        .strip_prefix('/')
        .map(|path| path.strip_suffix('/').unwrap_or(path));
    if !segments.is_some_and(|segments| segments.split('/').all(is_subdomain)) {
        findings.error(
            "A7",
            subject,
            format!("the path {path:?} has a segment that is not a DNS subdomain"),
            "begin with '/', and use lower-case letters, digits, '-' and '.' between slashes",
        );
    }
}

fn check_ca_bundle(subject: &str, bundle: Option<&ByteString>, findings: &mut Findings) {
    let Some(ByteString(pem)) = bundle.filter(|bundle| !bundle.0.is_empty()) else {
        return;
    };
    let mut certificates = CertificateDer::pem_slice_iter(pem).peekable();
    if certificates.peek().is_none() || certificates.any(|certificate| certificate.is_err()) {
        findings.error(
            "A15",
            subject,
            "the caBundle is not PEM with at least one certificate: every call will fail",
            "put the CA's certificate there, as PEM that was base64-encoded once",
        );
    }
}

const URL_FORM: &str = "write https://HOST:PORT/PATH";
