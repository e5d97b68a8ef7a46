//! The object that came, for whoever asks whether a conversion's way back leads to it again. Used by
//! `quick`.

use serde::Serialize;

use super::{COUNTING, OWN, Source, keeps};
use crate::envelope::{Item, Piece, Tape};

pub(in crate::conversion) struct Original<'t> {
    content: Vec<(&'t str, Tape<'t>)>,
    /// Its labels and annotations.
    counting: Vec<(&'t str, Tape<'t>)>,
}

impl<'t> Original<'t> {
    /// `None` if it has a field twice.
    pub(super) fn of(source: &Source<'t>) -> Option<Self> {
        let counting = source.metadata.iter();
        let counting = counting
            .map(|(key, json)| (&**key, json.get()))
            .filter(|(key, _)| COUNTING.contains(key));
        let content = source
            .content
            .iter()
            .filter_map(|(key, piece)| match piece {
                Piece::Json(json) => Some((*key, *json)),
                _ => None,
            });
        Some(Self {
            content: tapes(content)?,
            counting: tapes(counting)?,
        })
    }

    pub(super) fn content(&self) -> impl Iterator<Item = (&str, Item<'_>)> {
        self.content.iter().map(|(key, tape)| (*key, tape.root()))
    }

    /// Whether `made`, which the converter made of `source`, is written as this, the empty fields
    /// aside that a type adds of its own accord.
    pub(in crate::conversion) fn is_written_by<T: Serialize>(
        &self,
        source: &Source<'_>,
        made: &T,
    ) -> bool {
        let Some(made) = Tape::of(made, source.size()) else {
            return false;
        };
        // How many of the original's fields came.
        let mut found = 0;
        for (key, value) in made.root().fields() {
            let is_same = match of(&self.content, key) {
                _ if key == "metadata" => keeps(value, |key, value| self.has_metadata(key, value)),
                _ if OWN.contains(&key) => true,
                original => {
                    let is_dropped = value.is_empty() && !source.has(key);
                    found += usize::from(original.is_some());
                    match original {
                        Some(original) => !is_dropped && original == value,
                        None => is_dropped,
                    }
                }
            };
            if !is_same {
                return false;
            }
        }
        found == self.content.len()
    }

    pub(super) fn has_metadata(&self, key: &str, value: Item<'_>) -> bool {
        of(&self.counting, key) == Some(value)
    }
}

fn of<'o>(tapes: &'o [(&str, Tape<'_>)], key: &str) -> Option<Item<'o>> {
    let own = tapes.iter().find(|(own, _)| *own == key);
    own.map(|(_, tape)| tape.root())
}

fn tapes<'t>(fields: impl Iterator<Item = (&'t str, &'t str)>) -> Option<Vec<(&'t str, Tape<'t>)>> {
    let mut tapes: Vec<(&str, Tape<'_>)> = Vec::with_capacity(4);
    for (key, json) in fields {
        if tapes.iter().any(|(other, _)| *other == key) {
            return None;
        }
        tapes.push((key, Tape::read(json)?));
    }
    Some(tapes)
}
