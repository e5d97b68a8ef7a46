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
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        onto.remove(key);
    }
    for (key, after) in after {
        let before = before.get(key);
        if before == Some(after) {
            continue;
        }
        match (before, onto.get_mut(key)) {
            (Some(before), Some(onto)) => value(before, after, onto),
            _ => {
                onto.insert(key.clone(), after.clone());
            }
        }
    }
}

fn value(before: &Value, after: &Value, onto: &mut Value) {
    match (before, after, &mut *onto) {
        (Value::Object(before), Value::Object(after), Value::Object(onto)) => {
            object(before, after, onto);
        }
        (Value::Array(before), Value::Array(after), Value::Array(onto))
            if before.len() == onto.len() =>
        {
            array(before, after, onto);
        }
        _ => *onto = after.clone(),
    }
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
}
