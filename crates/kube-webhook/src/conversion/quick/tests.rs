//! The short way gives what the long way gives, or nothing.

use kube::CustomResource;
use proptest::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};

use super::*;
use crate::conversion::{ConversionError, Converter, Converters, Star};

#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "example.com",
    version = "v1",
    kind = "Port",
    root = "V1Port",
    status = "Status"
)]
#[serde(default)]
struct V1PortSpec {
    address: String,
    weight: f64,
}

#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[kube(
    group = "example.com",
    version = "v2",
    kind = "Port",
    root = "V2Port",
    status = "Status"
)]
#[serde(default)]
struct V2PortSpec {
    host: String,
    port: String,
    weight: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(default)]
struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    ready: Option<bool>,
}

struct V1ToV2 {
    labels: bool,
}

impl Converter for V1ToV2 {
    type From = V1Port;
    type Storage = V2Port;

    fn convert(&self, from: V1Port) -> Result<V2Port, ConversionError> {
        let (host, port) = from.spec.address.split_once(':').unwrap_or_default();
        let mut metadata = from.metadata;
        if self.labels {
            let labels = metadata.labels.get_or_insert_default();
            labels.insert("converted".to_owned(), "yes".to_owned());
        }
        Ok(V2Port {
            metadata,
            spec: V2PortSpec {
                host: host.to_owned(),
                port: port.to_owned(),
                weight: from.spec.weight,
                protocol: None,
            },
            // A field that the source may not have.
            status: Some(from.status.unwrap_or_default()),
        })
    }

    fn revert(&self, storage: V2Port) -> Result<V1Port, ConversionError> {
        let V2PortSpec {
            host, port, weight, ..
        } = storage.spec;
        Ok(V1Port {
            metadata: storage.metadata,
            spec: V1PortSpec {
                address: format!("{host}:{port}"),
                weight,
            },
            status: storage.status,
        })
    }
}

fn star(prefix: Option<&str>, labels: bool) -> Star {
    let converters = Converters::new().add(V1ToV2 { labels });
    Star::new(&converters, prefix.map(str::to_owned), false)
}

/// Both ways' results; none of the short one if it declined.
fn both(star: &Star, object: &str, from: &str, to: &str) -> (Option<Value>, Option<Value>) {
    let raw: &RawValue = serde_json::from_str(object).unwrap();
    let (source, target) = (star.way(from).unwrap(), star.way(to).unwrap());
    let parts = Parts::read(object).unwrap();
    let mut quick = Vec::new();
    let is_quick = star.convert_quickly(&parts, source, target, to, &mut quick);
    assert!(is_quick.is_some() || quick.is_empty());
    let thorough = star.convert_thoroughly(raw.into(), "Port", source, target, to);
    (
        is_quick.map(|()| serde_json::from_slice(&quick).unwrap()),
        thorough.ok(),
    )
}

const V1: &str = "example.com/v1";
const V2: &str = "example.com/v2";

#[test]
fn plain_objects_take_the_short_way() {
    let v1 = json!({
        "apiVersion": V1, "kind": "Port",
        "metadata": {
            "name": "a", "labels": {"b": "1", "a": "2"}, "unknown": {"kept": true},
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{\"spec\":{}}\n"},
        },
        "spec": {"weight": 0.1, "address": "h:1"},
        "status": {},
    });
    for prefix in [None, Some("example.com")] {
        let star = star(prefix, false);
        let (quick, thorough) = both(&star, &v1.to_string(), V1, V2);
        let v2 = quick.unwrap();
        assert_eq!(Some(&v2), thorough.as_ref());
        assert_eq!(v2["metadata"], v1["metadata"]);
        let (quick, thorough) = both(&star, &v2.to_string(), V2, V1);
        assert_eq!(quick.as_ref(), Some(&v1));
        assert_eq!(quick, thorough);
    }
}

#[test]
fn what_is_not_plain_takes_the_long_way() {
    let metadata = json!({"name": "a"});
    let spec = json!({"address": "h:1", "weight": 1.0});
    let object = |metadata: &Value, spec: &Value| {
        json!({"apiVersion": V1, "kind": "Port", "metadata": metadata, "spec": spec}).to_string()
    };
    let plain = object(&metadata, &spec);
    let lossless = star(Some("example.com"), false);
    assert!(both(&lossless, &plain, V1, V2).0.is_some());
    // A converter that labels, no spec, content that would be lost, an annotation of ours.
    assert!(both(&star(None, true), &plain, V1, V2).0.is_none());
    let bare = json!({"apiVersion": V1, "kind": "Port", "metadata": metadata}).to_string();
    assert!(both(&lossless, &bare, V1, V2).0.is_none());
    // More fields than anybody should look through again and again.
    let mut wide: Value = serde_json::from_str(&plain).unwrap();
    for field in 0..=FEW {
        wide[format!("field{field}")] = json!(0);
    }
    assert!(
        both(&star(None, false), &wide.to_string(), V1, V2)
            .0
            .is_none()
    );
    let lossy = object(
        &metadata,
        &json!({"address": "h:1", "weight": 1.0, "more": 1}),
    );
    assert!(both(&lossless, &lossy, V1, V2).0.is_none());
    let plain_key = "example.com/conversion-data";
    let annotated = object(&json!({"annotations": {plain_key: "{}"}}), &spec);
    assert!(both(&lossless, &annotated, V1, V2).0.is_none());
    for hidden in [
        "example.com\\/conversion-data",
        "example.com/conversion\\u002ddata",
    ] {
        let hidden = annotated.replace(plain_key, hidden);
        assert!(both(&lossless, &hidden, V1, V2).0.is_none(), "{hidden}");
    }
}

fn object() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        Just(json!({})),
        any::<f64>().prop_map(|number| json!(number)),
        any::<i32>().prop_map(|number| json!(number)),
        "[a-z:]{0,4}".prop_map(Value::from),
    ];
    let spec =
        prop::collection::btree_map("address|weight|host|port|protocol|more", leaf.clone(), 0..5);
    let labels = prop::option::of(prop::collection::btree_map("[a-c]", "[a-c]{0,2}", 0..3));
    let status = prop::option::of(prop_oneof![
        Just(json!({})),
        Just(json!({"ready": true})),
        Just(Value::Null),
    ]);
    let rest = prop::collection::btree_map("data|more", leaf, 0..2);
    (spec, labels, status, rest).prop_map(|(spec, labels, status, rest)| {
        let mut object = json!({"metadata": {"name": "a", "generation": 1}, "spec": spec});
        if let Some(labels) = labels {
            object["metadata"]["labels"] = json!(labels);
        }
        if let Some(status) = status {
            object["status"] = status;
        }
        for (key, value) in rest {
            object[&key] = value;
        }
        object
    })
}

proptest! {
    #[test]
    fn the_short_way_never_contradicts_the_long_one(
        mut object in object(),
        lossless in any::<bool>(),
        labels in any::<bool>(),
        inwards in any::<bool>(),
    ) {
        let (from, to) = if inwards { (V1, V2) } else { (V2, V1) };
        object["apiVersion"] = from.into();
        object["kind"] = "Port".into();
        let star = star(lossless.then_some("example.com"), labels);
        let (quick, thorough) = both(&star, &object.to_string(), from, to);
        if let Some(quick) = quick {
            prop_assert_eq!(Some(quick), thorough);
        }
    }
}
