//! How a call gets to the webhook: HTTP/1.1 over TLS with a pool, or straight into a router. Called by
//! `api_server`.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tower::ServiceExt;

use super::CallError;
use crate::certs::provider;

pub(super) enum Transport {
    Router(Router),
    Tls(Box<Client<HttpsConnector<HttpConnector>, Body>>),
}

impl Transport {
    pub(super) fn tls(ca_bundle: &[u8]) -> Result<Self, CallError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_bundle) {
            let certificate = certificate.map_err(|_| no_client())?;
            roots.add(certificate).map_err(|_| no_client())?;
        }
        if roots.is_empty() {
            return Err(no_client());
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
            .with_safe_default_protocol_versions()
            .map_err(|_| no_client())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // All that the API server offers to Services, and to URLs beyond the loopback.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            // Go's transport doesn't send a POST again when a pooled connection turns out dead.
            .retry_canceled_requests(false)
            .build(HttpsConnector::from((tcp, config)));
        Ok(Self::Tls(Box::new(client)))
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Result<Response<Bytes>, CallError> {
        match self {
            Self::Router(router) => {
                let sent: Result<_, Infallible> = router.clone().oneshot(request).await;
                let response = sent.unwrap_or_else(|never| match never {});
                let (head, body) = response.into_parts();
                let body = body.collect().await.map_err(|error| broken(&error))?;
                Ok(Response::from_parts(head, body.to_bytes()))
            }
            Self::Tls(client) => {
                let response = client
                    .request(request)
                    .await
                    .map_err(|error| broken(&error))?;
                let (head, body) = response.into_parts();
                let body = body.collect().await.map_err(|error| broken(&error))?;
                Ok(Response::from_parts(head, body.to_bytes()))
            }
        }
    }
}

fn broken(error: &dyn std::error::Error) -> CallError {
    CallError::Transport {
        message: crate::fault::chain(error),
    }
}

/// What the API server says of a `caBundle` that isn't PEM: only when it calls, never when it is
/// applied.
fn no_client() -> CallError {
    CallError::Transport {
        message: "could not get REST client: unable to load root certificates".to_owned(),
    }
}

const IDLE: Duration = Duration::from_secs(90);
const IDLE_CONNECTIONS: usize = 25;
