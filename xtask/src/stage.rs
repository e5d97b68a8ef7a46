//! The stage: a control plane, the operator's part, the program, and hosts.
//!
//! Owns all that runs; each process is gone when the stage is, however it goes.

mod crew;

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use control_plane::{ControlPlane, Process};
use futures::channel::oneshot;
use tokio::task::JoinHandle;

use self::crew::Crew;
use crate::{
    certificates,
    tool::{self, say},
};

/// Who plays the operator.
pub enum Cast {
    /// The real one.
    Operator {
        /// The operator's program.
        program: PathBuf,
        /// The folder with its CustomResourceDefinitions.
        crds: PathBuf,
    },
    /// The simulator of the crate `metal3`.
    Simulator,
}

/// How the API server calls the program.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// As a Service with this cluster IP, which must be an address of this machine's.
    Service(Ipv4Addr),
    /// At a URL on the loopback address.
    Url,
}

/// All that runs during a demo, or while the integration tests do.
pub struct Stage {
    control_plane: ControlPlane,
    program: PathBuf,
    serve: Process,
    operator: Operator,
    folder: PathBuf,
    way: Way,
    port: u16,
    admin_port: u16,
}

/// Another run of the program, beside the stage's own; ended when it is dropped.
pub struct Replica {
    process: Process,
    port: u16,
}

impl Replica {
    /// The port of its TLS listener.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.process.log()).unwrap_or_default()
    }

    /// Stops it: SIGTERM.
    pub async fn stop(self) -> anyhow::Result<()> {
        Ok(self.process.stop().await?)
    }
}

/// The operator, playing.
enum Operator {
    Real(Process),
    Simulated {
        stop: oneshot::Sender<()>,
        task: JoinHandle<anyhow::Result<()>>,
    },
}

impl Stage {
    /// Builds and starts everything.
    pub async fn set(program: &Path, cast: Cast, way: Way) -> anyhow::Result<Self> {
        let started = Instant::now();
        say("Starting etcd and kube-apiserver ...");
        let control_plane = ControlPlane::start().await?;
        // Inside the control plane's own, which is removed however we end.
        let folder = control_plane.folder().join("stage");
        fs::create_dir(&folder)?;
        certificates::write(&folder, &["localhost", "127.0.0.1", SERVICE_NAME])?;
        fs::write(folder.join("secret"), SECRET)?;

        let crew = Crew {
            control_plane: &control_plane,
            program,
            folder: &folder,
            way,
            port: match way {
                Way::Service(_) => 443,
                Way::Url => free_port()?,
            },
            admin_port: free_port()?,
        };
        say("Installing the CustomResourceDefinitions, roles and webhooks ...");
        crew.install_host_crds(&cast)?;
        crew.install().await?;
        let serve = crew.serve().await?;
        crew.register()?;
        let operator = crew.operate(cast).await?;
        crew.create_hosts()?;
        let (port, admin_port) = (crew.port, crew.admin_port);
        let stage = Self {
            control_plane,
            program: program.to_owned(),
            serve,
            operator,
            folder,
            way,
            port,
            admin_port,
        };
        stage.await_guard().await?;
        stage.await_hosts().await?;
        say(&format!("Ready after {} s.", started.elapsed().as_secs()));
        Ok(stage)
    }

    /// Starts the program again, on the same ports, in place of a run that has ended.
    pub async fn restart_program(&mut self) -> anyhow::Result<()> {
        self.serve = self.crew(self.port, self.admin_port).serve().await?;
        Ok(())
    }

    /// Starts another replica of the program, on ports of its own, to which the API server
    /// sends no reviews.
    pub async fn replica(&self) -> anyhow::Result<Replica> {
        let (port, admin_port) = (free_port()?, free_port()?);
        let process = self.crew(port, admin_port).serve().await?;
        Ok(Replica { process, port })
    }

