//! What Prometheus is told of the spool, read at the time of the scrape.

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{MetricType, gauge::ConstGauge},
};

use super::Spool;

impl Collector for Spool {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counts = self.counts();
        let mut gauge = |name: &str, help: &str, value: u64| {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let metric: MetricEncoder<'_> =
                encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            gauge.encode(metric)
        };
        gauge(
            "harbormaster_spooled_events",
            "Events that wait for the API server",
            counts.waiting,
        )?;
        gauge(
            "harbormaster_spool_bytes",
            "Size of the events that wait for the API server",
            counts.bytes,
        )?;
        gauge(
            "harbormaster_set_aside_events",
            "Events that the API server will never take as they are",
            counts.set_aside,
        )
    }
}
