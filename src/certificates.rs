//! The serving certificate in a cluster, made and kept by the program itself
//! (`TLS_MODE=self-managed`).
//!
//! A CA in one Secret, a leaf in another, and the CA in every `caBundle` that leads to us.
//! `kube_webhook::certs::rotation` says in which order they are exchanged; here the steps are
//! carried out. The elected replica is the [`Rotator`]; every replica [`follows`](follow) the
//! leaf's Secret, and presents what is in it.
//!
//! In the mode `files`, [`take_up`] presents what others have renewed, once callers accept it.
//! In every mode, [`Trusted`] holds what is presented against whom API servers trust.
//!
//! Nothing rests on the election, which only saves work: a step is taken on what was read, and
//! the API server refuses it if that has changed. Nothing is written but our own two Secrets, and
//! the `caBundle` of the webhooks that the program registers. Called by the wiring.

mod follower;
mod places;
mod renewal;
mod rotator;
mod secrets;
mod trusted;

use std::{collections::BTreeSet, fmt};

use futures::{StreamExt, stream::BoxStream};
use kube::{
    Api, Resource,
    runtime::{WatchStreamExt, watcher::watch_object},
};
use kube_webhook::certs::rotation::Timing;
use rustls::pki_types::CertificateDer;
use serde::de::DeserializeOwned;

use crate::config::AltName;

pub(crate) use self::{
    follower::follow,
    places::Places,
    renewal::take_up,
    rotator::Rotator,
    secrets::Secrets,
    trusted::{Standing, Trusted, greet},
};

/// How it is done, beyond what the cluster says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SelfManaged {
    /// More names for the leaf.
    pub names: BTreeSet<AltName>,
    /// How long everything lasts.
    pub timing: Timing,
}

/// Whether they are the same CAs, in whatever order.
pub(crate) fn are_same(these: &[CertificateDer<'_>], those: &[CertificateDer<'_>]) -> bool {
    these.len() == those.len() && these.iter().all(|one| those.contains(one))
}

/// What was complained of last: what is looked at every few seconds is told once.
#[derive(Debug, Default)]
pub(crate) struct Complaint(Option<String>);

impl Complaint {
    /// Takes it up; whether it is another one.
    pub(crate) fn raise(&mut self, text: &str) -> bool {
        let is_another = self.0.as_deref() != Some(text);
        self.0 = Some(text.to_owned());
        is_another
    }

    /// There is nothing to complain of.
    pub(crate) fn settle(&mut self) {
        self.0 = None;
    }
}

/// Something whenever this object has changed, or may have.
fn changes_of<K>(api: &Api<K>, name: &str) -> BoxStream<'static, ()>
where
    K: Resource + Clone + DeserializeOwned + fmt::Debug + Send + 'static,
{
    let watch = watch_object(api.clone(), name).default_backoff();
    // An error tells nothing of the object: the watch begins anew by itself.
    watch.filter_map(async |seen| seen.ok().map(drop)).boxed()
}
