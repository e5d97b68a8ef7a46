//! What a type writes, laid out as a tape. What serde_json writes otherwise than it is handed over
//! (its own raw values, keys that are numbers) is left to it.

use serde::{
    Serialize, Serializer,
    ser::{
        self, Impossible, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
        SerializeTuple, SerializeTupleStruct, SerializeTupleVariant,
    },
};
use serde_json::Number;

use super::{Node, Tape};

/// Only serde_json can write it, or nobody.
#[derive(Debug, thiserror::Error)]
#[error("it can't be laid out")]
pub(crate) struct Odd;

impl ser::Error for Odd {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Self
    }
}

impl Tape<'_> {
    fn push_number(&mut self, number: impl Into<Number>) {
        self.nodes.push(Node::Number(number.into()));
    }

    /// An object whose only field is what follows.
    fn open_variant(&mut self, name: &'static str) -> usize {
        let opened = self.open(Node::Object { end: 0 });
        self.nodes.push(Node::Borrowed(name));
        opened
    }
}

impl<'t, 'a> Serializer for &'t mut Tape<'a> {
    type Ok = ();
    type Error = Odd;
    type SerializeSeq = Open<'t, 'a>;
    type SerializeTuple = Open<'t, 'a>;
    type SerializeTupleStruct = Open<'t, 'a>;
    type SerializeTupleVariant = Open<'t, 'a>;
    type SerializeMap = Open<'t, 'a>;
    type SerializeStruct = Open<'t, 'a>;
    type SerializeStructVariant = Open<'t, 'a>;

    fn serialize_bool(self, value: bool) -> Result<(), Odd> {
        self.nodes.push(Node::Bool(value));
        Ok(())
    }

    fn serialize_i8(self, value: i8) -> Result<(), Odd> {
        self.push_number(value);
        Ok(())
    }

    fn serialize_i16(self, value: i16) -> Result<(), Odd> {
        self.push_number(value);
        Ok(())
    }

    fn serialize_i32(self, value: i32) -> Result<(), Odd> {
        self.push_number(value);
        Ok(())
    }

    fn serialize_i64(self, value: i64) -> Result<(), Odd> {
        self.push_number(value);
        Ok(())
    }

    fn serialize_u8(self, value: u8) -> Result<(), Odd> {
        self.push_number(value);
        Ok(())
    }

    fn serialize_u16(self, value: u16) -> Result<(), Odd> {
        self.push_number(value);
        Ok(())
    }

    fn serialize_u32(self, value: u32) -> Result<(), Odd> {
        self.push_number(value);
        Ok(())
    }

    fn serialize_u64(self, value: u64) -> Result<(), Odd> {
        self.push_number(value);
        Ok(())
    }

