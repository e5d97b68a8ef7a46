//! The entries of an object that lead to us: the webhooks of a configuration, by their names, or the
//! conversion of a definition. Pure.

use serde_json::{Value, json};

/// An entry to be applied, with what is there of it.
pub(super) struct Entry<'a> {
    pub(super) client_config: &'a mut Value,
    /// Base64.
    pub(super) live_bundle: &'a str,
}

/// Those of `applied`, beside those of the same name in `live`.
pub(super) fn of<'a>(applied: &'a mut Value, live: &'a Value) -> Vec<Entry<'a>> {
    let bundle = |config: &'a Value| config["caBundle"].as_str().unwrap_or_default();
    if applied.get("webhooks").is_none() {
        let live = &live["spec"]["conversion"]["webhook"]["clientConfig"];
        return vec![Entry {
            client_config: &mut applied["spec"]["conversion"]["webhook"]["clientConfig"],
            live_bundle: bundle(live),
        }];
    }
    let webhooks = applied["webhooks"].as_array_mut().into_iter().flatten();
    webhooks
        .map(|webhook| Entry {
            live_bundle: named(live, &webhook["name"])
                .map_or("", |(_, live)| bundle(&live["clientConfig"])),
            client_config: &mut webhook["clientConfig"],
        })
        .collect()
}

/// The JSON patch that makes entries ours again into which somebody has put what isn't.
pub(super) fn foreign(applied: &Value, live: &Value) -> Vec<Value> {
    let replace =
        |path: String, value: &Value| json!({"op": "replace", "path": path, "value": value});
    if applied.get("webhooks").is_none() {
        let (ours, live) = (&applied["spec"]["conversion"], &live["spec"]["conversion"]);
        // Where nobody converts, there is nothing to keep.
        let is_foreign = live["strategy"] == "Webhook" && has_more(ours, live);
        let path = "/spec/conversion".to_owned();
        return is_foreign
            .then(|| replace(path, ours))
            .into_iter()
            .collect();
    }
    let webhooks = applied["webhooks"].as_array().into_iter().flatten();
    let foreign = webhooks.filter_map(|ours| {
        let (index, live) = named(live, &ours["name"])?;
        has_more(ours, live).then(|| replace(format!("/webhooks/{index}"), ours))
    });
    foreign.collect()
}

fn named<'a>(live: &'a Value, name: &Value) -> Option<(usize, &'a Value)> {
    let mut webhooks = live["webhooks"].as_array()?.iter().enumerate();
    webhooks.find(|(_, webhook)| webhook["name"] == *name)
}

/// Whether `live` says something of which `ours` says nothing, and which isn't the API server's own
/// default.
fn has_more(ours: &Value, live: &Value) -> bool {
    match (ours, live) {
        (Value::Object(ours), Value::Object(live)) => {
            live.iter().any(|(key, live)| match ours.get(key) {
                Some(ours) => has_more(ours, live),
                None => key != "caBundle" && !is_default(key, live),
            })
        }
        (Value::Array(ours), Value::Array(live)) => {
            live.len() > ours.len()
                || ours
                    .iter()
                    .zip(live)
                    .any(|(ours, live)| has_more(ours, live))
        }
        _ => false,
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
        assert!(foreign(&applied(), &live()).is_empty());
        assert!(foreign(&applied(), &Value::Null).is_empty());
    }

    #[test]
    fn what_somebody_has_added_to_ours_is_taken_away() {
        let condition = json!({"name": "b", "expression": "false"});
        for (pointer, value) in [
            ("/webhooks/1/objectSelector/matchLabels", json!({"a": "b"})),
            ("/webhooks/1/timeoutSeconds", json!(30)),
            ("/webhooks/1/clientConfig/url", json!("https://elsewhere")),
            ("/webhooks/1/matchConditions/-", condition),
        ] {
            let mut live = live();
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            match live.pointer_mut(parent).unwrap() {
                Value::Array(list) => list.push(value),
                object => object[key] = value,
            }
            let patch = foreign(&applied(), &live);
            assert_eq!(patch.len(), 1, "{pointer}");
            assert_eq!(patch[0]["path"], "/webhooks/1");
            assert_eq!(patch[0]["value"], applied()["webhooks"][0]);
        }
    }

    #[test]
    fn each_entry_knows_its_own_bundle() {
        let (mut applied, live) = (applied(), live());
        let entries = of(&mut applied, &live);
        let bundles: Vec<_> = entries.iter().map(|entry| entry.live_bundle).collect();
        assert_eq!(bundles, ["eA=="]);
        let mut definition = json!({"spec": {"conversion": {"webhook": {"clientConfig": {}}}}});
        let entries = of(&mut definition, &Value::Null);
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0].live_bundle, "");
    }
}
