//! Harbormaster: what stands between a booking portal and bare-metal hosts.
//!
//! The modules stand in the data's order: each imports only what stands above it.
//!
//! - Event: `intake -> signature -> event -> intent -> record`, then level-triggered:
//!   `Reservation + BareMetalHost + clock -> decide -> actions -> host`.
//! - Review: the framework's router -> a hook of `webhooks` -> the reply.

pub mod clock;
pub mod ssh;

pub mod api;

pub mod events;

pub mod reservations;

pub mod callbacks;

pub mod webhooks;

pub mod config;
pub mod manifests;

mod certificates;

mod registration;

pub mod check;

mod admin;

pub mod app;

pub mod cli;
