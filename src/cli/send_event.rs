//! `send-event`: the event processor in a command, for operators to test an installation.
//!
//! Builds the body field for field in the sender's order, signs its bytes, posts it once,
//! waits for the answer, and shows it. Trusts what the sender would be told to trust.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, bail};
use axum::body::Body;
use bytes::Bytes;
use clap::{Args, ValueEnum};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use jiff::{SignedDuration, Timestamp};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use serde::Serialize;

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

    /// The booked resource's name
    #[arg(long)]
    resource: String,

    /// The booking's id
    #[arg(long, default_value = "101")]
    event_id: String,

    /// When the booking begins, RFC 3339 [default: now]
    #[arg(long)]
    start: Option<Timestamp>,

    /// When the booking ends, RFC 3339 [default: two hours after its start]
    #[arg(long)]
    end: Option<Timestamp>,

    /// The user's name
    #[arg(long, default_value = "mario.rossi")]
    username: String,

    /// The user's public SSH key
    #[arg(long)]
    ssh_key: Option<String>,

    /// The form of the body
    #[arg(long, value_enum, default_value_t = Shape::Flat)]
    shape: Shape,

    /// Print the body and its signature instead of posting it
    #[arg(long)]
    dry_run: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shape {
    /// What the current processor sends
    Flat,
    /// Type and resource alone
    Minimal,
}

/// In the sender's own order of fields.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Flat<'a> {
    event_type: &'a str,
    timestamp: String,
    event_id: &'a str,
    webhook_id: i64,
    user_id: &'a str,
    username: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh_public_key: Option<&'a str>,
    event_title: &'a str,
    event_start: String,
    event_end: String,
    resource_id: i64,
    resource_name: &'a str,
    resource_type: &'a str,
    resource_specs: &'a str,
    resource_location: &'a str,
    site_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Minimal<'a> {
    event_type: &'a str,
    resource_name: &'a str,
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
        let event_type = &self.event_type;
        let json = match self.shape {
            Shape::Minimal => serde_json::to_string(&Minimal {
                event_type,
                resource_name: &self.resource,
            }),
            Shape::Flat => {
                let start = self.start.unwrap_or(now);
                let end = match self.end {
                    Some(end) => end,
                    None => start
                        .checked_add(SignedDuration::from_hours(2))
                        .context("--start")?,
                };
                serde_json::to_string(&Flat {
                    event_type,
                    timestamp: now.to_string(),
                    event_id: &self.event_id,
                    webhook_id: 7,
                    user_id: "00000000-0000-4000-8000-000000000001",
                    username: &self.username,
                    ssh_public_key: self.ssh_key.as_deref(),
                    event_title: "Sent by hand",
                    event_start: start.to_string(),
                    event_end: end.to_string(),
                    resource_id: 1,
                    resource_name: &self.resource,
                    resource_type: "Server",
                    resource_specs: "unknown",
                    resource_location: "unknown",
                    site_id: "site-1",
                })
            }
        };
        json.context("the event can't be written as JSON")
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

#[expect(clippy::print_stdout, reason = "the command's answer")]
fn say(text: &str) {
    println!("{text}");
}

const DEADLINE: Duration = Duration::from_secs(10);

const ANSWER_LIMIT: usize = 64 * 1024;
