//! JSON for serde, as far as reviews need it: most of a review is skipped, for which this takes two
//! thirds of what serde_json does. Used by the modules beside it, and by `tape` for what is in the
//! objects.
//!
//! What is read here, serde_json would read alike. Whatever else there is is declined without a
//! reason: serde_json is asked then, which tells it, and which also reads the few things that this
//! reader has no use for (bytes, its own raw values, maps by number).

mod scan;

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{
        self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor,
        value::MapAccessDeserializer,
    },
    forward_to_deserialize_any,
};

use super::{Json, json::UNREAD};
use scan::{Quoted, Scan};

/// Reads the whole of a text.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    let mut reader = Reader::new(text);
    let value = T::deserialize(&mut reader).ok()?;
    reader.is_at_end().then_some(value)
}

/// Whether a string is written as it stands.
pub(crate) fn is_plain(text: &str) -> bool {
    scan::plain_end(text.as_bytes(), 0) == text.len()
}

/// Hands over the fields of an object, one by one, until that is enough: what follows isn't read.
pub(crate) fn fields<'a>(
    object: Json<'a>,
    mut is_enough: impl FnMut(Cow<'a, str>, Json<'a>) -> bool,
) -> Option<()> {
    let mut reader = Reader::new(object.get());
    reader.scan.eat(b'{')?;
    let mut is_first = true;
    while reader.has_next(&mut is_first, b'}').ok()? {
        let Key(name) = reader.field_name().ok()?;
        if is_enough(name, Json::deserialize(&mut reader).ok()?) {
            break;
        }
    }
    Some(())
}

/// A place in a JSON text.
pub(crate) struct Reader<'a> {
    scan: Scan<'a>,
    /// How much deeper a value may lie.
    depth: u8,
}

/// It can't be read here.
#[derive(Debug, thiserror::Error)]
#[error("it is not what was expected")]
pub(crate) struct Declined;

impl de::Error for Declined {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self {
            scan: Scan::new(text),
            depth: DEPTH,
        }
    }

    pub(crate) fn is_at_end(&mut self) -> bool {
        self.scan.is_at_end()
    }

    #[inline]
    fn text(&mut self) -> Result<Cow<'a, str>, Declined> {
        match self.scan.string().ok_or(Declined)? {
            Quoted::Plain(text) => Ok(Cow::Borrowed(text)),
            Quoted::Escaped(quoted) => {
                let text = serde_json::from_str(quoted).map_err(|_| Declined)?;
                Ok(Cow::Owned(text))
            }
        }
    }

    /// As serde_json reads it: what no integer can hold becomes a float.
    fn number<V: Visitor<'a>>(
        &mut self,
        visitor: V,
        float: impl FnOnce(&str) -> Option<f64>,
    ) -> Result<V::Value, Declined> {
        let (text, is_integer) = self.scan.number().ok_or(Declined)?;
        if is_integer && text != "-0" {
            if let Ok(number) = text.parse() {
                return visitor.visit_u64(number);
            }
            if let Ok(number) = text.parse() {
                return visitor.visit_i64(number);
            }
        }
        match float(text) {
            Some(number) if number.is_finite() => visitor.visit_f64(number),
            _ => Err(Declined),
        }
    }

    /// What stands within brackets of which the opening one is next.
    fn within<T>(
        &mut self,
        [opening, closing]: [u8; 2],
        content: impl FnOnce(&mut Self) -> Result<T, Declined>,
    ) -> Result<T, Declined> {
        self.scan.eat(opening).ok_or(Declined)?;
        // Before it counts: a visitor may go on after an element that failed.
        if self.depth == 1 {
            return Err(Declined);
        }
        self.depth -= 1;
        let content = content(self)?;
        self.depth += 1;
        self.scan.eat(closing).ok_or(Declined)?;
        Ok(content)
    }

    /// Whether there is another element, or field, before the closing bracket.
    fn has_next(&mut self, is_first: &mut bool, closing: u8) -> Result<bool, Declined> {
        let next = self.scan.peek().ok_or(Declined)?;
        if next == closing {
            return Ok(false);
        }
        if !std::mem::take(is_first) {
            self.scan.eat(b',').ok_or(Declined)?;
        }
        Ok(true)
    }

    #[inline]
    fn field_name(&mut self) -> Result<Key<'a>, Declined> {
        let key = Key(self.text()?);
        self.scan.eat(b':').ok_or(Declined)?;
        Ok(key)
    }
}

