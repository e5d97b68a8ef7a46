//! A real etcd and kube-apiserver for tests and demos: built or found, started in
//! seconds, gone with the process.
//!
//! ```no_run
//! use k8s_openapi::api::core::v1::Namespace;
//! use kube::Api;
//!
//! # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let control_plane = control_plane::ControlPlane::start().await?;
//! let namespaces: Api<Namespace> = Api::all(control_plane.client());
//! assert!(namespaces.get_opt("default").await?.is_some());
//! control_plane.stop().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Webhooks are called at a URL on the loopback address or, in a network namespace
//! of the test's own, as Services.
#![warn(missing_docs)]
#![cfg(unix)]

mod supervisor;

mod assets;

mod error;

mod audit;
mod authority;
mod daemon;
mod network;
mod ports;

mod access;
mod etcd;

mod api_server;
mod controller_manager;

mod control_plane;

mod builder;
mod process;
mod service;

pub use assets::{Assets, AssetsError, Tool};
pub use audit::{AuditEvent, AuditLog, AuditObject, AuditUser};
pub use builder::Builder;
pub use control_plane::ControlPlane;
pub use error::Error;
pub use network::{Network, NetworkError, in_network_namespace};
pub use process::Process;
pub use service::ServiceEndpoints;
