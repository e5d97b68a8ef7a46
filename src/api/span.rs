//! A length of time as people write it: `30s`, `45m`, `1h30m`, or a bare number of seconds.
//!
//! Shared by the settings and by the Reservation's own fields, so that both understand the
//! same texts. Keeps the text as it was written: conversion must give it back unchanged.

use std::{borrow::Cow, str::FromStr, time::Duration};

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A duration with the text it was written as.
///
/// Anything may be stored (an older version's object must never fail to load); only
/// [`Span::parse`] tells whether the text means something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(String);

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a duration such as 30s, 10m or 1h30m")]
pub struct InvalidSpan;

impl Span {
    /// The length, if the text means one: units `h`, `m`, `s`, `ms`, or a bare number of
    /// seconds; never negative, at most ten years.
    pub fn parse(&self) -> Result<Duration, InvalidSpan> {
        parse(&self.0)
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self(format!("{}s", duration.as_secs()))
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "pattern": "^([0-9]+|([0-9]+(h|m|s|ms))+)$",
        })
    }
}

/// Parses a setting's text; the value parser of the command line.
pub fn parse(text: &str) -> Result<Duration, InvalidSpan> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let seconds = u64::from_str(text).map_err(|_| InvalidSpan)?;
        return bounded(Duration::from_secs(seconds));
    }
    // jiff also reads ISO 8601 and words; the contract has units only.
    if !text
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'h' | b'm' | b's'))
    {
        return Err(InvalidSpan);
    }
    let signed = SignedDuration::from_str(text).map_err(|_| InvalidSpan)?;
    bounded(signed.try_into().map_err(|_| InvalidSpan)?)
}

fn bounded(duration: Duration) -> Result<Duration, InvalidSpan> {
    if duration <= LONGEST {
        Ok(duration)
    } else {
        Err(InvalidSpan)
    }
}

/// Far beyond any booking, and far from the overflow of a timestamp.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_and_bare_seconds_are_understood() {
        for (text, seconds) in [
            ("30s", 30),
            ("10m", 600),
            ("1h30m", 5400),
            ("90", 90),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse("500ms"), Ok(Duration::from_millis(500)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "-1s",
            "PT1M",
            "1 hour",
            "1d",
            "ten",
            "1.5h",
            "h",
            "9999999999999999999999",
            "999999999h",
        ] {
            assert_eq!(parse(text), Err(InvalidSpan), "{text}");
        }
    }
}
