//! `check`: asks a live cluster why a webhook would not be called, or would fail.

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use jiff::Timestamp;
use kube_webhook::Target;

use super::{
    Exit,
    serve::{install_crypto, runtime},
};
use crate::{
    app,
    check::{
        collect::{Look, collect},
        examine,
        expected::Expected,
        report,
    },
    config::HostArgs,
    manifests::{IMAGE, Installation, NAME, NAMESPACE},
    webhooks,
};

/// Ask a live cluster why a webhook would not be called, or would fail
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 nothing to mend (notes are not), 2 findings, 1 the API \
                        server can't be reached, 64 bad usage."
)]
pub(super) struct Check {
    /// The namespace of the installation itself
    #[arg(long, default_value = NAMESPACE)]
    namespace: String,

    /// The Service that the API server calls
    #[arg(long, default_value = NAME)]
    service: String,

    /// The API server calls a URL instead of the Service: https://HOST:PORT
    #[arg(long, value_name = "BASE")]
    url: Option<String>,

    /// Where to look at the certificate served [default: every endpoint of the Service, or the URL]
    #[arg(long, value_name = "HOST:PORT")]
    connect: Option<String>,

    /// Also look into the spool in this folder, of a replica that doesn't run
    #[arg(long, value_name = "FOLDER")]
    spool_dir: Option<PathBuf>,

    /// A kubeconfig that overrules the cluster's own configuration and KUBECONFIG
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,

    /// How to tell it
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,

    #[command(flatten)]
    hosts: HostArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    /// One object with an array `findings`
    Json,
    /// For a person
    Text,
}

impl Check {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        install_crypto();
        let look = Look {
            expected: self.expected()?,
            inside: std::env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
            connect: self.connect,
            spool_dir: self.spool_dir,
        };
        let findings = runtime()?.block_on(async {
            let client = app::client(self.kubeconfig.as_ref()).await?;
            let observed = collect(client, look).await?;
            anyhow::Ok(examine(&observed, Timestamp::now()))
        })?;
        say(&match self.output {
            Output::Json => report::json(&findings).context("the findings can't be written")?,
            Output::Text => report::text(&findings),
        });
        Ok(if report::is_bad(&findings) {
            Exit::Findings
        } else {
            Exit::Done
        })
    }

    /// What `generate` prints when it is told the same.
    fn expected(&self) -> anyhow::Result<Expected> {
        let target = match &self.url {
            Some(base) => Target::Url {
                base: base.clone(),
                ca_bundle: None,
            },
            None => Target::Service {
                namespace: self.namespace.clone(),
                name: self.service.clone(),
                port: 443,
                ca_bundle: None,
            },
        };
        let installation = Installation {
            namespace: self.namespace.clone(),
            hosts_namespace: self.hosts.k8s_namespace.clone(),
            hosts: self.hosts.resource(),
            target,
            image: IMAGE.to_owned(),
            extra_names: Vec::new(),
            extras: BTreeSet::new(),
        };
        let own_user = format!("system:serviceaccount:{}:{NAME}", self.namespace);
        let operator_users = self.hosts.operator_users();
        let registered = webhooks::offline(&installation.hosts, own_user, operator_users)?;
        Ok(Expected::of(&installation, &registered)?)
    }
}

#[expect(clippy::print_stdout, reason = "the command's answer")]
fn say(text: &str) {
    print!("{text}");
}
