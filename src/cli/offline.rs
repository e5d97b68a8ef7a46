//! The program's own hooks without a server: a review goes in as it would over HTTP, and the
//! reply comes out. Called by `convert` and `replay`, so that both say what `serve` would.

use anyhow::{Context as _, bail};
use axum::{Router, body::Body, http::Request};
use http_body_util::BodyExt;
use serde_json::Value;
use tower::ServiceExt;

use super::serve::runtime;
use crate::{config::HostArgs, manifests::NAME, webhooks};

/// The hooks, as an installation in a namespace has them.
pub(super) struct Hooks {
    router: Router,
    runtime: tokio::runtime::Runtime,
}

impl Hooks {
    pub(super) fn new(namespace: &str, hosts: &HostArgs) -> anyhow::Result<Self> {
        let own_user = format!("system:serviceaccount:{namespace}:{NAME}");
        let registered = webhooks::offline(&hosts.resource(), own_user, hosts.operator_users())?;
        Ok(Self {
            router: registered.router(),
            runtime: runtime()?,
        })
    }

    /// The reply to a review; `None` if no hook is there for its kind.
    pub(super) fn ask(&self, path: &str, review: &Value) -> anyhow::Result<Option<Value>> {
        let request = Request::post(path)
            .header("content-type", "application/json")
            .body(Body::from(review.to_string()))?;
        let (status, body) = self.runtime.block_on(async {
            let answer = self.router.clone().oneshot(request).await?;
            let status = answer.status();
            anyhow::Ok((status, answer.into_body().collect().await?.to_bytes()))
        })?;
        let reply: Value = serde_json::from_slice(&body)
            .with_context(|| format!("{path} answered {status} without JSON"))?;
        if status.is_success() {
            return Ok(Some(reply));
        }
        if status.as_u16() == 404 {
            return Ok(None);
        }
        bail!("{path}: {}", reply["message"].as_str().unwrap_or("failed"));
    }
}

/// The documents of a file, or of stdin for `-`: YAML, of which JSON is a part.
pub(super) fn documents(file: &str) -> anyhow::Result<Vec<Value>> {
    let text = match file {
        "-" => std::io::read_to_string(std::io::stdin()).context("can't read stdin")?,
        file => std::fs::read_to_string(file).with_context(|| file.to_owned())?,
    };
    if let Ok(whole) = serde_json::from_str(&text) {
        // As it is: YAML would take liberties with its numbers.
        return Ok(vec![whole]);
    }
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(&text).with_context(|| format!("{file} is not YAML"))?;
    let there = documents.into_iter().filter(|document| !document.is_null());
    Ok(there.collect())
}
