//! A CA and a leaf made in memory. Called by `TlsIdentity::ephemeral`.

use std::time::{Duration, SystemTime};

use super::{Pem, TlsError, authority::Authority};

/// The leaf with its key, and the CA's certificate.
pub(super) struct Made {
    pub(super) leaf: Pem,
    pub(super) ca: String,
}

pub(super) fn make(names: &[String]) -> Result<Made, TlsError> {
    let now = SystemTime::now();
    let ca = Authority::create("kube-webhook ephemeral CA", now, CA_LIFETIME)?;
    Ok(Made {
        leaf: ca.issue(names, now, LEAF_LIFETIME)?,
        ca: ca.pem().chain.clone(),
    })
}

const DAY: u64 = 24 * 60 * 60;
const CA_LIFETIME: Duration = Duration::from_secs(2 * 365 * DAY);
const LEAF_LIFETIME: Duration = Duration::from_secs(365 * DAY);
