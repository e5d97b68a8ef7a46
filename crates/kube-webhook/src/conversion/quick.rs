//! The short way to convert an object: text in, typed once, text out, with the metadata copied as it
//! stands. Called by `star` before the long way, over `Object`s, which this one never contradicts: it
//! declines whatever isn't plain, and an error too is the long way's to tell.
//!
//! The API server converts one object a call, and each watch event anew: this is the hot path.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use serde_json::{Value, value::RawValue};

use super::spoke::Spoke;
use crate::envelope::{Text, is_object, same};

/// Which way a converter is used.
#[derive(Clone, Copy)]
pub(super) enum Direction {
    /// Towards the storage version.
    In,
    /// Away from it.
    Out,
}

impl Direction {
    pub(super) fn back(self) -> Self {
        match self {
            Self::In => Self::Out,
            Self::Out => Self::In,
        }
    }
}

/// The object after `spoke`, at `api_version`; `None` if the long way has to be taken.
pub(super) fn convert(
    spoke: &dyn Spoke,
    direction: Direction,
    source: &Parts<'_>,
    api_version: &str,
) -> Option<String> {
    let made = spoke.translate(direction, source.text)?;
    Finished::of(source, &Parts::read(&made)?)?.write(api_version)
}

/// The same, if nothing is lost: the way back gives the same content. Then no annotation is needed,
/// now or, since converters give the same result for the same object, when the result is converted
/// back. `keys` are those of the annotations that say otherwise.
pub(super) fn convert_lossless(
    spoke: &dyn Spoke,
    direction: Direction,
    source: &Parts<'_>,
    api_version: &str,
    keys: [&str; 2],
) -> Option<String> {
    let metadata = source.metadata?.get();
    // Whether as a key or not: the long way will tell. These two escapes could hide one.
    let hiding = ["\\u", "\\/"];
    if hiding
        .iter()
        .chain(&keys)
        .any(|text| metadata.contains(text))
    {
        return None;
    }
    let made = spoke.translate(direction, source.text)?;
    let made = Parts::read(&made)?;
    let finished = Finished::of(source, &made)?;
    let text = finished.write(api_version)?;

    let back = spoke.translate(direction.back(), &text)?;
    let back = Parts::read(&back)?;
    let back = Finished::over(&finished, &back)?;
    same_content(&source.content, back.content).then_some(text)
}

/// What is to leave: the converter's content, without the empty fields that a type adds of its own
/// accord, and the source's metadata.
struct Finished<'a> {
    kind: &'a str,
    metadata: &'a RawValue,
    content: Vec<(&'a str, &'a RawValue)>,
}

impl<'a> Finished<'a> {
    fn of(source: &'a Parts<'_>, made: &'a Parts<'_>) -> Option<Self> {
        let metadata = source.metadata?;
        Self::around(&source.kind, metadata, made, |key| source.has(key))
    }

    /// One that was made of another.
    fn over(source: &'a Finished<'_>, made: &'a Parts<'_>) -> Option<Self> {
        let has = |key: &str| source.content.iter().any(|(own, _)| *own == key);
        Self::around(source.kind, source.metadata, made, has)
    }

    fn around(
        kind: &'a str,
        metadata: &'a RawValue,
        made: &'a Parts<'_>,
        source_has: impl Fn(&str) -> bool,
    ) -> Option<Self> {
        // Without a spec, the type must be offered one.
        if !is_object(metadata) || !source_has("spec") || !is_unchanged(metadata, made.metadata) {
            return None;
        }
        let content = made
            .content
            .iter()
            .map(|(key, value)| (&**key, *value))
            .filter(|(key, value)| source_has(key) || !matches!(value.get(), "null" | "{}"));
        Some(Self {
            kind,
            metadata,
            content: content.collect(),
        })
    }

    fn write(&self, api_version: &str) -> Option<String> {
        let size: usize = self
            .content
            .iter()
            .map(|(_, value)| value.get().len())
            .sum();
        let mut out = Vec::with_capacity(size + self.metadata.get().len() + 256);
        out.extend_from_slice(b"{\"apiVersion\":");
        serde_json::to_writer(&mut out, api_version).ok()?;
        out.extend_from_slice(b",\"kind\":");
        serde_json::to_writer(&mut out, self.kind).ok()?;
        out.extend_from_slice(b",\"metadata\":");
        out.extend_from_slice(self.metadata.get().as_bytes());
        for (key, value) in &self.content {
            out.push(b',');
            serde_json::to_writer(&mut out, key).ok()?;
            out.push(b':');
            out.extend_from_slice(value.get().as_bytes());
        }
        out.push(b'}');
        String::from_utf8(out).ok()
    }
}

/// Whether the converter left labels and annotations as they were, the only metadata that counts.
fn is_unchanged(source: &RawValue, made: Option<&RawValue>) -> bool {
    #[derive(Deserialize)]
    struct Counting<'a> {
        #[serde(borrow, default)]
        labels: Option<&'a RawValue>,
        #[serde(borrow, default)]
        annotations: Option<&'a RawValue>,
    }
    fn is_same(source: Option<&RawValue>, made: Option<&RawValue>) -> bool {
        let Some(made) = made else {
            return true;
        };
        source.is_some_and(|source| {
            source.get() == made.get()
                || serde_json::from_str::<Value>(source.get()).ok()
                    == serde_json::from_str::<Value>(made.get()).ok()
        })
    }
    let Some(made) = made else {
        return true;
    };
    let (Some(source), Some(made)) = (
        serde_json::from_str::<Counting<'_>>(source.get()).ok(),
        serde_json::from_str::<Counting<'_>>(made.get()).ok(),
    ) else {
        return false;
    };
    is_same(source.labels, made.labels) && is_same(source.annotations, made.annotations)
}

fn same_content(one: &[(Text<'_>, &RawValue)], mut other: Vec<(&str, &RawValue)>) -> bool {
    let mut one: Vec<(&str, &RawValue)> = one.iter().map(|(key, value)| (&**key, *value)).collect();
    one.sort_by_key(|(key, _)| *key);
    other.sort_by_key(|(key, _)| *key);
    one.len() == other.len()
        && one
            .iter()
            .zip(&other)
            .all(|((key, value), (other_key, other))| key == other_key && same(value, other))
}

/// An object taken apart at the top, its fields unread.
pub(super) struct Parts<'a> {
    text: &'a str,
    pub(super) api_version: Text<'a>,
    pub(super) kind: Text<'a>,
    metadata: Option<&'a RawValue>,
    /// All the rest.
    content: Vec<(Text<'a>, &'a RawValue)>,
}

impl<'a> Parts<'a> {
    /// `None` if that isn't an object of some version and kind.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let parts = Parts {
            text,
            ..serde_json::from_str(text).ok()?
        };
        (!parts.api_version.is_empty() && !parts.kind.is_empty()).then_some(parts)
    }

    fn has(&self, key: &str) -> bool {
        self.content.iter().any(|(own, _)| **own == *key)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Parts<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(PartsVisitor)
    }
}

struct PartsVisitor;

impl<'de> Visitor<'de> for PartsVisitor {
    type Value = Parts<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut parts = Parts {
            text: "",
            api_version: Text::default(),
            kind: Text::default(),
            metadata: None,
            content: Vec::with_capacity(4),
        };
        while let Some(key) = map.next_key::<Text<'de>>()? {
            match &*key {
                "apiVersion" => parts.api_version = map.next_value()?,
                "kind" => parts.kind = map.next_value()?,
                "metadata" => parts.metadata = Some(map.next_value()?),
                _ => parts.content.push((key, map.next_value()?)),
            }
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests;
