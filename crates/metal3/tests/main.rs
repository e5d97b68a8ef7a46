//! The crate through its public door.

#[path = "main/round_trip.rs"]
mod round_trip;
