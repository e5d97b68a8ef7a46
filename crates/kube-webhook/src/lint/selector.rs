//! Label selectors: whether the API server takes them, and which namespaces they leave out. Used by
//! `refused` and `practice`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::names::{is_label_value, is_qualified_name};

/// What the API server would say of it; `None` if it is fine.
pub(super) fn flaw(selector: &LabelSelector) -> Option<String> {
    for (key, value) in selector.match_labels.iter().flatten() {
        if !is_qualified_name(key) || !is_label_value(value) {
            return Some(format!("{key:?}: {value:?} is no label"));
        }
    }
    for one in selector.match_expressions.iter().flatten() {
        let key = &one.key;
        if !is_qualified_name(key) {
            return Some(format!("{key:?} is no label's key"));
        }
        let values = one.values.as_deref().unwrap_or_default();
        let takes_values = match &*one.operator {
            "In" | "NotIn" => true,
            "Exists" | "DoesNotExist" => false,
            other => return Some(format!("there is no operator {other:?}")),
        };
        if takes_values == values.is_empty() {
            let needs = if takes_values { "needs" } else { "takes no" };
            return Some(format!("{:?} of {key:?} {needs} values", one.operator));
        }
        if let Some(value) = values.iter().find(|value| !is_label_value(value)) {
            return Some(format!("{value:?} is no label's value"));
        }
    }
    None
}

/// Whether objects of `namespace` can match. A selector by labels that only an administrator sets
/// may leave it out or not: then nothing is said.
pub(super) fn surely_matches(selector: Option<&LabelSelector>, namespace: &str) -> bool {
    let Some(selector) = selector else {
        return true;
    };
    let labels = selector.match_labels.iter().flatten();
    let mut by_label = labels.map(|(key, value)| key == NAME && value == namespace);
    let expressions = selector.match_expressions.iter().flatten();
    let mut by_expression = expressions.map(|one| {
        let names = one.values.as_deref().unwrap_or_default();
        let is_named = names.iter().any(|name| name == namespace);
        one.key == NAME
            && match &*one.operator {
                "In" => is_named,
                "NotIn" => !is_named,
                operator => operator == "Exists",
            }
    });
    by_label.all(|matches| matches) && by_expression.all(|matches| matches)
}

/// Set by the API server on every namespace.
const NAME: &str = "kubernetes.io/metadata.name";
