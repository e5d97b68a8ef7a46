//! JSON as RFC 8259 would have it sent, read strictly: a name that stands twice in one
//! object is refused, since two readers of it may act on different values.
//!
//! Depth is bounded by serde_json's own limit of 128, numbers by what a double can hold.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why a body isn't JSON. Holds a position, and never any of the body's text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not valid JSON at line {line} column {column}")]
pub struct NotJson {
    line: usize,
    column: usize,
}

/// Reads one JSON document and nothing after it.
pub fn parse(body: &[u8]) -> Result<Value, NotJson> {
    let read = |body| {
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let value = Strict.deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(value)
    };
    read(body).map_err(|error: serde_json::Error| NotJson {
        line: error.line(),
        column: error.column(),
    })
}

#[derive(Clone, Copy)]
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self)?;
            if object.insert(name, value).is_some() {
                return Err(de::Error::custom("a name stands twice in one object"));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_one_json_document_is_refused() {
        let deep = [
            b"{\"a\":".repeat(10_000),
            b"1".to_vec(),
            b"}".repeat(10_000),
        ]
        .concat();
        for body in [
            b"".as_slice(),
            b"{",
            b"{} x",
            b"{}{}",
            b"NaN",
            b"[1e400]",
            b"[01]",
            b"\"\xff\"",
            b"\xef\xbb\xbf{}",
            br#"{"a":1,"a":1}"#,
            br#"{"x":{"a":1,"b":2,"a":3}}"#,
            &deep,
        ] {
            assert!(parse(body).is_err(), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn what_is_json_is_read_as_it_is() {
        let text = r#"{"a":[1,-2,0.5,"è 😀",null,true],"b":{}}"#;
        assert_eq!(parse(text.as_bytes()).unwrap().to_string(), text);
    }

    #[test]
    fn an_error_tells_the_place_and_never_the_text() {
        let error = parse(br#"{"secret":hunter2}"#).unwrap_err();
        assert_eq!(error.to_string(), "not valid JSON at line 1 column 11");
    }
}
