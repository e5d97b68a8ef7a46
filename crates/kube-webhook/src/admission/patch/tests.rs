//! Patches of objects that are written, and read, less fully than their type.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

use super::*;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Doc {
    metadata: Meta,
    spec: Option<Spec>,
    sorted: BTreeSet<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Meta {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Spec {
    count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    items: Vec<Item>,
    plain: Vec<u8>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Item {
    name: String,
    value: Option<u8>,
}

fn doc() -> impl Strategy<Value = Doc> {
    let key = prop::sample::select(vec!["a", "b/c", "~d", ""]).prop_map(str::to_owned);
    let labels = prop::collection::btree_map(key.clone(), "[ab]", 0..3);
    let item = (key, prop::option::of(1..9_u8)).prop_map(|(name, value)| Item { name, value });
    let spec = (
        0..3_i64,
        prop::option::of("[ab]"),
        prop::collection::vec(item, 0..4),
        prop::collection::vec(0..3_u8, 0..5),
    )
        .prop_map(|(count, text, items, plain)| Spec {
            count,
            text,
            items,
            plain,
        });
    let sorted = prop::collection::btree_set(0..4_u8, 0..4);
    (labels, prop::option::of(spec), sorted).prop_map(|(labels, spec, sorted)| Doc {
        metadata: Meta { labels },
        spec,
        sorted,
    })
}

/// Leaves out what is empty, reverses what is sorted and adds what the type doesn't know, as the
/// bits say.
fn roughen(value: &mut Value, bits: &mut u64) {
    let mut bit = || {
        *bits = bits.rotate_right(1);
        *bits & 1 == 1
    };
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| {
                let is_empty = field.is_null()
                    || *field == json!(0)
                    || field.as_array().is_some_and(Vec::is_empty)
                    || field.as_object().is_some_and(Map::is_empty);
                !(is_empty && bit())
            });
            let add = bit();
            for (key, field) in fields.iter_mut() {
                // A map of strings has no fields that are unknown.
                if key != "labels" {
                    roughen(field, bits);
                }
            }
            if add {
                fields.insert("unknown".to_owned(), json!({"kept": [1.5]}));
            }
        }
        Value::Array(elements) => {
            for element in elements {
                roughen(element, bits);
            }
        }
        _ => {}
    }
}

fn raw_of(doc: &Doc, mut bits: u64) -> Value {
    let mut raw = serde_json::to_value(doc).unwrap();
    if bits & 1 == 1
        && let Some(sorted) = raw["sorted"].as_array_mut()
    {
        sorted.reverse();
    }
    roughen(&mut raw, &mut bits);
    raw
}

/// What the type sees, as `handler` writes it down before the hook changes it.
fn seen<K: Serialize + DeserializeOwned>(raw: &RawValue) -> Seen {
    Seen::of(&decode::<K>(raw.into(), "object").unwrap(), raw.into()).unwrap()
}

fn patch_between(raw: &Value, modified: &Doc) -> Option<Vec<PatchOperation>> {
    let raw = to_raw_value(raw).unwrap();
    let patch = between((&*raw).into(), &seen::<Doc>(&raw), modified).unwrap()?;
    Some(serde_json::from_slice(&patch).unwrap())
}

proptest! {
    #[test]
    fn the_patch_leads_from_the_raw_object_to_the_modified_one(
        before in doc(),
        after in doc(),
        bits in any::<u64>(),
    ) {
        let raw = raw_of(&before, bits);
        let mut patched = raw.clone();
        match patch_between(&raw, &after) {
            None => prop_assert_eq!(&before, &after),
            Some(patch) => json_patch::patch(&mut patched, &patch).unwrap(),
        }
        prop_assert_eq!(&serde_json::from_value::<Doc>(patched.clone()).unwrap(), &after);
        for pointer in ["/unknown", "/metadata/unknown"] {
            prop_assert_eq!(patched.pointer(pointer), raw.pointer(pointer));
        }
        if before.spec.is_some() && after.spec.is_some() {
            prop_assert_eq!(patched.pointer("/spec/unknown"), raw.pointer("/spec/unknown"));
        }
        prop_assert!(patch_between(&patched, &after).is_none());
    }

    #[test]
    fn an_unchanged_object_has_no_patch(doc in doc(), bits in any::<u64>()) {
        prop_assert!(patch_between(&raw_of(&doc, bits), &doc).is_none());
    }
}

