//! From a ConversionReview to its answer. Called by `register`'s routes, on a blocking thread if the
//! review is large.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{ConversionError, Star};
use crate::{
    Fault,
    admission::panic_text,
    envelope::{
        ConversionRequest, Deadline, Text, conversion_failure, conversion_success, is_object,
    },
};

/// The answer to the review in `body`, all or nothing as the API server wants it.
pub(crate) fn answer(
    stars: &[Arc<Star>],
    body: &[u8],
    deadline: Deadline,
) -> Result<Vec<u8>, Fault> {
    let (version, request) = ConversionRequest::read(body)?;
    let desired = &*request.desired_api_version;
    let mut converted = Vec::with_capacity(body.len());
    for (index, raw) in request.objects().iter().enumerate() {
        if deadline.has_passed() {
            return Err(Fault::timeout("the objects were not converted in time"));
        }
        if index > 0 {
            converted.push(b',');
        }
        let head = Head::of(raw);
        if let Err(error) = convert_one(stars, raw, &head, desired, &mut converted) {
            let message =
                format!("object {index} ({head}) can't be converted to {desired}: {error}");
            tracing::warn!(message, "conversion failed");
            return conversion_failure(version, &request.uid, &message);
        }
    }
    conversion_success(version, &request.uid, &converted)
}

fn convert_one(
    stars: &[Arc<Star>],
    raw: &RawValue,
    head: &Head<'_>,
    desired: &str,
    converted: &mut Vec<u8>,
) -> Result<(), ConversionError> {
    if !is_object(raw) {
        return Err(ConversionError::new("it is not a JSON object"));
    }
    if head.api_version.is_empty() || head.kind.is_empty() {
        return Err(ConversionError::new("it has no apiVersion or no kind"));
    }
    let star = stars
        .iter()
        .find(|star| star.is_for(&head.api_version, &head.kind))
        .ok_or_else(|| ConversionError::new("its kind is not converted here"))?;
    // The API server never sends these, but tools that replay reviews do.
    if *head.api_version == *desired {
        converted.extend_from_slice(raw.get().as_bytes());
        return Ok(());
    }
    let convert = AssertUnwindSafe(|| star.convert(raw, &head.api_version, desired));
    let object = catch_unwind(convert).map_err(|panic| {
        tracing::error!(panic = panic_text(&*panic), object = %head, "converter panicked");
        ConversionError::new("the converter panicked")
    })??;
    serde_json::to_writer(converted, &object)?;
    Ok(())
}

/// What names an object, as far as it can be read.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Head<'a> {
    #[serde(borrow)]
    api_version: Text<'a>,
    #[serde(borrow)]
    kind: Text<'a>,
    #[serde(borrow)]
    metadata: Option<Names<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Names<'a> {
    #[serde(borrow)]
    name: Text<'a>,
    #[serde(borrow)]
    namespace: Text<'a>,
}

impl<'a> Head<'a> {
    fn of(raw: &'a RawValue) -> Self {
        serde_json::from_str(raw.get()).unwrap_or_default()
    }
}

impl std::fmt::Display for Head<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.kind.is_empty() {
            return formatter.write_str("without a kind");
        }
        let names = self.metadata.as_ref();
        let name = names.map_or("", |names| &names.name);
        let namespace = names.map_or("", |names| &names.namespace);
        write!(formatter, "{} {} ", &*self.api_version, &*self.kind)?;
        if !namespace.is_empty() {
            write!(formatter, "{namespace}/")?;
        }
        formatter.write_str(if name.is_empty() {
            "without a name"
        } else {
            name
        })
    }
}
