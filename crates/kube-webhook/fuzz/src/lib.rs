//! What the fuzz targets run: see `drive`.

#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "a fuzz target fails by panicking, and the examples hold more than it calls"
)]

mod drive;

#[path = "../../examples/conversion_operator.rs"]
mod conversion_operator;
#[path = "../../examples/webhook_operator.rs"]
mod webhook_operator;

/// An AdmissionReview, or what claims to be one.
pub fn admission(body: &[u8]) {
    drive::admission(body);
}

/// A ConversionReview, or what claims to be one.
pub fn conversion(body: &[u8]) {
    drive::conversion(body);
}
