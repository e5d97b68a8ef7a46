//! The object that came, for whoever asks whether a conversion's way back leads to it again. Used by
//! `quick`.

use std::borrow::Cow;

use serde::{Serialize, ser::Error as _};
use serde_json::Error;

use super::{COUNTING, OWN, Source};
use crate::envelope::{Level, Sink, Tree, walk};

pub(in crate::conversion) struct Original<'t> {
    content: Vec<(&'t str, Tree<'t>)>,
    /// Its labels and annotations.
    counting: Vec<(&'t str, Tree<'t>)>,
}

impl<'t> Original<'t> {
    /// `None` if it has a field twice.
    pub(super) fn of(source: &Source<'t>) -> Option<Self> {
        let counting = source.metadata.iter();
        let counting = counting
            .map(|(key, json)| (&**key, json.get()))
            .filter(|(key, _)| COUNTING.contains(key));
        Some(Self {
            content: trees(source.content.iter().copied())?,
            counting: trees(counting)?,
        })
    }

    /// Whether `made`, which the converter made of `source`, is written as this, the empty fields
    /// aside that a type adds of its own accord.
    pub(in crate::conversion) fn is_written_by<T: Serialize>(
        &self,
        source: &Source<'_>,
        made: &T,
    ) -> bool {
        let mut comparison = Comparison {
            original: self,
            source,
            found: 0,
        };
        walk(made, &mut comparison).is_ok() && comparison.found == self.content.len()
    }
}

fn trees<'t>(fields: impl Iterator<Item = (&'t str, &'t str)>) -> Option<Vec<(&'t str, Tree<'t>)>> {
    let mut trees: Vec<(&str, Tree<'_>)> = Vec::with_capacity(4);
    for (key, json) in fields {
        if trees.iter().any(|(other, _)| *other == key) {
            return None;
        }
        trees.push((key, Tree::read(json)?));
    }
    Some(trees)
}

struct Comparison<'c> {
    original: &'c Original<'c>,
    source: &'c Source<'c>,
    /// How many of the original's fields came.
    found: usize,
}

impl Sink for Comparison<'_> {
    fn field<T: Serialize + ?Sized>(
        &mut self,
        level: Level,
        key: Cow<'static, str>,
        value: &T,
    ) -> Result<(), Error> {
        let is_same = match level {
            Level::Metadata if !COUNTING.contains(&&*key) => true,
            Level::Metadata => {
                Tree::Null.says(value)
                    || self
                        .original
                        .counting
                        .iter()
                        .any(|(own, tree)| *own == key && tree.says(value))
            }
            Level::Object if OWN.contains(&&*key) => true,
            Level::Object => {
                let is_dropped = !self.source.has(&key)
                    && (Tree::Null.says(value) || Tree::Object(Vec::new()).says(value));
                let own = self.original.content.iter().find(|(own, _)| *own == key);
                match own {
                    Some((_, tree)) => {
                        self.found += 1;
                        !is_dropped && tree.says(value)
                    }
                    None => is_dropped,
                }
            }
        };
        if is_same {
            Ok(())
        } else {
            Err(Error::custom("it differs"))
        }
    }
}
