//! `ConversionReview`: the request, and the two forms of its answer. Used by `conversion` alone.

mod each;

use serde::{Deserialize, Serialize};

use super::{ReviewVersion, Text, read};
use crate::Fault;

pub(crate) use each::{ConversionHead, Objects, read_each};

/// Whose objects are read as `O`s.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "O: Deserialize<'de>"))]
pub(crate) struct ConversionRequest<'a, O> {
    #[serde(borrow, default)]
    uid: Text<'a>,
    #[serde(borrow, default, rename = "desiredAPIVersion")]
    desired_api_version: Text<'a>,
    // Go writes an empty list as null.
    #[serde(default = "no_objects")]
    objects: Option<Vec<O>>,
}

impl<'a, O: Deserialize<'a>> ConversionRequest<'a, O> {
    /// Reads a review; without a uid or a desired version it could not be answered.
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, Fault> {
        let (_, request): (_, Self) = read(body, GROUP, KIND)?;
        if request.uid.trim().is_empty() {
            return Err(Fault::bad_request("the review's request has no uid"));
        }
        if request.desired_api_version.trim().is_empty() {
            return Err(Fault::bad_request(
                "the review's request has no desiredAPIVersion",
            ));
        }
        Ok(request)
    }

    pub(crate) fn into_objects(self) -> Vec<O> {
        self.objects.unwrap_or_default()
    }
}

fn no_objects<O>() -> Option<Vec<O>> {
    None
}

/// A successful answer, into which the objects are written one by one: a list of thousands is held
/// once, not twice.
pub(crate) struct ConversionAnswer {
    body: Vec<u8>,
    is_first: bool,
}

impl ConversionAnswer {
    pub(crate) fn new(version: ReviewVersion, uid: &str, capacity: usize) -> Result<Self, Fault> {
        let mut body = head(version, uid, capacity)?;
        body.extend_from_slice(br#","result":{"status":"Success"},"convertedObjects":["#);
        Ok(Self {
            body,
            is_first: true,
        })
    }

    /// Where the next object is to be written.
    pub(crate) fn next(&mut self) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.is_first) {
            self.body.push(b',');
        }
        &mut self.body
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.body.extend_from_slice(b"]}}");
        self.body
    }
}

/// A failed answer: HTTP 200 all the same, since only so its message reaches the user.
pub(crate) fn conversion_failure(
    version: ReviewVersion,
    uid: &str,
    message: &str,
) -> Result<Vec<u8>, Fault> {
    #[derive(Serialize)]
    struct Failure<'a> {
        status: &'static str,
        message: &'a str,
    }
    let mut body = head(version, uid, message.len())?;
    body.extend_from_slice(br#","result":"#);
    serde_json::to_writer(
        &mut body,
        &Failure {
            status: "Failure",
            message,
        },
    )?;
    body.extend_from_slice(br#","convertedObjects":[]}}"#);
    Ok(body)
}

fn head(version: ReviewVersion, uid: &str, payload: usize) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::with_capacity(payload + 256);
    body.extend_from_slice(br#"{"apiVersion":"apiextensions.k8s.io/"#);
    body.extend_from_slice(version.as_str().as_bytes());
    body.extend_from_slice(br#"","kind":"ConversionReview","response":{"uid":"#);
    serde_json::to_writer(&mut body, uid)?;
    Ok(body)
}

const GROUP: &str = "apiextensions.k8s.io";
const KIND: &str = "ConversionReview";
