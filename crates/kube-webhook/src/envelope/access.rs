//! A type read from an object that has been taken apart, which spares a pass over its text. Used by
//! `conversion`.

use std::borrow::Cow;

use serde::{
    de::{
        DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, Visitor,
        value::MapAccessDeserializer,
    },
    forward_to_deserialize_any,
};

use super::{
    Item,
    reader::{Declined, Key, Reader},
};

/// The value of a field.
#[derive(Clone, Copy)]
pub(crate) enum Piece<'a> {
    /// A string, without its quotes and escapes.
    Text(&'a str),
    /// Any JSON.
    Json(&'a str),
    /// Any JSON, laid out.
    Item(Item<'a>),
    /// An object that has been taken apart, too.
    Fields(&'a [(&'a str, &'a str)]),
}

/// The object of these fields as a `K`; `None` if it isn't one.
pub(crate) fn assemble<'a, K: DeserializeOwned>(
    fields: impl Iterator<Item = (&'a str, Piece<'a>)>,
) -> Option<K> {
    K::deserialize(MapAccessDeserializer::new(Access {
        fields,
        value: None,
    }))
    .ok()
}

struct Access<'a, I> {
    fields: I,
    value: Option<Piece<'a>>,
}

impl<'a, I: Iterator<Item = (&'a str, Piece<'a>)>> MapAccess<'a> for Access<'a, I> {
    type Error = Declined;

    fn next_key_seed<S: DeserializeSeed<'a>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Declined> {
        let Some((key, value)) = self.fields.next() else {
            return Ok(None);
        };
        self.value = Some(value);
        seed.deserialize(Key(Cow::Borrowed(key))).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'a>>(&mut self, seed: S) -> Result<S::Value, Declined> {
        match self.value.take().unwrap_or(Piece::Json("null")) {
            Piece::Text(text) => seed.deserialize(Key(Cow::Borrowed(text))),
            Piece::Json(json) => seed.deserialize(&mut Reader::new(json)),
            Piece::Item(item) => seed.deserialize(item),
            Piece::Fields(fields) => seed.deserialize(Nested(fields)),
        }
    }
}

struct Nested<'a>(&'a [(&'a str, &'a str)]);

impl<'de> Deserializer<'de> for Nested<'de> {
    type Error = Declined;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Declined> {
        visitor.visit_map(Access {
            fields: self.0.iter().map(|&(key, json)| (key, Piece::Json(json))),
            value: None,
        })
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Declined> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Declined> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
