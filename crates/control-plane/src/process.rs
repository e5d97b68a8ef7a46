//! Programs that are run beside a control plane: the operator under test, its peers.
//!
//! Owns nothing but a [`Daemon`]: they live under the same supervision as etcd and the
//! API server, and end like them however our process ends.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use crate::control_plane::ControlPlane;
use crate::daemon::Daemon;
use crate::error::Error;

/// A program that runs beside the control plane, stopped when this value is dropped
/// or the process ends, however it ends.
#[derive(Debug)]
pub struct Process {
    daemon: Daemon,
}

impl ControlPlane {
    /// Starts a program under supervision: program, arguments and variables of
    /// `command` count, and nothing else of it. Of our own environment the program
    /// sees only `PATH` and `TMPDIR`. All that it prints goes to a log.
    ///
    /// The variables can be seen by other users of this machine (`ps`).
    ///
    /// # Errors
    ///
    /// When the supervisor can't be started. What becomes of the program, even of one
    /// that can't be run, is told by [`Process::exited`].
    pub async fn spawn(&self, name: &'static str, command: &Command) -> Result<Process, Error> {
        let mut words = vec![OsString::from("/usr/bin/env")];
        for (variable, value) in command.get_envs() {
            if let Some(value) = value {
                let mut word = variable.to_owned();
                word.push("=");
                word.push(value);
                words.push(word);
            }
        }
        words.push(command.get_program().to_owned());
        words.extend(command.get_args().map(OsString::from));
        let log = self.log_of(name);
        let daemon = Daemon::start(name, &words, &log, self.lifeline()).await?;
        Ok(Process { daemon })
    }
}

impl Process {
    /// Where all goes that the program prints.
    #[must_use]
    pub fn log(&self) -> &Path {
        self.daemon.log()
    }

    /// The last lines of the log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        self.daemon.log_tail()
    }

    /// Returns when the program has ended, with the end of its log.
    pub async fn exited(&self) -> Error {
        self.daemon.exited().await
    }

    /// Stops the program: SIGTERM, and SIGKILL when that does not help.
    ///
    /// # Errors
    ///
    /// When it is still there after both.
    pub async fn stop(self) -> Result<(), Error> {
        self.daemon.stop().await
    }
}
