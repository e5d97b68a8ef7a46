//! One JSON object of an event, read field by field: errors name the whole path.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Refusal, shape};
use crate::events::time::{self, EventTime};

/// An object, and where in the body it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    fields: &'a Map<String, Value>,
    path: &'static str,
}

impl<'a> Fields<'a> {
    pub(super) fn root(fields: &'a Map<String, Value>) -> Self {
        Self { fields, path: "" }
    }

    /// An object within the body; `path` ends with a dot.
    pub(super) fn within(fields: &'a Map<String, Value>, path: &'static str) -> Self {
        Self { fields, path }
    }

    pub(super) fn value(self, field: &str) -> Option<&'a Value> {
        self.fields.get(field)
    }

    pub(super) fn refusal(self, field: &str, expected: &'static str) -> Refusal {
        shape(format!("{}{field}", self.path), expected)
    }

    /// Absent, null and empty all mean that the sender doesn't know.
    pub(super) fn text(self, field: &str) -> Result<Option<String>, Refusal> {
        match self.value(field) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => {
                Ok(Some(text.clone()).filter(|text| !text.trim().is_empty()))
            }
            Some(_) => Err(self.refusal(field, "must be a string")),
        }
    }

    /// Ids are strings in some versions of the sender and numbers in others.
    pub(super) fn id(self, field: &str) -> Result<Option<String>, Refusal> {
        match self.value(field) {
            Some(Value::Number(number)) if !number.is_f64() => Ok(Some(number.to_string())),
            Some(Value::Number(_)) => {
                Err(self.refusal(field, "must be a string or a whole number"))
            }
            _ => self.text(field),
        }
    }

    /// A number that the event can do without: one that makes no sense is left out.
    pub(super) fn integer(self, field: &str) -> Option<i64> {
        let value = match self.value(field)? {
            Value::Number(number) => number.as_i64()?,
            Value::String(text) => text.parse().ok()?,
            _ => return None,
        };
        (value >= 0).then_some(value)
    }

    /// A string by contract; an object is kept as its text.
    pub(super) fn parameters(self) -> Option<String> {
        match self.value("customParameters")? {
            Value::Null => None,
            Value::String(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            other => Some(other.to_string()),
        }
    }

    pub(super) fn time(self, field: &str) -> Option<EventTime> {
        self.value(field).and_then(EventTime::from_json)
    }

    /// A time to its last digit; one that means nothing is as good as none.
    pub(super) fn instant(self, field: &str) -> Option<Timestamp> {
        self.value(field).and_then(time::exact)
    }
}
