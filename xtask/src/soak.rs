//! `soak`: what CI does for a moment, for as long as one likes.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::bail;
use clap::{Args, Subcommand, ValueEnum};

use xtask::tool;

use crate::fuzz::Fuzz;

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
    Fuzz(Fuzz),
    /// Drive the program's own code through seeded schedules of everything that can go wrong
    Simulation(Simulation),
}

#[derive(Args)]
struct Simulation {
    /// What the simulation takes: `--schedules N`, `--seed N --trace`, `--crowded`,
    /// `--keep-going`, `--load BOOKINGS HOSTS`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

#[derive(Args)]
struct Calls {
    /// How many calls there are to be over each of the changes
    #[arg(long, default_value_t = 10_000)]
    count: u64,

    /// Only over this change
    #[arg(long, value_enum)]
    over: Vec<Change>,

    /// How cargo builds the program and its tests; `test` is not optimised, and sooner built
    #[arg(long, default_value = "soak")]
    profile: String,
}

/// What calls go on over.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Change {
    /// Each of two replicas is replaced, again and again
    Rollouts,
    /// The program exchanges its own CA, and the leaves under it
    OwnCa,
    /// cert-manager, the real one, is told to renew its CA and its leaf
    CertManager,
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
            What::Fuzz(fuzz) => fuzz.run(),
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
        let all = Change::value_variants();
        let changes = if self.over.is_empty() {
            all
        } else {
            &self.over
        };
        let tool = tool::real_neighbours().join("cert-manager/cert-manager-controller.xz");
        let is_needed = changes.iter().any(|it| matches!(it, Change::CertManager));
        tool::require(&["ip", "unshare"])?;
        if is_needed {
            tool::require(&["xz"])?;
        }
        if is_needed && !tool.exists() {
            bail!(
                "no {}: METAL3_TOOLS names the folder that it is in",
                tool.display()
            );
        }
        let program = self.build()?;
        // A name that no test has would be a run of none, and pass.
        let tests = tool::read(Command::new(&program).arg("--list"))?;
        for change in changes {
            if !tests.contains(&format!("{}: test", change.test())) {
                bail!("no test is called {}", change.test());
            }
        }
        let mut failed = Vec::new();
        for change in changes {
            let mut test = Command::new(&program);
            test.current_dir(tool::root());
            test.args(["--nocapture", "--exact", change.test()]);
            test.env("SOAK_CALLS", self.count.to_string());
            // A soak that left one out would look as if it had passed.
            test.env("REQUIRE_METAL3_TOOLS", "1");
            let started = Instant::now();
            let ended = tool::run(&mut test);
            let seconds = started.elapsed().as_secs();
            tool::say(&format!("soak: {change:?}: {seconds} s"));
            failed.extend(ended.err().map(|_| format!("{change:?}")));
        }
        if !failed.is_empty() {
            bail!("calls over these failed: {}", failed.join(", "));
        }
        Ok(())
    }

    /// Once, before anything is counted: what is built while it runs is of no concern.
    fn build(&self) -> anyhow::Result<PathBuf> {
        let mut test = tool::cargo();
        test.args(["test", "--no-run", "--profile", &self.profile]);
        test.args(["-p", "harbormaster", "--test", "main"]);
        tool::build(&mut test, "main")
    }
}

impl Change {
    fn test(self) -> &'static str {
        match self {
            Self::Rollouts => "rollout::no_call_fails_while_replicas_are_replaced",
            Self::OwnCa => "rollout::no_call_fails_while_the_own_ca_is_exchanged",
            Self::CertManager => "rollout::cert_manager::no_call_fails_while_cert_manager_renews",
        }
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
            let mut test = properties();
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
