//! `soak`: what CI does for a moment, for as long as one likes.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::bail;
use clap::{Args, Subcommand};

use xtask::tool;

/// Do for long what CI does for a moment
#[derive(Args)]
pub(crate) struct Soak {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Call the hooks of replicas that come and go, and whose certificates are exchanged, and count
    /// what fails
    Calls(Calls),
    /// Convert made-up Reservations of every version there and back
    Conversion(Conversion),
    /// Drive the program's own code through seeded schedules of everything that can go wrong
    Simulation(Simulation),
}

#[derive(Args)]
struct Simulation {
    /// What the simulation takes: `--schedules N`, `--seed N --trace`, `--keep-going`,
    /// `--load BOOKINGS HOSTS`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

#[derive(Args)]
struct Calls {
    /// How many calls there are to be over each of the changes
    #[arg(long, default_value_t = 10_000)]
    count: u64,
}

#[derive(Args)]
struct Conversion {
    /// How many objects each property is held against
    #[arg(long, default_value_t = 1_000_000, conflicts_with = "seconds")]
    count: u64,

    /// Go on for so long instead
    #[arg(long)]
    seconds: Option<u64>,
}

impl Soak {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        match self.what {
            What::Calls(calls) => calls.run(),
            What::Conversion(conversion) => conversion.run(),
            What::Simulation(simulation) => {
                let mut run = tool::cargo();
                run.args([
                    "run",
                    "--quiet",
                    "--profile",
                    "soak",
                    "--package",
                    "simulation",
                    "--",
                ]);
                tool::run(run.args(simulation.arguments))
            }
        }
    }
}

impl Calls {
    fn run(self) -> anyhow::Result<()> {
        let mut test = tool::cargo();
        test.args(["test", "-p", "harbormaster", "--test", "main"]);
        test.args(["--", "--nocapture", "rollout::"]);
        test.env("SOAK_CALLS", self.count.to_string());
        tool::run(&mut test)
    }
}

impl Conversion {
    fn run(self) -> anyhow::Result<()> {
        // An optimised build takes minutes, which are no part of the soak.
        tool::run(properties().arg("--no-run"))?;
        let started = Instant::now();
        let limit = self.seconds.map(Duration::from_secs);
        let mut done = 0;
        loop {
            let round = match limit {
                Some(limit) if started.elapsed() >= limit => break,
                Some(_) => ROUND,
                None if done >= self.count => break,
                None => ROUND.min(self.count - done),
            };
            let mut test = tool::cargo();
            test.args([
                "test",
                "--release",
                "--quiet",
                "-p",
                "harbormaster",
                "--lib",
            ]);
            test.arg("api::convert::tests::");
            test.env("PROPTEST_CASES", round.to_string());
            tool::run(&mut test)?;
            done += round;
            let seconds = started.elapsed().as_secs();
            tool::say(&format!("soak: {done} objects a property in {seconds} s"));
        }
        if done == 0 {
            bail!("no time for a single round: give it more --seconds");
        }
        Ok(())
    }
}

fn properties() -> Command {
    let mut test = tool::cargo();
    test.args([
        "test",
        "--release",
        "--quiet",
        "-p",
        "harbormaster",
        "--lib",
    ]);
    test
}

/// A quarter of a minute or so each: progress is seen, and each begins with new seeds.
const ROUND: u64 = 20_000;
