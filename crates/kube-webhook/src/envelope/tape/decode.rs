//! A type read from a tape: what serde_json would read from the same text, or nothing. (Not so the last bit
//! of an `f32`: serde_json rounds the text once, and here it is an `f64` first.)

use std::borrow::Cow;

use serde::{
    Deserializer,
    de::{
        DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor,
        value::MapAccessDeserializer,
    },
};

use super::{Item, Items, Node};
use crate::envelope::reader::{Declined, Key};

/// What each type may be read from: a visitor that would take something else, too, isn't offered it
/// by serde_json either.
macro_rules! only {
    ($($method:ident($($argument:ty),*): $node:pat,)+) => {$(
        fn $method<V: Visitor<'t>>(
            self,
            $(_: $argument,)*
            visitor: V,
        ) -> Result<V::Value, Declined> {
            match self.node() {
                $node => self.deserialize_any(visitor),
                _ => Err(Declined),
            }
        }
    )+};
}

impl<'t> Deserializer<'t> for Item<'t> {
    type Error = Declined;

    fn deserialize_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Declined> {
        match self.node() {
            Node::Null => visitor.visit_unit(),
            Node::Bool(value) => visitor.visit_bool(*value),
            Node::Number(number) => {
                if let Some(number) = number.as_u64() {
                    visitor.visit_u64(number)
                } else if let Some(number) = number.as_i64() {
                    visitor.visit_i64(number)
                } else {
                    visitor.visit_f64(number.as_f64().ok_or(Declined)?)
                }
            }
            Node::Array { .. } => self.whole(|items| visitor.visit_seq(items)),
            Node::Object { .. } => self.whole(|items| visitor.visit_map(items)),
            Node::Borrowed(_) | Node::Copied { .. } => {
                visitor.visit_borrowed_str(self.text().ok_or(Declined)?)
            }
        }
    }

    only! {
        deserialize_bool(): Node::Bool(_),
        deserialize_i8(): Node::Number(_),
        deserialize_i16(): Node::Number(_),
        deserialize_i32(): Node::Number(_),
        deserialize_i64(): Node::Number(_),
        deserialize_u8(): Node::Number(_),
        deserialize_u16(): Node::Number(_),
        deserialize_u32(): Node::Number(_),
        deserialize_u64(): Node::Number(_),
        deserialize_f32(): Node::Number(_),
        deserialize_f64(): Node::Number(_),
        deserialize_char(): Node::Borrowed(_) | Node::Copied { .. },
        deserialize_str(): Node::Borrowed(_) | Node::Copied { .. },
        deserialize_string(): Node::Borrowed(_) | Node::Copied { .. },
        deserialize_identifier(): Node::Borrowed(_) | Node::Copied { .. },
        deserialize_unit(): Node::Null,
        deserialize_unit_struct(&'static str): Node::Null,
        deserialize_seq(): Node::Array { .. },
        deserialize_tuple(usize): Node::Array { .. },
        deserialize_tuple_struct(&'static str, usize): Node::Array { .. },
        deserialize_map(): Node::Object { .. },
        deserialize_struct(&'static str, &'static [&'static str]):
            Node::Object { .. } | Node::Array { .. },
    }

    fn deserialize_bytes<V: Visitor<'t>>(self, _: V) -> Result<V::Value, Declined> {
        Err(Declined)
    }

    fn deserialize_byte_buf<V: Visitor<'t>>(self, _: V) -> Result<V::Value, Declined> {
        Err(Declined)
    }

    fn deserialize_option<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Declined> {
        if self.is_null() {
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'t>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Declined> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'t>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Declined> {
        match self.node() {
            Node::Object { .. } => {
                self.whole(|items| visitor.visit_enum(MapAccessDeserializer::new(items)))
            }
            _ => visitor.visit_enum(self.text().ok_or(Declined)?.into_deserializer()),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'t>>(self, visitor: V) -> Result<V::Value, Declined> {
        visitor.visit_unit()
    }
}

impl<'t> Item<'t> {
    /// What a visitor makes of all that is within; it isn't allowed to leave anything.
    fn whole<T>(
        self,
        visit: impl FnOnce(&mut Items<'t>) -> Result<T, Declined>,
    ) -> Result<T, Declined> {
        let mut items = self.within();
        let made = visit(&mut items)?;
        items.next().is_none().then_some(made).ok_or(Declined)
    }
}

impl<'t> SeqAccess<'t> for &mut Items<'t> {
    type Error = Declined;

    fn next_element_seed<S: DeserializeSeed<'t>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Declined> {
        self.next().map(|item| seed.deserialize(item)).transpose()
    }
}

impl<'t> MapAccess<'t> for &mut Items<'t> {
    type Error = Declined;

    fn next_key_seed<S: DeserializeSeed<'t>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Declined> {
        let Some(name) = self.name() else {
            return Ok(None);
        };
        seed.deserialize(Key(Cow::Borrowed(name))).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'t>>(&mut self, seed: S) -> Result<S::Value, Declined> {
        seed.deserialize(self.next().ok_or(Declined)?)
    }
}
