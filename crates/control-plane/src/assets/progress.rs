//! What a user sees of a long build.
//!
//! Owns the lines on stderr: what is going on, and each ten seconds that it still
//! is. Five silent minutes look like a hang, so they also reach the terminal out
//! of a test: libtest only captures the print macros, which are not used here.

use std::io::{self, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Tells that something is still going on, until it is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    stop: Option<Sender<()>>,
    reporter: Option<JoinHandle<()>>,
}

impl Progress {
    /// Says `now` at once, and `still` with the time since each ten seconds.
    pub(super) fn start(now: &str, still: String) -> Self {
        say(now);
        Self::every(INTERVAL, move |elapsed| {
            say(&format!("{still} ({} s so far)", elapsed.as_secs()));
        })
    }

    fn every(interval: Duration, report: impl Fn(Duration) + Send + 'static) -> Self {
        let (stop, stopped) = mpsc::channel();
        let start = Instant::now();
        let reporter = thread::Builder::new().spawn(move || {
            while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                report(start.elapsed());
            }
        });
        Self {
            stop: Some(stop),
            // Without a thread to report there is a build without reports.
            reporter: reporter.ok(),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(reporter) = self.reporter.take() {
            // A reporter that panicked has said so itself.
            reporter.join().ok();
        }
    }
}

/// Writes a line that no test runner captures.
#[expect(clippy::print_stderr, reason = "for our own tests alone")]
pub(super) fn say(line: &str) {
    if cfg!(test) {
        // The builds of our own tests are not real, and none of a user's business.
        return eprintln!("control-plane: {line}");
    }
    // Nobody is to miss a control plane for want of a terminal.
    writeln!(io::stderr().lock(), "control-plane: {line}").ok();
}

const INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_reported_until_it_ends() {
        let (sender, reports) = mpsc::channel();
        let progress = Progress::every(Duration::from_millis(1), move |elapsed| {
            sender.send(elapsed).ok();
        });
        let first = reports.recv().unwrap();
        let second = reports.recv().unwrap();
        assert!(first < second, "{first:?} is not before {second:?}");

        drop(progress);
        assert!(reports.iter().count() < 1000, "the channel is closed");
    }
}
