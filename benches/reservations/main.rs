//! What a thousand reservations of a hundred hosts cost: the whole program with its webhooks,
//! on a real etcd and kube-apiserver, next to the plain writes without which no reservation
//! could be served.
//!
//! `cargo bench -p harbormaster --bench reservations`. `BENCH_RESERVATIONS`, `BENCH_HOSTS`,
//! `BENCH_WINDOW` (seconds that each has its host) and `BENCH_WAITING` (seconds in which all are
//! accepted and none has begun; below five minutes nothing is seen of what waiting costs) make
//! it smaller. The hosts' operator is the simulator of the crate `metal3`, at its usual pace of
//! half a second a step, in this process; etcd, API server, program and simulator share the
//! machine. Calls are counted by the API server itself, and by its audit log where it matters
//! whose they are. Nothing is asserted: who was not served is told.
//! Linux only: processor time and memory are read from `/proc`.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its table, and has nobody to hand an error to"
)]

mod baseline;
mod bookings;
mod calls;
mod process;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use xtask::stage::{Cast, Stage, Way};

use self::{bookings::Bookings, calls::Calls, process::Process};

/// How much of it there is to be.
#[derive(Clone, Copy, Debug)]
struct Size {
    reservations: usize,
    hosts: usize,
    window: Duration,
    waiting: Duration,
}

fn main() {
    if !std::env::args().any(|argument| argument == "--bench") {
        println!("nothing is measured without `cargo bench`");
        return;
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let number = |name: &str, usual: u64| {
        let given = std::env::var(name).ok();
        given.map_or(usual, |text| text.parse().unwrap())
    };
    let count = |name, usual| usize::try_from(number(name, usual)).unwrap();
    let size = Size {
        reservations: count("BENCH_RESERVATIONS", 1000),
        hosts: count("BENCH_HOSTS", 100),
        window: Duration::from_secs(number("BENCH_WINDOW", 30)),
        waiting: Duration::from_secs(number("BENCH_WAITING", 330)),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(Box::pin(run(size)));
}

async fn run(size: Size) {
    let program = Path::new(env!("CARGO_BIN_EXE_harbormaster"));
    let stage = Stage::set(program, Cast::Simulator, Way::Url)
        .await
        .unwrap();
    let program = Process::running(program);

    println!("\nThe writes alone, from 8 clients: no controller, no operator, nothing to wait for");
    let before = Calls::of(&stage).await;
    let begun = Instant::now();
    let changes = baseline::run(stage.control_plane(), size.reservations).await;
    let took = begun.elapsed();
    let calls = Calls::of(&stage).await.since(&before);
    calls.print("by the API server", size.reservations);
    println!(
        "{changes} changes of a phase: {:.2} calls and {:.1} ms each",
        calls.total() as f64 / changes as f64,
        took.as_secs_f64() * 1000.0 / changes as f64
    );

    println!("\nThe program: {size:?}");
    let bookings = Bookings::new(&stage, size).await;
    let mut watch = Watch::new(&stage, &program).await;
    bookings.book().await;
    bookings.until_accepted().await;
    watch.tell("Booked and accepted", size.reservations).await;

    bookings.wait().await;
    let waited = watch.begun.elapsed().as_secs_f64() / 3600.0;
    let calls = watch.tell("Waiting", size.reservations).await;
    println!(
        "{:.1} calls of the program's an hour for each that waits",
        calls as f64 / waited / size.reservations as f64
    );

    let changes = bookings.until_over().await;
    let used = program.used() - watch.used;
    let begun = watch.begun;
    let calls = watch.tell("Served", size.reservations).await;
    println!(
        "{changes} changes of a phase in {:.0} s: {:.1} calls and {:.1} ms of the program's \
         processor time each",
        begun.elapsed().as_secs_f64(),
        calls as f64 / changes as f64,
        used.as_secs_f64() * 1000.0 / changes as f64,
    );
    bookings.tell_lateness();
    println!("memory: {}", program.memory());
    calls::print_program(&stage).await;
    stage.strike().await.unwrap();
}

/// What was when a part began.
struct Watch<'a> {
    stage: &'a Stage,
    program: &'a Process,
    begun: Instant,
    used: Duration,
    calls: Calls,
    audited: u64,
}

impl<'a> Watch<'a> {
    async fn new(stage: &'a Stage, program: &'a Process) -> Self {
        Self {
            stage,
            program,
            begun: Instant::now(),
            used: program.used(),
            calls: Calls::of(stage).await,
            audited: calls::audited(stage, 0).1,
        }
    }

    /// Tells of the part that is over, and begins the next. Gives back how many calls were
    /// the program's.
    async fn tell(&mut self, what: &str, reservations: usize) -> u64 {
        let took = self.begun.elapsed();
        let used = self.program.used() - self.used;
        let calls = Calls::of(self.stage).await.since(&self.calls);
        println!("\n{what}: {:.0} s", took.as_secs_f64());
        calls.print("by the API server, everybody's", reservations);
        let (ours, read) = calls::audited(self.stage, self.audited);
        ours.print("by the audit log, the program's", reservations);
        println!(
            "the program: {:.1} s of processor time, {:.1} ms a reservation",
            used.as_secs_f64(),
            used.as_secs_f64() * 1000.0 / reservations as f64
        );
        *self = Self {
            begun: Instant::now(),
            used: self.program.used(),
            calls: Calls::of(self.stage).await,
            audited: read,
            ..*self
        };
        ours.total()
    }
}
