//! What a write would do to a host's disk, its user and its wipe, rule by rule.
//!
//! Pure: compares a host before and after, by meaning and not by spelling, and only in what
//! decides; whatever else is written is nobody's business here. Who may is decided by the
//! two guards that call this: `host_guard` of held hosts, `host_advice` of all others.

use std::{collections::BTreeMap, fmt};

use kube::ResourceExt;
use metal3::{BareMetalHost, CustomDeploy, Image, SecretReference};

use crate::{
    api::{RESOURCE_ID_LABEL, RESOURCE_NAME_ANNOTATION},
    reservations::lookup::claim,
};

/// A rule, as the audit log names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// What is on the disk, and what its user's system reads, is the holder's.
    H1,
    /// A claim is made, changed and dropped by Harbormaster.
    H2,
    /// A claim is made on a host that nobody has, whoever makes it.
    H3,
    /// A host that is held or booked isn't deleted.
    H4,
    /// The wipe between two users isn't evaded.
    H5,
    /// An image that would silently not be put on the host isn't taken.
    H6,
    /// A host keeps the names by which it is booked, and no two bear the same.
    H7,
}

/// A guarded field that a write changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The rule that it falls under.
    pub rule: Rule,
    /// Its path.
    pub field: &'static str,
}

/// The guarded fields that differ.
pub fn changes(old: &BareMetalHost, new: &BareMetalHost) -> Vec<Change> {
    let (before, after) = (&old.spec, &new.spec);
    let secret_differs = |one: &Option<SecretReference>, other: &Option<SecretReference>| {
        secret(one.as_ref(), new) != secret(other.as_ref(), new)
    };
    let is_kept_dirty =
        |host: &BareMetalHost| host.spec.automated_cleaning_mode.as_deref() == Some("disabled");
    let claims_differ = before.consumer_ref != after.consumer_ref;
    let table = [
        (Rule::H1, "spec.image", image(old) != image(new)),
        (Rule::H1, "spec.customDeploy", deploy(old) != deploy(new)),
        (
            Rule::H1,
            "spec.userData",
            secret_differs(&before.user_data, &after.user_data),
        ),
        (
            Rule::H1,
            "spec.networkData",
            secret_differs(&before.network_data, &after.network_data),
        ),
        (
            Rule::H1,
            "spec.metaData",
            secret_differs(&before.meta_data, &after.meta_data),
        ),
        (
            Rule::H2,
            "spec.consumerRef",
            claims_differ && (claim(old).is_some() || claim(new).is_some()),
        ),
        (
            Rule::H5,
            "spec.externallyProvisioned",
            old.is_externally_provisioned() != new.is_externally_provisioned(),
        ),
        (
            Rule::H5,
            "spec.automatedCleaningMode",
            !is_kept_dirty(old) && is_kept_dirty(new),
        ),
        (
            Rule::H5,
            "metadata.annotations",
            !old.is_detached() && new.is_detached(),
        ),
        (Rule::H7, "metadata.labels", id(old) != id(new)),
        (Rule::H7, "metadata.annotations", alias(old) != alias(new)),
    ];
    let differing = table.into_iter().filter(|(_, _, differs)| *differs);
    differing
        .map(|(rule, field, _)| Change { rule, field })
        .collect()
}

/// Whether a claim is made over another consumer's, or says not which Reservation it is of:
/// one made anew under the same name is another.
pub fn usurps(old: &BareMetalHost, new: &BareMetalHost) -> bool {
    let Some(claim) = claim(new) else {
        return false;
    };
    match old.consumer() {
        Some(before) => self::claim(old).is_none() || before.uid != claim.uid,
        None => claim.uid.is_none(),
    }
}

/// Whether an image is set that the operator will not put on the host, without a word.
pub fn sets_image_while_off(old: Option<&BareMetalHost>, new: &BareMetalHost) -> bool {
    new.spec.online != Some(true) && sets_deployment(old, new)
}

