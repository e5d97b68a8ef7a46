//! Operations as values, and as types that a hook lists. Used by the callback traits beside it and,
//! for the rules of the configurations, by `register`.

use std::fmt;

/// What an API request does to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// `CREATE`: also a PUT or an apply that creates.
    Create,
    /// `UPDATE`: PUT, PATCH or apply on an object that exists, its subresources too.
    Update,
    /// `DELETE`: also each object of a deletecollection.
    Delete,
    /// `CONNECT`: exec, attach, port-forward, proxy.
    Connect,
}

impl Operation {
    /// The spelling of the API, in capitals.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "CREATE",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Create, Self::Update, Self::Delete, Self::Connect]
            .into_iter()
            .find(|operation| operation.as_str() == text)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The create operation, in a hook's `type Operations`.
#[derive(Clone, Copy, Debug)]
pub struct Create;

/// The update operation, in a hook's `type Operations`.
#[derive(Clone, Copy, Debug)]
pub struct Update;

/// The delete operation, in a hook's `type Operations`.
#[derive(Clone, Copy, Debug)]
pub struct Delete;

/// The connect operation (exec, attach, port-forward, proxy), in a hook's `type Operations`.
#[derive(Clone, Copy, Debug)]
pub struct Connect;

/// A tuple of [`Create`], [`Update`], [`Delete`] and [`Connect`], in this order, none twice.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a set of operations",
    note = "write a tuple of `Create`, `Update`, `Delete` and `Connect` in this order; a single one needs its comma: `(Create,)`"
)]
pub trait OperationSet: sealed::Sealed + Send + Sync + 'static {
    /// The operations of the set.
    const OPERATIONS: &'static [Operation];
}

/// That an [`OperationSet`] holds `Op`.
#[diagnostic::on_unimplemented(
    message = "the callback for `{Op}` is not among the hook's operations, `{Self}`",
    label = "`{Op}` is not in `type Operations`",
    note = "list it in `type Operations`, or the API server would never call it"
)]
pub trait Contains<Op>: OperationSet {}

mod sealed {
    #[allow(
        unnameable_types,
        reason = "that nobody can name it is what seals the sets"
    )]
    pub trait Sealed {}
}

/// Each set that there is, for a macro that implements something for all of them: every operation
/// with its two callback traits and their function.
macro_rules! for_each_set {
    ($implement:ident) => {
        $implement! {
            Create ValidateCreate MutateCreate create,
        }
        $implement! {
            Update ValidateUpdate MutateUpdate update,
        }
        $implement! {
            Delete ValidateDelete MutateDelete delete,
        }
        $implement! {
            Connect ValidateConnect MutateConnect connect,
        }
        $implement! {
            Create ValidateCreate MutateCreate create,
            Update ValidateUpdate MutateUpdate update,
        }
        $implement! {
            Create ValidateCreate MutateCreate create,
            Delete ValidateDelete MutateDelete delete,
        }
        $implement! {
            Create ValidateCreate MutateCreate create,
            Connect ValidateConnect MutateConnect connect,
        }
        $implement! {
            Update ValidateUpdate MutateUpdate update,
            Delete ValidateDelete MutateDelete delete,
        }
        $implement! {
            Update ValidateUpdate MutateUpdate update,
            Connect ValidateConnect MutateConnect connect,
        }
        $implement! {
            Delete ValidateDelete MutateDelete delete,
            Connect ValidateConnect MutateConnect connect,
        }
        $implement! {
            Create ValidateCreate MutateCreate create,
            Update ValidateUpdate MutateUpdate update,
            Delete ValidateDelete MutateDelete delete,
        }
        $implement! {
            Create ValidateCreate MutateCreate create,
            Update ValidateUpdate MutateUpdate update,
            Connect ValidateConnect MutateConnect connect,
        }
        $implement! {
            Create ValidateCreate MutateCreate create,
            Delete ValidateDelete MutateDelete delete,
            Connect ValidateConnect MutateConnect connect,
        }
        $implement! {
            Update ValidateUpdate MutateUpdate update,
            Delete ValidateDelete MutateDelete delete,
            Connect ValidateConnect MutateConnect connect,
        }
        $implement! {
            Create ValidateCreate MutateCreate create,
            Update ValidateUpdate MutateUpdate update,
            Delete ValidateDelete MutateDelete delete,
            Connect ValidateConnect MutateConnect connect,
        }
    };
}

pub(super) use for_each_set;

macro_rules! operation_set {
    ($($operation:ident $validate:ident $mutate:ident $call:ident,)+) => {
        operation_set!(($($operation,)+) => $($operation)+);
    };
    ($set:ty => $($operation:ident)+) => {
        impl sealed::Sealed for $set {}

        impl OperationSet for $set {
            const OPERATIONS: &'static [Operation] = &[$(Operation::$operation),+];
        }

        $(impl Contains<$operation> for $set {})+
    };
}

for_each_set!(operation_set);
