//! Which versions of an API are still stored, and what to do about it. Pure; `check` asks.

/// What a CustomResourceDefinition's `status.storedVersions` calls for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredVersions {
    /// Only the storage version was ever stored since the last clean-up.
    Settled,
    /// Objects may still be stored in these versions: write each once more, then take the
    /// versions out of `status.storedVersions`.
    Rewrite(Vec<String>),
    /// Objects may be stored in these versions, which nobody can read any more.
    Unserved(Vec<String>),
}

/// Judges the stored versions of a definition that stores `storage` and serves `served`.
pub fn stored_versions(stored: &[String], storage: &str, served: &[String]) -> StoredVersions {
    let others: Vec<_> = stored
        .iter()
        .filter(|version| *version != storage)
        .cloned()
        .collect();
    let unserved: Vec<_> = others
        .iter()
        .filter(|version| !served.contains(version))
        .cloned()
        .collect();
    match (others.is_empty(), unserved.is_empty()) {
        (true, _) => StoredVersions::Settled,
        (false, true) => StoredVersions::Rewrite(others),
        (false, false) => StoredVersions::Unserved(unserved),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(versions: &[&str]) -> Vec<String> {
        versions
            .iter()
            .map(|version| (*version).to_owned())
            .collect()
    }

    #[test]
    fn versions_that_may_still_be_stored_are_named() {
        let served = owned(&["v1", "v1beta1"]);
        for (stored, expected) in [
            (vec!["v1"], StoredVersions::Settled),
            (vec![], StoredVersions::Settled),
            (
                vec!["v1beta1", "v1"],
                StoredVersions::Rewrite(owned(&["v1beta1"])),
            ),
            (
                vec!["v1alpha1", "v1beta1", "v1"],
                StoredVersions::Unserved(owned(&["v1alpha1"])),
            ),
        ] {
            assert_eq!(stored_versions(&owned(&stored), "v1", &served), expected);
        }
    }
}
