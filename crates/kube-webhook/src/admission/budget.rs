//! What the API server would drop or cut without a word: too many or unprintable warnings, and audit
//! annotations under illegal keys. Trimmed here as it would be, but with a log line. Called by
//! `handler`.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::is_name_part;

/// The warnings that will reach the user, in order.
///
/// The API server passes on 4096 characters of all warnings of a request; once they are more, it cuts
/// each to 256, and drops what is beyond. It loses those with control characters altogether.
pub(super) fn warnings(given: &[String]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut kept: Vec<String> = given
        .iter()
        .map(|warning| printable(warning))
        .filter(|warning| !warning.is_empty() && seen.insert(warning.clone()))
        .collect();
    let total: usize = kept.iter().map(|warning| warning.chars().count()).sum();
    if total <= TOTAL {
        return kept;
    }
    let mut left = TOTAL;
    let before = kept.len();
    kept = kept
        .iter()
        .map_while(|warning| {
            let cut: String = warning.chars().take(ITEM).collect();
            left = left.checked_sub(cut.chars().count())?;
            Some(cut)
        })
        .collect();
    tracing::warn!(
        characters = total,
        dropped = before - kept.len(),
        "the hook's warnings were cut: the API server passes on 4096 characters"
    );
    kept
}

/// The annotations that the API server will take. Their keys are the name of a qualified name, since
/// the webhook's name becomes its prefix.
pub(super) fn audit_annotations(given: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    given
        .iter()
        .filter(|(key, _)| {
            let is_legal = is_name_part(key);
            if !is_legal {
                tracing::warn!(
                    key,
                    "audit annotation left out: its key must be at most 63 letters, digits, '-', \
                     '_' and '.', and begin and end with a letter or digit"
                );
            }
            is_legal
        })
        .map(|(key, value)| (&**key, &**value))
        .collect()
}

fn printable(warning: &str) -> String {
    let text: String = warning
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    text.trim().to_owned()
}

const TOTAL: usize = 4_096;
const ITEM: usize = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_warning_keeps_its_text_but_not_its_control_characters() {
        let given = ["two\nlines", "\t", "", "two lines"].map(str::to_owned);
        assert_eq!(warnings(&given), ["two lines"]);
    }

    #[test]
    fn warnings_within_the_budget_stay_whole() {
        let given = ["é".repeat(4_000), "b".repeat(96)];
        assert_eq!(warnings(&given), given);
    }

    #[test]
    fn warnings_beyond_the_budget_are_cut_to_256_characters_each() {
        let given: Vec<String> = (0..30)
            .map(|n| format!("{n:02}{}", "é".repeat(300)))
            .collect();
        let kept = warnings(&given);
        assert_eq!(kept.len(), 16);
        assert!(kept.iter().all(|warning| warning.chars().count() == 256));
    }

    #[test]
    fn an_illegal_key_takes_no_other_one_with_it() {
        let given = ["checked-by", "a/b", "", "-a", &"a".repeat(64)]
            .map(|key| (key.to_owned(), "x".to_owned()))
            .into();
        assert_eq!(
            audit_annotations(&given).into_keys().collect::<Vec<_>>(),
            ["checked-by"]
        );
    }

    proptest! {
        #[test]
        fn whatever_a_hook_warns_of_fits_the_budget(given in prop::collection::vec(".{0,400}", 0..40)) {
            let kept = warnings(&given);
            let total: usize = kept.iter().map(|warning| warning.chars().count()).sum();
            prop_assert!(total <= TOTAL);
            prop_assert!(kept.iter().all(|warning| !warning.is_empty() && !warning.contains(char::is_control)));
        }
    }
}
