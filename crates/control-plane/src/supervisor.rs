//! The shell scripts by which processes end when ours does, however ours ends.
//!
//! Owns the two scripts, how they are started and what they say. Each runs in a
//! process group of its own (so that Ctrl-C in a terminal reaches us alone) and
//! reads a pipe, its *lifeline*, from us. The kernel closes the lifeline of a
//! process that panics, exits or is killed with `kill -9`; the script then ends
//! what it runs. A script can also hold the lifeline of another, which then
//! outlives it.
//!
//! Refuses to wait: what the scripts say is read by [`daemon`](crate::daemon) and
//! by the build of the [`assets`](crate::assets).

use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead, BufReader, Lines};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A script that runs a program: it ends with SIGTERM, or SIGKILL after `grace`.
/// All output of the program goes to `log`.
pub(crate) fn run<'a>(
    log: &Path,
    grace: Duration,
    program: impl IntoIterator<Item = &'a OsString>,
) -> Command {
    let mut command = shell(RUN, log.as_os_str());
    command.arg(grace.as_secs().to_string()).args(program);
    command
}

/// A script that makes a folder, and removes it at the end.
pub(crate) fn keep(folder: &Path) -> Command {
    shell(KEEP, folder.as_os_str())
}

/// Starts one of the scripts. What `outlived_by` is the lifeline of stays until the
/// script is done.
pub(crate) fn start(
    mut script: Command,
    outlived_by: Option<&Lifeline>,
) -> io::Result<(Lifeline, Words)> {
    let stderr = match outlived_by {
        Some(Lifeline(pipe)) => Stdio::from(pipe.try_clone()?),
        None => Stdio::null(),
    };
    let mut child = script
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(stderr)
        .spawn()?;
    match (child.stdin.take(), child.stdout.take()) {
        (Some(stdin), Some(stdout)) => {
            let lines = BufReader::new(stdout).lines();
            Ok((Lifeline(stdin.into()), Words { child, lines }))
        }
        _ => Err(io::Error::other("a child has no pipes")),
    }
}

/// The end of a pipe whose closing stops what reads the other end.
#[derive(Debug)]
pub(crate) struct Lifeline(OwnedFd);

/// What a script says, up to its end.
#[derive(Debug)]
pub(crate) struct Words {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Iterator for Words {
    type Item = Word;

    /// Blocks until the script says something. After the last word there is no
    /// process left.
    fn next(&mut self) -> Option<Word> {
        for line in self.lines.by_ref().map_while(Result::ok) {
            if line == "running" {
                return Some(Word::Running);
            }
            if let Some(status) = line.strip_prefix("exited ") {
                return Some(Word::Exited(status.parse().unwrap_or(UNKNOWN)));
            }
        }
        if let Err(error) = self.child.wait() {
            tracing::debug!(%error, "cannot reap a supervisor");
        }
        None
    }
}

/// A line of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// The program is started, or the folder is there.
    Running,
    /// The program has ended, with this status.
    Exited(i32),
}

/// The status of a program whose supervisor was itself killed.
pub(crate) const UNKNOWN: i32 = -1;

fn shell(script: &str, argument: &OsStr) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]).arg(argument);
    command
}

const RUN: &str = include_str!("supervisor/run.sh");
const KEEP: &str = include_str!("supervisor/keep.sh");

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn a_program_that_ends_at_once_takes_its_script_with_it() {
        let (sender, ends) = mpsc::channel();
        thread::spawn(move || {
            for _ in 0..RUNS {
                let script = run(Path::new("/dev/null"), GRACE, &[OsString::from("true")]);
                // The lifeline stays, so that the script has no other cause to end.
                let (_lifeline, words) = start(script, None).unwrap();
                sender.send(words.last()).unwrap();
            }
        });
        for _ in 0..RUNS {
            let end = ends.recv_timeout(Duration::from_secs(30));
            assert_eq!(end, Ok(Some(Word::Exited(0))));
        }
    }

    const RUNS: usize = 200;
    const GRACE: Duration = Duration::from_secs(1);
}
