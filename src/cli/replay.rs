//! `replay`: a saved review through the program's own hooks, to see what they would answer.
//!
//! Offline: nobody has rights that would have to be asked for (break-glass, Secrets), and no
//! host is taken.

use std::io::Write;

use anyhow::{Context as _, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use serde_json::{Value, json};

use super::offline::{Hooks, documents};
use crate::{config::HostArgs, manifests::NAMESPACE};

/// Run a saved AdmissionReview or ConversionReview through this program's hooks
#[derive(Args, Debug)]
pub(super) struct Replay {
    /// The review, YAML or JSON; `-`: stdin
    #[arg(default_value = "-")]
    file: String,

    /// The namespace of the installation, whose own user the hooks let through
    #[arg(long, default_value = NAMESPACE)]
    namespace: String,

    #[command(flatten)]
    hosts: HostArgs,
}

impl Replay {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let hooks = Hooks::new(&self.namespace, &self.hosts)?;
        for review in documents(&self.file)? {
            match review["kind"].as_str() {
                Some("AdmissionReview") => admission(&hooks, review)?,
                Some("ConversionReview") => {
                    let reply = hooks.ask("/convert", &review)?;
                    show("/convert", &reply.context("no hook converts this kind")?)?;
                }
                _ => bail!(
                    "{} is neither an AdmissionReview nor a ConversionReview: save a request \
                     as the API server sent it",
                    self.file
                ),
            }
        }
        Ok(())
    }
}

/// In the API server's order: what mutation made is what validation sees.
fn admission(hooks: &Hooks, mut review: Value) -> anyhow::Result<()> {
    let mut is_called = false;
    if let Some(reply) = hooks.ask("/mutate", &review)? {
        is_called = true;
        show("/mutate", &reply)?;
        if let Some(patch) = reply["response"]["patch"].as_str() {
            let patch = STANDARD.decode(patch).context("the patch is no base64")?;
            let patch: json_patch::Patch = serde_json::from_slice(&patch)?;
            let object = &mut review["request"]["object"];
            json_patch::patch(object, &patch).context("the patch doesn't fit the object")?;
            show("the patched object", object)?;
        }
        if reply["response"]["allowed"] != json!(true) {
            return Ok(());
        }
    }
    if let Some(reply) = hooks.ask("/validate", &review)? {
        is_called = true;
        show("/validate", &reply)?;
    }
    if !is_called {
        bail!("no hook is called for a review of this kind");
    }
    Ok(())
}

fn show(what: &str, value: &Value) -> anyhow::Result<()> {
    let text = serde_saphyr::to_string(value)?;
    std::io::stdout()
        .write_all(format!("---\n# {what}\n{text}").as_bytes())
        .context("can't print")
}
