//! Conversion between the versions of a kind: a star of converters around the storage version.
//!
//! Called by `register`'s routes with the body of a ConversionReview.

use std::{fmt, marker::PhantomData};

use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Fault, envelope::Deadline};

/// Converts objects of one version to the storage version and back.
pub trait Converter: Send + Sync + 'static {
    /// The version that isn't stored.
    type From: Resource<DynamicType = ()> + Serialize + DeserializeOwned + 'static;
    /// The version that is stored.
    type Storage: Resource<DynamicType = ()> + Serialize + DeserializeOwned + 'static;

    /// To the storage version.
    ///
    /// # Errors
    ///
    /// If the object can't be expressed there; the API request then fails with the message.
    fn convert(&self, from: Self::From) -> Result<Self::Storage, ConversionError>;

    /// Back from the storage version.
    ///
    /// # Errors
    ///
    /// If the object can't be expressed there; the API request then fails with the message.
    fn revert(&self, storage: Self::Storage) -> Result<Self::From, ConversionError>;
}

/// A kind with several versions.
pub trait ConversionWebhook: Send + Sync + 'static {
    /// The version that is stored.
    type Storage: Resource<DynamicType = ()> + Serialize + DeserializeOwned + 'static;

    /// A converter for each other version.
    fn converters(&self) -> Converters<Self::Storage>;
}

/// Converters around the storage version `S`.
#[must_use]
pub struct Converters<S> {
    storage: PhantomData<fn() -> S>,
}

impl<S> Converters<S> {
    /// None yet.
    pub fn new() -> Self {
        Self {
            storage: PhantomData,
        }
    }

    /// Adds the converter of one more version.
    pub fn add<C: Converter<Storage = S>>(self, converter: C) -> Self {
        drop(converter);
        self
    }
}

/// Why an object can't be converted.
#[derive(Debug)]
pub struct ConversionError {
    message: String,
}

impl ConversionError {
    /// An error that tells the user what to do.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for ConversionError {
    fn from(error: E) -> Self {
        Self {
            message: crate::fault::chain(&error),
        }
    }
}

impl fmt::Display for ConversionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// Why converters don't fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertersError {
    /// Two converters for one version.
    #[error("{version} has two converters: keep one")]
    Duplicate {
        /// The version.
        version: String,
    },
}

#[derive(Debug)]
pub(crate) struct Star {}

impl Star {
    pub(crate) fn new<S>(_: Converters<S>, _: Option<String>) -> Self {
        Self {}
    }

    pub(crate) fn check(&self) -> Result<(), ConvertersError> {
        Ok(())
    }
}

pub(crate) fn answer(_: &[std::sync::Arc<Star>], _: &[u8], _: Deadline) -> Result<Vec<u8>, Fault> {
    Err(Fault::unavailable("nothing is converted yet"))
}
