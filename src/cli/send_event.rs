//! `send-event`: the event processor in a command, for operators to test an installation.
//!
//! Builds the body as the chosen sender would, signs its bytes, posts it once, waits for the
//! answer, and shows it. Trusts what the sender would be told to trust.

mod body;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use axum::body::Body;
use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use jiff::{SignedDuration, Timestamp};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

use self::body::{Booking, Resource, Shape, Told, User};
use super::serve::{install_crypto, runtime};
use crate::events::signature::{SIGNATURE_HEADER, sign};

/// Build, sign and post an event, as the event processor does
#[derive(Args, Debug)]
pub(super) struct SendEvent {
    /// Where to post it
    #[arg(
        long,
        env = "HARBORMASTER_URL",
        default_value = "https://localhost:5001/webhook"
    )]
    url: String,

    /// The CA that the receiver's certificate comes from, PEM
    #[arg(long, env = "HARBORMASTER_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// A file with the secret to sign with; without it, the event is not signed
    #[arg(long, env = "HARBORMASTER_SECRET_FILE", value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// The event's type: EVENT_START, EVENT_END, or any other
    #[arg(long = "type", value_name = "TYPE")]
    event_type: String,

    /// The booked resource's name; several in a batch
    #[arg(long, required = true)]
    resource: Vec<String>,

    /// The resource's id in the portal
    #[arg(long, default_value_t = 1)]
    resource_id: i64,

    /// The resource's type in the portal
    #[arg(long, default_value = "Server")]
    resource_type: String,

    /// The booking's id; further ones of a batch count on from it
    #[arg(long, default_value = "101")]
    event_id: String,

    /// The id of the portal's webhook that this would be
    #[arg(long, default_value_t = 7)]
    webhook_id: i64,

    /// When the event is sent, RFC 3339 [default: now]
    #[arg(long)]
    timestamp: Option<Timestamp>,

    /// When the booking begins, RFC 3339 [default: when it is sent]
    #[arg(long)]
    start: Option<Timestamp>,

    /// When the booking ends, RFC 3339 [default: two hours after its start]
    #[arg(long)]
    end: Option<Timestamp>,

    /// The user's id in the portal
    #[arg(long, default_value = "00000000-0000-4000-8000-000000000001")]
    user_id: String,

    /// The user's name
    #[arg(long, default_value = "mario.rossi")]
    username: String,

    /// The user's mail address
    #[arg(long)]
    email: Option<String>,

    /// The user's public SSH key
    #[arg(long)]
    ssh_key: Option<String>,

    /// The booking's custom parameters: a JSON object, as text
    #[arg(long, value_name = "JSON")]
    parameters: Option<String>,

    /// The form of the body: whose, and of which version
    #[arg(long, value_enum, default_value_t = Shape::Flat)]
    shape: Shape,

    /// Print the body and its signature instead of posting it
    #[arg(long)]
    dry_run: bool,
}

impl SendEvent {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let body = self.body(Timestamp::now())?;
        let signature = match &self.secret_file {
            Some(file) => {
                let text = fs::read_to_string(file)
                    .with_context(|| format!("--secret-file {}", file.display()))?;
                Some(sign(&text, body.as_bytes()))
            }
            None => None,
        };
        if self.dry_run {
            say(&format!(
                "{SIGNATURE_HEADER}: {}\n\n{body}",
                signature.as_deref().unwrap_or("none")
            ));
            return Ok(());
        }
        install_crypto();
        runtime()?.block_on(self.post(body, signature))
    }

    fn body(&self, now: Timestamp) -> anyhow::Result<String> {
        let timestamp = self.timestamp.unwrap_or(now);
        let start = self.start.unwrap_or(timestamp);
        let end = match self.end {
            Some(end) => end,
            None => start.checked_add(TWO_HOURS).context("--start")?,
        };
        let bookings = self.resource.iter().zip(0..).map(|(name, n)| Booking {
            event_id: nth_id(&self.event_id, n),
            title: "Sent by hand",
            description: None,
            start,
            end,
            custom_parameters: self.parameters.as_deref(),
            resource: Resource {
                id: self.resource_id.saturating_add(n),
                name,
                kind: &self.resource_type,
                specs: "unknown",
                location: "unknown",
            },
            site_id: "site-1",
            site_name: None,
        });
        self.shape.body(&Told {
            event_type: &self.event_type,
            timestamp,
            webhook_id: self.webhook_id,
            user: User {
                user_id: &self.user_id,
                username: Some(&self.username),
                email: self.email.as_deref(),
                ssh_public_key: self.ssh_key.as_deref(),
            },
            bookings: bookings.collect(),
        })
    }

    async fn post(&self, body: String, signature: Option<String>) -> anyhow::Result<()> {
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(
                rustls::ClientConfig::builder()
                    .with_root_certificates(self.roots()?)
                    .with_no_client_auth(),
            )
            .https_or_http()
            .enable_http1()
            .build();
        let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
        let mut request =
            axum::http::Request::post(&self.url).header("content-type", "application/json");
        if let Some(signature) = signature {
            request = request.header(SIGNATURE_HEADER, signature);
        }
        let request = request
            .body(Full::new(Bytes::from(body)))
            .with_context(|| format!("--url {}", self.url))?;
        let answer = tokio::time::timeout(DEADLINE, async {
            let (head, body) = client.request(request).await?.into_parts();
            let body = Limited::new(Body::new(body), ANSWER_LIMIT).collect().await;
            let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
            anyhow::Ok((head.status, String::from_utf8_lossy(&body).into_owned()))
        });
        let (status, text) = answer
            .await
            .with_context(|| format!("no answer within {} s", DEADLINE.as_secs()))?
            .with_context(|| format!("can't post to {}", self.url))?;
        say(&format!("{} {text}", status.as_u16()));
        if !status.is_success() {
            bail!("the event was not taken");
        }
        Ok(())
    }

    fn roots(&self) -> anyhow::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        let Some(file) = &self.ca_file else {
            if self.url.starts_with("https:") {
                bail!("--ca-file is needed to trust an https URL");
            }
            return Ok(roots);
        };
        let read = CertificateDer::pem_file_iter(file);
        for certificate in read.with_context(|| format!("--ca-file {}", file.display()))? {
            let certificate = certificate.with_context(|| file.display().to_string())?;
            roots
                .add(certificate)
                .with_context(|| file.display().to_string())?;
        }
        Ok(roots)
    }
}

/// The ids of a batch's bookings, each another.
fn nth_id(first: &str, n: i64) -> String {
    match first.parse::<i64>() {
        _ if n == 0 => first.to_owned(),
        Ok(first) => first.saturating_add(n).to_string(),
        Err(_) => format!("{first}-{n}"),
    }
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
fn say(text: &str) {
    println!("{text}");
}

const TWO_HOURS: SignedDuration = SignedDuration::from_hours(2);

const DEADLINE: Duration = Duration::from_secs(10);

const ANSWER_LIMIT: usize = 64 * 1024;
