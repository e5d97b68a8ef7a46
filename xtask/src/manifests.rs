//! Keeps `manifests/` as the program generates it.

use std::process::Command;

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
    tool::run(
        Command::new(program)
            .args(["generate", "manifests", "--out"])
            .arg(&folder),
    )
}
