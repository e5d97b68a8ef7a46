//! Running other programs, and talking to whoever watches.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

/// The top of the checkout.
pub fn root() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    own.parent().map(PathBuf::from).unwrap_or(own)
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command
}

/// Builds the program and says where it is.
pub fn build_program() -> anyhow::Result<PathBuf> {
    build(
        cargo().args(["build", "--package", "harbormaster"]),
        "harbormaster",
    )
}

/// Has cargo build a target of this name, and says where it is.
pub fn build(command: &mut Command, target: &str) -> anyhow::Result<PathBuf> {
    let output = command
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit())
        .output()
        .context("can't run cargo")?;
    if !output.status.success() {
        bail!("{} failed", line(command));
    }
    let executable = String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == target)
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)));
    executable.with_context(|| format!("cargo built no {target}"))
}

/// The folder with others' real programs, packed: the operator, cert-manager. It may not be there.
pub fn real_neighbours() -> PathBuf {
    let named = std::env::var_os("METAL3_TOOLS").map(PathBuf::from);
    named.unwrap_or_else(|| root().join("../shared/tools"))
}

/// Tells at once of all programs that are missing, rather than of each when its turn comes.
pub fn require(programs: &[&str]) -> anyhow::Result<()> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let is_missing = |program: &&&str| !folders.iter().any(|it| it.join(program).is_file());
    let missing: Vec<_> = programs.iter().filter(is_missing).copied().collect();
    if !missing.is_empty() {
        bail!(
            "programs that are needed, and aren't found: {}",
            missing.join(", ")
        );
    }
    Ok(())
}

/// Runs a command whose output goes where ours goes.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command
        .status()
        .with_context(|| format!("can't run {}", command.get_program().display()))?;
    if !status.success() {
        bail!("{} ended with {status}", line(command));
    }
    Ok(())
}

/// Runs a command for what it prints.
pub fn read(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("can't run {}", command.get_program().display()))?;
    if !output.status.success() {
        let complaint = String::from_utf8_lossy(&output.stderr);
        bail!("{} failed: {}", line(command), complaint.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn line(command: &Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let arguments = command
        .get_args()
        .map(|word| word.to_string_lossy().into_owned());
    std::iter::once(program)
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

#[expect(clippy::print_stdout, reason = "what a task has to say")]
pub fn say(text: &str) {
    println!("{text}");
}
