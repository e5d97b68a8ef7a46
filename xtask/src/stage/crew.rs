//! Sets the stage: applies, starts and registers, as an administrator of a cluster would.

use std::{fs, path::Path, process::Command};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use control_plane::{ControlPlane, Process};
use futures::{FutureExt, channel::oneshot};
use metal3::simulator::Simulator;
use serde_json::json;

use super::{Cast, NAMESPACE, OPERATOR_USER, Operator, SECRET, USER, Way, free_port, until};
use crate::tool;

/// The parts of the stage that stand, while it is being set.
pub(super) struct Crew<'a> {
    pub(super) control_plane: &'a ControlPlane,
    pub(super) program: &'a Path,
    pub(super) folder: &'a Path,
    pub(super) way: Way,
    pub(super) port: u16,
    pub(super) admin_port: u16,
}

impl Crew<'_> {
    pub(super) fn install_host_crds(&self, cast: &Cast) -> anyhow::Result<()> {
        match cast {
            Cast::Operator { crds, .. } => {
                let mut kubectl = self.control_plane.kubectl();
                let apply = kubectl.args(["apply", "--server-side", "-f"]);
                tool::read(apply.arg(crds))?;
            }
            Cast::Simulator => {
                self.apply(&serde_json::to_string(&metal3::crd())?, "host-crd.json")?;
            }
        }
        let mut kubectl = self.control_plane.kubectl();
        let names = ["crd/baremetalhosts.metal3.io", "--timeout=60s"];
        tool::read(
            kubectl
                .args(["wait", "--for=condition=Established"])
                .args(names),
        )?;
        Ok(())
    }

    pub(super) async fn install(&self) -> anyhow::Result<()> {
        let mut kubectl = self.control_plane.kubectl();
        tool::read(kubectl.args(["create", "namespace", "harbormaster-system"]))?;
        if let Way::Service(ip) = self.way {
            let service = self.control_plane.cluster_ip_service(
                "harbormaster-system",
                "harbormaster",
                ip,
                self.port,
            );
            service.await?;
        }
        // Luigi may edit hosts: only the guard stands between him and Mario's disk.
        let mut kubectl = self.control_plane.kubectl();
        let role = [
            "--verb=get,list,patch,update",
            "--resource=baremetalhosts.metal3.io",
        ];
        tool::read(
            kubectl
                .args(["create", "clusterrole", "host-editor"])
                .args(role),
        )?;
        let mut kubectl = self.control_plane.kubectl();
        let binding = ["--clusterrole=host-editor", "--user=luigi"];
        tool::read(
            kubectl
                .args(["create", "clusterrolebinding", "luigi"])
                .args(binding),
        )?;
        self.apply(&self.generate("rbac")?, "rbac.yaml")?;
        self.apply(&self.generate("crds")?, "crds.yaml")?;
        let mut kubectl = self.control_plane.kubectl();
        let names = [
            "crd/reservations.harbormaster.dev",
            "crd/hostcalendars.harbormaster.dev",
            "--timeout=60s",
        ];
        tool::read(
            kubectl
                .args(["wait", "--for=condition=Established"])
                .args(names),
        )?;
        Ok(())
    }

    /// Runs the program as what it is in a cluster: its own service account, with no more
    /// rights than the generated role gives.
    pub(super) async fn serve(&self) -> anyhow::Result<Process> {
        let groups = [
            "system:serviceaccounts",
            "system:serviceaccounts:harbormaster-system",
        ];
        let kubeconfig = self.control_plane.kubeconfig_for(USER, &groups)?;
        let mut command = Command::new(self.program);
        command
            .args(["serve", "--kubeconfig"])
            .arg(kubeconfig)
            .args([
                "--k8s-namespace",
                NAMESPACE,
                "--bind-address",
                &self.address(),
            ])
            .args([
                "--port",
                &self.port.to_string(),
                "--admin-port",
                &self.admin_port.to_string(),
                "--drain-delay",
                "0",
                "--pod-namespace",
                "harbormaster-system",
            ])
            .args([
                "--provision-image",
                "https://images.example.com/noble.qcow2",
            ])
            .args([
                "--provision-checksum",
                "https://images.example.com/noble.qcow2.sha256",
            ])
            .args(["--tls-mode", "files", "--tls-cert-file"])
            .arg(self.folder.join("tls.crt"))
            .arg("--tls-key-file")
            .arg(self.folder.join("tls.key"))
            .arg("--spool-dir")
            .arg(self.folder.join(format!("spool-{}", self.port)))
            .env("WEBHOOK_SECRET", SECRET);
        let serve = self.control_plane.spawn("harbormaster", &command).await?;
        let listening = until("harbormaster to listen", || {
            Ok(std::net::TcpStream::connect((self.address(), self.port)).is_ok())
        });
        tokio::select! {
            listening = listening => listening?,
            ended = serve.exited() => return Err(ended.into()),
        }
        Ok(serve)
    }

    /// Where the program listens.
    fn address(&self) -> String {
        match self.way {
            Way::Service(ip) => ip.to_string(),
            Way::Url => "127.0.0.1".to_owned(),
        }
    }

    pub(super) fn register(&self) -> anyhow::Result<()> {
        self.apply(&self.generate("webhooks")?, "webhooks.yaml")
    }

    pub(super) async fn operate(&self, cast: Cast) -> anyhow::Result<Operator> {
        let Cast::Operator { program, .. } = cast else {
            let simulator = Simulator::new(self.control_plane.client(), NAMESPACE);
            let (stop, stopped) = oneshot::channel();
            let stopped = stopped.map(drop);
            let task = tokio::spawn(async move { Ok(simulator.run(stopped).await?) });
            return Ok(Operator::Simulated { stop, task });
        };
        let own = self.folder.join("operator");
        // It has no flag for the folder with its certificate.
        let certificates = own.join("k8s-webhook-server/serving-certs");
        fs::create_dir_all(&certificates)?;
        for name in ["tls.crt", "tls.key"] {
            fs::copy(self.folder.join(name), certificates.join(name))?;
        }
        let groups = ["system:masters", "system:serviceaccounts"];
        let kubeconfig = self.control_plane.kubeconfig_for(OPERATOR_USER, &groups)?;
        let webhook_port = free_port()?;
        let mut command = Command::new(program);
        command
            .env("KUBECONFIG", kubeconfig)
            .env("TMPDIR", own)
            .arg(format!("-namespace={NAMESPACE}"))
            .args(["-dev", "-demo-mode", "-metrics-addr=0"])
            .arg(format!("-webhook-port={webhook_port}"))
            .arg(format!("-health-addr=127.0.0.1:{}", free_port()?));
        let process = self
            .control_plane
            .spawn("baremetal-operator", &command)
            .await?;
        let listening = until("the operator's webhook to listen", || {
            Ok(std::net::TcpStream::connect(("127.0.0.1", webhook_port)).is_ok())
        });
        tokio::select! {
            listening = listening => listening?,
            ended = process.exited() => return Err(ended.into()),
        }
        self.apply(
            &self.operators_webhook(webhook_port)?,
            "operators-webhook.yaml",
        )?;
        Ok(Operator::Real(process))
    }

    /// The operator's own validating webhook, as its manifests register it: both are asked
    /// about each write.
    fn operators_webhook(&self, port: u16) -> anyhow::Result<String> {
        let ca = fs::read_to_string(self.folder.join("ca.crt"))?;
        let configuration = json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "baremetal-operator-validating-webhook-configuration"},
            "webhooks": [{
                "name": "baremetalhost.metal3.io",
                "admissionReviewVersions": ["v1", "v1beta1"],
                "clientConfig": {
                    "url": format!(
                        "https://127.0.0.1:{port}/validate-metal3-io-v1alpha1-baremetalhost"
                    ),
                    "caBundle": BASE64_STANDARD.encode(ca),
                },
                "failurePolicy": "Fail",
                "sideEffects": "None",
                "rules": [{
                    "apiGroups": ["metal3.io"],
                    "apiVersions": ["v1alpha1"],
                    "operations": ["CREATE", "UPDATE"],
                    "resources": ["baremetalhosts"],
                }],
            }],
        });
        Ok(configuration.to_string())
    }

    pub(super) fn create_hosts(&self) -> anyhow::Result<()> {
        let hosts: Vec<_> = (1..=2).map(host).collect();
        self.apply(&hosts.join("---\n"), "hosts.yaml")
    }

    fn generate(&self, what: &str) -> anyhow::Result<String> {
        let mut command = Command::new(self.program);
        command
            .args(["generate", what, "--k8s-namespace", NAMESPACE, "--ca-file"])
            .arg(self.folder.join("ca.crt"));
        if let Way::Url = self.way {
            command.arg(format!("--url=https://127.0.0.1:{}", self.port));
        }
        tool::read(&mut command)
    }

    fn apply(&self, manifest: &str, name: &str) -> anyhow::Result<()> {
        let file = self.folder.join(name);
        fs::write(&file, manifest)?;
        let mut kubectl = self.control_plane.kubectl();
        tool::read(kubectl.args(["apply", "--server-side", "-f"]).arg(&file))?;
        Ok(())
    }
}

fn host(number: u8) -> String {
    format!(
        "apiVersion: v1
kind: Secret
metadata:
  name: restart-srv0{number}-bmc
  namespace: {NAMESPACE}
stringData:
  username: admin
  password: demo
---
apiVersion: metal3.io/v1alpha1
kind: BareMetalHost
metadata:
  name: restart-srv0{number}
  namespace: {NAMESPACE}
spec:
  online: false
  bootMACAddress: 02:00:00:00:00:0{number}
  bmc:
    address: redfish://192.0.2.{number}/redfish/v1/Systems/1
    credentialsName: restart-srv0{number}-bmc
"
    )
}
