//! Trees of every shape, and what is kept along ways of several steps.

use proptest::prelude::*;
use serde_json::json;

use super::*;

/// A converter between two versions, each of which has a field of its own beside `name`.
struct Step(&'static str);

impl Spoke for Step {
    fn version(&self) -> Version {
        version(self.0)
    }

    fn convert(&self, object: &Object) -> Result<Object, ConversionError> {
        Ok(only_name(object))
    }

    fn revert(&self, object: &Object) -> Result<Object, ConversionError> {
        Ok(only_name(object))
    }
}

fn only_name(object: &Object) -> Object {
    let mut spec = serde_json::Map::new();
    if let Some(name) = object.content.get("spec").and_then(|spec| spec.get("name")) {
        spec.insert("name".to_owned(), name.clone());
    }
    let content = serde_json::Map::from_iter([("spec".to_owned(), Value::Object(spec))]);
    object.with_content(content)
}

fn version(version: &str) -> Version {
    Version {
        group: "example.com".to_owned(),
        version: version.to_owned(),
        kind: "Example".to_owned(),
    }
}

fn edge(from: &'static str, to: &'static str) -> Edge {
    Edge {
        from: version(from),
        to: version(to),
        spoke: Arc::new(Step(from)),
    }
}

fn tree(edges: &[Edge]) -> Star {
    let storage = version(VERSIONS[0]);
    let (ways, flaw) = match ways(&storage, edges) {
        Ok(ways) => (ways, None),
        Err(flaw) => (BTreeMap::new(), Some(flaw)),
    };
    Star {
        storage,
        any_kind: false,
        ways,
        prefix: Some("example.com".to_owned()),
        remainder: Some(Remainder::new("example.com")),
        flaw,
    }
}

fn convert(tree: &Star, object: &Value, to: &str) -> Value {
    let raw = serde_json::value::to_raw_value(object).unwrap();
    let from = object["apiVersion"].as_str().unwrap();
    let to = format!("example.com/{to}");
    if from == to {
        return object.clone();
    }
    let mut made = Vec::new();
    let parts = Parts::read(raw.get()).unwrap();
    tree.convert(|| Ok((&*raw).into()), &parts, &to, &mut made)
        .unwrap();
    serde_json::from_slice(&made).unwrap()
}

/// A tree: for each version but the first, which earlier one it hangs from, and which of the two
/// its converter calls the stored one.
fn shape() -> impl Strategy<Value = Vec<(prop::sample::Index, bool)>> {
    let hanging = (any::<prop::sample::Index>(), any::<bool>());
    prop::collection::vec(hanging, 1..VERSIONS.len())
}

fn edges(shape: &[(prop::sample::Index, bool)]) -> Vec<Edge> {
    let hung = shape.iter().enumerate().map(|(index, (parent, inwards))| {
        let (from, to) = (VERSIONS[index + 1], VERSIONS[parent.index(index + 1)]);
        if *inwards {
            edge(from, to)
        } else {
            edge(to, from)
        }
    });
    hung.collect()
}

proptest! {
    #[test]
    fn every_tree_is_taken_and_keeps_what_its_steps_cannot_say(
        shape in shape(),
        rotation in 0..8_usize,
        name in "[a-z]{1,8}",
        own in "[a-z]{1,8}",
        walk in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
    ) {
        let mut edges = edges(&shape);
        let middle = rotation % edges.len();
        edges.rotate_left(middle);
        let tree = tree(&edges);
        prop_assert_eq!(tree.check(), Ok(()));

        let versions = &VERSIONS[..=shape.len()];
        for home in versions {
            let written = json!({
                "apiVersion": format!("example.com/{home}"),
                "kind": "Example",
                "metadata": {"name": "one"},
                "spec": {"name": name, (*home): own, "unknown": [1.5, null]},
            });
            // Stored, and then read at any versions in turn, as the API server does.
            let stored = convert(&tree, &written, VERSIONS[0]);
            let mut seen = stored.clone();
            for version in &walk {
                seen = convert(&tree, &seen, versions[version.index(versions.len())]);
                prop_assert_eq!(&seen["spec"]["name"], &json!(name));
                seen = convert(&tree, &seen, VERSIONS[0]);
                prop_assert_eq!(&seen, &stored);
            }
            prop_assert_eq!(convert(&tree, &stored, home), written);
        }
    }

    #[test]
    fn one_converter_more_than_a_tree_has_is_refused(
        shape in shape(),
        from in any::<prop::sample::Index>(),
        to in any::<prop::sample::Index>(),
    ) {
        let mut edges = edges(&shape);
        let versions = &VERSIONS[..=shape.len()];
        let pick = |index: prop::sample::Index| versions[index.index(versions.len())];
        edges.push(edge(pick(from), pick(to)));
        let refused = matches!(
            tree(&edges).check(),
            Err(ConvertersError::Duplicate { .. } | ConvertersError::SecondWay { .. })
        );
        prop_assert!(refused);
    }

    #[test]
    fn one_converter_less_than_a_tree_has_is_refused(
        shape in shape(),
        gone in any::<prop::sample::Index>(),
    ) {
        let mut edges = edges(&shape);
        edges.remove(gone.index(edges.len()));
        let versions = VERSIONS[..=shape.len()].iter();
        let all_known = versions
            .filter(|version| **version != VERSIONS[0])
            .all(|version| tree(&edges).ways.contains_key(&format!("example.com/{version}")));
        // A version that was only known by the converter is simply not a version any more.
        prop_assert!(!all_known);
        match tree(&edges).check() {
            Ok(()) => prop_assert_eq!(tree(&edges).ways.len(), edges.len()),
            Err(ConvertersError::Gap { .. } | ConvertersError::None) => {}
            Err(other) => prop_assert!(false, "{}", other),
        }
    }
}

#[test]
fn a_flaw_is_named_with_what_to_do_about_it() {
    for (edges, message) in [
        (
            vec![edge("v2", "v1"), edge("v3", "v2"), edge("v1", "v3")],
            "there is a second way from example.com/v2 to example.com/v3, by other versions: drop \
             the converter between them, or one of those on the other way",
        ),
        (
            vec![edge("v2", "v1"), edge("v4", "v3")],
            "there is no way from example.com/v4 to the stored version example.com/v1: add a \
             converter",
        ),
        (
            vec![edge("v2", "v1"), edge("v1", "v2")],
            "there are two ways to convert example.com/v2: keep one",
        ),
    ] {
        assert_eq!(tree(&edges).check().unwrap_err().to_string(), message);
    }
}

/// The first is the stored one.
const VERSIONS: [&str; 6] = ["v1", "v2", "v3", "v4", "v5", "v6"];
