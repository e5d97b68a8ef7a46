//! When the certificates presented expire, looked up on each scrape, so that an exchange needs to
//! tell nobody. Registered by `Metrics`.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
};
use x509_parser::parse_x509_certificate;

use crate::certs::TlsIdentity;

#[derive(Clone, Debug, Default)]
pub(super) struct Certificates {
    identities: Arc<Mutex<Vec<TlsIdentity>>>,
}

impl Certificates {
    pub(super) fn add(&self, identity: TlsIdentity) {
        let mut identities = self
            .identities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        identities.push(identity);
    }

    /// The earliest expiry, in seconds since 1970.
    fn not_after(&self) -> Option<i64> {
        let identities = self
            .identities
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        identities.iter().filter_map(expiry).min()
    }
}

impl Collector for Certificates {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // Plain HTTP presents none, and a zero would read as expired long ago.
        let Some(not_after) = self.not_after() else {
            return Ok(());
        };
        let encoder = encoder.encode_descriptor(
            "kube_webhook_certificate_not_after_timestamp_seconds",
            "When the first of the serving certificates expires",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(not_after).encode(encoder)
    }
}

fn expiry(identity: &TlsIdentity) -> Option<i64> {
    let chain = identity.chain();
    let (_, leaf) = parse_x509_certificate(chain.first()?).ok()?;
    Some(leaf.validity().not_after.timestamp())
}
