//! The identities, over converters that lose something in either direction.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::conversion::spoke::Version;

/// What both versions of the kind say in common is less than what either says.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Hub {
    count: i64,
    items: Vec<HubItem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct HubItem {
    name: String,
    size: u8,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Narrow {
    count: String,
    entries: Vec<NarrowItem>,
    colour: String,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct NarrowItem {
    name: String,
    note: Option<String>,
}

/// Counts above nine are too many for the narrow version, and odd ones for the stored one.
struct Lossy(&'static str);

impl Spoke for Lossy {
    fn version(&self) -> Version {
        Version {
            group: "example.com".to_owned(),
            version: self.0.to_owned(),
            kind: "Example".to_owned(),
        }
    }

    fn convert(&self, object: &Object) -> Result<Object, ConversionError> {
        let narrow: Narrow = spec(object)?;
        let count: i64 = narrow.count.parse().unwrap_or_default();
        let items = narrow.entries.into_iter().map(|item| HubItem {
            name: item.name,
            size: 0,
        });
        let hub = Hub {
            count: count / 2 * 2,
            items: items.collect(),
            secret: None,
        };
        Ok(object.with_content(with_spec(&hub)?))
    }

    fn revert(&self, object: &Object) -> Result<Object, ConversionError> {
        let hub: Hub = spec(object)?;
        let entries = hub.items.into_iter().map(|item| NarrowItem {
            name: item.name,
            note: None,
        });
        let narrow = Narrow {
            count: hub.count.min(9).to_string(),
            entries: entries.collect(),
            colour: String::new(),
        };
        Ok(object.with_content(with_spec(&narrow)?))
    }
}

fn spec<T: DeserializeOwned + Default>(object: &Object) -> Result<T, ConversionError> {
    let spec = object.content.get("spec").cloned();
    Ok(spec
        .map(serde_json::from_value)
        .transpose()?
        .unwrap_or_default())
}

fn with_spec<T: Serialize>(spec: &T) -> Result<Content, ConversionError> {
    Ok(Map::from_iter([(
        "spec".to_owned(),
        serde_json::to_value(spec)?,
    )]))
}

fn object(content: Value) -> Object {
    let Value::Object(content) = content else {
        panic!("{content}");
    };
    Object {
        metadata: Map::from_iter([("name".to_owned(), "one".into())]),
        content,
    }
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["a", "b", "c", "d"])
}

fn hub() -> impl Strategy<Value = Value> {
    let item = (name(), 0..3_u8, any::<bool>()).prop_map(|(name, size, unknown)| {
        if unknown {
            json!({"name": name, "size": size, "unknown": [1.5, null]})
        } else {
            json!({"name": name})
        }
    });
    let items = prop::collection::vec(item, 0..4);
    (0..14_i64, items, any::<Option<bool>>(), any::<bool>()).prop_map(
        |(count, items, secret, status)| {
            let mut hub = json!({"spec": {"count": count, "items": items}});
            if let Some(empty) = secret {
                hub["spec"]["secret"] = if empty { Value::Null } else { "s".into() };
            }
            if status {
                hub["status"] = json!({"phase": "Active"});
            }
            hub
        },
    )
}

fn narrow() -> impl Strategy<Value = Value> {
    let item = (name(), any::<Option<bool>>()).prop_map(|(name, note)| match note {
        None => json!({"name": name}),
        Some(true) => json!({"name": name, "note": "n"}),
        Some(false) => json!({"name": name, "note": null}),
    });
    let items = prop::collection::vec(item, 0..4);
    (0..14_i64, items, name(), any::<bool>()).prop_map(|(count, entries, colour, unknown)| {
        let mut narrow = json!({"spec": {"count": count.to_string(), "colour": colour}});
        if !entries.is_empty() {
            narrow["spec"]["entries"] = entries.into();
        }
        if unknown {
            narrow["spec"]["unknown"] = json!({"deep": {"er": true}});
        }
        narrow
    })
}

/// An edit: by whom, and to what.
fn edit() -> impl Strategy<Value = (usize, Value)> {
    prop_oneof![
        (Just(0_usize), hub()),
        (Just(1_usize), narrow()),
        (Just(2_usize), narrow()),
    ]
}

const VERSIONS: [Lossy; 2] = [Lossy("v1"), Lossy("v2")];

/// The stored object after edits through all versions, each seen and written as users do: with the
/// annotations as they find them.
fn stored(remainder: &Remainder, edits: &[(usize, Value)]) -> Object {
    let mut stored = object(json!({}));
    for (by, content) in edits {
        let content = content.as_object().cloned().unwrap();
        stored = match by.checked_sub(1) {
            None => stored.with_content(content),
            Some(spoke) => {
                let spoke = &VERSIONS[spoke];
                let view = remainder.revert(spoke, stored).unwrap();
                remainder
                    .convert(spoke, view.with_content(content))
                    .unwrap()
            }
        };
    }
    stored
}

proptest! {
    #[test]
    fn a_stored_object_comes_back_from_every_version(
        edits in prop::collection::vec(edit(), 1..5),
    ) {
        let remainder = Remainder::new("example.com");
        let stored = stored(&remainder, &edits);
        for spoke in &VERSIONS {
            let view = remainder.revert(spoke, stored.clone()).unwrap();
            let back = remainder.convert(spoke, view).unwrap();
            prop_assert_eq!(&back, &stored);
        }
    }

    #[test]
    fn what_is_written_in_a_version_is_read_there(
        edits in prop::collection::vec(edit(), 0..5),
        written in narrow(),
    ) {
        let remainder = Remainder::new("example.com");
        let stored = stored(&remainder, &edits);
        for spoke in &VERSIONS {
            let view = remainder.revert(spoke, stored.clone()).unwrap();
            let edited = view.with_content(written.as_object().cloned().unwrap());
            let stored = remainder.convert(spoke, edited.clone()).unwrap();
            prop_assert!(stored.annotation("example.com/conversion-data").is_none());
            let read = remainder.revert(spoke, stored).unwrap();
            prop_assert_eq!(read.content, edited.content);
        }
    }

    #[test]
    fn a_fresh_object_comes_back_with_nothing_added(written in narrow()) {
        let remainder = Remainder::new("example.com");
        let fresh = object(written);
        let stored = remainder.convert(&VERSIONS[0], fresh.clone()).unwrap();
        let read = remainder.revert(&VERSIONS[0], stored).unwrap();
        prop_assert_eq!(read, fresh);
    }

    #[test]
    fn an_edit_through_a_version_keeps_what_it_cannot_see(
        mut before in hub(),
        colour in name(),
    ) {
        before["spec"]["secret"] = "kept".into();
        let remainder = Remainder::new("example.com");
        let stored = object(before);
        let mut view = remainder.revert(&VERSIONS[0], stored.clone()).unwrap();
        view.content["spec"]["count"] = "4".into();
        view.content["spec"]["colour"] = colour.into();
        let edited = remainder.convert(&VERSIONS[0], view).unwrap();

        let mut expected = stored.content;
        expected["spec"]["count"] = edited.content["spec"]["count"].clone();
        prop_assert_eq!(edited.content, expected);
    }

    #[test]
    fn an_edit_of_the_stored_object_keeps_what_only_a_version_can_say(
        mut written in narrow(),
    ) {
        written["spec"]["count"] = "2".into();
        let remainder = Remainder::new("example.com");
        let mut stored = remainder.convert(&VERSIONS[0], object(written.clone())).unwrap();
        stored.content["spec"]["count"] = 6.into();
        let view = remainder.revert(&VERSIONS[0], stored).unwrap();
        written["spec"]["count"] = "6".into();
        prop_assert_eq!(Value::Object(view.content), written);
    }

    #[test]
    fn annotations_of_any_content_do_no_harm(
        text in prop_oneof![
            Just("{}".to_owned()),
            Just(r#"{"version":2,"hub":{}}"#.to_owned()),
            Just(r#"{"version":1,"hub":{"spec":1}}"#.to_owned()),
            Just(r#"{"version":1,"spokes":{"v1":{"content":{"spec":1}}}}"#.to_owned()),
            Just(r#"{"version":1,"spokes":{"v1":{"content":{"spec":{}},"base":{"spec":[]}}}}"#.to_owned()),
            any::<String>(),
        ],
        written in narrow(),
    ) {
        let remainder = Remainder::new("example.com");
        let mut fresh = object(written.clone());
        fresh.set_annotation("example.com/conversion-data", text.clone());
        fresh.set_annotation("example.com/spoke-data", text);
        let stored = remainder.convert(&VERSIONS[0], fresh).unwrap();
        prop_assert!(stored.annotation("example.com/conversion-data").is_none());
        let view = remainder.revert(&VERSIONS[0], stored).unwrap();
        prop_assert_eq!(Value::Object(view.content), written);
    }
}

#[test]
fn a_version_that_says_everything_adds_no_annotation() {
    let remainder = Remainder::new("example.com");
    let stored = object(json!({"spec": {"count": 4, "items": [{"name": "a", "size": 0}]}}));
    let view = remainder.revert(&VERSIONS[0], stored.clone()).unwrap();
    assert_eq!(view.metadata, stored.metadata);
    assert_eq!(remainder.convert(&VERSIONS[0], view).unwrap(), stored);
}

#[test]
fn a_remainder_too_large_for_the_annotations_is_left_out() {
    let remainder = Remainder::new("example.com");
    let stored = object(json!({"spec": {"secret": "s".repeat(ANNOTATIONS_LIMIT)}}));
    let view = remainder.revert(&VERSIONS[0], stored).unwrap();
    assert_eq!(view.annotations_size(), 0);
}
