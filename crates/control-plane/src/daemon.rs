//! Processes that end when ours does, however ours ends.
//!
//! Owns the supervision of etcd, of the API server and of the folder they use.
//! Each runs under a small POSIX shell script in a process group of its own (so
//! that Ctrl-C in a terminal reaches us alone) that reads a pipe, its *lifeline*,
//! from us. The kernel closes the lifeline of a process that panics, exits or is
//! killed with `kill -9`; the script then stops the daemon. As a script also
//! holds the lifeline of the one that must outlive it, the end comes in order:
//! API server, etcd, folder.
//!
//! Refuses to know what the daemons are: their command lines come from
//! [`etcd`](crate::etcd) and [`api_server`](crate::api_server).

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::error::Error;

/// A daemon under supervision, stopped when this value is dropped.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: &'static str,
    log: PathBuf,
    supervisor: Supervisor,
}

impl Daemon {
    /// Starts `command`, whose output goes to `log`. What `outlived_by` supervises
    /// stays until this daemon is gone.
    pub(crate) async fn start(
        name: &'static str,
        command: &[OsString],
        log: &Path,
        outlived_by: &Lifeline,
    ) -> Result<Self, Error> {
        let mut arguments = vec![
            log.as_os_str().to_owned(),
            GRACE.as_secs().to_string().into(),
        ];
        arguments.extend_from_slice(command);
        let supervisor = Supervisor::start(SUPERVISE, &arguments, Some(outlived_by))?;
        let daemon = Self {
            name,
            log: log.to_owned(),
            supervisor,
        };
        if daemon.supervisor.running().await {
            return Ok(daemon);
        }
        Err(daemon.exited().await)
    }

    /// The pipe that another daemon may hold to be outlived by this one.
    pub(crate) fn lifeline(&self) -> &Lifeline {
        &self.supervisor.lifeline
    }

    /// Returns when the daemon has ended, with the end of its log.
    async fn exited(&self) -> Error {
        let status = self.supervisor.exited().await;
        Error::Exited {
            daemon: self.name,
            status,
            log: self.log_tail(),
        }
    }

    /// Polls `probe` until it is true, for as long as `wait` says, which the end of
    /// the daemon cuts short.
    pub(crate) async fn ready<P>(
        &self,
        wait: Wait,
        mut probe: impl FnMut() -> P,
    ) -> Result<(), Error>
    where
        P: Future<Output = bool>,
    {
        let probes = async {
            while !timeout(PROBE_TIMEOUT, probe()).await.unwrap_or(false) {
                sleep(PROBE_INTERVAL).await;
            }
        };
        tokio::select! {
            () = probes => Ok(()),
            error = self.exited() => Err(error),
            () = sleep_until(wait.deadline) => Err(Error::NotReady {
                daemon: self.name,
                waited: wait.timeout,
                log: self.log_tail(),
            }),
        }
    }

    /// The last lines of the daemon's log.
    fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// Stops the daemon: SIGTERM, and SIGKILL when that does not help.
    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.supervisor.stop(self.name).await
    }
}

/// How long a start may take, and until when that is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    timeout: Duration,
    deadline: Instant,
}

impl Wait {
    /// From now on.
    pub(crate) fn of(timeout: Duration) -> Self {
        Self {
            timeout,
            deadline: Instant::now() + timeout,
        }
    }
}

/// A temporary folder, removed when this value and all daemons that hold its
/// lifeline are gone.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    keeper: Supervisor,
}

impl Folder {
    /// Makes the folder, readable by its owner alone.
    ///
    /// The keeper makes it, not we: there is no moment at which our death would
    /// leave it behind.
    pub(crate) async fn keep(path: PathBuf) -> Result<Self, Error> {
        let keeper = Supervisor::start(KEEP, &[path.clone().into()], None)?;
        if keeper.running().await {
            return Ok(Self { path, keeper });
        }
        let source = io::Error::other("mkdir failed: is the folder for temporary files writable?");
        Err(Error::File { path, source })
    }

    /// Where the folder is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The pipe that a daemon may hold to be outlived by the folder.
    pub(crate) fn lifeline(&self) -> &Lifeline {
        &self.keeper.lifeline
    }

    /// Removes the folder, once all daemons that need it are gone.
    pub(crate) async fn remove(self) -> Result<(), Error> {
        let name = self.path.display().to_string();
        self.keeper.stop(&name).await
    }
}

