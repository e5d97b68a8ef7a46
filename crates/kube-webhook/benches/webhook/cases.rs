//! What is measured, one after the other, and the table.

use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::{
    client::{Client, Connection, request},
    fixtures::{conversion, update},
    process::{Role, Running},
};

pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) body: fn() -> Vec<u8>,
    connections: usize,
    /// From one call of a connection to its next; otherwise it calls as fast as it is answered.
    every: Option<Duration>,
}

impl Case {
    /// Which server it is for.
    pub(crate) fn role(&self) -> Role {
        match self.path {
            "/lossless" => Role::Lossless,
            _ => Role::Framework,
        }
    }
}

pub(crate) async fn run_all(wanted: Option<&str>) {
    let seconds = std::env::var("BENCH_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(2.0);
    let period = Duration::from_secs_f64(seconds);
    let is_wanted = |name: &str| wanted.is_none_or(|wanted| name.contains(wanted));
    println!(
        "{:<30} {:<9} {:>10} {:>9} {:>9} {:>15} {:>9} {:>9} {:>7}",
        "case",
        "server",
        "calls/s",
        "p50 us",
        "p99 us",
        "cpu ms/1k calls",
        "idle MiB",
        "peak MiB",
        "ratio"
    );
    for case in cases() {
        if is_wanted(case.name) {
            compare(&case, period).await;
        }
    }
    if is_wanted("idle connections") {
        for role in [Role::Constant, Role::Framework] {
            idle_connections(role).await;
        }
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let small = |name, path, body| Case {
        name,
        path,
        body,
        connections: 8,
        every: None,
    };
    let steady = |name, path, body| Case {
        every: Some(Duration::from_millis(2)),
        ..small(name, path, body)
    };
    let large = |name, path, body| Case {
        connections: 1,
        ..small(name, path, body)
    };
    vec![
        small("validate 5.7 kB", "/validate/host", || update(11)),
        small("validate 5.7 kB, narrow view", "/narrow", || update(11)),
        small("validate 53 kB", "/validate/host", || update(222)),
        small("validate 53 kB, narrow view", "/narrow", || update(222)),
        small("mutate 5.7 kB", "/mutate/host", || update(11)),
        small("mutate 5.7 kB, narrow view", "/narrow-defaults", || {
            update(11)
        }),
        small("mutate 53 kB", "/mutate/host", || update(222)),
        small("mutate 53 kB, narrow view", "/narrow-defaults", || {
            update(222)
        }),
        small("convert 1", "/plain", || conversion(1)),
        small("convert 1, lossless", "/lossless", || conversion(1)),
        // Two servers that are asked as fast as each can are not asked alike: the slower one lets its
        // callers sleep, and wakes them at its own expense.
        steady("steady validate 5.7 kB", "/validate/host", || update(11)),
        steady("steady mutate 5.7 kB", "/mutate/host", || update(11)),
        steady("steady mutate, narrow view", "/narrow-defaults", || {
            update(11)
        }),
        steady("steady convert 1", "/plain", || conversion(1)),
        steady("steady convert 1, lossless", "/lossless", || conversion(1)),
        large("convert 1,000", "/plain", || conversion(1_000)),
        large("convert 1,000, lossless", "/lossless", || conversion(1_000)),
        large("convert 10,000", "/plain", || conversion(10_000)),
        large("convert 10,000, lossless", "/lossless", || {
            conversion(10_000)
        }),
    ]
}

/// In turns, so that whatever else the machine does hits both alike. The framework first, whose
/// answer the other server is to give.
async fn compare(case: &Case, period: Duration) {
    let body = (case.body)();
    let call = request(case.path, &body);
    let role = case.role();
    let framework = Running::start(role).await;
    let mut one = Client::new(framework.addr, &framework.ca).connect().await;
    let answer = one.call(&call).await.to_vec();
    let constant = Running::start(Role::Constant).await;
    let mut one = Client::new(constant.addr, &constant.ca).connect().await;
    one.call(&request("/reply", &answer)).await;

    let mut theirs = Measured::start(&constant, case, &call, period / TURNS).await;
    let mut ours = Measured::start(&framework, case, &call, period / TURNS).await;
    for _ in 0..TURNS {
        theirs.turn(&call, period / TURNS).await;
        ours.turn(&call, period / TURNS).await;
    }
    let (theirs, ours) = (theirs.figures(), ours.figures());
    println!(
        "{:<30} ({} kB in, {} kB out)",
        case.name,
        body.len() / 1_000,
        answer.len() / 1_000
    );
    theirs.print(Role::Constant, None);
    ours.print(role, Some(ours.cpu_per_call / theirs.cpu_per_call));
}

struct Figures {
    calls_per_second: f64,
    p50: u64,
    p99: u64,
    /// Seconds.
    cpu_per_call: f64,
    idle: u64,
    peak: u64,
}

impl Figures {
    fn print(&self, role: Role, ratio: Option<f64>) {
        println!(
            "{:<30} {:<9} {:>10.1} {:>9} {:>9} {:>15.1} {:>9.1} {:>9.1} {:>7}",
            "",
            role.as_str(),
            self.calls_per_second,
            self.p50,
            self.p99,
            self.cpu_per_call * 1_000_000.0,
            mebibytes(self.idle),
            mebibytes(self.peak),
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}x")),
        );
    }
}

/// A server under measurement.
struct Measured<'a> {
    server: &'a Running,
    every: Option<Duration>,
    connections: Vec<Connection>,
    idle: u64,
    /// Before the first turn. Between its turns a server has nothing to do, so that two readings of
    /// the kernel's coarse count are enough.
    cpu: Duration,
    elapsed: Duration,
    times: Vec<u64>,
}

