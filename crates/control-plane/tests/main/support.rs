//! What the tests share: waiting for a condition, and what is left of a control plane.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Waits until `condition` gives a value.
pub(crate) async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

/// Waits until neither the folder nor a process that has to do with it is left.
pub(crate) async fn nothing_is_left_of(folder: &Path) {
    eventually("the folder and all processes are gone", async || {
        (!folder.exists() && processes_of(folder).is_empty()).then_some(())
    })
    .await;
}

/// Runs the test of this name again, as a process to be ended. Gives that process,
/// and the folder of the control plane that it has announced; in that process it
/// gives nothing.
pub(crate) fn parent(test: &str) -> Option<(Child, PathBuf)> {
    if env::var_os(ROLE).is_some() {
        return None;
    }
    // A shell without job control starts what runs in the background with SIGINT ignored, and
    // that is inherited (POSIX, 2.11 Signals and Error Handling).
    let mut parent = Command::new("env")
        .arg("--default-signal=INT")
        .arg(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ROLE, "parent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(parent.stdout.take().unwrap()).lines();
    let folder = lines.map(Result::unwrap).find_map(|line| {
        let (_, folder) = line.split_once(FOLDER)?;
        Some(PathBuf::from(folder))
    });
    let folder = folder.expect("it says where its folder is");
    assert!(folder.is_dir());
    Some((parent, folder))
}

/// Tells the process that waits in [`parent`] where the folder is.
pub(crate) fn announce(folder: &Path) {
    println!("{FOLDER}{}", folder.display());
}

/// The command lines that name the folder.
pub(crate) fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().unwrap();
    let mut commands = commands();
    commands.retain(|command| command.contains(folder));
    commands
}

fn commands() -> Vec<String> {
    if let Ok(processes) = fs::read_dir("/proc") {
        let commands = processes.flatten().filter_map(|process| {
            let command = fs::read(process.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&command).replace('\0', " "))
        });
        return commands.collect();
    }
    let output = Command::new("ps")
        .args(["-A", "-o", "args"])
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&output.stdout);
    output.lines().map(str::to_owned).collect()
}

const DEADLINE: Duration = Duration::from_secs(30);

/// Set in the process to be ended.
const ROLE: &str = "CONTROL_PLANE_TEST_ROLE";

/// What the announced folder stands after.
const FOLDER: &str = "folder: ";
