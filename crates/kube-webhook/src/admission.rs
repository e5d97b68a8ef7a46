//! Admission: the traits that a hook implements, one per operation, and what calls them.
//!
//! A hook says in `type Operations` which operations it handles, and implements one callback trait
//! for each. Both directions are checked by the compiler: an operation without its callback can't be
//! registered, and a callback whose operation isn't listed can't be implemented. The rules of the
//! webhook configuration come from the same list, so a callback that never fires doesn't exist.
//!
//! `register` calls the handlers made here; nothing here knows of HTTP routes.

mod align;
mod budget;
mod context;
mod handler;
mod mutation;
mod old;
mod operation;
mod patch;
mod result;
mod validation;

pub use crate::envelope::{GroupVersionKind, GroupVersionResource, UserInfo};
pub use context::AdmissionContext;
pub use mutation::{
    MutateConnect, MutateCreate, MutateDelete, MutateUpdate, MutationCallbacks, MutationWebhook,
};
pub use old::Old;
pub use operation::{Connect, Contains, Create, Delete, Operation, OperationSet, Update};
pub use result::{CauseReason, MutationResult, ValidationResult};
pub use validation::{
    ValidateConnect, ValidateCreate, ValidateDelete, ValidateUpdate, ValidationCallbacks,
    ValidationWebhook,
};

pub(crate) use align::{Step, align};
pub(crate) use handler::{
    AdmissionHandler, Judged, MutationHandler, Review, ValidationHandler, panic_text,
};
