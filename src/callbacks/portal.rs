//! The portal's two endpoints, over HTTP: signed as the portal signs, each call with a
//! deadline, no redirects followed.
//!
//! An answer's body is never read: the webhook log's holds the webhook's secret.

use std::{fmt, io, time::Duration};

use axum::http::{Request, StatusCode, Uri, header, uri::Scheme};
use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{ClientConfig, RootCertStore};

use super::message::Message;
use crate::events::signature::{SIGNATURE_HEADER, Secrets};

/// One of the portal's addresses, and how long it may take.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Where to post.
    pub uri: Uri,
    /// How long an answer may take.
    pub timeout: Duration,
}

/// Where the portal listens, if it does.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    /// For its administrators.
    pub log: Option<Endpoint>,
    /// For its users.
    pub notifications: Option<Endpoint>,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Channel {
    Log,
    Notifications,
}

/// The portal. Clones share its connections.
#[derive(Clone)]
pub struct Portal {
    endpoints: Endpoints,
    secrets: Secrets,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// No portal can be trusted.
#[derive(Debug, thiserror::Error)]
#[error(
    "no certificate of a CA is installed to check the portal's with: set SSL_CERT_FILE to a file \
     of them"
)]
pub struct UntrustingPortal(#[source] io::Error);

/// The portal was not told.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotTold {
    #[error("the portal can't be reached ({0})")]
    Connection(#[source] hyper_util::client::legacy::Error),
    #[error("this replica's term ends")]
    Ending,
    #[error("WEBHOOK_SECRETS_DIR has no file named {0} to sign with")]
    Secret(i64),
    #[error("the portal answered {}", .0.as_u16())]
    Status(StatusCode),
    #[error("the portal did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
}

impl Portal {
    /// A portal at these addresses. What is posted is signed with the webhook's secret, as
    /// it is then.
    ///
    /// # Errors
    ///
    /// If an address is `https`, and this machine trusts no CA.
    pub fn new(endpoints: Endpoints, secrets: Secrets) -> Result<Self, UntrustingPortal> {
        let builder = HttpsConnectorBuilder::new();
        let is_https = |endpoint: &Endpoint| endpoint.uri.scheme() == Some(&Scheme::HTTPS);
        let builder = if endpoints.all().any(is_https) {
            builder.with_native_roots().map_err(UntrustingPortal)?
        } else {
            builder.with_tls_config(
                ClientConfig::builder()
                    .with_root_certificates(RootCertStore::empty())
                    .with_no_client_auth(),
            )
        };
        let connector = builder.https_or_http().enable_http1().build();
        Ok(Self {
            endpoints,
            secrets,
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// Whether there is nobody to tell.
    pub(super) fn is_mute(&self) -> bool {
        self.endpoints.all().next().is_none()
    }

    pub(super) fn hears(&self, channel: Channel) -> bool {
        self.endpoints.at(channel).is_some()
    }

    pub(super) async fn post(&self, message: &Message) -> Result<(), NotTold> {
        let Some(endpoint) = self.endpoints.at(message.channel) else {
            return Ok(());
        };
        let body = message.body.as_bytes();
        let signature = self
            .secrets
            .signature_of(message.webhook_id, body)
            .ok_or(NotTold::Secret(message.webhook_id))?;
        let request = Request::post(endpoint.uri.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::USER_AGENT, USER_AGENT)
            .header(SIGNATURE_HEADER, signature)
            .body(Full::from(message.body.clone()))
            .expect("a URI that was parsed and a signature in base64 make a request");
        let answer = tokio::time::timeout(endpoint.timeout, self.client.request(request)).await;
        let answer = answer.map_err(|_| NotTold::Timeout(endpoint.timeout))?;
        let status = answer.map_err(NotTold::Connection)?.status();
        if status.is_success() {
            Ok(())
        } else {
            Err(NotTold::Status(status))
        }
    }
}

impl Endpoints {
    fn all(&self) -> impl Iterator<Item = &Endpoint> {
        self.log.iter().chain(&self.notifications)
    }

    fn at(&self, channel: Channel) -> Option<&Endpoint> {
        match channel {
            Channel::Log => self.log.as_ref(),
            Channel::Notifications => self.notifications.as_ref(),
        }
    }
}

impl Channel {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Notifications => "notifications",
        }
    }
}

impl NotTold {
    /// Whether the same message will be refused whenever it is posted. A signature that
    /// doesn't hold (401, 403) may do so once a secret was exchanged, and 5xx is also what
    /// the portal says while it can't reach its own parts.
    pub(super) fn is_final(&self) -> bool {
        match self {
            Self::Status(status) => {
                !status.is_server_error() && !matches!(status.as_u16(), 401 | 403 | 408 | 425 | 429)
            }
            _ => false,
        }
    }
}

impl fmt::Debug for Portal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Portal").finish_non_exhaustive()
    }
}

const USER_AGENT: &str = concat!("harbormaster/", env!("CARGO_PKG_VERSION"));
