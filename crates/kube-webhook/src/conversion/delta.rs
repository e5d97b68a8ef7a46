//! A change made to one form of an object, made to another form of it. Called by `remainder`.

use serde_json::{Map, Value};

use super::object::Content;
use crate::admission::{Step, align};

/// `onto`, changed as `before` was changed to become `after`. Without a change, exactly `onto`.
pub(super) fn apply(before: &Content, after: &Content, onto: &Content) -> Content {
    let mut changed = onto.clone();
    object(before, after, &mut changed);
    changed
}

fn object(before: &Map<String, Value>, after: &Map<String, Value>, onto: &mut Map<String, Value>) {
    for (key, before) in before.iter().filter(|(key, _)| !after.contains_key(*key)) {
        remove(key, before, onto);
    }
    for (key, after) in after {
        let before = before.get(key);
        if before == Some(after) {
            continue;
        }
        match (before, onto.get_mut(key)) {
            (Some(before), Some(onto)) => value(before, after, onto),
            // A group of which nothing was seen is no new group: the rest of it stays.
            (None, Some(onto @ Value::Object(_))) if after.is_object() => {
                value(&Value::Object(Map::new()), after, onto);
            }
            _ => {
                onto.insert(key.clone(), after.clone());
            }
        }
    }
}

/// A group that is gone takes along what was seen of it: the rest of it stays.
fn remove(key: &str, before: &Value, onto: &mut Map<String, Value>) {
    if let (Value::Object(before), Some(Value::Object(rest))) = (before, onto.get_mut(key)) {
        object(before, &Map::new(), rest);
        if !rest.is_empty() {
            return;
        }
    }
    onto.remove(key);
}

fn value(before: &Value, after: &Value, onto: &mut Value) {
    match (before, after, &mut *onto) {
        (Value::Object(before), Value::Object(after), Value::Object(onto)) => {
            object(before, after, onto);
        }
        (Value::Array(before), Value::Array(after), Value::Array(onto))
            if before.len() == onto.len() || is_head(before, onto) =>
        {
            let rest = onto.split_off(before.len());
            array(before, after, onto);
            onto.extend(rest);
        }
        _ => *onto = after.clone(),
    }
}

/// Whether a shorter list shows the first elements of a longer one, each perhaps only in part.
fn is_head(shown: &[Value], whole: &[Value]) -> bool {
    let within = |shown: &Value, whole: &Value| match (shown, whole) {
        (Value::Object(shown), Value::Object(whole)) => shown
            .iter()
            .all(|(key, value)| whole.get(key) == Some(value)),
        (shown, whole) => shown == whole,
    };
    shown.len() < whole.len() && shown.iter().zip(whole).all(|(a, b)| within(a, b))
}

/// Elements correspond by their index in `before` and `onto`; where one went, its remainder goes.
fn array(before: &[Value], after: &[Value], onto: &mut Vec<Value>) {
    let Some(steps) = align(before, after) else {
        *onto = after.to_vec();
        return;
    };
    let changed = steps.into_iter().filter_map(|step| match step {
        Step::Keep(from, to) => {
            let mut element = onto.get(from)?.clone();
            if before[from] != after[to] {
                value(&before[from], &after[to], &mut element);
            }
            Some(element)
        }
        Step::Remove => None,
        Step::Add(to) => Some(after[to].clone()),
    });
    *onto = changed.collect();
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn content(value: Value) -> Content {
        match value {
            Value::Object(content) => content,
            other => panic!("{other}"),
        }
    }

    #[test]
    fn what_is_not_part_of_the_change_stays() {
        let changed = apply(
            &content(json!({"a": 1, "b": {"c": 1}, "gone": 1})),
            &content(json!({"a": 1, "b": {"c": 2}, "new": 1})),
            &content(json!({"a": 9, "b": {"c": 9, "d": 9}, "gone": 9, "more": 9})),
        );
        assert_eq!(
            Value::Object(changed),
            json!({"a": 9, "b": {"c": 2, "d": 9}, "new": 1, "more": 9})
        );
    }

    #[test]
    fn the_rest_of_an_element_goes_where_the_element_goes() {
        let changed = apply(
            &content(json!({"list": [{"name": "a"}, {"name": "b"}]})),
            &content(json!({"list": [{"name": "b"}, {"name": "c"}]})),
            &content(json!({"list": [{"name": "a", "x": 1}, {"name": "b", "x": 2}]})),
        );
        assert_eq!(
            Value::Object(changed),
            json!({"list": [{"name": "b", "x": 2}, {"name": "c"}]})
        );
    }

    #[test]
    fn what_a_view_showed_the_first_of_keeps_the_others() {
        let changed = apply(
            &content(json!({"keys": [{"key": "a"}]})),
            &content(json!({"keys": [{"key": "z"}]})),
            &content(json!({"keys": [{"name": "x", "key": "a"}, {"name": "y", "key": "b"}]})),
        );
        assert_eq!(
            Value::Object(changed),
            json!({"keys": [{"name": "x", "key": "z"}, {"name": "y", "key": "b"}]})
        );
    }

    #[test]
    fn a_group_of_which_nothing_was_seen_keeps_it() {
        let changed = apply(
            &content(json!({})),
            &content(json!({"group": {"a": 1}})),
            &content(json!({"group": {"hidden": 2}})),
        );
        assert_eq!(
            Value::Object(changed),
            json!({"group": {"a": 1, "hidden": 2}})
        );
    }

    #[test]
    fn a_group_that_goes_leaves_what_was_never_seen_of_it() {
        let changed = apply(
            &content(json!({"group": {"a": 1}, "all": {"b": 1}})),
            &content(json!({})),
            &content(json!({"group": {"a": 1, "hidden": 2}, "all": {"b": 1}})),
        );
        assert_eq!(Value::Object(changed), json!({"group": {"hidden": 2}}));
    }
}