    fn crew(&self, port: u16, admin_port: u16) -> Crew<'_> {
        Crew {
            control_plane: &self.control_plane,
            program: &self.program,
            folder: &self.folder,
            way: self.way,
            port,
            admin_port,
        }
    }

    /// Shows a command as a user would type it, runs it, shows and returns what it printed.
    pub async fn shell(&self, line: &str) -> anyhow::Result<String> {
        let (succeeded, output) = self.typed(line).await?;
        if succeeded {
            Ok(output)
        } else {
            bail!("that command failed")
        }
    }

    /// The same, for a command that must be refused.
    pub async fn shell_refused(&self, line: &str) -> anyhow::Result<String> {
        let (succeeded, output) = self.typed(line).await?;
        if succeeded {
            bail!("that command was to be refused, and wasn't")
        } else {
            Ok(output)
        }
    }

    async fn typed(&self, line: &str) -> anyhow::Result<(bool, String)> {
        say(&format!("   $ {line}"));
        let mut shell = tokio::process::Command::from(self.environment("sh"));
        let output = shell.args(["-c", line]).kill_on_drop(true).output();
        let output = tokio::time::timeout(PATIENCE, output)
            .await
            .context("that command took too long")?
            .context("can't run sh")?;
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        for line in text.lines() {
            say(&format!("   {line}"));
        }
        Ok((output.status.success(), text))
    }

    /// A command in the environment that the story's commands are typed in.
    fn environment(&self, program: &str) -> Command {
        let mut command = administrators(program, &self.control_plane, &self.program);
        command
            .env(
                "HARBORMASTER_URL",
                format!("https://localhost:{}/webhook", self.port),
            )
            .env("HARBORMASTER_CA_FILE", self.folder.join("ca.crt"))
            .env("HARBORMASTER_SECRET_FILE", self.folder.join("secret"));
        command
    }

    /// Waits until a reservation is in a phase.
    pub async fn await_phase(&self, name: &str, phase: &str) -> anyhow::Result<()> {
        let path = "jsonpath={.status.phase}";
        let read = || self.kubectl(&["get", "rsv", name, "-o", path]);
        until(&format!("reservation {name} to be {phase}"), || {
            Ok(read()? == phase)
        })
        .await
        .with_context(|| self.state_of_affairs())
    }

    /// Waits until one of a reservation's conditions has this reason.
    pub async fn await_reason(&self, name: &str, reason: &str) -> anyhow::Result<()> {
        let path = "jsonpath={.status.conditions[*].reason}";
        let read = || self.kubectl(&["get", "rsv", name, "-o", path]);
        until(&format!("reservation {name} to say {reason}"), || {
            Ok(read()?.split(' ').any(|it| it == reason))
        })
        .await
        .with_context(|| self.state_of_affairs())
    }

    /// A configuration that is stored is not yet in force: a dry run that must be refused
    /// tells when it is.
    async fn await_guard(&self) -> anyhow::Result<()> {
        let host = self.folder.join("marker.json");
        let claim = r#"{"apiVersion":"harbormaster.dev/v1","kind":"Reservation","name":"x"}"#;
        fs::write(
            &host,
            format!(
                r#"{{"apiVersion":"metal3.io/v1alpha1","kind":"BareMetalHost",
                "metadata":{{"name":"marker","namespace":"{NAMESPACE}"}},
                "spec":{{"online":false,"consumerRef":{claim}}}}}"#
            ),
        )?;
        let file = host.to_string_lossy().into_owned();
        until("the webhooks to be in force", || {
            let created = self.kubectl(&["create", "--dry-run=server", "-f", &file]);
            Ok(created.is_err_and(|error| format!("{error:#}").contains("held by Reservation")))
        })
        .await
    }

    async fn await_hosts(&self) -> anyhow::Result<()> {
        let path = "jsonpath={.status.provisioning.state}";
        until("the hosts to be available", || {
            Ok(self.kubectl(&["get", "bmh", HOST, "-o", path])? == "available")
        })
        .await
    }

    fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut kubectl = self.control_plane.kubectl();
        tool::read(kubectl.args(["--namespace", NAMESPACE]).args(arguments))
    }

    /// The control plane.
    pub fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// What the program has logged.
    pub fn serve_log(&self) -> String {
        fs::read_to_string(self.serve.log()).unwrap_or_default()
    }

    /// The port of the program's TLS listener.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port of the program's plain listener for probes and metrics.
    pub fn admin_port(&self) -> u16 {
        self.admin_port
    }

    /// The folder with `ca.crt`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What a person would look at first when the story got stuck.
    fn state_of_affairs(&self) -> String {
        let look = |arguments: &[&str]| {
            self.kubectl(arguments)
                .unwrap_or_else(|error| format!("{error:#}"))
        };
        format!(
            "{}\n{}\nthe program's log:\n{}",
            look(&["get", "rsv", "-o", "yaml"]),
            look(&["get", "bmh", "-o", "yaml"]),
            self.serve.log_tail(),
        )
    }

    /// What to try while everything is up.
    pub fn invite(&self) {
        let folder = self.folder.display();
        let bin = self.control_plane.assets().folder().display();
        let built = self
            .program
            .parent()
            .unwrap_or_else(|| Path::new("."))
            .display();
        say(&format!(
            "\nEverything stays up until Ctrl-C. Who has which host, now and next:\n\n\
             \x20  http://localhost:{}/calendar\n\n\
             In another terminal:\n\n\
             \x20  export KUBECONFIG={}\n\
             \x20  export PATH={bin}:{built}:$PATH\n\
             \x20  export HARBORMASTER_URL=https://localhost:{}/webhook\n\
             \x20  export HARBORMASTER_CA_FILE={folder}/ca.crt HARBORMASTER_SECRET_FILE={folder}/secret\n\n\
             \x20  harbormaster send-event --type EVENT_START --resource restart-srv02 --event-id 103\n\
             \x20  kubectl get rsv,bmh\n\
             \x20  kubectl explain reservation.spec\n\
             \x20  kubectl delete rsv portal-102\n\
             \x20  curl localhost:{}/metrics\n\
             \x20  tail -f {}\n",
            self.admin_port,
            self.control_plane.kubeconfig().display(),
            self.port,
            self.admin_port,
            self.serve.log().display(),
        ));
    }

    /// Returns when something ends that should not.
    pub async fn wait(&self) -> anyhow::Result<()> {
        Err(self.serve.exited().await.into())
    }

    /// Takes everything down.
    pub async fn strike(self) -> anyhow::Result<()> {
        self.serve.stop().await?;
        match self.operator {
            Operator::Real(process) => process.stop().await?,
            Operator::Simulated { stop, task } => {
                // An error means that the simulator has ended by itself; its own says why.
                let _ = stop.send(());
                task.await??;
            }
        }
        self.control_plane.stop().await?;
        Ok(())
    }
}

