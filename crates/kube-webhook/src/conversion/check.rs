//! The API server's own checks of a converted object, made before it leaves, so that a failure names
//! the object and what is wrong. Called by `star`.
//!
//! Group, version, kind, name, namespace and uid hold by construction. What can still be wrong is
//! what a converter did to labels and annotations, which the API server validates if they changed.

use serde_json::Value;

use super::{
    ConversionError,
    object::{ANNOTATIONS_LIMIT, Object},
};
use crate::names::{is_label_value, is_qualified_name};

pub(super) fn check(original: &Object, converted: &Object) -> Result<(), ConversionError> {
    for field in ["labels", "annotations"] {
        let made = converted.metadata.get(field);
        if made == original.metadata.get(field) {
            continue;
        }
        let Some(Value::Object(made)) = made else {
            continue;
        };
        for (key, value) in made {
            let Some(value) = value.as_str() else {
                return Err(ConversionError::new(format!(
                    "the value of metadata.{field}[{key:?}] is not a string"
                )));
            };
            // Annotations' keys are compared in lower case.
            let name = if field == "labels" {
                key.clone()
            } else {
                key.to_lowercase()
            };
            if !is_qualified_name(&name) || (field == "labels" && !is_label_value(value)) {
                return Err(ConversionError::new(format!(
                    "metadata.{field}[{key:?}] is not a legal key or value"
                )));
            }
        }
    }
    if converted.annotations_size() > ANNOTATIONS_LIMIT.max(original.annotations_size()) {
        return Err(ConversionError::new(
            "the annotations are larger than 256 KiB",
        ));
    }
    Ok(())
}