/// Whether something else is to be put on the disk than before.
pub fn sets_deployment(old: Option<&BareMetalHost>, new: &BareMetalHost) -> bool {
    let sets_image = image(new).is_some() && old.and_then(image) != image(new);
    let sets_method = deploy(new).is_some() && old.and_then(deploy) != deploy(new);
    sets_image || sets_method
}

/// What the portal calls the machine: its id, and its name.
pub fn identity(host: &BareMetalHost) -> (Option<&str>, Option<&str>) {
    (id(host), alias(host))
}

fn id(host: &BareMetalHost) -> Option<&str> {
    text(host.labels(), RESOURCE_ID_LABEL)
}

fn alias(host: &BareMetalHost) -> Option<&str> {
    text(host.annotations(), RESOURCE_NAME_ANNOTATION)
}

fn text<'a>(map: &'a BTreeMap<String, String>, key: &str) -> Option<&'a str> {
    let text = map.get(key).map(|text| text.trim());
    text.filter(|text| !text.is_empty())
}

/// An empty URL is the operator's way to say "none", and no type of checksum is `auto`.
fn image(host: &BareMetalHost) -> Option<Image> {
    let image = host.spec.image.as_ref();
    let mut image = image.filter(|image| !image.url.is_empty())?.clone();
    image.checksum = image.checksum.filter(|checksum| !checksum.is_empty());
    image.checksum_type = Some(image.checksum_type.unwrap_or_else(|| "auto".to_owned()));
    Some(image)
}

fn deploy(host: &BareMetalHost) -> Option<&CustomDeploy> {
    let deploy = host.spec.custom_deploy.as_ref();
    deploy.filter(|deploy| !deploy.method.is_empty())
}

/// A Secret without a namespace is in the host's.
fn secret<'a>(secret: Option<&'a SecretReference>, host: &BareMetalHost) -> Option<Named<'a>> {
    let secret = secret?;
    let namespace = secret.namespace.as_deref().filter(|namespace| {
        !namespace.is_empty() && Some(*namespace) != host.metadata.namespace.as_deref()
    });
    let name = secret.name.as_deref().filter(|name| !name.is_empty())?;
    Some((namespace, name))
}