fn operations_of(raw: &Value, change: impl FnOnce(&mut Doc)) -> Value {
    let mut doc: Doc = serde_json::from_value(raw.clone()).unwrap();
    change(&mut doc);
    serde_json::to_value(patch_between(raw, &doc).unwrap()).unwrap()
}

#[test]
fn a_parent_that_is_not_there_is_added_with_the_field() {
    let operations = operations_of(&json!({}), |doc| {
        doc.metadata.labels.insert("a/b".to_owned(), "c".to_owned());
    });
    assert_eq!(
        operations,
        json!([{"op": "add", "path": "/metadata", "value": {"labels": {"a/b": "c"}}}])
    );
    let raw = json!({"metadata": null, "spec": {"text": null}});
    let operations = operations_of(&json!({"spec": {}}), |doc| {
        doc.spec.as_mut().unwrap().count = 2;
    });
    assert_eq!(
        operations,
        json!([{"op": "add", "path": "/spec/count", "value": 2}])
    );
    let operations = operations_of(&json!({"spec": raw["spec"]}), |doc| {
        doc.spec.as_mut().unwrap().text = Some("t".to_owned());
    });
    assert_eq!(
        operations,
        json!([{"op": "replace", "path": "/spec/text", "value": "t"}])
    );
}

#[test]
fn an_element_at_the_head_of_a_long_list_is_one_operation() {
    let items: Vec<_> = (0..200)
        .map(|index| json!({"value": index, "mac": index}))
        .collect();
    let raw = json!({"spec": {"items": items}});
    let operations = operations_of(&raw, |doc| {
        doc.spec.as_mut().unwrap().items.insert(0, Item::default());
    });
    assert_eq!(
        operations,
        json!([{"op": "add", "path": "/spec/items/0", "value": {"name": "", "value": null}}])
    );
}

#[test]
fn an_element_keeps_its_unknown_fields_when_another_goes() {
    let raw = json!({"spec": {"items": [
        {"name": "a", "unknown": 1},
        {"name": "b", "unknown": 2},
    ]}});
    let operations = operations_of(&raw, |doc| {
        let items = &mut doc.spec.as_mut().unwrap().items;
        items.remove(0);
        items[0].value = Some(7);
    });
    assert_eq!(
        operations,
        json!([
            {"op": "remove", "path": "/spec/items/0"},
            {"op": "add", "path": "/spec/items/0/value", "value": 7},
        ])
    );
}

#[test]
fn a_change_that_the_raw_object_cannot_take_is_a_fault() {
    #[derive(Serialize, Deserialize)]
    struct Renamed {
        #[serde(alias = "old", default)]
        new: u8,
    }
    let raw = to_raw_value(&json!({"old": 1})).unwrap();
    let fault = between((&*raw).into(), &seen::<Renamed>(&raw), &Renamed { new: 2 }).unwrap_err();
    assert_eq!(fault.code(), 500);
}

#[test]
fn a_plain_change_needs_no_trees_and_others_are_left_to_them() {
    let raw =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"count": 1, "x": 1, "plain": [1, 2]}});
    let before: Doc = serde_json::from_value(raw.clone()).unwrap();
    let plain = |change: fn(&mut Doc)| {
        let mut after = before.clone();
        change(&mut after);
        let [before, after] = [&before, &after].map(|doc| Tape::of(doc, 0).unwrap());
        let raw = to_raw_value(&raw).unwrap();
        let operations = plain::operations(&before, &after, (&*raw).into())?;
        Some(serde_json::to_value(operations).unwrap())
    };
    assert_eq!(
        plain(|doc| {
            doc.metadata.labels = [("c".to_owned(), "d".to_owned())].into();
            if let Some(spec) = &mut doc.spec {
                spec.count = 2;
                spec.plain.insert(0, 0);
            }
        })
        .unwrap(),
        json!([
            {"op": "remove", "path": "/metadata/labels/a"},
            {"op": "add", "path": "/metadata/labels/c", "value": "d"},
            {"op": "replace", "path": "/spec/count", "value": 2},
            {"op": "add", "path": "/spec/plain/0", "value": 0},
        ])
    );
    // The type filled these in.
    assert_eq!(plain(|doc| doc.sorted = [1].into()), None);
    assert_eq!(
        plain(|doc| doc.spec.as_mut().unwrap().items = vec![Item::default()]),
        None
    );
}
