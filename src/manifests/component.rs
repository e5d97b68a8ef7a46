//! What can be put onto the base: further objects, and changes of the base's own.
//!
//! A change is a strategic merge patch in the small: what kustomize makes of a component's
//! files, `generate` makes by itself, so that both ways lead to the same installation. A test
//! holds one against the other. Called by `manifests` and its layout.

use serde_json::{Map, Value};

use super::{Manifest, ManifestError};

/// One file's objects.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) file: &'static str,
    pub(super) objects: Vec<Value>,
}

/// What an extra consists of.
#[derive(Clone, Debug)]
pub(super) struct Component {
    pub(super) parts: Vec<Part>,
    pub(super) patches: Vec<Patch>,
}

/// A change of the base's objects.
#[derive(Clone, Debug)]
pub(super) struct Patch {
    pub(super) file: &'static str,
    /// Of these kinds.
    pub(super) kinds: &'static [&'static str],
    /// Of this name.
    pub(super) name: String,
    /// What is merged into each; a `kind` in it becomes theirs.
    pub(super) change: Value,
}

impl Part {
    pub(super) fn of(
        file: &'static str,
        objects: impl IntoIterator<Item = serde_json::Result<Value>>,
    ) -> Result<Self, ManifestError> {
        let objects = objects.into_iter().collect::<Result<_, _>>()?;
        Ok(Self { file, objects })
    }

    /// Field by field in the order of their names, as kubectl prints them.
    pub(super) fn manifest(&self, folder: &str) -> Result<Manifest, ManifestError> {
        let documents: Vec<_> = self
            .objects
            .iter()
            .map(serde_saphyr::to_string)
            .collect::<Result<_, _>>()?;
        Ok(Manifest {
            file: format!("{folder}{}", self.file),
            yaml: documents.join("---\n"),
        })
    }
}

impl Patch {
    /// Changes an object, if it is one of those that are meant; whether it is left.
    pub(super) fn apply(&self, object: &mut Value) -> bool {
        let is_kind = object["kind"]
            .as_str()
            .is_some_and(|kind| self.kinds.contains(&kind));
        if !is_kind || object["metadata"]["name"] != *self.name {
            return true;
        }
        if self.change["$patch"] == "delete" {
            return false;
        }
        merge(object, &self.change);
        true
    }

    /// Whether an object becomes one of another kind, which kustomize wants to be told.
    pub(super) fn changes_kind(&self) -> bool {
        self.change.get("kind").is_some()
    }
}

/// Maps key by key, where `null` removes; lists of named elements by name, where
/// `$patch: delete` removes; all else as a whole.
fn merge(target: &mut Value, change: &Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => merge_maps(target, change),
        (Value::Array(target), Value::Array(changes)) if changes.iter().all(is_named) => {
            for change in changes {
                let found = target.iter().position(|one| one["name"] == change["name"]);
                match (found, change.get("$patch").is_some()) {
                    (Some(index), true) => drop(target.remove(index)),
                    (Some(index), false) => merge(&mut target[index], change),
                    (None, true) => {}
                    (None, false) => target.push(change.clone()),
                }
            }
        }
        (target, change) => *target = change.clone(),
    }
}

fn merge_maps(target: &mut Map<String, Value>, change: &Map<String, Value>) {
    for (key, change) in change {
        if change.is_null() {
            target.remove(key);
            continue;
        }
        let value = target.entry(key).or_insert(Value::Null);
        merge(value, change);
        if value.as_array().is_some_and(Vec::is_empty) {
            target.remove(key);
        }
    }
}

fn is_named(value: &Value) -> bool {
    value.get("name").is_some()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn named_elements_are_merged_removed_and_added() {
        let mut pod = json!({
            "strategy": {"type": "RollingUpdate"},
            "volumes": [{"name": "spool", "emptyDir": {}}, {"name": "tls"}],
            "env": [{"name": "MODE", "value": "a"}],
        });
        merge(
            &mut pod,
            &json!({
                "strategy": null,
                "volumes": [{"name": "spool", "$patch": "delete"}, {"name": "more"}],
                "env": [{"name": "MODE", "value": "b"}],
                "modes": ["x"],
            }),
        );
        let expected = json!({
            "volumes": [{"name": "tls"}, {"name": "more"}],
            "env": [{"name": "MODE", "value": "b"}],
            "modes": ["x"],
        });
        assert_eq!(pod, expected);
    }

    #[test]
    fn only_what_is_meant_is_changed() {
        let patch = Patch {
            file: "patch.yaml",
            kinds: &["Deployment", "StatefulSet"],
            name: "one".to_owned(),
            change: json!({"spec": {"replicas": 3}}),
        };
        for (kind, name, is_changed) in [
            ("Deployment", "one", true),
            ("StatefulSet", "one", true),
            ("Service", "one", false),
            ("Deployment", "two", false),
        ] {
            let mut object = json!({"kind": kind, "metadata": {"name": name}});
            assert!(patch.apply(&mut object));
            assert_eq!(object.get("spec").is_some(), is_changed, "{kind} {name}");
        }
    }
}
