#![doc = include_str!("docs/guide.md")]
#![deny(missing_docs)]

mod fault;
mod names;

mod envelope;

pub mod certs;
mod metrics;

pub mod admission;
pub mod conversion;

pub mod lint;

mod register;

mod server;

// A page, and nothing that a program could name.
#[cfg(any(doc, doctest))]
#[doc = include_str!("docs/migration.md")]
pub mod migration {}

#[cfg(feature = "cli")]
pub mod cli;

#[cfg(feature = "testing")]
pub mod testing;

pub use certs::{TlsError, TlsIdentity};
pub use fault::{Fault, not_found, status_response};
pub use metrics::Metrics;
pub use names::is_subdomain;
pub use register::{
    Conversion, Entry, FailurePolicy, MatchPolicy, Mutation, Rbac, RbacOptions, Registered,
    RegistrationError, Reinvocation, Resources, Scope, SideEffects, Target, Validation, Webhook,
    Webhooks,
};
pub use server::Server;
