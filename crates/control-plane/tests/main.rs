//! The behaviour of a control plane through the public door.
#![cfg(unix)]
#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the helpers of tests, too, unwrap what they expect, and a child process tells its parent"
)]

#[path = "main/end.rs"]
mod end;
#[cfg(target_os = "linux")]
#[path = "main/network.rs"]
mod network;
#[path = "main/start.rs"]
mod start;
#[path = "main/support.rs"]
mod support;
#[path = "main/webhook.rs"]
mod webhook;
