//! Made-up Reservations of every version, as odd as a schema lets them be, and odder: also
//! what no schema takes (empty texts, unreadable times) must come back as it was.

use proptest::{collection, option, prelude::*};
use serde_json::{Map, Value, json};

type Field = (&'static str, BoxedStrategy<Value>);

pub(super) fn hub() -> BoxedStrategy<Value> {
    let spec = some_of(vec![
        (
            "source",
            some_of(vec![
                ("provider", word()),
                ("eventId", word()),
                ("webhookId", any::<i64>().prop_map(Value::from).boxed()),
                ("title", text()),
                ("description", text()),
            ]),
        ),
        (
            "requester",
            some_of(vec![
                ("id", word()),
                ("username", word()),
                ("email", word()),
                ("groups", list(word())),
            ]),
        ),
        (
            "resource",
            some_of(vec![
                ("id", any::<i64>().prop_map(Value::from).boxed()),
                ("name", word()),
                ("type", word()),
                ("specs", text()),
                ("location", text()),
                ("siteId", word()),
                ("siteName", text()),
            ]),
        ),
        (
            "target",
            some_of(vec![
                ("hostRef", some_of(vec![("name", word())])),
                (
                    "selector",
                    Just(json!({"matchLabels": {"rack": "1"}})).boxed(),
                ),
            ]),
        ),
        ("window", some_of(vec![("start", time()), ("end", time())])),
        (
            "lifecycle",
            some_of(vec![
                ("desiredState", one_of(&["Active", "Released", "Scheduled"])),
                ("leadTime", span()),
                ("cleanupTime", span()),
                ("provisionTimeout", span()),
                ("ttlAfterFinished", span()),
            ]),
        ),
        (
            "access",
            some_of(vec![
                ("authorizedKeys", list(key())),
                ("userDataSecretRef", some_of(vec![("name", word())])),
            ]),
        ),
        (
            "provisioning",
            some_of(vec![
                ("image", image()),
                ("customDeploy", some_of(vec![("method", word())])),
                ("networkDataSecretRef", some_of(vec![("name", word())])),
                ("metaDataSecretRef", some_of(vec![("name", word())])),
            ]),
        ),
        ("parameters", parameters()),
    ]);
    let status = some_of(vec![
        (
            "observedGeneration",
            any::<i64>().prop_map(Value::from).boxed(),
        ),
        ("phase", phase()),
        (
            "hostRef",
            some_of(vec![
                ("namespace", word()),
                ("name", word()),
                ("uid", word()),
            ]),
        ),
        ("beginTime", time()),
        ("acceptedTime", time()),
        ("attempts", any::<i64>().prop_map(Value::from).boxed()),
        (
            "lastHostState",
            some_of(vec![("state", word()), ("errorMessage", text())]),
        ),
        (
            "handledEvents",
            list(some_of(vec![
                ("type", word()),
                ("key", word()),
                ("time", time()),
            ])),
        ),
        ("conditions", list(condition())),
    ]);
    object("v1", spec, status)
}

pub(super) fn beta() -> BoxedStrategy<Value> {
    let spec = some_of(vec![
        ("startTime", time()),
        ("endTime", time()),
        (
            "user",
            some_of(vec![("id", word()), ("name", word()), ("email", word())]),
        ),
        ("sshAuthorizedKeys", list(text())),
        ("userDataSecretName", word()),
        (
            "hostRef",
            some_of(vec![("name", word()), ("namespace", word())]),
        ),
        (
            "eventRef",
            some_of(vec![("id", word()), ("provider", word())]),
        ),
        ("title", text()),
        ("resourceName", word()),
        ("siteId", word()),
        ("image", image()),
        ("parameters", texts()),
        ("cancelled", any::<bool>().prop_map(Value::from).boxed()),
        (
            "gracePeriodSeconds",
            any::<i32>().prop_map(Value::from).boxed(),
        ),
    ]);
    let status = some_of(vec![
        ("phase", phase()),
        ("host", word()),
        ("conditions", list(condition())),
    ]);
    object("v1beta1", spec, status)
}

pub(super) fn alpha() -> BoxedStrategy<Value> {
    let spec = some_of(vec![
        (
            "startTime",
            prop_oneof![time(), offset_time(), text()].boxed(),
        ),
        ("endTime", prop_oneof![time(), offset_time()].boxed()),
        ("userId", word()),
        ("username", word()),
        ("email", word()),
        ("sshPublicKey", text()),
        ("userDataSecretName", word()),
        ("bmhName", word()),
        ("eventId", word()),
        ("webhookId", any::<i64>().prop_map(Value::from).boxed()),
        ("eventTitle", text()),
        ("resourceName", word()),
        ("siteId", word()),
        ("imageUrl", word()),
        ("imageChecksum", word()),
        ("imageChecksumType", word()),
        ("customParameters", custom_parameters()),
    ]);
    let status = some_of(vec![
        ("state", phase()),
        ("message", text()),
        ("host", word()),
    ]);
    object("v1alpha1", spec, status)
}

fn object(
    version: &'static str,
    spec: BoxedStrategy<Value>,
    status: BoxedStrategy<Value>,
) -> BoxedStrategy<Value> {
    let annotations = collection::btree_map("[a-z]{1,5}", "[ -~]{0,5}", 1..3);
    (spec, option::of(status), option::of(annotations))
        .prop_map(move |(spec, status, annotations)| {
            let mut object = json!({
                "apiVersion": format!("harbormaster.dev/{version}"),
                "kind": "Reservation",
                "metadata": {"name": "r", "namespace": "metal3", "uid": "u"},
                "spec": spec,
            });
            if let Some(status) = status {
                object["status"] = status;
            }
            if let Some(annotations) = annotations {
                object["metadata"]["annotations"] = json!(annotations);
            }
            object
        })
        .boxed()
}

/// An object with some of these fields; also with none.
fn some_of(fields: Vec<Field>) -> BoxedStrategy<Value> {
    let (names, values): (Vec<_>, Vec<_>) = fields.into_iter().unzip();
    let values: Vec<_> = values.into_iter().map(option::of).collect();
    values
        .prop_map(move |values| {
            let named = names.iter().zip(values);
            let object = named.filter_map(|(name, value)| Some(((*name).to_owned(), value?)));
            Value::Object(Map::from_iter(object))
        })
        .boxed()
}

fn list(element: BoxedStrategy<Value>) -> BoxedStrategy<Value> {
    collection::vec(element, 0..4).prop_map(Value::from).boxed()
}

fn one_of(texts: &'static [&'static str]) -> BoxedStrategy<Value> {
    proptest::sample::select(texts)
        .prop_map(Value::from)
        .boxed()
}

