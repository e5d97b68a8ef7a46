//! The times in an event, in all the forms that senders and their documentation use.
//!
//! RFC 3339 with any offset, with or without a `[Zone/Id]` behind it, and seconds since
//! 1970. A time without an offset is not guessed to be local: it means nothing.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A time as it came, and what it means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventTime {
    /// As it came: a part of the event's identity even where it means nothing.
    pub text: String,
    /// The instant, to the second, if the text means one.
    pub instant: Option<Timestamp>,
}

impl EventTime {
    /// Reads a JSON string or number. `None` for other values, and for empty text.
    pub fn from_json(value: &Value) -> Option<Self> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        if text.is_empty() {
            return None;
        }
        let instant = parse(&text).and_then(to_the_second).filter(is_storable);
        Some(Self { text, instant })
    }
}

/// The instant that a JSON string or number means, to its last digit.
pub fn exact(value: &Value) -> Option<Timestamp> {
    match value {
        Value::String(text) => parse(text),
        Value::Number(number) => parse(&number.to_string()),
        _ => None,
    }
}

fn parse(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<f64>() {
        let since = SignedDuration::try_from_secs_f64(seconds).ok()?;
        return Timestamp::from_duration(since).ok();
    }
    // The offset is the time; the zone's name behind it adds nothing, and may be unknown here.
    let text = match text.split_once('[') {
        Some((time, zone)) if zone.ends_with(']') => time,
        Some(_) => return None,
        None => text,
    };
    text.parse().ok()
}

/// A Reservation's window is in whole seconds: what a person can book.
fn to_the_second(instant: Timestamp) -> Option<Timestamp> {
    Timestamp::from_second(instant.as_second()).ok()
}

/// A Reservation has room for no other years; an event that names one, such as 9999 for
/// "never", must be recorded all the same.
fn is_storable(instant: &Timestamp) -> bool {
    (1000..3000).contains(&instant.to_zoned(TimeZone::UTC).year())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_form_of_one_instant_is_that_instant() {
        for value in [
            json!("2025-07-03T15:20:00Z"),
            json!("2025-07-03T15:20:00.1Z"),
            json!("2025-07-03T15:20:00.123456789Z"),
            json!("2025-07-03T17:20:00.000+02:00"),
            json!("2025-07-03T15:20:00-00:00"),
            json!("2025-07-03t15:20:00z"),
            json!("2025-07-03T17:20:00+02:00[Europe/Rome]"),
            json!(1_751_556_000),
            json!(1_751_556_000.5),
            json!("1751556000"),
        ] {
            let time = EventTime::from_json(&value).unwrap();
            let instant = time.instant.map(|instant| instant.to_string());
            assert_eq!(instant.as_deref(), Some("2025-07-03T15:20:00Z"), "{value}");
        }
    }

    #[test]
    fn what_names_no_instant_is_kept_as_text_alone() {
        for value in [
            "2025-07-03 15:20",
            "2025-07-03T15:20:00",
            "yesterday",
            "9999-12-31T23:59:59Z",
            "9998-01-01T00:00:00Z",
            "-000044-03-15T12:00:00Z",
            "-99999999999",
            "nan",
            "1e300",
        ] {
            let time = EventTime::from_json(&json!(value)).unwrap();
            assert_eq!((time.text.as_str(), time.instant), (value, None));
        }
        assert_eq!(EventTime::from_json(&json!("")), None);
        assert_eq!(EventTime::from_json(&json!({})), None);
    }
}
