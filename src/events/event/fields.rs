//! One JSON object of an event, read field by field: errors name the whole path.

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::warn;

use super::{Refusal, shape};
use crate::{
    api::v1::{LONGEST_ID, LONGEST_TEXT},
    events::time::{self, EventTime},
};

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

    /// Words for people. A Reservation has no room for more than a book's worth of them, and
    /// the API server would refuse the event for what nobody reads to its end.
    pub(super) fn words(self, field: &str) -> Result<Option<String>, Refusal> {
        let text = self.text(field)?;
        Ok(text.map(|text| self.cut(field, text, LONGEST_TEXT)))
    }

    /// What somebody or something is called.
    pub(super) fn name(self, field: &str) -> Result<Option<String>, Refusal> {
        let text = self.text(field)?;
        Ok(text.map(|text| self.cut(field, text, LONGEST_ID)))
    }

    /// An address: cut short, it would be another one.
    pub(super) fn address(self, field: &str) -> Result<Option<String>, Refusal> {
        let text = self.text(field)?;
        Ok(text.filter(|text| self.has_room(field, text, LONGEST_ID)))
    }

    /// An id that the event can do without: cut short, it would be another one.
    pub(super) fn id(self, field: &str) -> Result<Option<String>, Refusal> {
        let id = self.any_id(field)?;
        Ok(id.filter(|id| self.has_room(field, id, LONGEST_ID)))
    }

    /// The id that makes it this booking and no other.
    pub(super) fn identity(self, field: &str) -> Result<Option<String>, Refusal> {
        let id = self.any_id(field)?;
        if id.as_ref().is_some_and(|id| !fits(id, LONGEST_ID)) {
            return Err(self.refusal(field, "must have at most 1,024 characters"));
        }
        Ok(id)
    }

    /// Ids are strings in some versions of the sender and numbers in others.
    fn any_id(self, field: &str) -> Result<Option<String>, Refusal> {
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

    /// A string by contract; an object is kept as its text. JSON that is cut short is none,
    /// so they are kept whole or not at all.
    pub(super) fn parameters(self) -> Option<String> {
        let text = match self.value(PARAMETERS)? {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let keep = !text.is_empty() && self.has_room(PARAMETERS, &text, LONGEST_TEXT);
        keep.then_some(text)
    }

    pub(super) fn time(self, field: &str) -> Option<EventTime> {
        self.value(field).and_then(EventTime::from_json)
    }

    /// A time to its last digit; one that means nothing is as good as none.
    pub(super) fn instant(self, field: &str) -> Option<Timestamp> {
        self.value(field).and_then(time::exact)
    }

    fn cut(self, field: &str, mut text: String, longest: u32) -> String {
        if let Some((end, _)) = text.char_indices().nth(longest as usize) {
            warn!("{}{field} is cut after {longest} characters", self.path);
            text.truncate(end);
        }
        text
    }

    fn has_room(self, field: &str, text: &str, longest: u32) -> bool {
        let fits = fits(text, longest);
        if !fits {
            warn!(
                "{}{field} is left out: it has more than {longest} characters",
                self.path
            );
        }
        fits
    }
}

/// As the API server counts: in characters, not in bytes.
fn fits(text: &str, longest: u32) -> bool {
    text.chars().nth(longest as usize).is_none()
}

const PARAMETERS: &str = "customParameters";
