//! Which elements of one list are which of another. Used by `patch`, and by `conversion` to carry
//! what a version can't express along with the elements it belongs to.

use serde_json::Value;

/// One step from the old list to the new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Old element `.0` is new element `.1`, though perhaps changed.
    Keep(usize, usize),
    /// Old element `.0` is gone.
    Remove,
    /// New element `.0` has no predecessor.
    Add(usize),
}

/// The steps from `old` to `new`, in order; `None` if the lists are too long and too different to
/// be worth it.
///
/// Equal elements match, and so do objects of the same `name`, the key that nearly all lists of the
/// Kubernetes API merge by. A run of equally many unnamed elements on both sides is matched one by
/// one: elements that were edited in place.
pub(crate) fn align(old: &[Value], new: &[Value]) -> Option<Vec<Step>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (&old[head..], &new[head..]);
    let tail = old_rest
        .iter()
        .rev()
        .zip(new_rest.iter().rev())
        .take_while(|(a, b)| a == b)
        .count();
    let old_middle = &old_rest[..old_rest.len() - tail];
    let new_middle = &new_rest[..new_rest.len() - tail];

    let mut steps: Vec<Step> = (0..head).map(|index| Step::Keep(index, index)).collect();
    for step in align_middle(old_middle, new_middle)? {
        steps.push(match step {
            Step::Keep(from, to) => Step::Keep(head + from, head + to),
            Step::Remove => Step::Remove,
            Step::Add(to) => Step::Add(head + to),
        });
    }
    let (old_tail, new_tail) = (old.len() - tail, new.len() - tail);
    steps.extend((0..tail).map(|index| Step::Keep(old_tail + index, new_tail + index)));
    Some(steps)
}

fn align_middle(old: &[Value], new: &[Value]) -> Option<Vec<Step>> {
    if old.len().saturating_mul(new.len()) > LARGEST_TABLE {
        return None;
    }
    // The longest common subsequence, from the back, so that it can be walked from the front.
    let width = new.len() + 1;
    let mut longest = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            longest[i * width + j] = if is_same(&old[i], &new[j]) {
                longest[(i + 1) * width + j + 1] + 1
            } else {
                longest[(i + 1) * width + j].max(longest[i * width + j + 1])
            };
        }
    }

    let mut steps = Vec::with_capacity(old.len().max(new.len()));
    let (mut i, mut j) = (0, 0);
    let (mut gap_old, mut gap_new) = (0, 0);
    while i < old.len() && j < new.len() {
        if is_same(&old[i], &new[j]) {
            close_gap(
                &old[gap_old..i],
                &new[gap_new..j],
                gap_old,
                gap_new,
                &mut steps,
            );
            steps.push(Step::Keep(i, j));
            (i, j) = (i + 1, j + 1);
            (gap_old, gap_new) = (i, j);
        } else if longest[(i + 1) * width + j] >= longest[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    close_gap(
        &old[gap_old..],
        &new[gap_new..],
        gap_old,
        gap_new,
        &mut steps,
    );
    Some(steps)
}

fn close_gap(
    old: &[Value],
    new: &[Value],
    old_offset: usize,
    new_offset: usize,
    steps: &mut Vec<Step>,
) {
    let edited_in_place = old.len() == new.len()
        && old
            .iter()
            .zip(new)
            .all(|(a, b)| name(a).is_none() && name(b).is_none());
    if edited_in_place {
        steps.extend((0..old.len()).map(|k| Step::Keep(old_offset + k, new_offset + k)));
    } else {
        steps.extend(old.iter().map(|_| Step::Remove));
        steps.extend((0..new.len()).map(|k| Step::Add(new_offset + k)));
    }
}

fn is_same(old: &Value, new: &Value) -> bool {
    match (name(old), name(new)) {
        (Some(old), Some(new)) => old == new,
        (None, None) => old == new,
        _ => false,
    }
}

fn name(element: &Value) -> Option<&str> {
    element.get("name")?.as_str()
}

const LARGEST_TABLE: usize = 250_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_insert_at_the_head_is_one_step() {
        let old: Vec<Value> = (0..200).map(|index| json!({"mac": index})).collect();
        let mut new = old.clone();
        new.insert(0, json!({"mac": "new"}));
        let steps = align(&old, &new).unwrap();
        assert_eq!(steps[0], Step::Add(0));
        assert!(steps[1..].iter().all(|step| matches!(step, Step::Keep(..))));
    }

    #[test]
    fn a_named_element_is_followed_wherever_it_goes() {
        let old = [
            json!({"name": "a", "port": 1}),
            json!({"name": "b", "port": 2}),
        ];
        let new = [json!({"name": "b", "port": 3})];
        assert_eq!(align(&old, &new).unwrap(), [Step::Remove, Step::Keep(1, 0)]);
    }

    proptest! {
        #[test]
        fn the_steps_lead_from_the_old_list_to_the_new(
            old in prop::collection::vec(0..4_u8, 0..12),
            new in prop::collection::vec(0..4_u8, 0..12),
        ) {
            let old: Vec<Value> = old.into_iter().map(Value::from).collect();
            let new: Vec<Value> = new.into_iter().map(Value::from).collect();
            let (mut seen_old, mut seen_new) = (0, 0);
            for step in align(&old, &new).unwrap() {
                match step {
                    Step::Keep(from, to) => {
                        prop_assert_eq!((from, to), (seen_old, seen_new));
                        seen_old += 1;
                        seen_new += 1;
                    }
                    Step::Remove => seen_old += 1,
                    Step::Add(to) => {
                        prop_assert_eq!(to, seen_new);
                        seen_new += 1;
                    }
                }
            }
            prop_assert_eq!((seen_old, seen_new), (old.len(), new.len()));
        }
    }
}
