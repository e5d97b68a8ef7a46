//! The CustomResourceDefinitions: ours against what `generate crds` prints, and the hosts' own.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::ResourceExt;
use serde_json::Value;

use super::{
    Findings,
    hooks::difference,
    observed::{Observed, Reading},
};

pub(super) fn examine(observed: &Observed, findings: &mut Findings) {
    let expected = &observed.expected;
    for wanted in &expected.crds {
        let name = wanted.name_any();
        match observed.crds.get(&name) {
            Some(Reading::Missing) => findings.error(
                "crd-missing",
                format!("CustomResourceDefinition/{name}"),
                "the CustomResourceDefinition is not there",
                "events can't be recorded",
                expected.apply("crds"),
            ),
            Some(Reading::Found(live)) => {
                established(live, findings);
                conversion(observed, wanted, live, findings);
                versions(observed, wanted, live, findings);
                stored_versions(live, findings);
            }
            Some(Reading::Unknown) | None => {}
        }
    }
    hosts(observed, findings);
}

fn subject(crd: &CustomResourceDefinition) -> String {
    format!("CustomResourceDefinition/{}", crd.name_any())
}

fn established(live: &CustomResourceDefinition, findings: &mut Findings) {
    let conditions = live
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let bad = conditions.filter(|condition| match condition.type_.as_str() {
        "Established" | "NamesAccepted" => condition.status == "False",
        "NonStructuralSchema" | "Terminating" => condition.status == "True",
        _ => false,
    });
    for condition in bad {
        findings.error(
            "crd-not-served",
            subject(live),
            format!("{} is {}", condition.type_, condition.status),
            condition.message.clone().unwrap_or_default(),
            format!("kubectl describe crd {}", live.name_any()),
        );
    }
}

fn conversion(
    observed: &Observed,
    wanted: &CustomResourceDefinition,
    live: &CustomResourceDefinition,
    findings: &mut Findings,
) {
    let Some(stanza) = &wanted.spec.conversion else {
        return;
    };
    let apply = observed.expected.apply("crds");
    let strategy = live
        .spec
        .conversion
        .as_ref()
        .map_or("None", |stanza| &stanza.strategy);
    if strategy != stanza.strategy {
        findings.error(
            "conversion-off",
            subject(live),
            format!(
                "spec.conversion.strategy is {strategy} instead of {}",
                stanza.strategy
            ),
            "objects are handed out at other versions with the fields of the stored one, so that \
             readers see them empty and writers lose what they don't know",
            apply,
        );
        return;
    }
    // The bundle is the matter of `trust`, and is not in what `generate` prints.
    let told = match (
        serde_json::to_value(stanza),
        serde_json::to_value(&live.spec.conversion),
    ) {
        (Ok(wanted), Ok(live)) => difference(&wanted, &live),
        _ => None,
    };
    if let Some(told) = told {
        findings.error(
            "conversion-target-changed",
            subject(live),
            format!("spec.conversion{told}"),
            "the API server sends conversions to another place, or to another route",
            apply,
        );
    }
}

fn versions(
    observed: &Observed,
    wanted: &CustomResourceDefinition,
    live: &CustomResourceDefinition,
    findings: &mut Findings,
) {
    let apply = || observed.expected.apply("crds");
    for version in &wanted.spec.versions {
        let name = &version.name;
        let found = live.spec.versions.iter().find(|one| one.name == *name);
        let Some(found) = found.filter(|one| one.served || !version.served) else {
            findings.error(
                "version-not-served",
                subject(live),
                format!("the version {name} is not served"),
                "clients of that version get 404",
                apply(),
            );
            continue;
        };
        let told = match (serde_json::to_value(version), serde_json::to_value(found)) {
            (Ok(wanted), Ok(live)) => difference(&without_text(wanted), &live),
            _ => None,
        };
        if let Some(told) = told {
            findings.warning(
                "schema-outdated",
                subject(live),
                format!("the version {name} is not this program's: {told}"),
                "fields that the API server's schema doesn't have are dropped without a word",
                apply(),
            );
        }
    }
}

/// Without descriptions: what they say is nothing that fails.
fn without_text(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            map.retain(|key, inner| !(key == "description" && inner.is_string()));
            for inner in map.values_mut() {
                *inner = without_text(inner.take());
            }
        }
        Value::Array(list) => {
            for inner in list {
                *inner = without_text(inner.take());
            }
        }
        _ => {}
    }
    value
}

fn stored_versions(live: &CustomResourceDefinition, findings: &mut Findings) {
    let name = live.name_any();
    let storage = live.spec.versions.iter().find(|version| version.storage);
    let Some(storage) = storage.map(|version| version.name.clone()) else {
        return;
    };
    let stored = live
        .status
        .iter()
        .flat_map(|status| status.stored_versions.iter().flatten());
    for stored in stored.filter(|stored| **stored != storage) {
        let served = live
            .spec
            .versions
            .iter()
            .any(|one| one.name == *stored && one.served);
        if served {
            findings.warning(
                "stored-version-left",
                subject(live),
                format!(
                    "status.storedVersions still names {stored}; {storage} is what is stored now"
                ),
                "objects may be stored at it: each read of one is a conversion, and the version \
                 can't be removed",
                format!("{}; {}", rewrite(&name), trim(&name, &storage)),
            );
        } else {
            findings.error(
                "stored-version-not-served",
                subject(live),
                format!("status.storedVersions names {stored}, which is not served"),
                "objects that are stored at it can only be read through another version, by \
                 conversion, and can't be migrated with tools that read that version",
                format!("{}; {}", rewrite(&name), trim(&name, &storage)),
            );
        }
    }
}

/// A write that changes nothing is stored at the storage version all the same.
fn rewrite(crd: &str) -> String {
    format!("kubectl get {crd} --all-namespaces -o json | kubectl replace -f -")
}

fn trim(crd: &str, storage: &str) -> String {
    format!(
        "kubectl patch crd {crd} --subresource=status --type=merge \
         -p '{{\"status\":{{\"storedVersions\":[\"{storage}\"]}}}}'"
    )
}

fn hosts(observed: &Observed, findings: &mut Findings) {
    let kind = &observed.expected.hosts;
    let name = format!("{}.{}", kind.plural, kind.group);
    let problem = match &observed.hosts_crd {
        Reading::Missing => "the hosts' CustomResourceDefinition is not there".to_owned(),
        Reading::Found(live)
            if !live
                .spec
                .versions
                .iter()
                .any(|version| version.name == kind.version && version.served) =>
        {
            format!("the hosts' version {} is not served", kind.version)
        }
        Reading::Found(_) | Reading::Unknown => return,
    };
    findings.error(
        "hosts-crd-missing",
        format!("CustomResourceDefinition/{name}"),
        problem,
        "no host can be found, claimed or imaged; the controller waits",
        "kubectl get crd | grep baremetalhosts    # install baremetal-operator, or correct \
         BMH_API_GROUP, BMH_API_VERSION and BMH_PLURAL",
    );
}
