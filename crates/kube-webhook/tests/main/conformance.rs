//! Kubernetes' own acceptance cases (K..) against the example server and the framework, called by a
//! real kube-apiserver.

#[path = "conformance/admission.rs"]
mod admission;
#[path = "conformance/broken.rs"]
mod broken;
#[path = "conformance/clients.rs"]
mod clients;
#[path = "conformance/conversion.rs"]
mod conversion;
#[path = "conformance/custom.rs"]
mod custom;
#[path = "conformance/dispatch.rs"]
mod dispatch;
#[path = "conformance/edges.rs"]
mod edges;
#[path = "conformance/network.rs"]
mod network;
#[path = "conformance/process.rs"]
mod process;
#[path = "conformance/reviews.rs"]
mod reviews;
#[path = "conformance/stage.rs"]
pub(crate) mod stage;
