//! The stored object of an update or a delete, decoded only when a hook asks. Made by `handler`.

use std::{fmt, marker::PhantomData};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    Fault,
    envelope::{Json, read_part},
};

/// The object as it is stored, before the change under review; decoded only on demand, since most
/// hooks look at a field of it or at none.
pub struct Old<'a, K> {
    json: Json<'a>,
    object: PhantomData<fn() -> K>,
}

impl<'a, K> Old<'a, K> {
    /// For the test of a hook.
    #[must_use]
    pub fn new(raw: &'a RawValue) -> Self {
        Self::of(raw.into())
    }

    pub(super) fn of(json: Json<'a>) -> Self {
        Self {
            json,
            object: PhantomData,
        }
    }

    /// The whole object.
    ///
    /// # Errors
    ///
    /// A 422 fault if it isn't a `K`, so that `failurePolicy` decides.
    pub fn decode(&self) -> Result<K, Fault>
    where
        K: DeserializeOwned,
    {
        decode(self.json, "oldObject")
    }

    /// A narrow view: only the fields of `T`, which may borrow.
    ///
    /// # Errors
    ///
    /// As for [`decode`](Self::decode).
    pub fn view<T: Deserialize<'a>>(&self) -> Result<T, Fault> {
        decode(self.json, "oldObject")
    }

    /// The JSON as it was sent.
    #[must_use]
    pub fn raw(&self) -> &'a RawValue {
        self.json.raw()
    }
}

impl<K> Clone for Old<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Old<'_, K> {}

// Objects may be Secrets: nothing of one is printed.
impl<K> fmt::Debug for Old<'_, K> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Old").finish_non_exhaustive()
    }
}

/// What this crate's reader declines, serde_json reads, or tells what is wrong with it.
pub(super) fn decode<'a, T: Deserialize<'a>>(json: Json<'a>, field: &str) -> Result<T, Fault> {
    if !json.is_object() {
        return Err(Fault::invalid_object(format!(
            "the review's {field} is not a JSON object"
        )));
    }
    if let Some(value) = read_part(json.get()) {
        return Ok(value);
    }
    serde_json::from_str(json.get()).map_err(|error| {
        Fault::invalid_object(format!("the review's {field}: {error}")).quoting_object()
    })
}
