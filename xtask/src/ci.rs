//! What has to pass, in the order in which it fails fastest. Called by `.ci/run`, which has
//! no logic of its own.

use std::{process::Command, time::Instant};

use clap::Args;

use xtask::tool;

use crate::{fuzz, layers, licences};

/// Format, lints, tests, docs and demo: what has to pass
#[derive(Args)]
pub(crate) struct Ci {}

impl Ci {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        let started = Instant::now();
        step("format", || {
            tool::run(tool::cargo().args(["fmt", "--all", "--check"]))
        })?;
        step("layers", layers::check)?;
        step("licences", licences::check)?;
        step("notices", || licences::notices::run(true))?;
        step("lints", || {
            let mut clippy = tool::cargo();
            clippy.args([
                "clippy",
                "--workspace",
                "--all-targets",
                "--all-features",
                "--locked",
            ]);
            tool::run(clippy.args(["--", "--deny", "warnings"]))
        })?;
        step("fuzz targets", fuzz::check)?;
        // The README's own command: all crates, unit, integration and documentation tests.
        step("test", || tool::run(require_all(tool::cargo().arg("test"))))?;
        step("docs", || {
            let mut doc = tool::cargo();
            doc.args(["doc", "--workspace", "--no-deps", "--locked"]);
            tool::run(doc.env("RUSTDOCFLAGS", "--deny warnings"))
        })?;
        step("demo", || tool::run(tool::cargo().args(["demo", "--once"])))?;
        tool::say(
            "\n=== NOT RUN: the image's build and trial (`cargo xtask image`): it takes minutes",
        );
        tool::say(&format!(
            "\nci: all passed in {} s",
            started.elapsed().as_secs()
        ));
        Ok(())
    }
}

/// A test that may skip itself elsewhere must not do so here.
fn require_all(command: &mut Command) -> &mut Command {
    command
        .env("REQUIRE_METAL3_TOOLS", "1")
        .env("REQUIRE_JAVA", "1")
}

fn step(name: &str, run: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    tool::say(&format!("\n=== {name}"));
    let started = Instant::now();
    run()?;
    tool::say(&format!("=== {name}: {} s", started.elapsed().as_secs()));
    Ok(())
}
