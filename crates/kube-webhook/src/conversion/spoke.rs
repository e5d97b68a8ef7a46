//! A converter whose types have been forgotten: JSON in, JSON out. Called by `star` and `remainder`.

use std::sync::Arc;

use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

use super::{
    ConversionError, Converter,
    object::Object,
    quick::{Direction, Original, Source},
};
use crate::envelope::Tape;

/// Which version of which kind a type is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) kind: String,
}

impl Version {
    pub(super) fn of<K: Resource<DynamicType = ()>>() -> Self {
        Self {
            group: K::group(&()).into_owned(),
            version: K::version(&()).into_owned(),
            kind: K::kind(&()).into_owned(),
        }
    }

    pub(super) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether it is what an object calls it.
    pub(super) fn is(&self, api_version: &str) -> bool {
        let (group, version) = match api_version.rsplit_once('/') {
            Some(("", _)) => return false,
            Some(parts) => parts,
            None => ("", api_version),
        };
        self.group == group && self.version == version
    }
}

pub(super) trait Spoke: Send + Sync {
    fn version(&self) -> Version;

    /// To the storage version.
    fn convert(&self, object: &Object) -> Result<Object, ConversionError>;

    /// Back from the storage version.
    fn revert(&self, object: &Object) -> Result<Object, ConversionError>;

    /// The same in one go, without trees, and with whatever metadata the converter made; `None` if
    /// the object isn't plain enough for that.
    fn translate(&self, _: Direction, _: &Source<'_>) -> Option<Tape<'static>> {
        None
    }

    /// Whether the object becomes `original` in one go.
    fn leads_to(&self, _: Direction, _: &Source<'_>, _: &Original<'_>) -> bool {
        false
    }
}

pub(super) struct Typed<C>(pub(super) C);

impl<C: Converter> Spoke for Typed<C> {
    fn version(&self) -> Version {
        Version::of::<C::From>()
    }

    fn convert(&self, object: &Object) -> Result<Object, ConversionError> {
        encode(&self.0.convert(decode(object)?)?, object)
    }

    fn revert(&self, object: &Object) -> Result<Object, ConversionError> {
        encode(&self.0.revert(decode(object)?)?, object)
    }

    fn translate(&self, direction: Direction, source: &Source<'_>) -> Option<Tape<'static>> {
        let size = source.size() + 128;
        match direction {
            Direction::In => Tape::of(&self.0.convert(source.decode()?).ok()?, size),
            Direction::Out => Tape::of(&self.0.revert(source.decode()?).ok()?, size),
        }
    }

    fn leads_to(&self, direction: Direction, source: &Source<'_>, original: &Original<'_>) -> bool {
        let made = match direction {
            Direction::In => source
                .decode()
                .and_then(|from| self.0.convert(from).ok())
                .map(|made| original.is_written_by(source, &made)),
            Direction::Out => source
                .decode()
                .and_then(|storage| self.0.revert(storage).ok())
                .map(|made| original.is_written_by(source, &made)),
        };
        made.unwrap_or(false)
    }
}

/// A converter used the other way round, where it leads away from the storage version.
pub(super) struct Reversed {
    pub(super) version: Version,
    pub(super) spoke: Arc<dyn Spoke>,
}

impl Spoke for Reversed {
    fn version(&self) -> Version {
        self.version.clone()
    }

    fn convert(&self, object: &Object) -> Result<Object, ConversionError> {
        self.spoke.revert(object)
    }

    fn revert(&self, object: &Object) -> Result<Object, ConversionError> {
        self.spoke.convert(object)
    }

    fn translate(&self, direction: Direction, source: &Source<'_>) -> Option<Tape<'static>> {
        self.spoke.translate(direction.back(), source)
    }

    fn leads_to(&self, direction: Direction, source: &Source<'_>, original: &Original<'_>) -> bool {
        self.spoke.leads_to(direction.back(), source, original)
    }
}

/// Several converters, one after the other, the last of which reaches the storage version.
pub(super) struct Path(Vec<Arc<dyn Spoke>>);

impl Path {
    /// Of at least one step.
    pub(super) fn of(mut steps: Vec<Arc<dyn Spoke>>) -> Arc<dyn Spoke> {
        if steps.len() == 1 {
            steps.remove(0)
        } else {
            Arc::new(Self(steps))
        }
    }
}

impl Spoke for Path {
    fn version(&self) -> Version {
        self.0[0].version()
    }

    fn convert(&self, object: &Object) -> Result<Object, ConversionError> {
        let mut object = object.clone();
        for step in &self.0 {
            object = step.convert(&object)?;
        }
        Ok(object)
    }

    fn revert(&self, object: &Object) -> Result<Object, ConversionError> {
        let mut object = object.clone();
        for step in self.0.iter().rev() {
            object = step.revert(&object)?;
        }
        Ok(object)
    }
}

fn decode<K>(object: &Object) -> Result<K, ConversionError>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
{
    let version = Version::of::<K>();
    let mut whole = object.assemble(&version.api_version(), &version.kind);
    if let Value::Object(fields) = &mut whole {
        if !fields.contains_key(SPEC) {
            // Server-side apply's partial objects; kube's derive has no default for the spec.
            fields.insert(SPEC.to_owned(), json!({}));
        }
        if let Some(Value::Object(metadata)) = fields.get_mut("metadata") {
            metadata.remove(MANAGED_FIELDS);
        }
    }
    Ok(serde_json::from_value(whole)?)
}

/// What the converter made of `source`, with the metadata that the API server would keep.
fn encode<K: Serialize>(converted: &K, source: &Object) -> Result<Object, ConversionError> {
    let Value::Object(mut content) = serde_json::to_value(converted)? else {
        return Err(ConversionError::new("the converter's result is no object"));
    };
    content.remove("apiVersion");
    content.remove("kind");
    let made = content.remove("metadata");
    if !source.content.contains_key(SPEC) {
        content.remove(SPEC);
    }
    content.retain(|key, value| source.content.contains_key(key) || !is_empty(value));

    let mut metadata = source.metadata.clone();
    if let Some(Value::Object(made)) = made {
        keep_labels(&mut metadata, made);
    }
    Ok(Object { metadata, content })
}

/// Only labels and annotations can differ: the API server puts all else back, and reads their
/// absence as their deletion, which no converter means by leaving them out.
fn keep_labels(metadata: &mut Map<String, Value>, mut made: Map<String, Value>) {
    for field in ["labels", "annotations"] {
        if let Some(value @ Value::Object(_)) = made.remove(field) {
            metadata.insert(field.to_owned(), value);
        }
    }
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}

const SPEC: &str = "spec";
/// Which converters don't see: it is often half of an object, is about one version alone, and only
/// the API server writes it.
pub(super) const MANAGED_FIELDS: &str = "managedFields";
