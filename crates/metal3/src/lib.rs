//! [`BareMetalHost`] of [Metal3](https://metal3.io) for clients that must not damage what they do not know.
//!
//! The types cover the part of `metal3.io/v1alpha1` by which a host is claimed, imaged, watched and
//! wiped. Every object within keeps its unknown fields beside the known ones, so that a host which is
//! read, changed and written back loses nothing, whatever the version of the operator in the cluster:
//!
//! ```
//! use metal3::BareMetalHost;
//!
//! let stored = serde_json::json!({
//!     "apiVersion": "metal3.io/v1alpha1",
//!     "kind": "BareMetalHost",
//!     "metadata": {"name": "rack1-u07"},
//!     "spec": {"online": true, "raid": {"hardwareRAIDVolumes": []}},
//! });
//! let host: BareMetalHost = serde_json::from_value(stored.clone())?;
//! assert_eq!(host.spec.online, Some(true));
//! assert_eq!(serde_json::to_value(host)?, stored);
//! # Ok::<(), serde_json::Error>(())
//! ```
//!
//! Group, version and plural are values ([`BareMetalHost::resource`] gives the usual ones), for clusters
//! that serve the kind under another name:
//!
//! ```no_run
//! # async fn list(client: kube::Client) -> kube::Result<()> {
//! use kube::Api;
//! use metal3::BareMetalHost;
//!
//! let hosts = Api::<BareMetalHost>::namespaced_with(client, "metal3", &BareMetalHost::resource());
//! for host in hosts.list(&Default::default()).await? {
//!     println!("{} is {}", host.name(), host.state());
//! }
//! # Ok(()) }
//! ```
//!
//! # What a round trip keeps
//!
//! Everything, at every level of `spec` and `status`, with these exceptions that mean the same to the
//! API server and to the operator:
//!
//! - `null` in a known field reads as absent and is left out when written (the operator writes
//!   `"end": null` for an operation that still runs);
//! - times are written as Kubernetes writes them, in UTC and whole seconds;
//! - objects that the CRD refuses: an image without `url` gains an empty one, `provisioning` without
//!   `state` likewise, an empty `spec: {}` or `provisioning: {}` is left out;
//! - `metadata` is the API server's own type and has the fields of [`kube::core::ObjectMeta`].
//!
//! # Features
//!
//! - `simulator`: a stand-in for the baremetal-operator that drives hosts through their states against
//!   any API server, and its transition rules as a pure function.

#![warn(missing_docs)]

pub mod names;

mod state;

mod spec;

mod status;

mod host;

mod crd;

#[cfg(feature = "simulator")]
pub mod simulator;

pub use crd::crd;
pub use host::BareMetalHost;
pub use spec::{BareMetalHostSpec, Bmc, ConsumerRef, CustomDeploy, Image, SecretReference};
pub use state::ProvisioningState;
pub use status::{BareMetalHostStatus, OperationHistory, OperationMetric, ProvisioningStatus};
