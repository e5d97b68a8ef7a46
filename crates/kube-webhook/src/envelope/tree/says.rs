//! Whether a value would be written as what a tree says, without writing it. Used by `conversion`.
//!
//! Never says yes wrongly; it may say no of odd types, such as maps whose keys aren't strings.

use serde::{
    Serialize, Serializer,
    ser::{
        self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};
use serde_json::{Number, Value};

use super::Tree;

impl Tree<'_> {
    /// Whether `value` is written as this.
    pub(crate) fn says<T: Serialize + ?Sized>(&self, value: &T) -> bool {
        value.serialize(Comparison(self)).is_ok()
    }
}

#[derive(Clone, Copy)]
struct Comparison<'t>(&'t Tree<'t>);

/// The only result that isn't `()`.
#[derive(Debug, thiserror::Error)]
#[error("it differs")]
struct Differs;

impl ser::Error for Differs {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Self
    }
}

fn only_if(same: bool) -> Result<(), Differs> {
    if same { Ok(()) } else { Err(Differs) }
}

impl<'t> Comparison<'t> {
    fn number(self, own: impl Into<Number>) -> Result<(), Differs> {
        only_if(matches!(self.0, Tree::Number(number) if *number == own.into()))
    }

    fn elements(self) -> Result<Elements<'t>, Differs> {
        match self.0 {
            Tree::Array(elements) => Ok(Elements(elements.iter())),
            _ => Err(Differs),
        }
    }

    fn fields(self) -> Result<Fields<'t>, Differs> {
        match self.0 {
            Tree::Object(fields) => Ok(Fields {
                fields,
                seen: vec![false; fields.len()],
                current: None,
            }),
            _ => Err(Differs),
        }
    }

    /// The content of an enum's variant, whose name is the only key around it.
    fn variant(self, name: &str) -> Result<Self, Differs> {
        match self.0 {
            Tree::Object(fields) => match fields.as_slice() {
                [(key, content)] if **key == *name => Ok(Self(content)),
                _ => Err(Differs),
            },
            _ => Err(Differs),
        }
    }
}

impl<'t> Serializer for Comparison<'t> {
    type Ok = ();
    type Error = Differs;
    type SerializeSeq = Elements<'t>;
    type SerializeTuple = Elements<'t>;
    type SerializeTupleStruct = Elements<'t>;
    type SerializeTupleVariant = Elements<'t>;
    type SerializeMap = Fields<'t>;
    type SerializeStruct = Fields<'t>;
    type SerializeStructVariant = Fields<'t>;

    fn serialize_bool(self, own: bool) -> Result<(), Differs> {
        only_if(matches!(self.0, Tree::Bool(value) if *value == own))
    }

    fn serialize_i8(self, own: i8) -> Result<(), Differs> {
        self.number(own)
    }

    fn serialize_i16(self, own: i16) -> Result<(), Differs> {
        self.number(own)
    }

    fn serialize_i32(self, own: i32) -> Result<(), Differs> {
        self.number(own)
    }

    fn serialize_i64(self, own: i64) -> Result<(), Differs> {
        self.number(own)
    }

    fn serialize_u8(self, own: u8) -> Result<(), Differs> {
        self.number(own)
    }

    fn serialize_u16(self, own: u16) -> Result<(), Differs> {
        self.number(own)
    }

    fn serialize_u32(self, own: u32) -> Result<(), Differs> {
        self.number(own)
    }

    fn serialize_u64(self, own: u64) -> Result<(), Differs> {
        self.number(own)
    }

    /// As JSON writes it, which is not the `f64` that it would widen to.
    fn serialize_f32(self, own: f32) -> Result<(), Differs> {
        let written = serde_json::to_string(&own).map_err(|_| Differs)?;
        only_if(serde_json::from_str::<Tree<'_>>(&written).is_ok_and(|own| own == *self.0))
    }

    fn serialize_f64(self, own: f64) -> Result<(), Differs> {
        match Number::from_f64(own) {
            Some(own) => self.number(own),
            None => self.serialize_unit(),
        }
    }

    fn serialize_char(self, own: char) -> Result<(), Differs> {
        self.serialize_str(own.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, own: &str) -> Result<(), Differs> {
        only_if(matches!(self.0, Tree::String(value) if **value == *own))
    }

    fn serialize_bytes(self, own: &[u8]) -> Result<(), Differs> {
        own.serialize(self)
    }

    fn serialize_none(self) -> Result<(), Differs> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, own: &T) -> Result<(), Differs> {
        own.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Differs> {
        only_if(matches!(self.0, Tree::Null))
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Differs> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        own: &'static str,
    ) -> Result<(), Differs> {
        self.serialize_str(own)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        own: &T,
    ) -> Result<(), Differs> {
        own.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        own: &T,
    ) -> Result<(), Differs> {
        own.serialize(self.variant(variant)?)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Elements<'t>, Differs> {
        self.elements()
    }

    fn serialize_tuple(self, _: usize) -> Result<Elements<'t>, Differs> {
        self.elements()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Elements<'t>, Differs> {
        self.elements()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Elements<'t>, Differs> {
        self.variant(variant)?.elements()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Fields<'t>, Differs> {
        self.fields()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields<'t>, Differs> {
        self.fields()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<'t>, Differs> {
        self.variant(variant)?.fields()
    }
}

struct Elements<'t>(std::slice::Iter<'t, Tree<'t>>);

impl Elements<'_> {
    fn next<T: Serialize + ?Sized>(&mut self, own: &T) -> Result<(), Differs> {
        own.serialize(Comparison(self.0.next().ok_or(Differs)?))
    }

