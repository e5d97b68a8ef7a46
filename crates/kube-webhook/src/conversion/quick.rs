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

/// The object in `text`, of `kind`, after `spoke`; `None` if the long way has to be taken.
pub(super) fn convert(
    spoke: &dyn Spoke,
    direction: Direction,
    text: &str,
    kind: &str,
    api_version: &str,
) -> Option<String> {
    let source = Parts::read(text)?;
    let made = spoke.translate(direction, text)?;
    finish(&source, &Parts::read(&made)?, kind, api_version)
}

/// The same, if nothing is lost: the way back gives the same content. Then no annotation is needed,
/// now or, since converters give the same result for the same object, when the result is converted
/// back. `keys` are those of the annotations that say otherwise.
pub(super) fn convert_lossless(
    spoke: &dyn Spoke,
    direction: Direction,
    text: &str,
    kind: &str,
    api_version: &str,
    keys: [&str; 2],
) -> Option<String> {
    let source = Parts::read(text)?;
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
    let made = spoke.translate(direction, text)?;
    let made = finish(&source, &Parts::read(&made)?, kind, api_version)?;
    let back = spoke.translate(direction.back(), &made)?;
    let back = finish(
        &Parts::read(&made)?,
        &Parts::read(&back)?,
        kind,
        api_version,
    )?;
    same_content(source, Parts::read(&back)?).then_some(made)
}

/// `made` as it is to leave: at its version, with the source's metadata, and without the empty fields
/// that a type adds of its own accord.
fn finish(source: &Parts<'_>, made: &Parts<'_>, kind: &str, api_version: &str) -> Option<String> {
    let metadata = source.metadata.filter(|metadata| is_object(metadata))?;
    // Without a spec, the type must be offered one.
    if !source.has("spec") || !is_unchanged(metadata, made.metadata) {
        return None;
    }
    let content = made
        .content
        .iter()
        .filter(|(key, value)| source.has(key) || !matches!(value.get(), "null" | "{}"));
    let size: usize = made
        .content
        .iter()
        .map(|(_, value)| value.get().len())
        .sum();
    let mut text = String::with_capacity(size + metadata.get().len() + 256);
    text.push_str("{\"apiVersion\":");
    text.push_str(&serde_json::to_string(api_version).ok()?);
    text.push_str(",\"kind\":");
    text.push_str(&serde_json::to_string(kind).ok()?);
    text.push_str(",\"metadata\":");
    text.push_str(metadata.get());
    for (key, value) in content {
        text.push(',');
        text.push_str(&serde_json::to_string(&**key).ok()?);
        text.push(':');
        text.push_str(value.get());
    }
    text.push('}');
    Some(text)
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

fn same_content(mut one: Parts<'_>, mut other: Parts<'_>) -> bool {
    one.content.sort_by(|(a, _), (b, _)| a.cmp(b));
    other.content.sort_by(|(a, _), (b, _)| a.cmp(b));
    one.content.len() == other.content.len()
        && one
            .content
            .iter()
            .zip(&other.content)
            .all(|((key, value), (other_key, other))| key == other_key && same(value, other))
}

/// An object taken apart at the top, its fields unread.
struct Parts<'a> {
    metadata: Option<&'a RawValue>,
    /// All but `apiVersion`, `kind` and `metadata`.
    content: Vec<(Text<'a>, &'a RawValue)>,
}

impl<'a> Parts<'a> {
    fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
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
            metadata: None,
            content: Vec::with_capacity(4),
        };
        while let Some((key, value)) = map.next_entry::<Text<'de>, &'de RawValue>()? {
            match &*key {
                "apiVersion" | "kind" => {}
                "metadata" => parts.metadata = Some(value),
                _ => parts.content.push((key, value)),
            }
        }
        Ok(parts)
    }
}

#[cfg(test)]
mod tests;
