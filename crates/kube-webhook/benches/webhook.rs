//! What the framework's own work costs: its server against one on the same stack that reads each body
//! and answers with the same bytes without looking at it.
//!
//! `cargo bench -p kube-webhook`; `BENCH_SECONDS=10` for longer runs, a word to choose cases by their
//! names. Real TLS, HTTP/1.1 and keep-alive; each case has a fresh server in a process of its own
//! (this program, started again), whose CPU time and memory are read from `/proc`, so Linux only.
//! Nothing is asserted: figures of a shared machine are for people to judge.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints its table, and has nobody to hand an error to"
)]

#[path = "webhook/alone.rs"]
mod alone;
#[path = "webhook/cases.rs"]
mod cases;
#[path = "webhook/client.rs"]
mod client;
#[path = "webhook/fixtures.rs"]
mod fixtures;
#[path = "webhook/hooks.rs"]
mod hooks;
#[path = "webhook/process.rs"]
mod process;
#[path = "webhook/servers.rs"]
mod servers;

use process::Role;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    if let Some(role) = Role::of_this_process() {
        return runtime.block_on(servers::run(role));
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [option, name, calls] = &*arguments
        && option == "--alone"
    {
        return runtime.block_on(alone::run(name, calls.parse().unwrap()));
    }
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("nothing is measured without `cargo bench`");
        return;
    }
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    runtime.block_on(cases::run_all(wanted.map(String::as_str)));
}