/// What each type may begin with: a visitor that would take something else, too, isn't offered it by
/// serde_json either.
macro_rules! only {
    ($($method:ident($($argument:ty),*): $first:pat,)+) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $(_: $argument,)*
            visitor: V,
        ) -> Result<V::Value, Declined> {
            match self.scan.peek() {
                Some($first) => self.deserialize_any(visitor),
                _ => Err(Declined),
            }
        }
    )+};
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Declined;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Declined> {
        match self.scan.peek().ok_or(Declined)? {
            b'"' => visit_text(self.text()?, visitor),
            b'{' => self.within(*b"{}", |reader| visitor.visit_map(Within::of(reader))),
            b'[' => self.within(*b"[]", |reader| visitor.visit_seq(Within::of(reader))),
            b'n' => {
                self.scan.word("null").ok_or(Declined)?;
                visitor.visit_unit()
            }
            b't' => {
                self.scan.word("true").ok_or(Declined)?;
                visitor.visit_bool(true)
            }
            b'f' => {
                self.scan.word("false").ok_or(Declined)?;
                visitor.visit_bool(false)
            }
            _ => self.number(visitor, |text| text.parse().ok()),
        }
    }

    only! {
        deserialize_bool(): b't' | b'f',
        deserialize_i8(): b'-' | b'0'..=b'9',
        deserialize_i16(): b'-' | b'0'..=b'9',
        deserialize_i32(): b'-' | b'0'..=b'9',
        deserialize_i64(): b'-' | b'0'..=b'9',
        deserialize_u8(): b'-' | b'0'..=b'9',
        deserialize_u16(): b'-' | b'0'..=b'9',
        deserialize_u32(): b'-' | b'0'..=b'9',
        deserialize_u64(): b'-' | b'0'..=b'9',
        deserialize_f64(): b'-' | b'0'..=b'9',
        deserialize_char(): b'"',
        deserialize_str(): b'"',
        deserialize_string(): b'"',
        deserialize_identifier(): b'"',
        deserialize_unit(): b'n',
        deserialize_unit_struct(&'static str): b'n',
        deserialize_seq(): b'[',
        deserialize_tuple(usize): b'[',
        deserialize_tuple_struct(&'static str, usize): b'[',
        deserialize_map(): b'{',
        deserialize_struct(&'static str, &'static [&'static str]): b'{' | b'[',
    }

    /// Without the detour by `f64`, which would round twice.
    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Declined> {
        match self.scan.peek() {
            Some(b'-' | b'0'..=b'9') => {
                self.number(visitor, |text| text.parse::<f32>().ok().map(f64::from))
            }
            _ => Err(Declined),
        }
    }

    /// Which may be anything, even text that isn't Unicode.
    fn deserialize_bytes<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Declined> {
        Err(Declined)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Declined> {
        Err(Declined)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Declined> {
        if self.scan.peek() == Some(b'n') {
            self.scan.word("null").ok_or(Declined)?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Declined> {
        if name == UNREAD {
            return visitor.visit_borrowed_str(self.scan.value().ok_or(Declined)?);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Declined> {
        match self.scan.peek() {
            Some(b'"') => visitor.visit_enum(self.text()?.into_deserializer()),
            Some(b'{') => self.within(*b"{}", |reader| {
                visitor.visit_enum(MapAccessDeserializer::new(Within::of(reader)))
            }),
            _ => Err(Declined),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Declined> {
        self.scan.value().ok_or(Declined)?;
        visitor.visit_unit()
    }
}

#[inline]
fn visit_text<'de, V: Visitor<'de>>(text: Cow<'de, str>, visitor: V) -> Result<V::Value, Declined> {
    match text {
        Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
        Cow::Owned(text) => visitor.visit_string(text),
    }
}

/// The elements of a list, or the fields of an object.
struct Within<'r, 'de> {
    reader: &'r mut Reader<'de>,
    is_first: bool,
}

impl<'r, 'de> Within<'r, 'de> {
    fn of(reader: &'r mut Reader<'de>) -> Self {
        Self {
            reader,
            is_first: true,
        }
    }
}

impl<'de> SeqAccess<'de> for Within<'_, 'de> {
    type Error = Declined;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Declined> {
        if !self.reader.has_next(&mut self.is_first, b']')? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

impl<'de> MapAccess<'de> for Within<'_, 'de> {
    type Error = Declined;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Declined> {
        if !self.reader.has_next(&mut self.is_first, b'}')? {
            return Ok(None);
        }
        seed.deserialize(self.reader.field_name()?).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Declined> {
        seed.deserialize(&mut *self.reader)
    }
}

/// A field's name. To types that aren't strings it is none.
pub(crate) struct Key<'a>(pub(crate) Cow<'a, str>);

impl<'de> Deserializer<'de> for Key<'de> {
    type Error = Declined;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Declined> {
        visit_text(self.0, visitor)
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

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Declined> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// As serde_json counts it.
const DEPTH: u8 = 128;

#[cfg(test)]
mod tests;
