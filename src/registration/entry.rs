//! The entries of an object that lead to us: the webhooks of a configuration, by their names, or the
//! conversion of a definition. Pure.

use serde_json::{Value, json};

/// An entry to be applied, with what is there of it.
pub(super) struct Entry<'a> {
    pub(super) client_config: &'a mut Value,
    /// Base64.
    pub(super) live_bundle: &'a str,
    /// Whether we have applied that bundle, and nobody has written another since.
    pub(super) is_bundle_ours: bool,
}

/// Those of `applied`, beside those of the same name in `live`; `owned`: the fields there that we have
/// applied (`fieldsV1`).
pub(super) fn of<'a>(applied: &'a mut Value, live: &'a Value, owned: &Value) -> Vec<Entry<'a>> {
    let bundle = |config: &'a Value| config["caBundle"].as_str().unwrap_or_default();
    let is_bundle_ours = |owned: &Value| owned["f:clientConfig"].get("f:caBundle").is_some();
    if applied.get("webhooks").is_none() {
        let live = &live["spec"]["conversion"]["webhook"]["clientConfig"];
        return vec![Entry {
            client_config: &mut applied["spec"]["conversion"]["webhook"]["clientConfig"],
            live_bundle: bundle(live),
            is_bundle_ours: is_bundle_ours(&owned["f:spec"]["f:conversion"]["f:webhook"]),
        }];
    }
    let webhooks = applied["webhooks"].as_array_mut().into_iter().flatten();
    webhooks
        .map(|webhook| {
            let key = json!({"name": webhook["name"]});
            Entry {
                live_bundle: named(live, &webhook["name"])
                    .map_or("", |(_, live)| bundle(&live["clientConfig"])),
                is_bundle_ours: is_bundle_ours(&owned["f:webhooks"][format!("k:{key}")]),
                client_config: &mut webhook["clientConfig"],
            }
        })
        .collect()
}

/// What somebody has put into entries of ours that an apply can't take away.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    /// Where, for people.
    pub(super) fields: Vec<String>,
    /// The operation of a JSON patch that makes those entries ours again.
    pub(super) replacement: Value,
}

/// `None` if there is nothing of the kind.
pub(super) fn foreign(applied: &Value, live: &Value) -> Option<Foreign> {
    let mut fields = Vec::new();
    // Whole parts, and `add`, which also replaces: whatever has become of the object since it was read,
    // its version alone decides whether this is written.
    let (path, value) = if applied.get("webhooks").is_none() {
        let (ours, live) = (&applied["spec"]["conversion"], &live["spec"]["conversion"]);
        // Where nobody converts, there is nothing to keep.
        if live["strategy"] == "Webhook" {
            more(ours, live, "conversion: ", &mut fields);
        }
        let mut kept = ours.clone();
        keep_bundle(&mut kept["webhook"], &live["webhook"]);
        ("/spec/conversion", kept)
    } else {
        let mut webhooks = live["webhooks"].as_array().cloned().unwrap_or_default();
        for ours in applied["webhooks"].as_array().into_iter().flatten() {
            let Some((index, live)) = named(live, &ours["name"]) else {
                continue;
            };
            let before = fields.len();
            let name = ours["name"].as_str().unwrap_or_default();
            more(ours, live, &format!("{name}: "), &mut fields);
            if fields.len() > before {
                webhooks[index] = ours.clone();
                keep_bundle(&mut webhooks[index], live);
            }
        }
        ("/webhooks", Value::from(webhooks))
    };
    (!fields.is_empty()).then(|| Foreign {
        fields,
        replacement: json!({"op": "add", "path": path, "value": value}),
    })
}

/// Where we don't say whom callers trust, somebody else does.
fn keep_bundle(ours: &mut Value, live: &Value) {
    let config = &mut ours["clientConfig"];
    if let (None, Some(bundle)) = (config.get("caBundle"), live["clientConfig"].get("caBundle")) {
        config["caBundle"] = bundle.clone();
    }
}

fn named<'a>(live: &'a Value, name: &Value) -> Option<(usize, &'a Value)> {
    let mut webhooks = live["webhooks"].as_array()?.iter().enumerate();
    webhooks.find(|(_, webhook)| webhook["name"] == *name)
}

/// The fields of which `live` says something and `ours` nothing, and which aren't the API server's own
/// defaults.
fn more(ours: &Value, live: &Value, path: &str, fields: &mut Vec<String>) {
    match (ours, live) {
        (Value::Object(ours), Value::Object(live)) => {
            let dot = if path.ends_with(' ') { "" } else { "." };
            for (key, live) in live {
                match ours.get(key) {
                    Some(ours) => more(ours, live, &format!("{path}{dot}{key}"), fields),
                    None if key == "caBundle" || is_default(key, live) => {}
                    None => fields.push(format!("{path}{dot}{key}")),
                }
            }
        }
        (Value::Array(ours), Value::Array(live)) => {
            if live.len() > ours.len() {
                fields.push(path.to_owned());
            }
            for (index, (ours, live)) in ours.iter().zip(live).enumerate() {
                more(ours, live, &format!("{path}[{index}]"), fields);
            }
        }
        _ => {}
    }
}

