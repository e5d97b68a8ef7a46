//! The controller: `Reservation + BareMetalHost + clock -> decide -> actions -> host`.
//!
//! Level-triggered: each pass looks at what is, and takes at most one step towards what is
//! wanted, so a lost watch, a crash or a repeated pass changes nothing. `host` is the only
//! module that writes BareMetalHosts.

pub mod caches;
pub mod calendar;
pub mod controller;
pub mod decide;
pub mod deployment;
pub mod election;
pub mod essentials;
pub mod host;
pub mod lookup;
pub mod metrics;
pub mod news;
pub(crate) mod reasons;
pub mod selection;
pub mod user_data;