    fn finish(mut self) -> Result<(), Differs> {
        only_if(self.0.next().is_none())
    }
}

/// serde has four names for the elements of a list.
macro_rules! elements {
    ($($of:ident $method:ident,)+) => {
        $(impl $of for Elements<'_> {
            type Ok = ();
            type Error = Differs;

            fn $method<T: Serialize + ?Sized>(&mut self, own: &T) -> Result<(), Differs> {
                self.next(own)
            }

            fn end(self) -> Result<(), Differs> {
                self.finish()
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

struct Fields<'t> {
    fields: &'t [(super::Text<'t>, Tree<'t>)],
    seen: Vec<bool>,
    current: Option<&'t Tree<'t>>,
}

impl<'t> Fields<'t> {
    fn of(&mut self, key: &str) -> Result<&'t Tree<'t>, Differs> {
        let place = self.fields.binary_search_by(|(own, _)| (**own).cmp(key));
        let place = place.map_err(|_| Differs)?;
        // A key that is written twice is no match for two.
        only_if(!std::mem::replace(&mut self.seen[place], true))?;
        Ok(&self.fields[place].1)
    }

    fn finish(self) -> Result<(), Differs> {
        only_if(self.seen.into_iter().all(|seen| seen))
    }
}

impl SerializeMap for Fields<'_> {
    type Ok = ();
    type Error = Differs;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Differs> {
        match serde_json::to_value(key) {
            Ok(Value::String(key)) => self.current = Some(self.of(&key)?),
            _ => return Err(Differs),
        }
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, own: &T) -> Result<(), Differs> {
        own.serialize(Comparison(self.current.take().ok_or(Differs)?))
    }

    fn end(self) -> Result<(), Differs> {
        self.finish()
    }
}

/// And two for the fields of an object.
macro_rules! fields {
    ($($of:ident)+) => {
        $(impl $of for Fields<'_> {
            type Ok = ();
            type Error = Differs;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                own: &T,
            ) -> Result<(), Differs> {
                own.serialize(Comparison(self.of(key)?))
            }

            fn end(self) -> Result<(), Differs> {
                self.finish()
            }
        })+
    };
}

fields! { SerializeStruct SerializeStructVariant }

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    enum Shape {
        Unit,
        Newtype(f32),
        Tuple(u8, char),
        Struct { a: Option<i64>, b: () },
    }

    fn says<T: Serialize>(text: &str, value: &T) -> bool {
        serde_json::from_str::<Tree<'_>>(text).unwrap().says(value)
    }

    #[test]
    fn a_value_is_what_it_is_written_as() {
        for shape in [
            Shape::Unit,
            Shape::Newtype(0.1),
            Shape::Tuple(1, 'é'),
            Shape::Struct { a: Some(-1), b: () },
            Shape::Struct { a: None, b: () },
        ] {
            let text = serde_json::to_string(&shape).unwrap();
            assert!(says(&text, &shape), "{text}");
            assert!(!says("{}", &shape), "{text}");
            assert!(!says(r#"{"Newtype":0.2}"#, &shape), "{text}");
        }
        assert!(says("null", &f64::NAN));
        assert!(says("[1,[2.5,true]]", &(1, (2.5, true))));
        assert!(!says("[1]", &(1, 2)));
        assert!(!says("[1,2]", &[1]));
        assert!(!says("1", &1.0));
        assert!(says(r#"{"b":{},"a":"\n"}"#, &json!({"a": "\n", "b": {}})));
        assert!(!says(r#"{"a":1,"b":2}"#, &json!({"a": 1})));
        assert!(!says(r#"{"a":1}"#, &json!({"a": 1, "b": 2})));
        assert!(!says(r#"{"1":1}"#, &BTreeMap::from([(1, 1)])));
    }

    struct Twice;

    impl Serialize for Twice {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(None)?;
            map.serialize_entry("a", &1)?;
            map.serialize_entry("a", &1)?;
            map.end()
        }
    }

    #[test]
    fn a_key_twice_is_no_match_for_two() {
        assert!(!says(r#"{"a":1,"b":1}"#, &Twice));
        assert!(!says(r#"{"a":1}"#, &Twice));
    }
}
