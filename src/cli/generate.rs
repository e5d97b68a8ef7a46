//! `generate`: prints what the program registers, so that manifests can't lag behind it.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use kube_webhook::{
    Target,
    lint::{Finding, Severity},
};

use super::Exit;
use crate::{
    config::{self, HostArgs},
    manifests::{Extra, IMAGE, Installation, Manifest, NAME, NAMESPACE},
    webhooks,
};

/// Print the manifests that belong to this program
#[derive(Args, Debug)]
pub(super) struct Generate {
    /// What to print
    what: What,

    /// Write into this folder, instead of printing; `manifests` as kubectl apply -k takes it
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Say what is unwise about the whole installation, instead of printing it; 2 on warnings
    #[arg(long, conflicts_with = "out")]
    lint: bool,

    /// The namespace of the installation itself
    #[arg(long, default_value = NAMESPACE)]
    namespace: String,

    /// The Service that the API server calls
    #[arg(long, default_value = NAME)]
    service: String,

    /// Call a URL instead of the Service: https://HOST:PORT, each route is appended
    #[arg(long, value_name = "BASE")]
    url: Option<String>,

    /// The image that the pods run
    #[arg(long, default_value = IMAGE)]
    image: String,

    /// The CA that the API server is to trust, PEM; the certificate is then yours to keep in the
    /// Secret harbormaster-tls [default: the program makes its own]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// Let cert-manager make the certificate and write the CA
    #[arg(long, conflicts_with = "ca_file")]
    cert_manager: bool,

    /// Let only API servers call the admission webhooks that present a client certificate of the CA in
    /// the ConfigMap harbormaster-client-ca (key ca.crt)
    #[arg(long)]
    client_ca: bool,

    /// Let the program apply the webhook configurations itself, and put them back: the rights for
    /// that, and no webhooks
    #[arg(long, conflicts_with_all = ["ca_file", "service"])]
    register: bool,

    /// Keep the spool on a volume for each replica: it survives the pod
    #[arg(long)]
    durable_spool: bool,

    /// Take events over plain HTTP, too: the container's port, behind a Service's port 80
    #[arg(long, value_name = "PORT")]
    events_http_port: Option<u16>,

    /// Present a second certificate to senders who ask for a name of its own: that of the Secret
    /// harbormaster-events-tls
    #[arg(long)]
    events_tls: bool,

    /// More DNS names or addresses for our own certificate, separated by commas
    #[arg(long, env = "TLS_EXTRA_NAMES", value_delimiter = ',')]
    tls_extra_names: Vec<String>,

    /// Have the Prometheus operator scrape the program and watch its alerts
    #[arg(long)]
    monitoring: bool,

    #[command(flatten)]
    hosts: HostArgs,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum What {
    /// The CustomResourceDefinitions
    Crds,
    /// The whole installation, for kubectl apply -k
    Manifests,
    /// ServiceAccount, Role and RoleBinding
    Rbac,
    /// The webhook configurations
    Webhooks,
}

impl Generate {
    pub(super) fn run(self) -> anyhow::Result<Exit> {
        let installation = Installation {
            namespace: self.namespace.clone(),
            hosts_namespace: self.hosts.k8s_namespace.clone(),
            hosts: self.hosts.resource(),
            target: self.target()?,
            image: self.image.clone(),
            extra_names: config::extra_names(&self.tls_extra_names)?,
            extras: self.extras(),
        };
        let own_user = format!("system:serviceaccount:{}:{NAME}", self.namespace);
        let operator_users = self.hosts.operator_users();
        let registered = webhooks::offline(&installation.hosts, own_user, operator_users)?;
        if self.lint {
            return tell(&installation.lint(&registered)?);
        }
        let manifests = match self.what {
            What::Crds => vec![installation.crds(&registered)?],
            What::Manifests if self.out.is_some() => installation.tree(&registered)?,
            What::Manifests => installation.all(&registered)?,
            What::Rbac => vec![installation.rbac(&registered)?],
            What::Webhooks => vec![installation.webhooks(&registered)?],
        };
        match &self.out {
            Some(folder) => write(folder, &manifests)?,
            None => print(&manifests)?,
        }
        Ok(Exit::Done)
    }

    fn extras(&self) -> BTreeSet<Extra> {
        let port = self.events_http_port;
        let is_self_managed = !self.cert_manager && self.ca_file.is_none();
        let asked = [
            self.cert_manager.then_some(Extra::CertManager),
            self.client_ca.then_some(Extra::ClientCa),
            self.register.then_some(Extra::Register),
            self.durable_spool.then_some(Extra::DurableSpool),
            port.map(|port| Extra::EventsHttp { port }),
            self.events_tls.then_some(Extra::EventsTls),
            self.monitoring.then_some(Extra::Monitoring),
            is_self_managed.then_some(Extra::SelfManaged),
        ];
        asked.into_iter().flatten().collect()
    }

    fn target(&self) -> anyhow::Result<Target> {
        let ca_bundle = match &self.ca_file {
            Some(file) => Some(
                fs::read_to_string(file)
                    .with_context(|| format!("--ca-file {}", file.display()))?,
            ),
            None => None,
        };
        Ok(match &self.url {
            Some(base) => Target::Url {
                base: base.clone(),
                ca_bundle,
            },
            None => Target::Service {
                namespace: self.namespace.clone(),
                name: self.service.clone(),
                port: 443,
                ca_bundle,
            },
        })
    }
}

fn write(folder: &Path, manifests: &[Manifest]) -> anyhow::Result<()> {
    for manifest in manifests {
        let file = folder.join(&manifest.file);
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        fs::write(&file, &manifest.yaml).with_context(|| file.display().to_string())?;
    }
    Ok(())
}

fn print(manifests: &[Manifest]) -> anyhow::Result<()> {
    let objects: Vec<_> = manifests
        .iter()
        .map(|manifest| manifest.yaml.as_str())
        .collect();
    say(&objects.join("---\n"))
}

/// One line each; advice alone is no reason to fail.
fn tell(findings: &[Finding]) -> anyhow::Result<Exit> {
    let lines: String = findings.iter().map(|one| format!("{one}\n")).collect();
    say(&lines)?;
    let is_bad = |finding: &Finding| finding.severity >= Severity::Warning;
    Ok(if findings.iter().any(is_bad) {
        Exit::Findings
    } else {
        Exit::Done
    })
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes()).context("can't print")
}
