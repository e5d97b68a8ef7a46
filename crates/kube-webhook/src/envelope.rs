//! What a review is on the wire: read borrowed, written once.
//!
//! Objects stay the text that they are until a hook asks for them, which costs a fraction of a full
//! parse, and keeps numbers and unknown fields exactly as they were sent. Refuses reviews
//! of another version or kind (422) and bodies that aren't reviews (400). Called by `admission` and
//! `conversion`.

mod access;
mod admission;
mod conversion;
mod deadline;
mod fields;
mod json;
mod reader;
mod tape;
mod text;

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;

use crate::Fault;

pub(crate) use access::{Piece, assemble};
pub(crate) use admission::{
    AdmissionRequest, AdmissionResponse, Cause, Rejection, RejectionDetails, admission_review,
};
pub use admission::{GroupVersionKind, GroupVersionResource, UserInfo};
pub(crate) use conversion::{
    ConversionAnswer, ConversionHead, ConversionRequest, Objects, conversion_failure, read_each,
};
pub(crate) use deadline::Deadline;
pub(crate) use fields::Fields;
pub(crate) use json::Json;
pub(crate) use tape::{Item, Tape, write_text};
pub(crate) use text::Text;

/// The version of a review, which is also the version of its answer: an answer in another one
/// doesn't decode on the API server's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReviewVersion {
    V1,
    V1beta1,
}

impl ReviewVersion {
    fn of(api_version: &str, group: &str) -> Option<Self> {
        match api_version.strip_prefix(group)? {
            "/v1" => Some(Self::V1),
            "/v1beta1" => Some(Self::V1beta1),
            _ => None,
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1beta1 => "v1beta1",
        }
    }
}

/// Reads a review of `kind`: its version and its request.
///
/// In one pass over the body, most of which are objects to be skipped. If that fails, layer by layer
/// once more by serde_json, which tells what is wrong.
pub(crate) fn read<'a, T: Deserialize<'a>>(
    body: &'a [u8],
    group: &str,
    kind: &str,
) -> Result<(ReviewVersion, T), Fault> {
    // serde reads a struct from an array, too.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Fault::bad_request("the body is not a JSON object"));
    }
    if let Ok(text) = std::str::from_utf8(body)
        && let Some(Review {
            api_version,
            kind: own_kind,
            request: Some(MapOnly(request)),
        }) = reader::read::<Review<'a, MapOnly<T>>>(text)
        && let Some(version) = ReviewVersion::of(&api_version, group)
        && *own_kind == *kind
    {
        return Ok((version, request));
    }
    let (version, request) = open(body, group, kind)?;
    let request = serde_json::from_str(request.get()).map_err(|error| {
        Fault::bad_request(format!("the review's request can't be read: {error}"))
    })?;
    Ok((version, request))
}

/// Reads as much of a text as `T` knows; `None` if it isn't one.
pub(crate) fn read_part<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    reader::read(json)
}

/// Reads the outermost layer of a review of `kind`: its version, and its request still unread.
fn open<'a>(
    body: &'a [u8],
    group: &str,
    kind: &str,
) -> Result<(ReviewVersion, &'a RawValue), Fault> {
    let head: Review<'a, &'a RawValue> = serde_json::from_slice(body)
        .map_err(|error| Fault::bad_request(format!("the body is not a review: {error}")))?;
    let version = ReviewVersion::of(&head.api_version, group);
    let Some(version) = version.filter(|_| *head.kind == *kind) else {
        return Err(Fault::invalid_object(format!(
            "expected {group}/v1 or {group}/v1beta1 {kind}, got {:?} {:?}",
            &*head.api_version, &*head.kind
        )));
    };
    let request = head
        .request
        .filter(|request| Json::from(*request).is_object())
        .ok_or_else(|| Fault::bad_request("the review has no request"))?;
    Ok((version, request))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound(deserialize = "R: Deserialize<'de>"))]
struct Review<'a, R> {
    #[serde(borrow, default)]
    api_version: Text<'a>,
    #[serde(borrow, default)]
    kind: Text<'a>,
    #[serde(default = "none")]
    request: Option<R>,
}

fn none<R>() -> Option<R> {
    None
}

/// What serde would also read from an array.
struct MapOnly<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for MapOnly<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MapVisitor(PhantomData))
    }
}

struct MapVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for MapVisitor<T> {
    type Value = MapOnly<T>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(MapOnly)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_review_of_another_version_or_kind_is_unprocessable() {
        for body in [
            r#"{"apiVersion":"admission.k8s.io/v2","kind":"AdmissionReview","request":{}}"#,
            r#"{"apiVersion":"admission.k8s.io/v1","kind":"Pod","request":{}}"#,
            r#"{"kind":"AdmissionReview","request":{}}"#,
            "{}",
        ] {
            let fault = read::<&RawValue>(body.as_bytes(), "admission.k8s.io", "AdmissionReview")
                .unwrap_err();
            assert_eq!(fault.code(), 422, "{body}");
        }
    }

    #[test]
    fn a_body_that_is_no_json_object_is_a_bad_request() {
        for body in [
            "",
            "[]",
            "null",
            "{",
            "{} {}",
            "\u{feff}{}",
            r#"{"kind":"a","kind":"b"}"#,
        ] {
            let fault = read::<&RawValue>(body.as_bytes(), "admission.k8s.io", "AdmissionReview")
                .unwrap_err();
            assert_eq!(fault.code(), 400, "{body}");
        }
    }
}