    /// As JSON writes it, which is not the `f64` that it would widen to.
    fn serialize_f32(self, value: f32) -> Result<(), Odd> {
        if !value.is_finite() {
            return self.serialize_unit();
        }
        let written = serde_json::to_string(&value).map_err(|_| Odd)?;
        self.push_number(serde_json::from_str::<Number>(&written).map_err(|_| Odd)?);
        Ok(())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Odd> {
        match Number::from_f64(value) {
            Some(number) => self.push_number(number),
            None => self.nodes.push(Node::Null),
        }
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Odd> {
        self.copy(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Odd> {
        self.copy(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Odd> {
        value.serialize(self)
    }

    fn serialize_none(self) -> Result<(), Odd> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Odd> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Odd> {
        self.nodes.push(Node::Null);
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Odd> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Odd> {
        self.nodes.push(Node::Borrowed(variant));
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Odd> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Odd> {
        let opened = self.open_variant(variant);
        value.serialize(&mut *self)?;
        self.close(opened);
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Open<'t, 'a>, Odd> {
        let opened = self.open(Node::Array { end: 0 });
        Ok(Open::new(self, opened))
    }

    fn serialize_tuple(self, length: usize) -> Result<Open<'t, 'a>, Odd> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<Open<'t, 'a>, Odd> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Open<'t, 'a>, Odd> {
        let around = self.open_variant(variant);
        Ok(self.serialize_seq(Some(length))?.within(around))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Open<'t, 'a>, Odd> {
        let opened = self.open(Node::Object { end: 0 });
        Ok(Open::new(self, opened))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Open<'t, 'a>, Odd> {
        if name.starts_with(PRIVATE) {
            return Err(Odd);
        }
        self.serialize_map(None)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Open<'t, 'a>, Odd> {
        let around = self.open_variant(variant);
        Ok(self.serialize_map(None)?.within(around))
    }
}

/// A list or an object that isn't complete yet.
pub(crate) struct Open<'t, 'a> {
    tape: &'t mut Tape<'a>,
    opened: usize,
    /// The object around it, if it is an enum's variant.
    around: Option<usize>,
}

impl<'t, 'a> Open<'t, 'a> {
    fn new(tape: &'t mut Tape<'a>, opened: usize) -> Self {
        Self {
            tape,
            opened,
            around: None,
        }
    }

    fn within(self, around: usize) -> Self {
        Self {
            around: Some(around),
            ..self
        }
    }

    fn finish(self) {
        self.tape.close(self.opened);
        if let Some(around) = self.around {
            self.tape.close(around);
        }
    }
}

/// serde has four names for the elements of a list.
macro_rules! elements {
    ($($of:ident $method:ident,)+) => {
        $(impl $of for Open<'_, '_> {
            type Ok = ();
            type Error = Odd;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Odd> {
                value.serialize(&mut *self.tape)
            }

            fn end(self) -> Result<(), Odd> {
                self.finish();
                Ok(())
            }
        })+
    };
}

elements! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
}

/// And two for the fields of an object.
macro_rules! fields {
    ($($of:ident)+) => {
        $(impl $of for Open<'_, '_> {
            type Ok = ();
            type Error = Odd;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Odd> {
                self.tape.nodes.push(Node::Borrowed(name));
                value.serialize(&mut *self.tape)
            }

            fn end(self) -> Result<(), Odd> {
                self.finish();
                Ok(())
            }
        })+
    };
}

fields! { SerializeStruct SerializeStructVariant }

impl SerializeMap for Open<'_, '_> {
    type Ok = ();
    type Error = Odd;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), Odd> {
        name.serialize(Name(self.tape))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Odd> {
        value.serialize(&mut *self.tape)
    }

    fn end(self) -> Result<(), Odd> {
        self.finish();
        Ok(())
    }
}

/// A field's name.
struct Name<'t, 'a>(&'t mut Tape<'a>);

/// Of most types there are none.
macro_rules! no_name {
    ($($method:ident($($argument:ty),*) -> $result:ty;)+) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$result, Odd> {
            Err(Odd)
        })+
    };
}

impl Serializer for Name<'_, '_> {
    type Ok = ();
    type Error = Odd;
    type SerializeSeq = Impossible<(), Odd>;
    type SerializeTuple = Impossible<(), Odd>;
    type SerializeTupleStruct = Impossible<(), Odd>;
    type SerializeTupleVariant = Impossible<(), Odd>;
    type SerializeMap = Impossible<(), Odd>;
    type SerializeStruct = Impossible<(), Odd>;
    type SerializeStructVariant = Impossible<(), Odd>;

    fn serialize_str(self, name: &str) -> Result<(), Odd> {
        self.0.copy(name);
        Ok(())
    }

    fn serialize_char(self, name: char) -> Result<(), Odd> {
        self.0.serialize_char(name)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
    ) -> Result<(), Odd> {
        self.0.nodes.push(Node::Borrowed(name));
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        name: &T,
    ) -> Result<(), Odd> {
        name.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Odd> {
        Err(Odd)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Odd> {
        Err(Odd)
    }

    no_name! {
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
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_seq(Option<usize>) -> Self::SerializeSeq;
        serialize_tuple(usize) -> Self::SerializeTuple;
        serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
        serialize_map(Option<usize>) -> Self::SerializeMap;
        serialize_struct(&'static str, usize) -> Self::SerializeStruct;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
    }
}

/// With which serde_json names what it writes as it stands.
const PRIVATE: &str = "$serde_json::private";
