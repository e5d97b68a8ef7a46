//! The program, through its own doors, on a real etcd and kube-apiserver.
//!
//! One binary, so that it links once and its tests share one control plane.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests say what they expect by unwrapping it; clippy spares only the test functions"
)]

#[path = "main/api.rs"]
mod api;
#[path = "main/calendar.rs"]
mod calendar;
#[path = "main/callbacks.rs"]
mod callbacks;
#[path = "main/captured.rs"]
mod captured;
#[path = "main/certificates.rs"]
mod certificates;
#[path = "main/check.rs"]
mod check;
#[path = "main/cli.rs"]
mod cli;
#[path = "main/client_certificates.rs"]
mod client_certificates;
#[path = "main/crash.rs"]
mod crash;
#[path = "main/docs.rs"]
mod docs;
#[path = "main/door.rs"]
mod door;
#[path = "main/guards.rs"]
mod guards;
#[path = "main/handbook.rs"]
mod handbook;
#[path = "main/hooks.rs"]
mod hooks;
#[path = "main/hostile.rs"]
mod hostile;
#[path = "main/hosts.rs"]
mod hosts;
#[path = "main/keys.rs"]
mod keys;
#[path = "main/leaders.rs"]
mod leaders;
#[path = "main/line.rs"]
mod line;
#[path = "main/listening.rs"]
mod listening;
#[path = "main/manifests.rs"]
mod manifests;
#[path = "main/monitoring.rs"]
mod monitoring;
#[path = "main/operator.rs"]
mod operator;
#[path = "main/order.rs"]
mod order;
#[path = "main/outage.rs"]
mod outage;
#[path = "main/own.rs"]
mod own;
#[path = "main/registration.rs"]
mod registration;
#[path = "main/rights.rs"]
mod rights;
#[path = "main/rollout.rs"]
mod rollout;
#[path = "main/selection.rs"]
mod selection;
#[path = "main/senders.rs"]
mod senders;
#[path = "main/service_mode.rs"]
mod service_mode;
#[path = "main/settings.rs"]
mod settings;
#[path = "main/shutdown.rs"]
mod shutdown;
#[path = "main/signatures.rs"]
mod signatures;
#[path = "main/site.rs"]
mod site;
#[path = "main/spooling.rs"]
mod spooling;
#[path = "main/stage.rs"]
mod stage;
#[path = "main/storage.rs"]
mod storage;
#[path = "main/surface.rs"]
mod surface;
#[path = "main/tools.rs"]
mod tools;
#[path = "main/traffic.rs"]
mod traffic;
#[path = "main/trust.rs"]
mod trust;
#[path = "main/unreadable.rs"]
mod unreadable;
#[path = "main/user_data.rs"]
mod user_data;
#[path = "main/vectors.rs"]
mod vectors;

#[path = "../fuzz/src/drive.rs"]
mod drive;
#[path = "../crates/kube-webhook/tests/main/mutation.rs"]
mod mutation;
#[path = "../fuzz/src/objects.rs"]
mod objects;
