//! The image at work: the demo's story, told by its program in a sandbox, and what it needs.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use xtask::{
    stage::{Cast, PATIENCE, Stage, USER, Way, free_port},
    tool::say,
};

use super::Container;
use crate::story;

/// What stands in for the program: runs the image's, with what a pod has.
pub(super) struct Sandbox {
    script: PathBuf,
    entry: String,
}

impl Sandbox {
    pub(super) fn new(folder: &Path, container: &Container) -> anyhow::Result<Self> {
        let script = folder.join("harbormaster");
        let text = SCRIPT
            .replace("'ROOT'", &quoted(&container.root))
            .replace("'USER'", &quoted(Path::new(&container.user)))
            .replace("'ENTRY'", &quoted(Path::new(&container.entry)))
            .replace("'TEMPORARY'", &quoted(&std::env::temp_dir()));
        fs::write(&script, text)?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok(Self {
            script,
            entry: container.entry.clone(),
        })
    }
}

pub(super) fn run(sandbox: &Sandbox) -> anyhow::Result<()> {
    // An error means that one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let stage = Stage::set(&sandbox.script, Cast::Simulator, Way::Url).await?;
        story::tell(&stage).await?;
        let serving = serving(&sandbox.entry, stage.port())?;
        say(&format!(
            "\nresident after the story: {}",
            serving.memory()?
        ));
        serving.is_confined()?;
        let starts = (0..STARTS).map(|_| start(sandbox, &stage));
        let mut starts = starts.collect::<anyhow::Result<Vec<_>>>()?;
        starts.sort();
        say(&format!(
            "from the start to ready, {STARTS} times: {:?} at best, {:?} in the middle",
            starts[0],
            starts[STARTS / 2]
        ));
        stage.strike().await
    })
}

/// How long another replica takes from its start until it is ready.
fn start(sandbox: &Sandbox, stage: &Stage) -> anyhow::Result<Duration> {
    let groups = ["system:serviceaccounts"];
    let kubeconfig = stage.control_plane().kubeconfig_for(USER, &groups)?;
    let mut command = Command::new(&sandbox.script);
    command.args(["serve", "--kubeconfig"]).arg(kubeconfig);
    command.args(["--tls-mode", "files", "--tls-cert-file"]);
    command.arg(stage.folder().join("tls.crt"));
    command.arg("--tls-key-file");
    command.arg(stage.folder().join("tls.key"));
    command.arg("--spool-dir");
    command.arg(stage.folder().join("spool-of-another"));
    let admin = free_port()?;
    command.args(["--admin-port", &admin.to_string()]);
    command.args(["--port", "0", "--bind-address", "127.0.0.1"]);
    command.args(["--drain-delay", "0"]);
    command.stderr(Stdio::null());
    let started = Instant::now();
    let replica = Replica(command.spawn()?);
    while started.elapsed() < PATIENCE {
        if is_ready(admin) {
            let took = started.elapsed();
            replica.stop()?;
            return Ok(took);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    bail!("it isn't ready after {} s", PATIENCE.as_secs())
}

fn is_ready(port: u16) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: probe\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

struct Replica(Child);

impl Replica {
    /// As the kubelet does; it must end by itself, and well.
    fn stop(mut self) -> anyhow::Result<()> {
        let id = self.0.id().to_string();
        let told = Command::new("kill").args(["-TERM", &id]).status()?;
        let ended = self.0.wait()?;
        if !told.success() || !ended.success() {
            bail!("after SIGTERM it ended with {ended}");
        }
        Ok(())
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        // It has ended already, or nobody waits for how it does.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process, as the kernel describes it.
struct Status(String);

/// The image's program that listens on a port.
fn serving(entry: &str, port: u16) -> anyhow::Result<Status> {
    let port = port.to_string();
    for process in fs::read_dir("/proc")? {
        let folder = process?.path();
        let words = fs::read(folder.join("cmdline")).unwrap_or_default();
        let mut words = words.split(|&byte| byte == 0);
        if words.next() == Some(entry.as_bytes()) && words.any(|word| word == port.as_bytes()) {
            return Ok(Status(fs::read_to_string(folder.join("status"))?));
        }
    }
    bail!("nobody runs {entry}")
}

impl Status {
    fn memory(&self) -> anyhow::Result<String> {
        Ok(format!(
            "{}, at most {}",
            self.field("VmRSS")?,
            self.field("VmHWM")?
        ))
    }

    /// Whether it was as unprivileged as the Deployment has it.
    fn is_confined(&self) -> anyhow::Result<()> {
        for (field, expected) in [
            ("Uid", "65532\t65532\t65532\t65532"),
            ("Groups", ""),
            ("NoNewPrivs", "1"),
            ("CapEff", "0000000000000000"),
        ] {
            let value = self.field(field)?;
            if value != expected {
                bail!("{field} was {value}");
            }
        }
        Ok(())
    }

    fn field(&self, name: &str) -> anyhow::Result<&str> {
        let mut lines = self.0.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(value.with_context(|| format!("no {name}"))?.trim())
    }
}

/// For `sh`, in single quotes.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

const SCRIPT: &str = include_str!("sandbox.sh");

const STARTS: usize = 5;