fn word() -> BoxedStrategy<Value> {
    "[a-z0-9.-]{0,6}".prop_map(Value::from).boxed()
}

fn text() -> BoxedStrategy<Value> {
    "(\\PC|\n){0,8}".prop_map(Value::from).boxed()
}

fn phase() -> BoxedStrategy<Value> {
    one_of(&[
        "Active",
        "Failed",
        "Pending",
        "Provisioning",
        "Released",
        "Releasing",
    ])
}

fn span() -> BoxedStrategy<Value> {
    one_of(&["0", "900s", "15m", "1h30m", "500ms", "soon", ""])
}

fn key() -> BoxedStrategy<Value> {
    some_of(vec![("name", word()), ("key", text())])
}

fn image() -> BoxedStrategy<Value> {
    some_of(vec![
        ("url", word()),
        ("checksum", word()),
        ("checksumType", word()),
        ("format", word()),
    ])
}

fn condition() -> BoxedStrategy<Value> {
    (word(), text())
        .prop_map(|(kind, message)| {
            json!({
                "type": kind, "status": "True", "reason": "R", "message": message,
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            })
        })
        .boxed()
}

fn time() -> BoxedStrategy<Value> {
    seconds()
        .prop_map(|time| Value::from(time.to_string()))
        .boxed()
}

fn seconds() -> impl Strategy<Value = jiff::Timestamp> {
    (0..4_000_000_000_i64).prop_map(|s| jiff::Timestamp::from_second(s).unwrap())
}

fn offset_time() -> BoxedStrategy<Value> {
    (seconds(), -23..=23_i8, 0..10_u32)
        .prop_map(|(time, hours, fraction)| {
            let zone = jiff::tz::Offset::constant(hours);
            let time = time.display_with_offset(zone).to_string();
            Value::from(time.replacen('+', &format!(".{fraction}+"), 1))
        })
        .boxed()
}

fn texts() -> BoxedStrategy<Value> {
    collection::btree_map("[a-z]{1,3}", "\\PC{0,4}", 0..3)
        .prop_map(|texts| json!(texts))
        .boxed()
}

fn parameters() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9_f64).prop_map(Value::from),
        text(),
    ];
    let value = leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            collection::btree_map("[a-z]{0,3}", inner, 0..3).prop_map(|map| json!(map)),
        ]
    });
    collection::btree_map("[a-z]{0,3}", value, 0..3)
        .prop_map(|map| json!(map))
        .boxed()
}

fn custom_parameters() -> BoxedStrategy<Value> {
    prop_oneof![
        text(),
        Just(Value::from("{\"os\": \"noble\"}")),
        Just(Value::from("{\"b\":1,\"a\":[1.50]}")),
        Just(Value::from("[1]")),
        parameters().prop_map(|value| Value::from(value.to_string())),
    ]
    .boxed()
}
