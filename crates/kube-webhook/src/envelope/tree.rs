//! Whether two JSON texts say the same, by trees that borrow from them: a third of what two `Value`s
//! cost. Used by `admission`'s patches and `conversion`.

mod says;

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::Number;

use super::Text;

/// The order of an object's fields, spaces and escapes aside. An object with a field twice is equal
/// to none.
pub(crate) fn same_text(one: &str, other: &str) -> bool {
    if one == other {
        return true;
    }
    match (Tree::read(one), Tree::read(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// A JSON text, with what it holds sorted.
#[derive(PartialEq)]
pub(crate) enum Tree<'a> {
    Null,
    Bool(bool),
    Number(Number),
    String(Text<'a>),
    Array(Vec<Tree<'a>>),
    /// Sorted by key.
    Object(Vec<(Text<'a>, Tree<'a>)>),
}

impl<'a> Tree<'a> {
    /// `None` if an object has a field twice.
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Tree<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Tree::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Number::from_f64(value)
            .map(Tree::Number)
            .ok_or_else(|| E::custom("not a JSON number"))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Tree::String(value.into()))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Tree::String(value.to_owned().into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            elements.push(element);
        }
        Ok(Tree::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields: Vec<(Text<'de>, Tree<'de>)> = Vec::new();
        while let Some(field) = map.next_entry()? {
            fields.push(field);
        }
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        if fields.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(A::Error::custom("a field twice"));
        }
        Ok(Tree::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn say_the_same(one: &str, other: &str) -> bool {
        same_text(one, other)
    }

    #[test]
    fn texts_are_compared_by_what_they_say() {
        for (one, other, expected) in [
            (
                r#"{"a":1,"b":[null,true]}"#,
                r#"{ "b": [null, true], "a": 1 }"#,
                true,
            ),
            (r#""\u0061""#, r#""a""#, true),
            (r#"{"a":1}"#, r#"{"a":1.0}"#, false),
            (r#"{"a":null}"#, "{}", false),
            ("[1,2]", "[2,1]", false),
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#, false),
            ("1e400", "2e400", false),
        ] {
            assert_eq!(say_the_same(one, other), expected, "{one} {other}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(|number| json!(number)),
            ".{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_tree_says_what_equals_it(one in value(), other in value()) {
            let text = one.to_string();
            let tree: Tree<'_> = serde_json::from_str(&text).unwrap();
            prop_assert!(tree.says(&one));
            prop_assert_eq!(tree.says(&other), one == other);
        }

        #[test]
        fn trees_are_equal_when_values_are(one in value(), other in value()) {
            prop_assert!(say_the_same(&one.to_string(), &serde_json::to_string_pretty(&one).unwrap()));
            prop_assert_eq!(say_the_same(&one.to_string(), &other.to_string()), one == other);
        }
    }
}
