//! What the tests share: waiting for a condition, and what is left of a control plane.

use std::fs;
use std::path::Path;
use std::process::Command;
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