/// Of `admissionregistration.k8s.io/v1` and `apiextensions.k8s.io/v1`.
fn is_default(key: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        value => match key {
            "failurePolicy" => value == "Fail",
            "matchPolicy" => value == "Equivalent",
            "port" => value == 443,
            "reinvocationPolicy" => value == "Never",
            "scope" => value == "*",
            "timeoutSeconds" => value == 10,
            _ => false,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied() -> Value {
        json!({"webhooks": [{
            "name": "ours",
            "clientConfig": {"service": {"name": "h", "namespace": "n", "path": "/x"}},
            "matchConditions": [{"name": "a", "expression": "true"}],
            "rules": [{"operations": ["CREATE"], "resources": ["pods"]}],
        }]})
    }

    /// As the API server stores it, behind somebody else's.
    fn live() -> Value {
        let mut live = applied();
        let ours = &mut live["webhooks"][0];
        ours["clientConfig"]["caBundle"] = json!("eA==");
        ours["clientConfig"]["service"]["port"] = json!(443);
        ours["rules"][0]["scope"] = json!("*");
        for (key, value) in [
            ("failurePolicy", json!("Fail")),
            ("matchPolicy", json!("Equivalent")),
            ("namespaceSelector", json!({})),
            ("objectSelector", json!({})),
            ("timeoutSeconds", json!(10)),
        ] {
            ours[key] = value;
        }
        let theirs = json!({"name": "theirs", "objectSelector": {"matchLabels": {"a": "b"}}});
        live["webhooks"].as_array_mut().unwrap().insert(0, theirs);
        live
    }

    #[test]
    fn defaults_and_others_webhooks_are_left_alone() {
        assert_eq!(foreign(&applied(), &live()), None);
        assert_eq!(foreign(&applied(), &Value::Null), None);
    }

    #[test]
    fn what_somebody_has_added_to_ours_is_taken_away() {
        let condition = json!({"name": "b", "expression": "false"});
        for (pointer, value, field) in [
            (
                "/webhooks/1/objectSelector/matchLabels",
                json!({"a": "b"}),
                "ours: objectSelector",
            ),
            (
                "/webhooks/1/timeoutSeconds",
                json!(30),
                "ours: timeoutSeconds",
            ),
            (
                "/webhooks/1/clientConfig/url",
                json!("https://elsewhere"),
                "ours: clientConfig.url",
            ),
            (
                "/webhooks/1/matchConditions/-",
                condition,
                "ours: matchConditions",
            ),
            (
                "/webhooks/1/rules/0/apiGroups",
                json!(["a"]),
                "ours: rules[0].apiGroups",
            ),
        ] {
            let mut live = live();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            match live.pointer_mut(parent).unwrap() {
                Value::Array(list) => list.push(value),
                object => object[key] = value,
            }
            let Foreign {
                fields,
                replacement,
            } = foreign(&applied(), &live).unwrap();
            assert_eq!(fields, [field]);
            assert_eq!(replacement["path"], "/webhooks");
            let webhooks = &replacement["value"];
            assert_eq!(webhooks[0], live["webhooks"][0]);
            // Whoever is trusted was somebody else's to say, and still is.
            let mut ours = applied()["webhooks"][0].clone();
            ours["clientConfig"]["caBundle"] = json!("eA==");
            assert_eq!(webhooks[1], ours);
        }
    }

    #[test]
    fn of_a_conversion_the_bundle_is_kept_unless_we_know_better() {
        let conversion = |bundle: &str| {
            let config = json!({"url": "https://h", "caBundle": bundle});
            let versions = json!(["v1"]);
            let webhook = json!({"clientConfig": config, "conversionReviewVersions": versions});
            json!({"spec": {"conversion": {"strategy": "Webhook", "webhook": webhook}}})
        };
        let config = "/spec/conversion/webhook/clientConfig";
        let mut live = conversion("eA==");
        live.pointer_mut(config).unwrap()["service"] = json!({"name": "else"});
        let mut silent = conversion("");
        let config = silent.pointer_mut(config).unwrap();
        config.as_object_mut().unwrap().remove("caBundle");
        for (ours, kept) in [(silent, "eA=="), (conversion("eQ=="), "eQ==")] {
            let foreign = foreign(&ours, &live).unwrap();
            assert_eq!(foreign.fields, ["conversion: webhook.clientConfig.service"]);
            let wanted = &conversion(kept)["spec"]["conversion"];
            assert_eq!(foreign.replacement["value"], *wanted);
        }
    }

    #[test]
    fn each_entry_knows_its_own_bundle_and_whose_it_is() {
        let (mut applied, live) = (applied(), live());
        let owned = json!({"f:webhooks": {
            "k:{\"name\":\"ours\"}": {".": {}, "f:clientConfig": {"f:caBundle": {}}},
        }});
        for (owned, is_ours) in [(&owned, true), (&Value::Null, false)] {
            let entries = of(&mut applied, &live, owned);
            assert_eq!(entries.len(), 1);
            assert_eq!(entries[0].live_bundle, "eA==");
            assert_eq!(entries[0].is_bundle_ours, is_ours);
        }
        let mut definition = json!({"spec": {"conversion": {"webhook": {"clientConfig": {}}}}});
        let owned = json!({"f:spec": {"f:conversion": {"f:webhook": {
            "f:clientConfig": {"f:caBundle": {}},
        }}}});
        for (owned, is_ours) in [(&owned, true), (&Value::Null, false)] {
            let entries = of(&mut definition, &Value::Null, owned);
            assert_eq!(entries.len(), 1);
            assert_eq!(entries[0].live_bundle, "");
            assert_eq!(entries[0].is_bundle_ours, is_ours);
        }
    }
}
