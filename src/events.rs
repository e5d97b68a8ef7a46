//! The event door: a signed POST comes in, a Reservation goes out.
//!
//! Data flows one way, each stage taking the earlier one's output:
//! `intake -> signature -> event -> intent -> record`, and `record -> spool -> record` while
//! the API server is away. All but the two ends are pure
//! functions of values, the clock among them.

mod answer;
pub mod event;
pub mod identity;
pub mod intake;
pub mod intent;
pub mod json;
pub mod metrics;
pub mod plan;
pub mod spool;

pub mod record;
pub mod secrets;
pub mod signature;
pub mod time;
