//! An object taken apart at the top, and its metadata too, while its review is read. Used by `quick`
//! and `review`.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::envelope::{Json, Text, read_part};

/// A visitor's methods for whatever isn't an object.
macro_rules! otherwise {
    ($result:expr) => {
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok($result)
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok($result)
        }

        fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
            Ok($result)
        }

        fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
            Ok($result)
        }

        fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
            Ok($result)
        }

        fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
            Ok($result)
        }

        fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
            Ok($result)
        }
    };
}

/// One field, its value unread.
pub(super) type Field<'a> = (Text<'a>, Json<'a>);

#[derive(Default)]
pub(super) struct Parts<'a> {
    pub(super) api_version: Text<'a>,
    pub(super) kind: Text<'a>,
    /// `None` if it isn't there, or isn't an object.
    pub(super) metadata: Option<Vec<Field<'a>>>,
    /// All the rest.
    pub(super) content: Vec<Field<'a>>,
}

impl<'a> Parts<'a> {
    /// `None` if that isn't an object of some version and kind.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        read_part::<Sent<'a>>(text)?.0
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.content.iter().any(|(own, _)| **own == *key)
    }
}

/// What stands in a list of objects, which may be anything.
pub(super) struct Sent<'a>(pub(super) Option<Parts<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Sent<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SentVisitor)
    }
}

struct SentVisitor;

impl<'de> Visitor<'de> for SentVisitor {
    type Value = Sent<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut parts = Parts {
            content: Vec::with_capacity(4),
            ..Parts::default()
        };
        while let Some(key) = map.next_key::<Text<'de>>()? {
            match &*key {
                "apiVersion" => parts.api_version = map.next_value()?,
                "kind" => parts.kind = map.next_value()?,
                "metadata" => parts.metadata = map.next_value::<Metadata<'de>>()?.0,
                _ => parts.content.push((key, map.next_value()?)),
            }
        }
        let is_object = !parts.api_version.is_empty() && !parts.kind.is_empty();
        Ok(Sent(is_object.then_some(parts)))
    }

    otherwise!(Sent(None));
}

struct Metadata<'a>(Option<Vec<Field<'a>>>);

impl<'de> Deserialize<'de> for Metadata<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MetadataVisitor)
    }
}

struct MetadataVisitor;

impl<'de> Visitor<'de> for MetadataVisitor {
    type Value = Metadata<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::with_capacity(12);
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        Ok(Metadata(Some(fields)))
    }

    otherwise!(Metadata(None));
}