type Named<'a> = (Option<&'a str>, &'a str);

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use metal3::names;
    use serde_json::{Value, json};

    use super::*;

    fn host(spec: &Value, annotations: &Value) -> BareMetalHost {
        let metadata = json!({"name": "srv", "namespace": "metal3", "annotations": annotations});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    fn spec(spec: &Value) -> BareMetalHost {
        host(spec, &json!({}))
    }

    fn reservation(uid: Option<&str>) -> Value {
        json!({"consumerRef": {
            "apiVersion": "harbormaster.dev/v1", "kind": "Reservation", "name": "mine", "uid": uid,
        }})
    }

    #[test]
    fn each_guarded_field_falls_under_its_rule() {
        let foreign = json!({"consumerRef": {"apiVersion": "x/v1", "kind": "Metal3Machine"}});
        for (rule, field, changed) in [
            (
                Rule::H1,
                "spec.image",
                json!({"image": {"url": "http://i"}}),
            ),
            (
                Rule::H1,
                "spec.customDeploy",
                json!({"customDeploy": {"method": "m"}}),
            ),
            (
                Rule::H1,
                "spec.userData",
                json!({"userData": {"name": "u"}}),
            ),
            (
                Rule::H1,
                "spec.networkData",
                json!({"networkData": {"name": "n"}}),
            ),
            (
                Rule::H1,
                "spec.metaData",
                json!({"metaData": {"name": "m"}}),
            ),
            (Rule::H2, "spec.consumerRef", reservation(Some("1"))),
            (
                Rule::H5,
                "spec.externallyProvisioned",
                json!({"externallyProvisioned": true}),
            ),
            (
                Rule::H5,
                "spec.automatedCleaningMode",
                json!({"automatedCleaningMode": "disabled"}),
            ),
        ] {
            let expected = [Change { rule, field }];
            let (before, after) = (spec(&json!({})), spec(&changed));
            assert_eq!(changes(&before, &after), expected);
            // The way back is one too, but for more cleaning than there was.
            let back = changes(&after, &before);
            let is_more_cleaning = field == "spec.automatedCleaningMode";
            assert_eq!(back.is_empty(), is_more_cleaning, "{field}");
        }
        assert_eq!(changes(&spec(&json!({})), &spec(&foreign)), []);
    }

    #[test]
    fn detached_and_the_portals_names_are_guarded_among_the_annotations_and_nothing_else() {
        let before = host(&json!({}), &json!({"a": "b"}));
        let detached = host(&json!({}), &json!({names::DETACHED: "{}"}));
        let field = "metadata.annotations";
        let rule = Rule::H5;
        assert_eq!(changes(&before, &detached), [Change { rule, field }]);
        // Who was detached before, for whatever reason, may be put back.
        assert_eq!(changes(&detached, &before), []);
        let named = host(&json!({}), &json!({RESOURCE_NAME_ANNOTATION: "Server A"}));
        let rule = Rule::H7;
        assert_eq!(changes(&before, &named), [Change { rule, field }]);
        let spaced = host(&json!({}), &json!({RESOURCE_NAME_ANNOTATION: " Server A "}));
        assert_eq!(changes(&named, &spaced), []);
    }

    #[test]
    fn the_same_said_otherwise_is_the_same() {
        for (one, other) in [
            (json!({}), json!({"image": {"url": ""}})),
            (json!({}), json!({"customDeploy": {"method": ""}})),
            (json!({}), json!({"userData": {"name": ""}})),
            (json!({}), json!({"externallyProvisioned": false})),
            (json!({}), json!({"automatedCleaningMode": "metadata"})),
            (
                json!({"image": {"url": "http://i", "checksum": "a"}}),
                json!({"image": {"url": "http://i", "checksum": "a", "checksumType": "auto"}}),
            ),
            (
                json!({"userData": {"name": "u"}}),
                json!({"userData": {"name": "u", "namespace": "metal3"}}),
            ),
        ] {
            let (one, other) = (spec(&one), spec(&other));
            assert_eq!(changes(&one, &other), []);
            assert_eq!(changes(&other, &one), []);
            assert!(!sets_deployment(Some(&one), &other));
        }
    }

    #[test]
    fn a_claim_is_made_whole_and_only_on_a_free_host() {
        let free = spec(&json!({}));
        let foreign = spec(&json!({"consumerRef": {"kind": "Metal3Machine", "uid": "9"}}));
        let (one, other) = (spec(&reservation(Some("1"))), spec(&reservation(Some("2"))));
        let vague = spec(&reservation(None));
        let nameless = spec(&json!({"consumerRef": {"kind": "Metal3Machine"}}));
        for (old, new, does) in [
            (&free, &one, false),
            (&one, &one, false),
            (&one, &free, false),
            (&one, &foreign, false),
            (&vague, &vague, false),
            (&free, &vague, true),
            (&foreign, &one, true),
            (&nameless, &vague, true),
            (&one, &other, true),
        ] {
            assert_eq!(usurps(old, new), does, "{:?}", new.spec);
        }
    }

    #[test]
    fn an_image_that_would_not_be_put_on_the_host_is_found() {
        let on = spec(&json!({"online": true, "image": {"url": "http://i"}}));
        let off = spec(&json!({"online": false, "image": {"url": "http://i"}}));
        let free = spec(&json!({"online": false}));
        assert!(sets_image_while_off(Some(&free), &off));
        assert!(sets_image_while_off(None, &off));
        assert!(!sets_image_while_off(Some(&free), &on));
        // To switch a host off is another matter.
        assert!(!sets_image_while_off(Some(&on), &off));
        assert!(!sets_image_while_off(Some(&on), &free));
    }
}
