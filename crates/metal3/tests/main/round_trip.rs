//! Whatever the API server stores comes back as it was.

use metal3::BareMetalHost;
use proptest::collection::btree_map;
use proptest::option;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

proptest! {
    #[test]
    fn a_host_comes_back_as_it_was_with_all_that_is_unknown(stored in host()) {
        let host: BareMetalHost = serde_json::from_value(stored.clone()).unwrap();
        prop_assert_eq!(serde_json::to_value(host).unwrap(), stored);
    }
}

#[test]
fn null_in_a_known_field_reads_as_absent() {
    let stored = json!({
        "metadata": {"name": "rack1-u07"},
        "spec": {"online": true, "image": null, "unknown": null},
        "status": {
            "provisioning": {"ID": "", "state": "available", "image": {"url": ""}},
            "operationHistory": {"provision": {"start": null, "end": null}},
        },
    });
    let host: BareMetalHost = serde_json::from_value(stored).unwrap();
    assert_eq!(
        serde_json::to_value(host).unwrap(),
        json!({
            "metadata": {"name": "rack1-u07"},
            "spec": {"online": true, "unknown": null},
            "status": {
                "provisioning": {"ID": "", "state": "available", "image": {"url": ""}},
                "operationHistory": {"provision": {}},
            },
        })
    );
}

#[test]
fn one_odd_host_does_not_fail_the_reading_of_a_whole_list() {
    for odd in [
        json!({}),
        json!({"metadata": {}, "spec": {"image": {}}, "status": {}}),
        json!({"metadata": {}, "status": {"provisioning": {"state": null}}}),
        json!({"metadata": {}, "status": {"provisioning": {"state": "unheard of"}}}),
    ] {
        serde_json::from_value::<BareMetalHost>(odd).unwrap();
    }
}

fn host() -> BoxedStrategy<Value> {
    object(vec![
        ("apiVersion", text()),
        ("kind", text()),
        ("spec", spec()),
        ("status", status()),
    ])
    .prop_map(|mut host| {
        host["metadata"] = json!({"name": "rack1-u07"});
        host
    })
    .boxed()
}

fn spec() -> BoxedStrategy<Value> {
    let spec = object(vec![
        ("image", image()),
        ("customDeploy", object_with("method", text(), vec![])),
        ("userData", secret()),
        ("networkData", secret()),
        ("metaData", secret()),
        (
            "consumerRef",
            object(
                ["apiVersion", "kind", "namespace", "name", "uid"]
                    .map(|name| (name, text()))
                    .to_vec(),
            ),
        ),
        ("externallyProvisioned", flag()),
        ("automatedCleaningMode", text()),
        ("disablePowerOff", flag()),
        (
            "bmc",
            object(vec![
                ("address", text()),
                ("credentialsName", text()),
                ("disableCertificateVerification", flag()),
            ]),
        ),
        ("bootMACAddress", text()),
        ("description", text()),
    ]);
    with("online", flag(), spec)
}

fn status() -> BoxedStrategy<Value> {
    let provisioning = object_with(
        "state",
        state(),
        vec![
            ("image", image()),
            ("customDeploy", object_with("method", text(), vec![])),
        ],
    );
    object(vec![
        ("operationalStatus", text()),
        ("errorType", text()),
        ("errorMessage", text()),
        ("errorCount", any::<i64>().prop_map(Value::from).boxed()),
        ("poweredOn", flag()),
        ("provisioning", with("ID", text(), provisioning)),
        (
            "operationHistory",
            object(
                ["register", "inspect", "provision", "deprovision"]
                    .map(|name| (name, object(vec![("start", time()), ("end", time())])))
                    .to_vec(),
            ),
        ),
    ])
}

fn image() -> BoxedStrategy<Value> {
    object_with(
        "url",
        text(),
        ["checksum", "checksumType", "format"]
            .map(|name| (name, text()))
            .to_vec(),
    )
}

fn secret() -> BoxedStrategy<Value> {
    object(vec![("name", text()), ("namespace", text())])
}

fn state() -> BoxedStrategy<Value> {
    prop_oneof![
        Just("ready".to_owned()),
        Just("available".to_owned()),
        Just("externally provisioned".to_owned()),
        Just("powering off before delete".to_owned()),
        ".*",
    ]
    .prop_map(Value::from)
    .boxed()
}

fn time() -> BoxedStrategy<Value> {
    (0..28_u32, 0..86_400_u32)
        .prop_map(|(day, second)| {
            let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
            let day = day + 1;
            json!(format!(
                "2030-02-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
            ))
        })
        .boxed()
}

fn text() -> BoxedStrategy<Value> {
    ".*".prop_map(Value::from).boxed()
}

fn flag() -> BoxedStrategy<Value> {
    any::<bool>().prop_map(Value::from).boxed()
}

fn object_with(
    required: &'static str,
    value: BoxedStrategy<Value>,
    known: Vec<(&'static str, BoxedStrategy<Value>)>,
) -> BoxedStrategy<Value> {
    with(required, value, object(known))
}

fn with(
    name: &'static str,
    value: BoxedStrategy<Value>,
    object: BoxedStrategy<Value>,
) -> BoxedStrategy<Value> {
    (object, value)
        .prop_map(move |(mut object, value)| {
            object[name] = value;
            object
        })
        .boxed()
}

/// An object with some of the known fields and with unknown ones beside them.
fn object(known: Vec<(&'static str, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let known: Vec<_> = known
        .into_iter()
        .map(|(name, value)| option::of(value).prop_map(move |value| (name.to_owned(), value)))
        .collect();
    // No known field of any level begins like these.
    let unknown = btree_map("x[a-zA-Z0-9_-]{0,6}|[A-Z]{3}| ?|é+", anything(), 0..3);
    (known, unknown)
        .prop_map(|(known, unknown)| {
            let known = known
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?)));
            Value::Object(known.chain(unknown).collect::<Map<_, _>>())
        })
        .boxed()
}

fn anything() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(".*", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
    .boxed()
}
