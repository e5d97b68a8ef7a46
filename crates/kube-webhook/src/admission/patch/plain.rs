//! The patch of a plain change: one at places where the type sees what was sent. Called by
//! `between` before anything is parsed into trees.
//!
//! Where type and JSON agree on a place, what leads from the one form to the other does so in the
//! JSON, too, and needs no trying out. Anything else (defaults that the type filled in, other names,
//! orders or spellings) is declined. Only what lies on the way to the change is read.

use serde_json::Value;

use super::{Lists, Rebase};
use crate::envelope::{Fields, is_object, same};
use json_patch::PatchOperation;
use serde_json::value::RawValue;

/// The operations that lead from `before` to `after`, both as the type writes them, in `raw`; `None`
/// if the change isn't plain.
pub(super) fn operations(before: &str, after: &str, raw: &str) -> Option<Vec<PatchOperation>> {
    let mut rebase = Rebase::new(Lists::ByElement);
    object(&mut rebase, before, after, raw)?;
    Some(rebase.operations)
}

fn object(rebase: &mut Rebase, before: &str, after: &str, raw: &str) -> Option<()> {
    let before = Fields::read(before)?;
    let after = Fields::read(after)?;
    let raw = Fields::read(raw)?;
    for (key, before) in before.iter().filter(|(key, _)| after.of(key).is_none()) {
        if !same(before, raw.of(key)?) {
            return None;
        }
        rebase.at(key, Rebase::remove);
    }
    for (key, after) in after.iter() {
        match (before.of(key), raw.of(key)) {
            (None, None) => {
                let after = parse(after)?;
                rebase.at(key, |rebase| rebase.add(&after));
            }
            (Some(before), _) if before.get() == after.get() => {}
            (Some(before), Some(raw)) => {
                let mut is_plain = None;
                rebase.at(key, |rebase| is_plain = value(rebase, before, after, raw));
                is_plain?;
            }
            _ => return None,
        }
    }
    Some(())
}

fn value(rebase: &mut Rebase, before: &RawValue, after: &RawValue, raw: &RawValue) -> Option<()> {
    if [before, after, raw].into_iter().all(is_object) {
        return object(rebase, before.get(), after.get(), raw.get());
    }
    if !same(before, raw) {
        return None;
    }
    let (before, after) = (parse(before)?, parse(after)?);
    rebase.value(&before, &after, Some(&before));
    Some(())
}

fn parse(text: &RawValue) -> Option<Value> {
    serde_json::from_str(text.get()).ok()
}
