//! The project's own tasks: `cargo demo`, and what CI runs.

mod ci;
mod demo;
mod fuzz;
mod image;
mod layers;
mod licences;
mod manifests;
mod soak;
mod story;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use xtask::tool;

/// The project's own tasks
#[derive(Parser)]
#[command(name = "xtask")]
enum Task {
    /// Format, lints, tests, docs and demo: what has to pass
    Ci(ci::Ci),
    /// Show the main job on a real etcd and kube-apiserver
    Demo(demo::Demo),
    Image(image::Image),
    /// Do for long what CI does for a moment
    Soak(soak::Soak),
    #[command(flatten)]
    Check(Check),
}

#[derive(Subcommand)]
enum Check {
    /// Check that every module imports only what stands above it
    Layers,
    /// Check the licences and origins of all dependencies against deny.toml
    Licences,
    /// Write the fuzz crates' Cargo.lock, with the program's own versions
    Locks,
    /// Write manifests/ as the program generates it
    Manifests {
        /// Only say whether they are as generated
        #[arg(long)]
        check: bool,
    },
    /// Write THIRD-PARTY.txt, which tells whose work is in the image, and under which licences
    Notices {
        /// Only say whether it is up to date
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Ci(ci) => ci.run(),
        Task::Demo(demo) => demo.run(),
        Task::Image(image) => image.run(),
        Task::Soak(soak) => soak.run(),
        Task::Check(Check::Layers) => layers::check(),
        Task::Check(Check::Licences) => licences::check(),
        Task::Check(Check::Locks) => fuzz::write_locks(),
        Task::Check(Check::Manifests { check }) => manifests::run(check),
        Task::Check(Check::Notices { check }) => licences::notices::run(check),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tool::say(&format!("\nFAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
