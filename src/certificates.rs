//! The serving certificate in a cluster, made and kept by the program itself
//! (`TLS_MODE=self-managed`).
//!
//! A CA in one Secret, a leaf in another, and the CA in every `caBundle` that leads to us.
//! `kube_webhook::certs::rotation` says in which order they are exchanged; here the steps are
//! carried out. The elected replica is the [`Rotator`]; every replica [`follows`](follow) the
//! leaf's Secret, and presents what is in it.
//!
//! In every mode, [`Trusted`] holds what is presented against whom API servers trust.
//!
//! Nothing rests on the election, which only saves work: a step is taken on what was read, and
//! the API server refuses it if that has changed. Nothing is written but our own two Secrets, and
//! the `caBundle` of the webhooks that the program registers. Called by the wiring.

mod follower;
mod places;
mod rotator;
mod secrets;
mod trusted;

use std::collections::BTreeSet;

use kube_webhook::certs::rotation::Timing;

pub(crate) use self::{
    follower::follow,
    places::Places,
    rotator::Rotator,
    secrets::Secrets,
    trusted::{Standing, Trusted},
};
use crate::manifests::NAME;

/// How it is done, beyond what the cluster says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SelfManaged {
    /// More names for the leaf.
    pub names: BTreeSet<String>,
    /// How long everything lasts.
    pub timing: Timing,
}

/// By which names the Service in front of us is called.
pub(crate) fn service_names(namespace: &str) -> [String; 2] {
    let name = format!("{NAME}.{namespace}.svc");
    [format!("{name}.cluster.local"), name]
}
