//! Runs schedules, as many as asked for; see the library.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::{
    collections::BTreeSet,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Instant,
};

use clap::Parser;
use simulation::{Options, coverage::Coverage, load::load, needed_faults, run};

/// Run seeded schedules against the program's own code, until one breaks a promise
#[derive(Parser)]
struct Soak {
    /// How many schedules
    #[arg(long, default_value_t = 100_000)]
    schedules: u64,

    /// The first seed; alone, the only one
    #[arg(long)]
    seed: Option<u64>,

    /// Write down everything that happens in the schedule of `--seed`
    #[arg(long, requires = "seed")]
    trace: bool,

    /// Only worlds in which two replicas lead all the time, and everybody is in everybody's way
    #[arg(long)]
    crowded: bool,

    /// Instead, serve so many bookings on so many hosts, and tell what that took
    #[arg(long, value_names = ["BOOKINGS", "HOSTS"], num_args = 2, exclusive = true)]
    load: Option<Vec<usize>>,

    /// Go on after a failure, and count them
    #[arg(long)]
    keep_going: bool,
}

fn main() -> ExitCode {
    let soak = Soak::parse();
    if let Some([bookings, hosts]) = soak.load.as_deref() {
        return measure(*hosts, *bookings);
    }
    match (soak.seed, soak.trace) {
        (Some(seed), true) => replay(seed, &soak.options()),
        _ => soak.run(),
    }
}

impl Soak {
    fn options(&self) -> Options {
        Options {
            crowded: self.crowded,
            ..Options::default()
        }
    }

    fn run(&self) -> ExitCode {
        let first = self.seed.unwrap_or_default();
        let next = AtomicU64::new(first);
        let end = first.saturating_add(self.schedules);
        let stop = AtomicBool::new(false);
        let total = Mutex::new((Coverage::default(), 0_u64, Vec::new()));
        let begun = Instant::now();
        let threads = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= end {
                            break;
                        }
                        let outcome = run(seed, &self.options());
                        let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                        total.0.add(&outcome.coverage);
                        total.1 += 1;
                        if total.1.is_multiple_of(PROGRESS) {
                            let speed = total.1 as f64 / begun.elapsed().as_secs_f64();
                            println!("{} schedules, {speed:.0} a second", total.1);
                        }
                        if let Some(broken) = outcome.broken {
                            println!("seed {seed}: {broken}");
                            total.2.push(seed);
                            if !self.keep_going {
                                stop.store(true, Ordering::Relaxed);
                            }
                        }
                    }
                });
            }
        });
        let (coverage, run, failed) = total.into_inner().unwrap_or_else(PoisonError::into_inner);
        let seconds = begun.elapsed().as_secs_f64();
        println!(
            "{run} schedules in {seconds:.1} s ({:.0} a second), {} failed, {coverage}",
            run as f64 / seconds,
            failed.len(),
        );
        match failed.first() {
            None => ExitCode::SUCCESS,
            Some(seed) if self.keep_going => {
                println!("the first: --seed {seed} --trace");
                ExitCode::FAILURE
            }
            Some(seed) => replay(*seed, &self.options()),
        }
    }
}

fn measure(hosts: usize, bookings: usize) -> ExitCode {
    if hosts == 0 || bookings == 0 {
        println!("there must be a host, and a booking");
        return ExitCode::FAILURE;
    }
    println!("{bookings} bookings of {hosts} hosts");
    let load = load(hosts, bookings);
    println!("{load}");
    match load.broken {
        None => ExitCode::SUCCESS,
        Some(_) => ExitCode::FAILURE,
    }
}

fn replay(seed: u64, options: &Options) -> ExitCode {
    let Some(_) = run(seed, options).broken else {
        let traced = Options {
            trace: true,
            ..options.clone()
        };
        println!("{}", run(seed, &traced).trace.join("\n"));
        println!("seed {seed} breaks nothing");
        return ExitCode::SUCCESS;
    };
    let mut needed = needed_faults(seed, options);
    needed.trace = true;
    let outcome = run(seed, &needed);
    println!("{}", outcome.trace.join("\n"));
    let met: BTreeSet<_> = outcome.coverage.faults.keys().collect();
    println!(
        "seed {seed} with {met:?}: {}",
        outcome.broken.unwrap_or_default()
    );
    ExitCode::FAILURE
}

const PROGRESS: u64 = 10_000;
