//! A tape says what serde_json writes, and reads.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{json, value::to_raw_value};

use super::*;

#[derive(Serialize)]
struct Everything<'a> {
    unit: (),
    none: Option<u8>,
    some: Option<char>,
    integers: (i8, i16, i32, i64, u8, u16, u32, u64),
    floats: (f32, f64, f32, f64),
    text: &'a str,
    bytes: Bytes,
    newtype: Newtype,
    nothing: Nothing,
    shapes: [Shape; 4],
    by_name: BTreeMap<Newtype, Shape>,
    by_letter: BTreeMap<char, [u8; 0]>,
    by_shape: BTreeMap<Plain, bool>,
    #[serde(flatten)]
    rest: Value,
}

#[derive(Clone, Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct Newtype(String);

#[derive(Serialize)]
struct Nothing;

struct Bytes;

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&[0, 255])
    }
}

#[derive(Serialize)]
enum Shape {
    Unit,
    Newtype(Vec<u8>),
    Tuple(u8, f32),
    Struct { a: Option<i64>, b: () },
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
enum Plain {
    One,
    Other,
}

fn written(tape: &Tape<'_>) -> String {
    let mut out = Vec::new();
    tape.root().write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn whatever_a_type_writes_is_laid_out() {
    let name = Newtype("a\"\n".to_owned());
    let everything = Everything {
        unit: (),
        none: None,
        some: Some('é'),
        integers: (-1, -2, -3, i64::MIN, 1, 2, 3, u64::MAX),
        floats: (0.1, 0.1, f32::NAN, f64::INFINITY),
        text: "text",
        bytes: Bytes,
        newtype: name.clone(),
        nothing: Nothing,
        shapes: [
            Shape::Unit,
            Shape::Newtype(vec![1, 2]),
            Shape::Tuple(1, 16_777_216.5),
            Shape::Struct { a: Some(-1), b: () },
        ],
        by_name: BTreeMap::from([(name, Shape::Struct { a: None, b: () })]),
        by_letter: BTreeMap::from([('a', [])]),
        by_shape: BTreeMap::from([(Plain::One, true), (Plain::Other, false)]),
        rest: json!({"a": {"b": [null]}}),
    };
    let text = serde_json::to_string(&everything).unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    let tape = Tape::of(&everything, 0).unwrap();
    assert_eq!(tape.root().to_value(), value);
    assert_eq!(written(&tape), text);
    assert!(tape == Tape::read(&text).unwrap());
    assert!(tape == Tape::of(&value, 0).unwrap());
}

#[test]
fn what_only_serde_json_can_write_is_left_to_it() {
    assert!(Tape::of(&BTreeMap::from([(1, 2)]), 0).is_none());
    assert!(Tape::of(&BTreeMap::from([((), 2)]), 0).is_none());
    assert!(Tape::of(&[to_raw_value("a").unwrap()], 0).is_none());
    assert!(Tape::of(&1_u128, 0).is_none());
}

fn same_text(one: &str, other: &str) -> bool {
    match (Tape::read(one), Tape::read(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

#[test]
fn tapes_are_compared_by_what_they_say() {
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
        ("[[1],2]", "[[1,2]]", false),
        ("[1]", "[1,1]", false),
        ("[]", "{}", false),
        (r#"{"a":"b"}"#, r#"["a","b"]"#, false),
        (r#"{"a":1,"a":2}"#, r#"{"a":2}"#, false),
        (r#"{"a":1,"b":1,"a":1}"#, r#"{"a":1,"a":1,"b":1}"#, false),
    ] {
        assert_eq!(same_text(one, other), expected, "{one} {other}");
    }
    assert!(!same_text("1e400", "2e400"));
    assert!(Tape::read("1e400").is_none());
    assert!(Tape::read("{} {}").is_none());
}

#[test]
fn large_objects_are_compared_like_small_ones() {
    for count in [2, 16, 17, 200] {
        let object = |fields: Vec<usize>| {
            let fields: Vec<_> = fields.iter().map(|at| format!("\"{at}\":{at}")).collect();
            format!("{{{}}}", fields.join(","))
        };
        let in_order: Vec<_> = (0..count).collect();
        let reversed: Vec<_> = (0..count).rev().collect();
        let twice: Vec<_> = (0..count).map(|at| at.max(1)).collect();
        assert!(same_text(&object(in_order.clone()), &object(reversed)));
        assert!(!same_text(
            &object(in_order.clone()),
            &object(twice.clone())
        ));
        assert!(!same_text(&object(twice), &object(in_order.clone())));
        let fewer = object(in_order[1..].to_vec());
        assert!(!same_text(&object(in_order.clone()), &fewer));
        assert!(!same_text(&fewer, &object(in_order)));
    }
}

#[test]
fn only_an_object_has_fields() {
    let tape = Tape::read(r#"{"a":{"b":1},"c":[2]}"#).unwrap();
    let fields: Vec<_> = tape.root().fields().collect();
    let names: Vec<_> = fields.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["a", "c"]);
    assert!(tape.root().is_object() && fields[0].1.is_object());
    assert!(!fields[1].1.is_object());
    for (text, expected) in [
        ("null", true),
        ("{}", true),
        ("[]", false),
        (r#"{"a":1}"#, false),
    ] {
        assert_eq!(
            Tape::read(text).unwrap().root().is_empty(),
            expected,
            "{text}"
        );
    }
    assert_eq!(fields[1].1.fields().count(), 0);
    assert_eq!(fields[0].1.to_value(), json!({"b": 1}));
}

/// Both ends of it differ in the order of their fields at each depth.
#[test]
fn objects_in_another_order_are_compared_once_however_deep() {
    let nested = |fields: [&str; 2]| {
        (0..100).fold("1".to_owned(), |inner, _| {
            let [first, last] = fields.map(|name| format!("\"{name}\":0"));
            format!("{{\"a\":{inner},{first},{last}}}")
        })
    };
    let [one, other] = [["b", "c"], ["c", "b"]].map(nested);
    assert!(Tape::read(&one).unwrap() == Tape::read(&other).unwrap());
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

/// The same, with the fields of all objects the other way round.
fn reversed(value: &Value) -> String {
    match value {
        Value::Array(elements) => {
            let elements: Vec<_> = elements.iter().map(reversed).collect();
            format!("[{}]", elements.join(" , "))
        }
        Value::Object(fields) => {
            let fields = fields.iter().rev();
            let fields = fields.map(|(name, value)| format!("{}:{}", json!(name), reversed(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
        _ => value.to_string(),
    }
}

proptest! {
    #[test]
    fn tapes_are_equal_when_values_are(one in value(), other in value()) {
        let (text, reversed) = (one.to_string(), reversed(&one));
        let tape = Tape::of(&one, 0).unwrap();
        prop_assert!(tape == Tape::read(&text).unwrap());
        prop_assert_eq!(written(&tape), text);
        prop_assert_eq!(&Value::deserialize(tape.root()).unwrap(), &one);
        prop_assert!(tape == Tape::read(&reversed).unwrap());
        prop_assert_eq!(tape.root().to_value(), one.clone());
        prop_assert_eq!(tape == Tape::of(&other, 0).unwrap(), one == other);
    }
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Typed {
    an_option: Option<f64>,
    small: Option<i8>,
    large: Option<u64>,
    letter: Option<char>,
    nothing: Option<()>,
    tuple: Option<(bool, String)>,
    variant: Option<Variant>,
    variants: Option<BTreeMap<Name, Variant>>,
    inner: Option<Box<Typed>>,
    #[serde(default)]
    list: Vec<Value>,
}

#[derive(Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Name(String);

#[derive(Debug, Deserialize, PartialEq)]
enum Variant {
    Unit,
    Newtype(Option<u8>),
    Tuple(u8, u8),
    Struct { a: i64 },
}

#[test]
fn typed_values_are_read_from_tapes_as_serde_json_reads_them_from_texts() {
    for (text, is_one) in [
        ("{}", true),
        (
            r#"{"anOption":1,"small":-128,"large":18446744073709551615}"#,
            true,
        ),
        (
            r#"{"anOption":1e300,"letter":"\u00e9","nothing":null}"#,
            true,
        ),
        (
            r#"{"tuple":[true,"a\nb"],"inner":{"inner":{}},"list":[1,[],{"a":"\t"}]}"#,
            true,
        ),
        (r#"{"variant":"Unit"}"#, true),
        (r#"{"variant":{"Unit":null}}"#, true),
        (r#"{"variant":{"Newtype":1}}"#, true),
        (r#"{"variant":{"Newtype":null}}"#, true),
        (r#"{"variant":{"Tuple":[1,2]}}"#, true),
        (r#"{"variant":{"Struct":{"a":-1}}}"#, true),
        (r#"{"variants":{"a":"Unit","b\"":{"Newtype":7}}}"#, true),
        (r#"[1,2,3,"a",null,[false,""],"Unit",{},{},[]]"#, true),
        (r#"{"anOption":1,"anOption":1}"#, false),
        (r#"{"unknown":1}"#, false),
        (r#"{"small":128}"#, false),
        (r#"{"small":1.0}"#, false),
        (r#"{"small":"1"}"#, false),
        (r#"{"large":-1}"#, false),
        (r#"{"letter":1}"#, false),
        (r#"{"nothing":{}}"#, false),
        (r#"{"tuple":[true]}"#, false),
        (r#"{"tuple":[true,"a",1]}"#, false),
        (r#"{"variant":"None"}"#, false),
        (r#"{"variant":"Newtype"}"#, false),
        (r#"{"variant":{"Unit":1}}"#, false),
        (r#"{"variant":{"Newtype":1,"Unit":null}}"#, false),
        (r#"{"variant":{}}"#, false),
        (r#"{"inner":[]}"#, false),
        ("null", false),
    ] {
        let theirs: Option<Typed> = serde_json::from_str(text).ok();
        assert_eq!(theirs.is_some(), is_one, "{text}");
        let tape = Tape::read(text).unwrap();
        assert_eq!(Typed::deserialize(tape.root()).ok(), theirs, "{text}");
    }
}
