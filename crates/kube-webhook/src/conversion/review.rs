//! From a ConversionReview to its answer. Called by `register`'s routes, on a blocking thread if the
//! review is large.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use serde::Deserialize;

use super::{
    ConversionError, Star,
    parts::{Parts, Sent},
};
use crate::{
    Fault,
    admission::panic_text,
    envelope::{
        ConversionAnswer, ConversionHead, ConversionRequest, Json, Objects, Text,
        conversion_failure, read_each, read_part,
    },
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
    let mut conversion = Conversion {
        stars,
        is_over,
        texts: Texts { body, texts: None },
        begun: None,
        from: None,
        objects: 0,
    };
    read_each(body, &mut conversion)?;
    conversion.finish()
}

/// A review under way.
struct Conversion<'s, 'a, F> {
    stars: &'s [Arc<Star>],
    is_over: F,
    texts: Texts<'a>,
    begun: Option<Begun<'a>>,
    from: Option<String>,
    /// How many there were so far.
    objects: usize,
}

struct Begun<'a> {
    head: ConversionHead<'a>,
    /// The objects converted so far, or why one can't be: the others are then left as they are.
    answer: Result<ConversionAnswer, String>,
}

impl<'a, F: Fn() -> bool> Objects<'a> for Conversion<'_, 'a, F> {
    type Object = Sent<'a>;

    fn begin(&mut self, head: ConversionHead<'a>) -> Result<(), Fault> {
        tracing::Span::current()
            .record("uid", &*head.uid)
            .record("to", &*head.desired_api_version);
        let answer = ConversionAnswer::new(head.version, &head.uid, self.texts.body.len())?;
        self.begun = Some(Begun {
            head,
            answer: Ok(answer),
        });
        Ok(())
    }

    fn take(&mut self, Sent(parts): Sent<'a>) -> Result<(), Fault> {
        let index = self.objects;
        self.objects += 1;
        let Some(Begun {
            head,
            answer: so_far,
        }) = &mut self.begun
        else {
            return Err(Fault::internal("an object came before the head"));
        };
        let Ok(answer) = so_far else {
            return Ok(());
        };
        if (self.is_over)() {
            return Err(Fault::timeout("the objects were not converted in time"));
        }
        let from_here = parts.as_ref().map_or("", |parts| &parts.api_version);
        note(&mut self.from, from_here);
        let desired = &*head.desired_api_version;
        let raw = || self.texts.at(index);
        if let Err(error) = convert_one(self.stars, parts.as_ref(), raw, desired, answer.next()) {
            let raw = self.texts.at(index)?;
            let head = Head::of(raw);
            let error = if raw.is_object() {
                error
            } else {
                ConversionError::new("it is not a JSON object")
            };
            // Without the error, which may quote the object.
            tracing::warn!(index, object = %head, desired, "an object can't be converted");
            *so_far = Err(format!(
                "object {index} ({head}) can't be converted to {desired}: {error}"
            ));
        }
        Ok(())
    }
}

impl<F> Conversion<'_, '_, F> {
    fn finish(self) -> Result<Converted, Fault> {
        let Some(Begun { head, answer }) = self.begun else {
            return Err(Fault::internal("the review was read without its head"));
        };
        tracing::Span::current().record("objects", self.objects);
        let (body, outcome) = match answer {
            Ok(answer) => (answer.finish(), ConversionOutcome::Converted),
            Err(message) => (
                conversion_failure(head.version, &head.uid, &message)?,
                ConversionOutcome::Failed,
            ),
        };
        Ok(Converted {
            body,
            from: self.from.unwrap_or_default(),
            to: head.desired_api_version.to_string(),
            objects: self.objects,
            outcome,
        })
    }
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
    texts: Option<Vec<Json<'a>>>,
}

impl<'a> Texts<'a> {
    fn at(&mut self, index: usize) -> Result<Json<'a>, Fault> {
        let texts = match &mut self.texts {
            Some(texts) => texts,
            none => {
                let request = ConversionRequest::<Json<'a>>::read(self.body)?;
                none.insert(request.into_objects())
            }
        };
        let text = texts.get(index).copied();
        text.ok_or_else(|| Fault::internal("an object was read once, and not twice"))
    }
}

fn convert_one<'a>(
    stars: &[Arc<Star>],
    parts: Option<&Parts<'_>>,
    raw: impl FnOnce() -> Result<Json<'a>, Fault>,
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
    fn of(raw: Json<'a>) -> Self {
        read_part(raw.get()).unwrap_or_default()
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