/// A command as an administrator of this control plane types it: `kubectl` and this `harbormaster` are
/// found before any other.
pub fn administrators(program: &str, control_plane: &ControlPlane, harbormaster: &Path) -> Command {
    let mut command = Command::new(program);
    let mut folders = vec![control_plane.assets().folder().to_owned()];
    folders.extend(harbormaster.parent().map(Path::to_owned));
    folders.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    if let Ok(path) = std::env::join_paths(folders) {
        command.env("PATH", path);
    }
    command.env("KUBECONFIG", control_plane.kubeconfig());
    command
}

/// Polls until it is so.
pub async fn until(
    what: &str,
    mut is_so: impl FnMut() -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut last = None;
    while begun.elapsed() < PATIENCE {
        match is_so() {
            Ok(true) => return Ok(()),
            Ok(false) => last = None,
            Err(error) => last = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let waited = format!("waited {} s for {what}", PATIENCE.as_secs());
    match last {
        Some(error) => Err(error.context(waited)),
        None => bail!(waited),
    }
}

/// A port that was free a moment ago. The webhooks' URL must be known before the program
/// runs, so it can't choose one itself.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Every wait, before it is given up.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// The host that the story is about.
pub const HOST: &str = "restart-srv01";

/// Where hosts and Reservations live.
pub const NAMESPACE: &str = "default";

/// What the API server calls the Service.
const SERVICE_NAME: &str = "harbormaster.harbormaster-system.svc";

/// Who the program is on the stage: its own service account.
pub const USER: &str = "system:serviceaccount:harbormaster-system:harbormaster";

/// Who the real operator is on the stage: one of the program's default `OPERATOR_USERS`.
pub const OPERATOR_USER: &str = "system:serviceaccount:metal3:baremetal-operator";

/// A secret as the portal makes them: its text is the key.
pub const SECRET: &str = "ZGVtby1zZWNyZXQtMzItYnl0ZXMtbG9uZy1leGFtcGw=";
