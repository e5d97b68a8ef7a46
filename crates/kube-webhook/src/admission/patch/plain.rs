//! The patch of a plain change: one at places where the type sees what was sent. Called by
//! `between` before anything is parsed into trees.
//!
//! Where type and JSON agree on a place, what leads from the one form to the other does so in the
//! JSON, too. Anything else (defaults that the type filled in, other names, orders or spellings) is
//! declined. Only what lies on the way to the change is read, and tried out.

use json_patch::PatchOperation;
use serde_json::{Map, Value};

use super::{Lists, Rebase};
use crate::envelope::{Fields, Item, Json, Tape};

/// The operations that lead from `before` to `after` in `raw`; `None` if the change isn't plain.
pub(super) fn operations(
    before: &Tape<'_>,
    after: &Tape<'_>,
    raw: Json<'_>,
) -> Option<Vec<PatchOperation>> {
    let mut walk = Walk(Rebase::new(Lists::ByElement));
    let touched = walk.value(before.root(), after.root(), raw)?;
    let operations = walk.0.operations;
    touched.obeys(&operations).then_some(operations)
}

/// As much of an object as a patch touches, before and after it.
struct Touched {
    sent: Value,
    wanted: Value,
}

impl Touched {
    /// Whether the operations, applied as JSON patch says, do what they are for. What is tried out
    /// has every parent that the object has, and no other.
    fn obeys(mut self, operations: &[PatchOperation]) -> bool {
        json_patch::patch_unsafe(&mut self.sent, operations).is_ok() && self.sent == self.wanted
    }
}

struct Walk(Rebase);

impl Walk {
    fn value(&mut self, before: Item<'_>, after: Item<'_>, raw: Json<'_>) -> Option<Touched> {
        if before.is_object() && after.is_object() && raw.is_object() {
            return self.object(before, after, raw);
        }
        if !says(raw, before) {
            return None;
        }
        let (sent, wanted) = (before.to_value(), after.to_value());
        self.0.value(&sent, &wanted, Some(&sent));
        Some(Touched { sent, wanted })
    }

    fn object(&mut self, before: Item<'_>, after: Item<'_>, raw: Json<'_>) -> Option<Touched> {
        let before = Fields::collect(before.fields())?;
        let after = Fields::collect(after.fields())?;
        let gone = before.iter().filter(|(key, _)| after.of(key).is_none());
        let gone: Vec<_> = gone.collect();
        let changed = after
            .iter()
            .filter(|(key, after)| before.of(key) != Some(*after));
        let changed: Vec<_> = changed.collect();
        let touched: Vec<_> = gone.iter().chain(&changed).map(|(key, _)| *key).collect();
        let raw = Fields::named(&touched, raw)?;
        let (mut sent, mut wanted) = (Map::new(), Map::new());
        for (key, before) in gone {
            if !says(raw.of(key)?, before) {
                return None;
            }
            sent.insert(key.to_owned(), Value::Null);
            self.0.at(key, Rebase::remove);
        }
        for (key, after) in changed {
            match (before.of(key), raw.of(key)) {
                (None, None) => {
                    let after = after.to_value();
                    self.0.at(key, |rebase| rebase.add(&after));
                    wanted.insert(key.to_owned(), after);
                }
                (Some(before), Some(raw)) => {
                    self.0.path.push_back(key);
                    let inner = self.value(before, after, raw);
                    self.0.path.pop_back();
                    let inner = inner?;
                    sent.insert(key.to_owned(), inner.sent);
                    wanted.insert(key.to_owned(), inner.wanted);
                }
                _ => return None,
            }
        }
        Some(Touched {
            sent: Value::Object(sent),
            wanted: Value::Object(wanted),
        })
    }
}

/// Whether the type saw what was sent.
fn says(raw: Json<'_>, seen: Item<'_>) -> bool {
    Tape::read(raw.get()).is_some_and(|raw| raw.root() == seen)
}
