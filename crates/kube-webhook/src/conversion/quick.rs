//! The short way to convert an object: its fields in, typed once, its fields out, with the metadata
//! copied as it stands. Called by `star` before the long way, over `Object`s, which this one never
//! contradicts: it declines whatever isn't plain, and an error too is the long way's to tell.
//!
//! The API server converts one object a call, and each watch event anew: this is the hot path.

mod original;

use serde::de::DeserializeOwned;

use super::{
    parts::{Field, Parts},
    spoke::{MANAGED_FIELDS, Spoke},
};
use crate::envelope::{Item, Piece, Tape, assemble, write_text};

pub(super) use original::Original;

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

/// Writes the object after `spoke`, at `api_version`; `None`, and nothing, if the long way has to be
/// taken.
pub(super) fn convert(
    spoke: &dyn Spoke,
    direction: Direction,
    parts: &Parts<'_>,
    api_version: &str,
    out: &mut Vec<u8>,
) -> Option<()> {
    let source = Source::of(parts)?;
    let made = spoke.translate(direction, &source)?;
    let finished = source.became(api_version, &made, |key, value| {
        source.has_metadata(key, value)
    })?;
    finished.write(out)
}

/// The same, if nothing is lost: the way back gives the same content. Then no annotation is needed,
/// now or, since converters give the same result for the same object, when the result is converted
/// back. `keys` are those of the annotations that say otherwise.
pub(super) fn convert_lossless(
    spoke: &dyn Spoke,
    direction: Direction,
    parts: &Parts<'_>,
    api_version: &str,
    keys: [&str; 2],
    out: &mut Vec<u8>,
) -> Option<()> {
    let source = Source::of(parts)?;
    // Whether as a key or not: the long way will tell. These two escapes could hide one.
    let hiding = ["\\u", "\\/"];
    let annotations = source.metadata_field("annotations").unwrap_or_default();
    if hiding
        .iter()
        .chain(&keys)
        .any(|text| annotations.contains(text))
    {
        return None;
    }
    let original = Original::of(&source)?;
    let source = source.laid_out(&original);
    let made = spoke.translate(direction, &source)?;
    let finished = source.became(api_version, &made, |key, value| {
        original.has_metadata(key, value)
    })?;
    spoke
        .leads_to(direction.back(), &finished, &original)
        .then(|| finished.write(out))?
}

/// An object on its way, in pieces. What leaves is one, too: the converter's content, without
/// the empty fields that a type adds of its own accord, and the metadata that came.
pub(super) struct Source<'p> {
    api_version: &'p str,
    kind: &'p str,
    metadata: &'p [Field<'p>],
    content: Vec<(&'p str, Piece<'p>)>,
    /// About how long it is as a text.
    size: usize,
}

impl<'p> Source<'p> {
    fn of(parts: &'p Parts<'_>) -> Option<Self> {
        // Without a spec, the type must be offered one. And names are looked for one by one here:
        // of an object with very many, that would take for ever.
        if !parts.has("spec") || parts.content.len() > FEW {
            return None;
        }
        let metadata = parts.metadata.as_deref()?;
        let fields = metadata.iter().chain(&parts.content);
        let content = parts.content.iter();
        Some(Self {
            api_version: &parts.api_version,
            kind: &parts.kind,
            metadata,
            content: content
                .map(|(key, json)| (&**key, Piece::Json(json.get())))
                .collect(),
            size: fields
                .map(|(key, json)| key.len() + json.get().len() + 4)
                .sum(),
        })
    }

    /// The same, its content taken from the tapes of `original`.
    fn laid_out(&self, original: &'p Original<'_>) -> Source<'p>
    where
        Self: 'p,
    {
        let content = original.content();
        Source {
            content: content
                .map(|(key, item)| (key, Piece::Item(item)))
                .collect(),
            ..*self
        }
    }

    /// What the converter made of it, if it left labels and annotations as they were, the only
    /// metadata that counts.
    fn became(
        &self,
        api_version: &'p str,
        made: &'p Tape<'_>,
        has_metadata: impl Fn(&str, Item<'_>) -> bool,
    ) -> Option<Source<'p>>
    where
        Self: 'p,
    {
        let mut content = Vec::with_capacity(4);
        for (key, value) in made.root().fields() {
            if key == "metadata" {
                if !keeps(value, &has_metadata) {
                    return None;
                }
            } else if !OWN.contains(&key) && (self.has(key) || !value.is_empty()) {
                content.push((key, Piece::Item(value)));
            }
        }
        made.root().is_object().then_some(Source {
            api_version,
            content,
            ..*self
        })
    }

    fn has_metadata(&self, key: &str, value: Item<'_>) -> bool {
        let own = self.metadata_field(key).and_then(Tape::read);
        own.is_some_and(|own| own.root() == value)
    }

    fn has(&self, key: &str) -> bool {
        self.content.iter().any(|(own, _)| *own == key)
    }

    /// The last of them, if there are several.
    fn metadata_field(&self, key: &str) -> Option<&'p str> {
        let mut fields = self.metadata.iter().rev();
        fields
            .find(|(own, _)| **own == *key)
            .map(|(_, json)| json.get())
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn decode<K: DeserializeOwned>(&self) -> Option<K> {
        let metadata: Vec<_> = self
            .metadata
            .iter()
            .filter(|(key, _)| **key != *MANAGED_FIELDS)
            .map(|(key, json)| (&**key, json.get()))
            .collect();
        let head = [
            ("apiVersion", Piece::Text(self.api_version)),
            ("kind", Piece::Text(self.kind)),
            ("metadata", Piece::Fields(&metadata)),
        ];
        assemble(head.into_iter().chain(self.content.iter().copied()))
    }

    fn write(&self, out: &mut Vec<u8>) -> Option<()> {
        let start = out.len();
        let written = self.write_fields(out);
        if written.is_none() {
            out.truncate(start);
        }
        written
    }

    fn write_fields(&self, out: &mut Vec<u8>) -> Option<()> {
        out.extend_from_slice(b"{\"apiVersion\":");
        write_text(self.api_version, out).ok()?;
        out.extend_from_slice(b",\"kind\":");
        write_text(self.kind, out).ok()?;
        out.extend_from_slice(b",\"metadata\":{");
        for (index, (key, json)) in self.metadata.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_text(key, out).ok()?;
            out.push(b':');
            out.extend_from_slice(json.get().as_bytes());
        }
        out.push(b'}');
        for (key, value) in &self.content {
            out.push(b',');
            write_text(key, out).ok()?;
            out.push(b':');
            match value {
                Piece::Item(item) => item.write(out).ok()?,
                Piece::Json(json) => out.extend_from_slice(json.as_bytes()),
                Piece::Text(_) | Piece::Fields(_) => return None,
            }
        }
        out.push(b'}');
        Some(())
    }
}

/// Whether a converter's labels and annotations are those that came.
fn keeps(made: Item<'_>, has_metadata: impl Fn(&str, Item<'_>) -> bool) -> bool {
    let mut counting = made
        .fields()
        .filter(|(key, value)| COUNTING.contains(key) && !value.is_null());
    counting.all(|(key, value)| has_metadata(key, value))
}

/// The fields of an object beside its own, at most; one that Kubernetes knows has three or four.
const FEW: usize = 32;
/// The fields that every object has.
const OWN: [&str; 3] = ["apiVersion", "kind", "metadata"];
/// The metadata that the API server takes from an answer.
const COUNTING: [&str; 2] = ["labels", "annotations"];

#[cfg(test)]
mod tests;
