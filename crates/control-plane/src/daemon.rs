//! Daemons, and the folder that they share.
//!
//! Owns their life in the eyes of a start or stop: running, ready, ended, gone. As
//! each holds the lifeline of the one that must outlive it, the end comes in order
//! whatever the cause: API server, etcd, folder.
//!
//! Refuses to know what the daemons are: their command lines come from
//! [`etcd`](crate::etcd), [`api_server`](crate::api_server) and
//! [`controller_manager`](crate::controller_manager).

use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::error::Error;
use crate::supervisor::{self, Lifeline, UNKNOWN, Word};

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
        let script = supervisor::run(log, GRACE, command);
        let supervisor = Supervisor::start(script, Some(outlived_by))?;
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
    pub(crate) async fn exited(&self) -> Error {
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
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL)..].join("\n")
    }

    /// Where all goes that the daemon prints.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    /// Stops the daemon: SIGTERM, and SIGKILL when that does not help.
    pub(crate) async fn stop(self) -> Result<(), Error> {
        self.supervisor.stop(self.name).await
    }
}

/// A flag of a command line, with its value.
pub(crate) fn flag(name: &str, value: impl Display) -> OsString {
    format!("--{name}={value}").into()
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
        let keeper = Supervisor::start(supervisor::keep(&path), None)?;
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

/// One of the two scripts, running.
#[derive(Debug)]
struct Supervisor {
    lifeline: Lifeline,
    state: watch::Receiver<State>,
}

impl Supervisor {
    fn start(mut script: Command, outlived_by: Option<&Lifeline>) -> Result<Self, Error> {
        // ETCD_* variables configure etcd, and HTTPS_PROXY would send the API
        // server's calls of webhooks to a proxy.
        script.current_dir("/").env_clear();
        for name in ["PATH", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                script.env(name, value);
            }
        }
        let (lifeline, words) = supervisor::start(script, outlived_by).map_err(Error::Shell)?;
        let (sender, state) = watch::channel(State::Starting);
        // A thread, as the daemon is to outlive the runtime that started it. It
        // ends with the script, whose end the drop of the lifeline brings about.
        thread::Builder::new()
            .name("control-plane".to_owned())
            .spawn(move || follow(words, &sender))
            .map_err(Error::Shell)?;
        Ok(Self { lifeline, state })
    }

    /// Whether the script got as far as to run what it is for.
    async fn running(&self) -> bool {
        let mut state = self.state.clone();
        let started = state.wait_for(|state| !matches!(state, State::Starting));
        matches!(
            started.await.as_deref(),
            Ok(State::Running | State::Exited(_) | State::Gone(Some(_)))
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

/// Reports what the script says, up to its end.
fn follow(words: supervisor::Words, state: &watch::Sender<State>) {
    let mut exited = None;
    for word in words {
        state.send_replace(match word {
            Word::Running => State::Running,
            Word::Exited(status) => {
                exited = Some(status);
                State::Exited(status)
            }
        });
    }
    state.send_replace(State::Gone(exited));
}

/// The lines of a log that an error shows.
const TAIL: usize = 30;

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
