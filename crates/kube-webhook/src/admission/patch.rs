//! The patch from the object that was sent to the one that a hook returned.
//!
//! The difference is taken between the two as their type sees them, then laid onto the JSON as it
//! was sent: a field that the type doesn't know is neither removed nor seen, a default that the type
//! filled in is no change, and what the type sees but the JSON lacks is added rather than replaced.
//! (A diff against the raw object removes unknown fields; a diff of two serialised objects addresses
//! parents that don't exist. Both happened to the frameworks before this one.) Each patch is tried
//! out before it leaves, since one that doesn't apply is an error that no `failurePolicy` covers: a
//! plain one on what it touches, any other on the whole object. Called by `handler`.

mod plain;

use json_patch::{
    AddOperation, PatchOperation, RemoveOperation, ReplaceOperation,
    jsonptr::{PointerBuf, Token},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::{Step, align, old::decode};
use crate::{
    Fault,
    envelope::{Json, Tape},
};

/// An object as its type sees it.
pub(super) enum Seen {
    Tape(Tape<'static>),
    /// Of a type that only serde_json can write.
    Value(Value),
}

impl Seen {
    /// Taken before the hook changes the object: to decode it again would cost far more.
    pub(super) fn of<K: Serialize>(object: &K, raw: Json<'_>) -> Result<Self, Fault> {
        if let Some(tape) = Tape::of(object, raw.get().len()) {
            return Ok(Self::Tape(tape));
        }
        let text = serde_json::to_string(object)?;
        Ok(Self::Value(serde_json::from_str(&text)?))
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Tape(tape) => tape.root().to_value(),
            Self::Value(value) => value.clone(),
        }
    }
}

/// The JSON patch (RFC 6902) that makes of `raw` what `modified` is; `None` if nothing differs.
pub(super) fn between<K>(
    raw: Json<'_>,
    before: &Seen,
    modified: &K,
) -> Result<Option<Vec<u8>>, Fault>
where
    K: Serialize + DeserializeOwned,
{
    let after = Seen::of(modified, raw)?;
    if let (Seen::Tape(before), Seen::Tape(after)) = (before, &after)
        && let Some(operations) = plain::operations(before, after, raw)
    {
        debug_assert!(leads_to::<K>(
            &operations,
            &decode(raw, "object")?,
            &after.root().to_value()
        ));
        return written(&operations);
    }
    let (before, after) = (before.to_value(), after.to_value());
    if before == after {
        return Ok(None);
    }
    let raw: Value = decode(raw, "object")?;
    for lists in [Lists::ByElement, Lists::Whole] {
        let operations = operations(&before, &after, &raw, lists);
        if leads_to::<K>(&operations, &raw, &after) {
            return written(&operations);
        }
    }
    Err(Fault::internal(
        "the hook's change can't be expressed as a patch of the object that was sent",
    ))
}

fn written(operations: &[PatchOperation]) -> Result<Option<Vec<u8>>, Fault> {
    if operations.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::to_vec(operations)?))
}

/// How lists are patched: some types don't keep the order of the JSON, and theirs are replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lists {
    ByElement,
    Whole,
}

fn operations(before: &Value, after: &Value, raw: &Value, lists: Lists) -> Vec<PatchOperation> {
    let mut rebase = Rebase::new(lists);
    rebase.value(before, after, Some(raw));
    rebase.operations
}

fn leads_to<K: Serialize + DeserializeOwned>(
    operations: &[PatchOperation],
    raw: &Value,
    after: &Value,
) -> bool {
    let mut patched = raw.clone();
    json_patch::patch(&mut patched, operations).is_ok()
        && serde_json::from_value::<K>(patched)
            .and_then(serde_json::to_value)
            .is_ok_and(|reached| reached == *after)
}

struct Rebase {
    path: PointerBuf,
    operations: Vec<PatchOperation>,
    lists: Lists,
}

impl Rebase {
    fn new(lists: Lists) -> Self {
        Self {
            path: PointerBuf::new(),
            operations: Vec::new(),
            lists,
        }
    }

    fn value(&mut self, before: &Value, after: &Value, raw: Option<&Value>) {
        if before == after {
            return;
        }
        match (before, after, raw) {
            (Value::Object(before), Value::Object(after), Some(Value::Object(raw))) => {
                self.object(before, after, raw);
            }
            (Value::Array(before), Value::Array(after), Some(Value::Array(raw)))
                if self.lists == Lists::ByElement && raw.len() == before.len() =>
            {
                self.array(before, after, raw);
            }
            _ => self.set(after, raw),
        }
    }

    fn object(
        &mut self,
        before: &Map<String, Value>,
        after: &Map<String, Value>,
        raw: &Map<String, Value>,
    ) {
        for key in before.keys().filter(|key| !after.contains_key(*key)) {
            if raw.contains_key(key) {
                self.at(key, Self::remove);
            }
        }
        for (key, after) in after {
            let raw = raw.get(key);
            self.at(key, |rebase| match before.get(key) {
                Some(before) => rebase.value(before, after, raw),
                None => rebase.set(after, raw),
            });
        }
    }

    fn array(&mut self, before: &[Value], after: &[Value], raw: &[Value]) {
        let Some(steps) = align(before, after) else {
            return self.set(&Value::Array(after.to_vec()), Some(&Value::Null));
        };
        let mut index = 0;
        for step in steps {
            match step {
                Step::Keep(from, to) => {
                    self.at(index, |rebase| {
                        rebase.value(&before[from], &after[to], raw.get(from));
                    });
                    index += 1;
                }
                Step::Remove => self.at(index, Self::remove),
                Step::Add(to) => {
                    self.at(index, |rebase| rebase.add(&after[to]));
                    index += 1;
                }
            }
        }
    }

    /// Puts `after` here, whether or not the raw object has something here.
    fn set(&mut self, after: &Value, raw: Option<&Value>) {
        match raw {
            None => self.add(after),
            Some(raw) if raw == after => {}
            Some(_) => self
                .operations
                .push(PatchOperation::Replace(ReplaceOperation {
                    path: self.path.clone(),
                    value: after.clone(),
                })),
        }
    }

    fn add(&mut self, value: &Value) {
        self.operations.push(PatchOperation::Add(AddOperation {
            path: self.path.clone(),
            value: value.clone(),
        }));
    }

    fn remove(&mut self) {
        self.operations
            .push(PatchOperation::Remove(RemoveOperation {
                path: self.path.clone(),
            }));
    }

    fn at<'t>(&mut self, token: impl Into<Token<'t>>, visit: impl FnOnce(&mut Self)) {
        self.path.push_back(token);
        visit(self);
        self.path.pop_back();
    }
}

#[cfg(test)]
mod tests;