/// The end of a pipe whose closing stops what reads the other end.
#[derive(Debug)]
pub(crate) struct Lifeline(OwnedFd);

/// One of the two scripts, running.
#[derive(Debug)]
struct Supervisor {
    lifeline: Lifeline,
    state: watch::Receiver<State>,
}

impl Supervisor {
    fn start(
        script: &str,
        arguments: &[OsString],
        outlived_by: Option<&Lifeline>,
    ) -> Result<Self, Error> {
        let stderr = match outlived_by {
            Some(Lifeline(pipe)) => Stdio::from(pipe.try_clone().map_err(Error::Shell)?),
            None => Stdio::null(),
        };
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", script, "sh"])
            .args(arguments)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr);
        // ETCD_* variables configure etcd, and HTTPS_PROXY would send the API
        // server's calls of webhooks to a proxy.
        command.env_clear();
        for name in ["PATH", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        let mut child = command.spawn().map_err(Error::Shell)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Error::Shell(io::Error::other("its pipes are missing")));
        };
        let lifeline = stdin.as_fd().try_clone_to_owned().map_err(Error::Shell)?;
        let (sender, state) = watch::channel(State::Starting);
        // A thread, as the daemon is to outlive the runtime that started it. It
        // ends with the script, whose end the drop of the lifeline brings about.
        thread::Builder::new()
            .name("control-plane".to_owned())
            .spawn(move || follow(child, stdout, &sender))
            .map_err(Error::Shell)?;
        Ok(Self {
            lifeline: Lifeline(lifeline),
            state,
        })
    }

    /// Whether the script got as far as to run what it is for.
    async fn running(&self) -> bool {
        let mut state = self.state.clone();
        let started = state.wait_for(|state| !matches!(state, State::Starting));
        matches!(
            started.await.as_deref(),
            Ok(State::Running | State::Exited(_))
        )
    }

    /// The status with which the daemon ended.
    async fn exited(&self) -> i32 {
        let mut state = self.state.clone();
        let exited = state.wait_for(|state| matches!(state, State::Exited(_) | State::Gone(_)));
        match exited.await.as_deref() {
            Ok(State::Exited(status) | State::Gone(Some(status))) => *status,
            _ => UNKNOWN,
        }
    }

    async fn stop(self, name: &str) -> Result<(), Error> {
        let Self {
            lifeline,
            mut state,
        } = self;
        drop(lifeline);
        let gone = state.wait_for(|state| matches!(state, State::Gone(_)));
        match timeout(STOP_TIMEOUT, gone).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::NotStopped {
                what: name.to_owned(),
                waited: STOP_TIMEOUT,
            }),
        }
    }
}

/// How far a script has come, by its own word.
#[derive(Clone, Copy, Debug)]
enum State {
    Starting,
    Running,
    Exited(i32),
    Gone(Option<i32>),
}

/// Reports what the script says, up to its end, and reaps it.
fn follow(mut child: Child, stdout: ChildStdout, state: &watch::Sender<State>) {
    let mut exited = None;
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        if line == "running" {
            state.send_replace(State::Running);
        } else if let Some(status) = line.strip_prefix("exited ") {
            let status = status.parse().unwrap_or(UNKNOWN);
            exited = Some(status);
            state.send_replace(State::Exited(status));
        }
    }
    if let Err(error) = child.wait() {
        tracing::debug!(%error, "cannot reap a supervisor");
    }
    state.send_replace(State::Gone(exited));
}

/// Runs a daemon.
const SUPERVISE: &str = include_str!("daemon/supervise.sh");

/// Keeps a folder.
const KEEP: &str = include_str!("daemon/keep.sh");

/// The lines of a log that an error shows.
const TAIL: usize = 30;

/// The status of a daemon whose supervisor was itself killed.
const UNKNOWN: i32 = -1;

/// How often a start is looked after, and how long a single look may take.
const PROBE_INTERVAL: Duration = Duration::from_millis(20);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a daemon has between SIGTERM and SIGKILL. An API server without watches is
/// done in one second; with a watch it would wait for the end of that.
const GRACE: Duration = Duration::from_secs(2);

/// More than [`GRACE`], so that it only ends when the kernel cannot kill.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
