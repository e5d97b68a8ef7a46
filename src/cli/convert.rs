//! `convert`: Reservation manifests from one version to another, without a cluster.

use std::io::Write;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::offline::{Hooks, documents};
use crate::{api::GROUP, config::HostArgs, manifests::NAMESPACE};

/// Convert Reservation manifests between versions, offline
#[derive(Args, Debug)]
pub(super) struct Convert {
    /// Files of YAML or JSON, with any number of documents and lists; `-` or nothing: stdin
    files: Vec<String>,

    /// The version to convert to
    #[arg(long, default_value = "v1")]
    to: Version,

    #[command(flatten)]
    hosts: HostArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Version {
    /// The flat form
    V1alpha1,
    /// The beta form
    V1beta1,
    /// The stored form
    V1,
}

impl Convert {
    pub(super) fn run(mut self) -> anyhow::Result<()> {
        if self.files.is_empty() {
            self.files.push("-".to_owned());
        }
        let hooks = Hooks::new(NAMESPACE, &self.hosts)?;
        let mut texts = Vec::new();
        for file in &self.files {
            for mut document in documents(file)? {
                self.convert(&hooks, &mut document)
                    .with_context(|| file.clone())?;
                texts.push(serde_saphyr::to_string(&document)?);
            }
        }
        std::io::stdout()
            .write_all(texts.join("---\n").as_bytes())
            .context("can't print")
    }

    /// Lists of any kind are looked into; what is no Reservation stays as it is.
    fn convert(&self, hooks: &Hooks, document: &mut Value) -> anyhow::Result<()> {
        let api_version = document["apiVersion"].as_str().unwrap_or_default();
        let (is_ours, kind) = (
            api_version.split('/').next() == Some(GROUP),
            document["kind"].as_str().unwrap_or_default(),
        );
        if kind.ends_with("List") && document["items"].is_array() {
            if is_ours {
                document["apiVersion"] = json!(self.api_version());
            }
            let items = document["items"].as_array_mut();
            for item in items.into_iter().flatten() {
                self.convert(hooks, item)?;
            }
            return Ok(());
        }
        if is_ours && kind == "Reservation" && api_version != self.api_version() {
            *document = self.converted(hooks, document)?;
        }
        Ok(())
    }

    fn converted(&self, hooks: &Hooks, object: &Value) -> anyhow::Result<Value> {
        let review = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "ConversionReview",
            "request": {
                "uid": "offline",
                "desiredAPIVersion": self.api_version(),
                "objects": [object],
            },
        });
        let route = format!("/convert/{GROUP}/reservations");
        let mut reply = hooks.ask(&route, &review)?.context("nothing converts it")?;
        let response = reply["response"].take();
        if response["result"]["status"] != "Success" {
            let message = response["result"]["message"].as_str();
            bail!("{}", message.unwrap_or("it can't be converted"));
        }
        Ok(response["convertedObjects"][0].clone())
    }

    fn api_version(&self) -> String {
        let version = match self.to {
            Version::V1alpha1 => "v1alpha1",
            Version::V1beta1 => "v1beta1",
            Version::V1 => "v1",
        };
        format!("{GROUP}/{version}")
    }
}
