//! What is read is what serde_json reads.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json, value::RawValue};

use super::*;

/// Of serde_json, and of this reader.
fn both<T: DeserializeOwned>(text: &str) -> (Option<T>, Option<T>) {
    (serde_json::from_str(text).ok(), read(text))
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Typed {
    #[serde(default)]
    an_option: Option<f64>,
    single: Option<f32>,
    small: Option<i8>,
    large: Option<u64>,
    letter: Option<char>,
    nothing: Option<()>,
    tuple: Option<(bool, String)>,
    shape: Option<Shape>,
    shapes: Option<BTreeMap<Named, Shape>>,
    inner: Option<Box<Typed>>,
    #[serde(default)]
    list: Vec<Value>,
}

#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Named(String);

#[derive(Debug, Deserialize, PartialEq)]
enum Shape {
    Unit,
    Newtype(Option<u8>),
    Tuple(u8, u8),
    Struct { a: i64 },
}

#[test]
fn typed_values_are_read_as_serde_json_reads_them() {
    for text in [
        "{}",
        r#"{"anOption":1,"single":0.1,"small":-128,"large":18446744073709551615}"#,
        r#"{"anOption":1e300,"single":16777217.5,"letter":"é","nothing":null}"#,
        r#"{"tuple":[true,"a\nb\u00e9\ud834\udd1e"],"inner":{"inner":{}},"list":[1,[],{"a":"\t"}]}"#,
        r#"{"shape":"Unit"} "#,
        r#"{"shape":{"Unit":null}}"#,
        r#"{"shape":{"Newtype":1}}"#,
        r#"{"shape":{"Newtype":null}}"#,
        r#"{"shape":{"Tuple":[1,2]}}"#,
        r#"{"shape":{"Struct":{"a":-9223372036854775808}}}"#,
        r#"{"shapes":{"a":"Unit","b\"":{"Newtype":7}}}"#,
        r#"[1,0.5,2,3,"a",null,[false,""],"Unit",{},{},[]]"#,
    ] {
        let (theirs, ours) = both::<Typed>(text);
        assert!(theirs.is_some(), "{text}");
        assert_eq!(ours, theirs, "{text}");
    }
}

#[test]
fn what_serde_json_refuses_is_declined() {
    for text in [
        r#"{"anOption":1,"anOption":1}"#,
        r#"{"unknown":1}"#,
        r#"{"single":1e39}"#,
        r#"{"anOption":1e400}"#,
        r#"{"small":128}"#,
        r#"{"small":1.0}"#,
        r#"{"small":"1"}"#,
        r#"{"large":-1}"#,
        r#"{"large":18446744073709551616}"#,
        r#"{"letter":"ab"}"#,
        r#"{"letter":1}"#,
        r#"{"nothing":{}}"#,
        r#"{"tuple":[true]}"#,
        r#"{"tuple":[true,"a",1]}"#,
        r#"{"tuple":[true,"\ud800"]}"#,
        r#"{"shape":"None"}"#,
        r#"{"shape":"Newtype"}"#,
        r#"{"shape":{"Unit":1}}"#,
        r#"{"shape":{"Newtype":1,"Unit":null}}"#,
        r#"{"shape":{}}"#,
        r#"{"shapes":{"a":"Unit",}}"#,
        r#"{"inner":[]}"#,
        r#"{"list":[1,]}"#,
        "{} {}",
        "null",
        "",
    ] {
        let (theirs, ours) = both::<Typed>(text);
        assert_eq!((theirs, ours), (None, None), "{text}");
    }
}

#[test]
fn numbers_are_exact() {
    for text in [
        "0",
        "-0",
        "-0.0",
        "9007199254740993",
        "18446744073709551615",
        "18446744073709551616",
        "-9223372036854775808",
        "-9223372036854775809",
        "0.1",
        "1e0",
        "5e-324",
        "1.7976931348623157e308",
        "2.2250738585072011e-308",
        "123456789012345678901234567890.123",
    ] {
        let (theirs, ours) = both::<Value>(text);
        assert!(theirs.is_some(), "{text}");
        assert_eq!(
            ours.map(|value| value.to_string()),
            theirs.map(|value| value.to_string()),
            "{text}"
        );
    }
}

#[test]
fn depth_is_limited_as_serde_json_limits_it() {
    for depth in [126, 127, 128, 1_000] {
        for brackets in [["[", "]"], ["{\"a\":", "}"]] {
            let text = format!(
                "{}1{}",
                brackets[0].repeat(depth),
                brackets[1].repeat(depth)
            );
            let (theirs, ours) = both::<Value>(&text);
            assert_eq!(ours, theirs, "{depth}");
        }
    }
}

/// Lists of lists, of which it takes as many as can be read.
struct Forgiving;

impl<'de> Deserialize<'de> for Forgiving {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lists;

        impl<'de> Visitor<'de> for Lists {
            type Value = Forgiving;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut lists: A) -> Result<Forgiving, A::Error> {
                lists.next_element::<Forgiving>().ok();
                lists.next_element::<Forgiving>().ok();
                Ok(Forgiving)
            }
        }

        deserializer.deserialize_seq(Lists)
    }
}

#[test]
fn who_goes_on_after_a_failure_gets_no_deeper_either() {
    let text = format!("{},[[[[", "[".repeat(128));
    assert!(read::<Forgiving>(&text).is_none());
}

#[test]
fn what_is_not_looked_into_is_the_text_itself() {
    #[derive(Deserialize)]
    struct Holder<'a> {
        #[serde(borrow)]
        a: super::super::Json<'a>,
        #[serde(borrow, default)]
        b: Option<super::super::Json<'a>>,
    }
    for text in [
        r#"{"a": {"b" : [1.50, "\u0061"]} , "b" : null}"#,
        r#"{"b":"b","a":null}"#,
        r#"{"a":01}"#,
        r#"{"a"}"#,
        r#"{"b":1}"#,
    ] {
        let parts = |holder: Holder<'_>| {
            (
                holder.a.get().to_owned(),
                holder.b.map(|json| json.raw().get().to_owned()),
            )
        };
        let theirs = serde_json::from_str(text).ok().map(parts);
        assert_eq!(read(text).map(parts), theirs, "{text}");
    }
    // Raw values of serde_json's own are left to it, and so are maps by number.
    assert!(read::<&RawValue>("1").is_none());
    assert!(read::<BTreeMap<u8, u8>>(r#"{"1":1}"#).is_none());
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(".{0,10}", inner, 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_is_read_as_it_was_written(value in value()) {
        let texts = [value.to_string(), serde_json::to_string_pretty(&value).unwrap()];
        for text in texts {
            let ours = read::<Value>(&text);
            prop_assert_eq!(ours.as_ref(), Some(&value));
        }
    }

    #[test]
    fn a_broken_text_is_read_as_serde_json_reads_it(
        value in value(),
        at in any::<prop::sample::Index>(),
        letter in prop_oneof![any::<char>(), prop::sample::select(r#"{}[],:"\ 0-e"#.chars().collect::<Vec<_>>())],
    ) {
        let mut letters: Vec<_> = value.to_string().chars().collect();
        let at = at.index(letters.len());
        letters[at] = letter;
        let text = String::from_iter(letters);
        let theirs = serde_json::from_str::<Value>(&text).ok();
        prop_assert_eq!(read::<Value>(&text), theirs);
    }
}
