//! The patch of a plain change: one at places where the type sees what was sent. Called by
//! `between` before anything is parsed into trees.
//!
//! Where type and JSON agree on a place, what leads from the one form to the other does so in the
//! JSON, too. Anything else (defaults that the type filled in, other names, orders or spellings) is
//! declined. Only what lies on the way to the change is read, and tried out.

use json_patch::PatchOperation;
use serde_json::{Map, Value};

use super::{Lists, Rebase};
use crate::envelope::{Fields, Written, same_text};

/// The operations that lead from `before` to `after` in `raw`; `None` if the change isn't plain.
pub(super) fn operations(
    before: &Written,
    after: &Written,
    raw: &str,
) -> Option<Vec<PatchOperation>> {
    let mut walk = Walk {
        rebase: Rebase::new(Lists::ByElement),
        metadata: Some((before, after)),
    };
    let touched = walk.object(
        &Fields::collect(before.fields())?,
        &Fields::collect(after.fields())?,
        &Fields::read(raw)?,
    )?;
    let operations = walk.rebase.operations;
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

struct Walk<'w> {
    rebase: Rebase,
    /// Whose metadata needn't be read; taken at the first level.
    metadata: Option<(&'w Written, &'w Written)>,
}

impl Walk<'_> {
    fn object(
        &mut self,
        before: &Fields<'_>,
        after: &Fields<'_>,
        raw: &Fields<'_>,
    ) -> Option<Touched> {
        let metadata = self.metadata.take();
        let (mut sent, mut wanted) = (Map::new(), Map::new());
        for (key, before) in before.iter().filter(|(key, _)| after.of(key).is_none()) {
            let raw = raw.of(key)?;
            if !same_text(before, raw) {
                return None;
            }
            sent.insert(key.to_owned(), Value::Null);
            self.rebase.at(key, Rebase::remove);
        }
        for (key, after) in after.iter() {
            match (before.of(key), raw.of(key)) {
                (None, None) => {
                    let after = parse(after)?;
                    self.rebase.at(key, |rebase| rebase.add(&after));
                    wanted.insert(key.to_owned(), after);
                }
                (Some(before), _) if before == after => {}
                (Some(before), Some(raw)) => {
                    self.rebase.path.push_back(key);
                    let inner = match metadata {
                        Some((before, after)) if key == "metadata" => self.object(
                            &Fields::collect(before.metadata())?,
                            &Fields::collect(after.metadata())?,
                            &Fields::read(raw)?,
                        ),
                        _ => self.value(before, after, raw),
                    };
                    self.rebase.path.pop_back();
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

    fn value(&mut self, before: &str, after: &str, raw: &str) -> Option<Touched> {
        if [before, after, raw]
            .iter()
            .all(|json| json.starts_with('{'))
        {
            return self.object(
                &Fields::read(before)?,
                &Fields::read(after)?,
                &Fields::read(raw)?,
            );
        }
        if !same_text(before, raw) {
            return None;
        }
        let (sent, wanted) = (parse(before)?, parse(after)?);
        self.rebase.value(&sent, &wanted, Some(&sent));
        Some(Touched { sent, wanted })
    }
}

fn parse(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}
