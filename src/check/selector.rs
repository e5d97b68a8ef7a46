//! Whether a label selector matches, as the API server has it. For `hooks` and `others`.

use std::collections::BTreeMap;

use serde_json::Value;

/// Whether these labels are selected. A selector that says nothing selects all.
pub(super) fn matches(selector: &Value, labels: &BTreeMap<String, String>) -> bool {
    let by_label = selector["matchLabels"].as_object().into_iter().flatten();
    let by_expression = selector["matchExpressions"]
        .as_array()
        .into_iter()
        .flatten();
    by_label
        .map(|(key, value)| labels.get(key).map(String::as_str) == value.as_str())
        .chain(by_expression.map(|expression| holds(expression, labels)))
        .all(|holds| holds)
}

/// An operator that there isn't can't be stored; were there a new one, we would not say that it
/// excludes anything.
fn holds(expression: &Value, labels: &BTreeMap<String, String>) -> bool {
    let value = expression["key"].as_str().and_then(|key| labels.get(key));
    let listed = || {
        let values = expression["values"].as_array().into_iter().flatten();
        values
            .filter_map(Value::as_str)
            .any(|one| value.is_some_and(|value| value == one))
    };
    match expression["operator"].as_str() {
        Some("In") => listed(),
        Some("NotIn") => !listed(),
        Some("Exists") => value.is_some(),
        Some("DoesNotExist") => value.is_none(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selectors_are_read_as_the_api_server_reads_them() {
        let labels = BTreeMap::from([("team".to_owned(), "lab".to_owned())]);
        let expression = |key: &str, operator: &str, values: &[&str]| json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]});
        for (selector, selected) in [
            (json!({}), true),
            (Value::Null, true),
            (json!({"matchLabels": {"team": "lab"}}), true),
            (json!({"matchLabels": {"team": "web"}}), false),
            (json!({"matchLabels": {"site": "turin"}}), false),
            (expression("team", "In", &["web", "lab"]), true),
            (expression("site", "In", &["turin"]), false),
            (expression("team", "NotIn", &["lab"]), false),
            (expression("site", "NotIn", &["turin"]), true),
            (expression("team", "Exists", &[]), true),
            (expression("team", "DoesNotExist", &[]), false),
        ] {
            assert_eq!(matches(&selector, &labels), selected, "{selector}");
        }
    }
}
