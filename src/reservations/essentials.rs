//! What of a host decides who may have it at all: pure.
//!
//! The rest of a host changes a dozen times with each tenant, and means nothing to those who
//! only wait for their time. Called by the controller's watches, and by the simulation in
//! their place.

use std::collections::BTreeMap;

use kube::{Resource, ResourceExt, core::DeserializeGuard};
use metal3::BareMetalHost;

use super::lookup::not_reservable;

/// Who it is, to whom it answers, and whether it is lent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Essentials {
    uid: Option<String>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    is_readable: bool,
    not_reservable: Option<&'static str>,
}

impl Essentials {
    /// Those of a host.
    pub fn of(host: &DeserializeGuard<BareMetalHost>) -> Self {
        let read = host.0.as_ref().ok();
        Self {
            uid: host.meta().uid.clone(),
            labels: host.labels().clone(),
            annotations: host.annotations().clone(),
            is_readable: read.is_some(),
            not_reservable: read.and_then(not_reservable),
        }
    }
}
