//! A JSON value laid out flat: a list of nodes, each followed by what is within it. To lay one out,
//! to compare two and to leave out what they have in common costs a fraction of what it does with
//! texts, or with trees that allocate for each node. Used by `admission`'s patches and `conversion`.

mod build;
mod compare;
mod decode;
mod print;

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Number, Value};

use super::read_part;

pub(crate) use print::write_text;

/// What is read borrows its strings, what a type writes is copied.
#[derive(Default)]
pub(crate) struct Tape<'a> {
    nodes: Vec<Node<'a>>,
    /// What all strings say that aren't borrowed.
    text: String,
}

enum Node<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Borrowed(&'a str),
    /// Where in the tape's text it is.
    Copied {
        start: usize,
        end: usize,
    },
    /// Its elements, up to the node at `end`.
    Array {
        end: usize,
    },
    /// Its fields: names and values in turns.
    Object {
        end: usize,
    },
}

impl<'a> Tape<'a> {
    /// `None` if it isn't JSON, or too deep.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        read_part(text)
    }

    /// What `value` is written as, which is about as long as `expected`; `None` if only serde_json
    /// can write it.
    pub(crate) fn of<T: Serialize + ?Sized>(value: &T, expected: usize) -> Option<Self> {
        let mut tape = Self::with_room_for(expected);
        value.serialize(&mut tape).ok()?;
        Some(tape)
    }

    pub(crate) fn root(&self) -> Item<'_> {
        Item { tape: self, at: 0 }
    }

    /// Of a text of that length, most of which are short strings.
    fn with_room_for(length: usize) -> Self {
        Self {
            nodes: Vec::with_capacity(length / 12),
            text: String::with_capacity(length / 2),
        }
    }

    fn copy(&mut self, text: &str) {
        let start = self.text.len();
        self.text.push_str(text);
        let end = self.text.len();
        self.nodes.push(Node::Copied { start, end });
    }

    fn open(&mut self, node: Node<'a>) -> usize {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    fn close(&mut self, opened: usize) {
        let here = self.nodes.len();
        if let Node::Array { end } | Node::Object { end } = &mut self.nodes[opened] {
            *end = here;
        }
    }
}

/// A value on a tape.
#[derive(Clone, Copy)]
pub(crate) struct Item<'t> {
    tape: &'t Tape<'t>,
    at: usize,
}

impl<'t> Item<'t> {
    pub(crate) fn is_object(self) -> bool {
        matches!(self.node(), Node::Object { .. })
    }

    pub(crate) fn is_null(self) -> bool {
        matches!(self.node(), Node::Null)
    }

    /// Whether it is `null` or `{}`.
    pub(crate) fn is_empty(self) -> bool {
        self.is_null() || self.is_object() && self.end() == self.at + 1
    }

    /// Names and values, if it is an object.
    pub(crate) fn fields(self) -> impl Iterator<Item = (&'t str, Item<'t>)> {
        let mut items = match self.node() {
            Node::Object { .. } => self.within(),
            _ => Items::none(self.tape),
        };
        std::iter::from_fn(move || {
            let name = items.name()?;
            Some((name, items.next()?))
        })
    }

    pub(crate) fn to_value(self) -> Value {
        match self.node() {
            Node::Null => Value::Null,
            Node::Bool(bool) => Value::Bool(*bool),
            Node::Number(number) => Value::Number(number.clone()),
            Node::Array { .. } => self.within().map(Item::to_value).collect(),
            Node::Object { .. } => {
                let fields = self.fields();
                let fields = fields.map(|(name, value)| (name.to_owned(), value.to_value()));
                Value::Object(fields.collect::<Map<_, _>>())
            }
            Node::Borrowed(_) | Node::Copied { .. } => self.text().unwrap_or_default().into(),
        }
    }

    fn node(self) -> &'t Node<'t> {
        &self.tape.nodes[self.at]
    }

    /// Its own, and all within it.
    fn nodes(self) -> &'t [Node<'t>] {
        &self.tape.nodes[self.at..self.end()]
    }

    fn text(self) -> Option<&'t str> {
        match self.node() {
            Node::Borrowed(text) => Some(text),
            Node::Copied { start, end } => Some(&self.tape.text[*start..*end]),
            _ => None,
        }
    }

    /// Where what follows it is.
    fn end(self) -> usize {
        match self.node() {
            Node::Array { end } | Node::Object { end } => *end,
            _ => self.at + 1,
        }
    }

    fn within(self) -> Items<'t> {
        Items {
            tape: self.tape,
            at: self.at + 1,
            end: self.end(),
        }
    }
}

/// The values within a value, or what is left of them.
struct Items<'t> {
    tape: &'t Tape<'t>,
    at: usize,
    end: usize,
}

impl<'t> Items<'t> {
    fn none(tape: &'t Tape<'t>) -> Self {
        Self {
            tape,
            at: 0,
            end: 0,
        }
    }

    /// The next one, if it is a field's name.
    fn name(&mut self) -> Option<&'t str> {
        if self.at == self.end {
            return None;
        }
        let name = Item {
            tape: self.tape,
            at: self.at,
        };
        self.at += 1;
        name.text()
    }
}

impl<'t> Iterator for Items<'t> {
    type Item = Item<'t>;

    fn next(&mut self) -> Option<Item<'t>> {
        if self.at == self.end {
            return None;
        }
        let item = Item {
            tape: self.tape,
            at: self.at,
        };
        self.at = item.end();
        Some(item)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Tape<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut tape = Tape::default();
        Next(&mut tape).deserialize(deserializer)?;
        Ok(tape)
    }
}

/// The next value on a tape.
struct Next<'t, 'a>(&'t mut Tape<'a>);

impl<'de: 'a, 'a> DeserializeSeed<'de> for Next<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de: 'a, 'a> Visitor<'de> for Next<'_, 'a> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.0.nodes.push(Node::Null);
        Ok(())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.0.nodes.push(Node::Bool(value));
        Ok(())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.0.nodes.push(Node::Number(value.into()));
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.0.nodes.push(Node::Number(value.into()));
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("not a JSON number"))?;
        self.0.nodes.push(Node::Number(number));
        Ok(())
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<(), E> {
        self.0.nodes.push(Node::Borrowed(value));
        Ok(())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.0.copy(value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let opened = self.0.open(Node::Array { end: 0 });
        while list.next_element_seed(Next(self.0))?.is_some() {}
        self.0.close(opened);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let opened = self.0.open(Node::Object { end: 0 });
        while map.next_key_seed(Next(self.0))?.is_some() {
            map.next_value_seed(Next(self.0))?;
        }
        self.0.close(opened);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
