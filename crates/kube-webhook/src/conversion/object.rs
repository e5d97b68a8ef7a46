//! An object in the form that conversion works on: its metadata, and the rest. Used throughout
//! `conversion`.

use serde_json::{Map, Value};

use super::ConversionError;
use crate::envelope::Json;

/// What is neither `apiVersion` nor `kind` nor `metadata`: spec, status and the like.
pub(super) type Content = Map<String, Value>;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object {
    pub(super) metadata: Map<String, Value>,
    pub(super) content: Content,
}

impl Object {
    pub(super) fn read(raw: Json<'_>) -> Result<Self, ConversionError> {
        let mut content: Content = serde_json::from_str(raw.get())?;
        content.remove("apiVersion");
        content.remove("kind");
        let metadata = match content.remove("metadata") {
            // The API server asks for metadata in what comes back, even if it sent none.
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(metadata)) => metadata,
            Some(_) => return Err(ConversionError::new("metadata is not an object")),
        };
        Ok(Self { metadata, content })
    }

    /// The JSON of a whole object.
    pub(super) fn assemble(&self, api_version: &str, kind: &str) -> Value {
        let mut object = self.content.clone();
        object.insert("apiVersion".to_owned(), api_version.into());
        object.insert("kind".to_owned(), kind.into());
        object.insert("metadata".to_owned(), Value::Object(self.metadata.clone()));
        Value::Object(object)
    }

    /// The same metadata around other content.
    pub(super) fn with_content(&self, content: Content) -> Self {
        Self {
            metadata: self.metadata.clone(),
            content,
        }
    }

    pub(super) fn annotation(&self, key: &str) -> Option<&str> {
        self.metadata.get("annotations")?.get(key)?.as_str()
    }

    pub(super) fn remove_annotation(&mut self, key: &str) -> Option<Value> {
        let annotations = self.metadata.get_mut("annotations")?.as_object_mut()?;
        let removed = annotations.remove(key)?;
        if annotations.is_empty() {
            self.metadata.remove("annotations");
        }
        Some(removed)
    }

    pub(super) fn set_annotation(&mut self, key: &str, value: String) {
        let annotations = self
            .metadata
            .entry("annotations")
            .or_insert_with(|| Value::Object(Map::new()));
        if annotations.is_null() {
            *annotations = Value::Object(Map::new());
        }
        if let Some(annotations) = annotations.as_object_mut() {
            annotations.insert(key.to_owned(), Value::String(value));
        }
    }

    /// The size of all annotations, as the API server counts it.
    pub(super) fn annotations_size(&self) -> usize {
        let annotations = self.metadata.get("annotations").and_then(Value::as_object);
        annotations
            .into_iter()
            .flatten()
            .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
            .sum()
    }
}

/// `TotalAnnotationSizeLimitB` of the API server's validation.
pub(super) const ANNOTATIONS_LIMIT: usize = 256 * 1024;
