//! An object handed over field by field, its metadata too, while its type writes it: to write all
//! first and to read the fields from the text again would cost half as much once more. Used by
//! `written`, and by `conversion`.
//!
//! Refuses types that don't write an object, or metadata that isn't one: for these there are slower
//! ways.

use std::borrow::Cow;

use serde::{
    Serialize, Serializer,
    ser::{Error as _, Impossible, SerializeMap, SerializeStruct},
};
use serde_json::{Error, Value};

/// Where a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Object,
    Metadata,
}

/// What takes the fields.
pub(crate) trait Sink {
    /// The object, or its metadata, begins.
    fn begin(&mut self, _: Level) {}

    /// A field of it; `metadata` itself is none.
    fn field<T: Serialize + ?Sized>(
        &mut self,
        level: Level,
        key: Cow<'static, str>,
        value: &T,
    ) -> Result<(), Error>;

    /// It ends.
    fn end(&mut self, _: Level) {}
}

/// Hands the fields of `object` to `sink`.
pub(crate) fn walk<T: Serialize>(object: &T, sink: &mut impl Sink) -> Result<(), Error> {
    object.serialize(Walk {
        sink,
        level: Level::Object,
    })
}

struct Walk<'s, S> {
    sink: &'s mut S,
    level: Level,
}

impl<S: Sink> Walk<'_, S> {
    fn field<T: Serialize + ?Sized>(
        &mut self,
        key: Cow<'static, str>,
        value: &T,
    ) -> Result<(), Error> {
        if self.level == Level::Object && key == "metadata" {
            return value.serialize(Walk {
                sink: self.sink,
                level: Level::Metadata,
            });
        }
        self.sink.field(self.level, key, value)
    }
}

impl<S: Sink> SerializeStruct for Walk<'_, S> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        key: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.field(Cow::Borrowed(key), value)
    }

    fn end(self) -> Result<(), Error> {
        self.sink.end(self.level);
        Ok(())
    }
}

/// What a flattened type writes.
struct MapWalk<'s, S> {
    walk: Walk<'s, S>,
    key: String,
}

impl<S: Sink> SerializeMap for MapWalk<'_, S> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        match serde_json::to_value(key)? {
            Value::String(key) => self.key = key,
            _ => return Err(Error::custom("a key is no string")),
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.walk
            .field(Cow::Owned(std::mem::take(&mut self.key)), value)
    }

    fn end(self) -> Result<(), Error> {
        SerializeStruct::end(self.walk)
    }
}

/// Every method but those for objects says no.
macro_rules! no_object {
    ($($method:ident($($argument:ty),*) -> $result:ty;)+) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$result, Error> {
            Err(Error::custom("not an object"))
        })+
    };
}

impl<'s, S: Sink> Serializer for Walk<'s, S> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Impossible<(), Error>;
    type SerializeTuple = Impossible<(), Error>;
    type SerializeTupleStruct = Impossible<(), Error>;
    type SerializeTupleVariant = Impossible<(), Error>;
    type SerializeMap = MapWalk<'s, S>;
    type SerializeStruct = Self;
    type SerializeStructVariant = Impossible<(), Error>;

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Error> {
        self.sink.begin(self.level);
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<MapWalk<'s, S>, Error> {
        self.sink.begin(self.level);
        Ok(MapWalk {
            walk: self,
            key: String::new(),
        })
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Error> {
        Err(Error::custom("not an object"))
    }

    no_object! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}