impl<'a> Measured<'a> {
    /// Connects, and warms up: code, allocator, the sockets' windows.
    async fn start(server: &'a Running, case: &Case, call: &[u8], period: Duration) -> Self {
        let client = Client::new(server.addr, &server.ca);
        let connections = join_all((0..case.connections).map(|_| client.connect())).await;
        let mut measured = Self {
            server,
            every: case.every,
            connections,
            idle: server.memory().0,
            cpu: Duration::ZERO,
            elapsed: Duration::ZERO,
            times: Vec::new(),
        };
        measured.turn(call, period).await;
        Self {
            cpu: server.cpu(),
            elapsed: Duration::ZERO,
            times: Vec::new(),
            ..measured
        }
    }

    async fn turn(&mut self, call: &[u8], period: Duration) {
        let started = Instant::now();
        let callers = self.connections.iter_mut();
        let end = started + period;
        let times = join_all(callers.map(|one| one.call_until(call, end, self.every))).await;
        self.elapsed += started.elapsed();
        self.times.extend(times.into_iter().flatten());
    }

    fn figures(mut self) -> Figures {
        let cpu = self.server.cpu().saturating_sub(self.cpu);
        self.times.sort_unstable();
        let calls = f64::from(u32::try_from(self.times.len()).unwrap());
        Figures {
            calls_per_second: calls / self.elapsed.as_secs_f64(),
            p50: self.times[self.times.len() / 2],
            p99: self.times[self.times.len() * 99 / 100],
            cpu_per_call: cpu.as_secs_f64() / calls,
            idle: self.idle,
            peak: self.server.memory().1,
        }
    }
}

/// Memory of connections that have been used once, as those of the API server's pool.
async fn idle_connections(role: Role) {
    let server = Running::start(role).await;
    let client = Client::new(server.addr, &server.ca);
    let call = request("/validate/host", &update(11));
    let used = async || {
        let mut one = client.connect().await;
        if matches!(role, Role::Framework) {
            one.call(&call).await;
        } else {
            one.call(&request("/reply", b"{}")).await;
        }
        one
    };
    let mut open = vec![used().await];
    let (before, _) = server.memory();
    while open.len() < IDLE {
        let more = IDLE.saturating_sub(open.len()).min(100);
        open.extend(join_all((0..more).map(|_| used())).await);
    }
    let (after, _) = server.memory();
    println!(
        "{:<30} {:<9} {:.1} MiB before, {:.1} MiB after: {:.1} kB each",
        "10,000 idle connections",
        role.as_str(),
        mebibytes(before),
        mebibytes(after),
        (after - before) as f64 * 1.024 / IDLE as f64,
    );
}

fn mebibytes(kibibytes: u64) -> f64 {
    kibibytes as f64 / 1024.0
}

const IDLE: usize = 10_000;

/// Of each server.
const TURNS: u32 = 20;
