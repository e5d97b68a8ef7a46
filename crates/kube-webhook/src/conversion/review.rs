//! From a ConversionReview to its answer. Called by `register`'s routes, on a blocking thread if the
//! review is large.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    ConversionError, Star,
    parts::{Parts, Sent},
};
use crate::{
    Fault,
    admission::panic_text,
    envelope::{ConversionAnswer, ConversionRequest, Text, conversion_failure, is_object},
    metrics::ConversionOutcome,
};

/// An answer, and what it says.
pub(crate) struct Converted {
    pub(crate) body: Vec<u8>,
    /// The version of the objects, or [`MIXED`].
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) objects: usize,
    pub(crate) outcome: ConversionOutcome,
}

/// The answer to the review in `body`, all or nothing as the API server wants it. Given up once
/// nobody waits for it any more, which `is_over` says.
pub(crate) fn answer(
    stars: &[Arc<Star>],
    body: &[u8],
    is_over: impl Fn() -> bool,
) -> Result<Converted, Fault> {
    let (version, request) = ConversionRequest::<Sent<'_>>::read(body)?;
    let desired = &*request.desired_api_version;
    let objects = request.objects();
    tracing::Span::current()
        .record("uid", &*request.uid)
        .record("to", desired)
        .record("objects", objects.len());
    let mut from = None;
    let mut answer = ConversionAnswer::new(version, &request.uid, body.len())?;
    let mut texts = Texts { body, texts: None };
    for (index, Sent(parts)) in objects.iter().enumerate() {
        if is_over() {
            return Err(Fault::timeout("the objects were not converted in time"));
        }
        let from_here = parts.as_ref().map_or("", |parts| &parts.api_version);
        note(&mut from, from_here);
        let raw = || texts.at(index);
        if let Err(error) = convert_one(stars, parts.as_ref(), raw, desired, answer.next()) {
            let raw = texts.at(index)?;
            let head = Head::of(raw);
            let error = if is_object(raw) {
                error
            } else {
                ConversionError::new("it is not a JSON object")
            };
            // Without the error, which may quote the object.
            tracing::warn!(index, object = %head, desired, "an object can't be converted");
            let message =
                format!("object {index} ({head}) can't be converted to {desired}: {error}");
            return Ok(Converted {
                body: conversion_failure(version, &request.uid, &message)?,
                from: from.unwrap_or_default(),
                to: desired.to_owned(),
                objects: objects.len(),
                outcome: ConversionOutcome::Failed,
            });
        }
    }
    Ok(Converted {
        body: answer.finish(),
        from: from.unwrap_or_default(),
        to: desired.to_owned(),
        objects: objects.len(),
        outcome: ConversionOutcome::Converted,
    })
}

fn note(from: &mut Option<String>, version: &str) {
    match from.as_deref() {
        None => *from = Some(version.to_owned()),
        Some(MIXED) => {}
        Some(other) if other != version => *from = Some(MIXED.to_owned()),
        Some(_) => {}
    }
}

/// The objects as they were sent, read once more for the few conversions that need them so.
struct Texts<'a> {
    body: &'a [u8],
    texts: Option<Vec<&'a RawValue>>,
}

impl<'a> Texts<'a> {
    fn at(&mut self, index: usize) -> Result<&'a RawValue, Fault> {
        let texts = match &mut self.texts {
            Some(texts) => texts,
            none => {
                let (_, request) = ConversionRequest::<&RawValue>::read(self.body)?;
                none.insert(request.objects().to_vec())
            }
        };
        let text = texts.get(index).copied();
        text.ok_or_else(|| Fault::internal("an object was read once, and not twice"))
    }
}

fn convert_one<'a>(
    stars: &[Arc<Star>],
    parts: Option<&Parts<'_>>,
    raw: impl FnOnce() -> Result<&'a RawValue, Fault>,
    desired: &str,
    converted: &mut Vec<u8>,
) -> Result<(), ConversionError> {
    let raw = || raw().map_err(|fault| ConversionError::new(fault.message()));
    let Some(parts) = parts else {
        return Err(ConversionError::new("it has no apiVersion or no kind"));
    };
    let (api_version, kind) = (&*parts.api_version, &*parts.kind);
    let star = stars
        .iter()
        .find(|star| star.is_for(api_version, kind))
        .ok_or_else(|| ConversionError::new("its kind is not converted here"))?;
    // The API server never sends these, but tools that replay reviews do.
    if api_version == desired {
        converted.extend_from_slice(raw()?.get().as_bytes());
        return Ok(());
    }
    let convert = AssertUnwindSafe(|| star.convert(raw, parts, desired, converted));
    catch_unwind(convert).map_err(|panic| {
        tracing::error!(
            panic = panic_text(&*panic),
            api_version,
            kind,
            "converter panicked"
        );
        ConversionError::new("the converter panicked")
    })?
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

/// In the place of a version, for lists with objects of several.
pub(crate) const MIXED: &str = "mixed";
