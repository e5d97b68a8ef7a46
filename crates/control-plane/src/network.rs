//! A network of a test's own.
//!
//! Owns the network namespace in which the API server can call a webhook as in
//! production: by a Service, at its cluster IP or its endpoints, on port 443. The
//! addresses lie on the namespace's own `lo`, so tests neither need nor see
//! anything of the machine's network, and may run at the same time.
//!
//! A process can only enter a namespace with a system call that needs `unsafe`;
//! so the test runs its own binary again, under `unshare`.
//!
//! Linux only. Elsewhere the functions are there and say so.

use std::env;
use std::future::Future;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::panic::Location;
use std::process::{self, Command, ExitStatus, Stdio};
use std::thread;

use tokio::runtime;

use crate::assets::{Assets, AssetsError, Tool};

/// The network namespace that the test runs in.
#[derive(Debug)]
pub struct Network {
    _inside: (),
}

impl Network {
    /// Gives the namespace an address, which a webhook can listen on and the API
    /// server call: one of the service range, 10.0.0.0/24, to be a cluster IP, and
    /// any other, say of 10.1.0.0/16, to be an endpoint.
    ///
    /// # Errors
    ///
    /// When `ip` fails, for one because the namespace has the address already.
    pub fn add_address(&self, address: Ipv4Addr) -> Result<(), NetworkError> {
        ip(&["addr", "add", &format!("{address}/32"), "dev", "lo"])
    }
}

/// Runs `body` in a network namespace of its own, as the test called `test`.
///
/// The name is the one that `cargo test -- --list` shows, as in
/// `network::calls_reach_a_cluster_ip`: the test's binary is run again in the
/// namespace, with that name as its filter. Within it, `body` has a multi-threaded
/// Tokio runtime, and should start a control plane for itself, as the shared one of
/// other tests is out of reach. So are the sources of its binaries: those that each
/// control plane needs ([`Tool::REQUIRED`]) are built before the namespace is entered,
/// others the test has to ask [`Assets::find_or_build`] for before it calls.
///
/// ```no_run
/// # use std::net::Ipv4Addr;
/// # use control_plane::{ControlPlane, in_network_namespace};
/// #[test]
/// fn calls_reach_a_cluster_ip() {
///     in_network_namespace("calls_reach_a_cluster_ip", async |network| {
///         network.add_address(Ipv4Addr::new(10, 0, 0, 50)).unwrap();
///         let control_plane = ControlPlane::start().await.unwrap();
///         // listen on 10.0.0.50:443, register a webhook, make a request ...
///     });
/// }
/// ```
///
/// # Panics
///
/// When `body` does; when the binaries are neither there nor can they be built; when
/// there is no such test, or it is another than the one that calls; and when there can
/// be no namespace: without Linux, without `unshare`
/// (package util-linux) or `ip` (package iproute2), or when neither root nor
/// user namespaces are to be had.
#[track_caller]
#[expect(clippy::panic, reason = "what a test does when it cannot go on")]
pub fn in_network_namespace<B, F>(test: &str, body: B)
where
    B: FnOnce(Network) -> F,
    F: Future<Output = ()>,
{
    let caller = Caller {
        test,
        place: Location::caller(),
    };
    let result = match env::var(VARIABLE) {
        Ok(outside) => run_inside(&caller, &outside, body),
        Err(_) => run_again(&caller),
    };
    if let Err(error) = result {
        panic!("{error}");
    }
}

/// A test could not run in a network namespace, or failed there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// The control plane that the test would start has no binaries.
    #[error(transparent)]
    Assets(#[from] AssetsError),

    /// The test failed.
    #[error("{test} failed in its network namespace ({status}); what it wrote stands above")]
    Failed {
        /// The test.
        test: String,
        /// How its process ended.
        status: ExitStatus,
    },

    /// `ip` failed.
    #[error("`ip {arguments}` failed: {output}")]
    Ip {
        /// What it was told to do.
        arguments: String,
        /// What it wrote.
        output: String,
    },

    /// The program is not there.
    #[error(
        "a network namespace needs `unshare` and `ip`, the packages util-linux and iproute2: \
         {program} cannot be run: {source}"
    )]
    Missing {
        /// `unshare` or `ip`.
        program: &'static str,
        /// Why it could not be run.
        source: io::Error,
    },

    /// The test was not run.
    #[error(
        "no test called {test} has run: give `in_network_namespace` the name that \
         `cargo test -- --list` shows"
    )]
    NoSuchTest {
        /// The name that was given.
        test: String,
    },

    /// `unshare` made no namespace.
    #[error(
        "{test} did not run in a network namespace ({status}): that needs root or user namespaces, \
         which a container or the sysctl kernel.apparmor_restrict_unprivileged_userns can deny"
    )]
    NotEntered {
        /// The test.
        test: String,
        /// How its process ended.
        status: ExitStatus,
    },

    /// Only Linux has network namespaces.
    #[error("a network namespace needs Linux, which this is not: skip the test here by `#[cfg]`")]
    NotLinux,

    /// The test that ran is not the one that called.
    #[error(
        "the test called {test} is another than the one that gave this name to \
         `in_network_namespace`: {inside} ran instead of {outside}"
    )]
    OtherTest {
        /// The name that was given.
        test: String,
        /// Where the test that ran calls.
        inside: String,
        /// Where the test that gave the name calls.
        outside: String,
    },

    /// The runtime, a pipe or the like could not be made.
    #[error("cannot run a test again: {0}")]
    Process(#[from] io::Error),
}

