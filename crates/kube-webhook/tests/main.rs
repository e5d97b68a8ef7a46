//! The framework's behaviour through its public door: the router alone, and called by a real
//! kube-apiserver.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests say what they expect by unwrapping it; clippy spares only the test functions"
)]

#[path = "main/admission.rs"]
mod admission;
#[path = "main/call.rs"]
mod call;
#[path = "main/cluster.rs"]
mod cluster;
#[path = "main/conformance.rs"]
mod conformance;
#[path = "main/conversion.rs"]
mod conversion;
#[path = "main/descriptors.rs"]
mod descriptors;
#[path = "main/dry_run.rs"]
mod dry_run;
#[path = "main/hostile.rs"]
mod hostile;
#[path = "main/limits.rs"]
mod limits;
#[path = "main/logs.rs"]
mod logs;
#[path = "main/metrics.rs"]
mod metrics;
#[path = "main/mutation.rs"]
mod mutation;
#[path = "main/operations.rs"]
mod operations;
#[path = "main/registration.rs"]
mod registration;

#[path = "main/server.rs"]
mod server;

#[path = "../examples/conformance/main.rs"]
mod conformance_server;
#[path = "../fuzz/src/drive.rs"]
mod drive;

#[path = "../examples/conversion_operator.rs"]
mod conversion_operator;
#[path = "../examples/webhook_operator.rs"]
mod webhook_operator;
