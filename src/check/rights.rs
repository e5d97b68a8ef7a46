//! Whether our ServiceAccount may do what `generate rbac` would let it do.

use std::collections::BTreeMap;

use super::{Findings, expected::Right, observed::Observed};

pub(super) fn examine(observed: &Observed, findings: &mut Findings) {
    let expected = &observed.expected;
    let mut by_resource: BTreeMap<_, Vec<&str>> = BTreeMap::new();
    for right in observed.missing_rights.found().into_iter().flatten() {
        by_resource
            .entry(place(right))
            .or_default()
            .push(&right.verb);
    }
    for (place, verbs) in by_resource {
        findings.error(
            "rights-missing",
            format!("ServiceAccount/{}", crate::manifests::NAME),
            format!("{} may not {} {place}", expected.user(), verbs.join(", ")),
            "the role or its binding is missing, an older version's, or bound to another account",
            expected.apply("rbac"),
        );
    }
}

fn place(right: &Right) -> String {
    let mut text = right.resource.clone();
    if !right.group.is_empty() {
        text.push('.');
        text.push_str(&right.group);
    }
    if let Some(name) = &right.name {
        text.push('/');
        text.push_str(name);
    }
    match &right.namespace {
        Some(namespace) => text.push_str(&format!(" in {namespace}")),
        None => text.push_str(" in the whole cluster"),
    }
    text
}