/// Who calls, as far as a second process can know it for the same.
struct Caller<'a> {
    test: &'a str,
    place: &'static Location<'static>,
}

/// Outside: runs the test again, inside.
fn run_again(caller: &Caller<'_>) -> Result<(), NetworkError> {
    if !cfg!(target_os = "linux") {
        return Err(NetworkError::NotLinux);
    }
    // Inside there is no network to fetch sources from.
    let outside = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    outside.block_on(Assets::find_or_build(Tool::REQUIRED))?;
    let test = caller.test.to_owned();
    let mut child = Command::new("unshare")
        .args(if is_root() {
            &["-n"][..]
        } else {
            &["-r", "-n"]
        })
        .arg("--")
        .arg(env::current_exe()?)
        .args([
            "--exact",
            caller.test,
            "--nocapture",
            "--test-threads=1",
            "--include-ignored",
        ])
        .env(VARIABLE, caller.place.to_string())
        // Held open by us: its end is our end.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(missing("unshare"))?;
    let stderr = child.stderr.take();
    let errors = thread::Builder::new().spawn(|| stderr.map_or(Ok(()), pass_errors_on))?;
    let entered = child.stdout.take().map_or(Ok(false), pass_output_on)?;
    // A panic of the thread is none of the test.
    errors.join().unwrap_or(Ok(()))?;
    let status = child.wait()?;
    match (entered, status.success()) {
        (true, true) => Ok(()),
        (true, false) => Err(NetworkError::Failed { test, status }),
        (false, true) => Err(NetworkError::NoSuchTest { test }),
        (false, false) => Err(NetworkError::NotEntered { test, status }),
    }
}

/// Prints what the second run prints, by a macro, so that libtest takes it for the
/// output of this test. Tells whether the second run came to the body.
#[expect(
    clippy::print_stdout,
    reason = "what libtest takes for output of the test"
)]
fn pass_output_on(output: impl Read) -> io::Result<bool> {
    let mut entered = false;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        if line == ENTERED.as_bytes() {
            entered = true;
        } else {
            println!("{}", String::from_utf8_lossy(&line));
        }
    }
    Ok(entered)
}

/// As [`pass_output_on`], but for the progress of a build: whoever waits is to see it.
#[expect(
    clippy::print_stderr,
    reason = "what libtest takes for output of the test"
)]
fn pass_errors_on(output: impl Read) -> io::Result<()> {
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        if line.starts_with("control-plane: ") {
            writeln!(io::stderr(), "{line}")?;
        } else {
            eprintln!("{line}");
        }
    }
    Ok(())
}

/// Inside: runs the body of the test.
fn run_inside<B, F>(caller: &Caller<'_>, outside: &str, body: B) -> Result<(), NetworkError>
where
    B: FnOnce(Network) -> F,
    F: Future<Output = ()>,
{
    // libtest has begun the line with the name of the test.
    let mut stdout = io::stdout();
    writeln!(stdout, "\n{ENTERED}")?;
    stdout.flush()?;
    let inside = caller.place.to_string();
    if inside != outside {
        return Err(NetworkError::OtherTest {
            test: caller.test.to_owned(),
            inside,
            outside: outside.to_owned(),
        });
    }
    thread::Builder::new().spawn(|| {
        // Whether it ends or fails, there is nobody left to report to.
        io::stdin().read_to_end(&mut Vec::new()).ok();
        process::exit(ORPHANED);
    })?;
    ip(&["link", "set", "lo", "up"])?;
    let inside = runtime::Builder::new_multi_thread().enable_all().build()?;
    inside.block_on(body(Network { _inside: () }));
    Ok(())
}

fn ip(arguments: &[&str]) -> Result<(), NetworkError> {
    // It lies where only the PATH of an administrator may lead.
    let path = env::var("PATH").unwrap_or_default();
    let mut command = Command::new("ip");
    command
        .args(arguments)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"));
    let output = command.output().map_err(missing("ip"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(NetworkError::Ip {
        arguments: arguments.join(" "),
        output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
    })
}

fn missing(program: &'static str) -> impl FnOnce(io::Error) -> NetworkError {
    move |source| NetworkError::Missing { program, source }
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Tells the second run of a test where the first one calls.
const VARIABLE: &str = "CONTROL_PLANE_NETWORK_NAMESPACE";

/// The line by which the second run says that it has come to the body.
const ENTERED: &str = "control-plane: in the network namespace";

/// The exit code of the second run when the first is gone.
const ORPHANED: i32 = 101;
