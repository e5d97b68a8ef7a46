//! Keeps `manifests/` as the program generates it.

use std::{fs, process::Command};

use anyhow::Context as _;
use xtask::tool;

/// Writes the manifests, or only checks them: the comparison is the test's own.
pub(crate) fn run(check: bool) -> anyhow::Result<()> {
    if check {
        let mut test = tool::cargo();
        test.args(["test", "--package", "harbormaster", "--test", "main"]);
        return tool::run(test.args(["--", "manifests::"]));
    }
    let program = tool::build_program()?;
    let folder = tool::root().join("manifests");
    // All in it is generated: what is no longer is in the way.
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    tool::run(
        Command::new(program)
            .args(["generate", "manifests", "--out"])
            .arg(&folder),
    )
}
