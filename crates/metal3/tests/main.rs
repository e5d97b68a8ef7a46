//! The crate through its public door, against a real API server and beside the real operator.

#![allow(
    clippy::large_futures,
    clippy::needless_pass_by_value,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "tests say what they expect by unwrapping it, in their helpers too"
)]

#[path = "main/crd.rs"]
mod crd;
#[path = "main/lab.rs"]
mod lab;
#[path = "main/operator.rs"]
mod operator;
#[path = "main/round_trip.rs"]
mod round_trip;
#[path = "main/script.rs"]
mod script;
#[path = "main/side_by_side.rs"]
mod side_by_side;
#[path = "main/simulator.rs"]
mod simulator;
