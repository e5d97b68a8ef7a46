//! Which host a reservation means.
//!
//! Pure. A label with the portal's id comes first, then an annotation with the portal's
//! name, then the host's own name, byte for byte. Never a guess: a look-alike could image
//! the wrong machine, and several hits are none.

use kube::{Resource, ResourceExt, core::DeserializeGuard};
use metal3::{BareMetalHost, ConsumerRef};

use crate::api::{
    GROUP, RESOURCE_ID_LABEL, RESOURCE_NAME_ANNOTATION,
    v1::{BookedResource, Reservation},
};

/// What looking for a reservation's host found.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// More than one host answers to the description.
    Ambiguous,
    /// This one.
    Found(Box<BareMetalHost>),
    /// The host that the reservation is pinned to exists no more.
    Gone,
    /// None of the hosts that would do can be had.
    NoneFree(Shortage),
    /// No host answers to the description.
    NotFound,
    /// There is one, and what it or its calendar says can't be understood.
    Unreadable {
        /// Kind and name of the object.
        object: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Why there is no host to pick.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// So many bear the labels, and none can be had in the window.
    AllTaken(usize),
    /// The selector means nothing.
    Nonsense(String),
    /// No host bears the labels.
    NoneBearing,
}

impl From<BareMetalHost> for Lookup {
    fn from(host: BareMetalHost) -> Self {
        Self::Found(Box::new(host))
    }
}

impl From<DeserializeGuard<BareMetalHost>> for Lookup {
    fn from(host: DeserializeGuard<BareMetalHost>) -> Self {
        match host.0 {
            Ok(host) => host.into(),
            Err(invalid) => Self::Unreadable {
                object: format!(
                    "BareMetalHost {}",
                    invalid.metadata.name.unwrap_or_default()
                ),
                why: invalid.error,
            },
        }
    }
}

/// Looks among the hosts of the reservation's namespace. A host is found by its metadata, so
/// that one whose rest can't be read is not taken for one that isn't there.
pub fn lookup<H>(reservation: &Reservation, hosts: &[H]) -> Lookup
where
    H: Resource + Clone + Into<Lookup>,
{
    let pinned = reservation
        .status
        .as_ref()
        .and_then(|status| status.host_ref.as_ref());
    if let Some(pinned) = pinned {
        let same = |host: &&H| host.meta().uid.as_deref() == Some(pinned.uid.as_str());
        return match hosts.iter().find(same) {
            Some(host) => host.clone().into(),
            None => Lookup::Gone,
        };
    }
    let spec = &reservation.spec;
    if let Some(name) = wanted_name(reservation) {
        let named = |host: &&H| host.meta().name.as_deref() == Some(name);
        return only(hosts.iter().filter(named)).unwrap_or(Lookup::NotFound);
    }
    let Some(resource) = &spec.resource else {
        return Lookup::NotFound;
    };
    let by_id = resource.id.map(|id| id.to_string()).and_then(|id| {
        only(
            hosts
                .iter()
                .filter(|host| host.labels().get(RESOURCE_ID_LABEL) == Some(&id)),
        )
    });
    let name = resource.name.as_deref().map(str::trim);
    let by_annotation = || {
        only(hosts.iter().filter(|host| {
            let annotated = host.annotations().get(RESOURCE_NAME_ANNOTATION);
            name.is_some() && annotated.map(|annotated| annotated.trim()) == name
        }))
    };
    let by_name = || {
        only(
            hosts
                .iter()
                .filter(|host| resource.name.is_some() && host.meta().name == resource.name),
        )
    };
    by_id
        .or_else(by_annotation)
        .or_else(by_name)
        .unwrap_or(Lookup::NotFound)
}

/// The host that it asks for by the host's own name.
pub fn wanted_name(reservation: &Reservation) -> Option<&str> {
    let target = reservation.spec.target.as_ref()?;
    target.host_ref.as_ref()?.name.as_deref()
}

/// The name of the host, where the spec says it. Of a resource's name that is the last meaning,
/// and none at all where labels say which host it is.
pub fn named_host(reservation: &Reservation) -> Option<&str> {
    let target = reservation.spec.target.as_ref();
    if target.is_some_and(|target| target.selector.is_some()) {
        return None;
    }
    let resource = || reservation.spec.resource.as_ref()?.name.as_deref();
    wanted_name(reservation).or_else(resource)
}

/// Why nobody may have this host: without cleaning, the next user could read the disk.
pub fn not_reservable(host: &BareMetalHost) -> Option<&'static str> {
    if host.is_deleting() {
        Some("is being deleted")
    } else if host.is_externally_provisioned() {
        Some("is externally provisioned")
    } else if host.is_detached() {
        Some("is detached")
    } else if host.spec.automated_cleaning_mode.as_deref() == Some("disabled") {
        Some("has its cleaning disabled")
    } else {
        None
    }
}

/// The claim of a Reservation of ours; other projects have a kind of that name.
pub fn claim(host: &BareMetalHost) -> Option<&ConsumerRef> {
    host.consumer().filter(|consumer| {
        consumer.group() == Some(GROUP) && consumer.kind.as_deref() == Some("Reservation")
    })
}

/// The Reservation that has the host which answers to a resource's name, as its
/// `consumerRef` says.
pub fn holder(resource_name: &str, hosts: &[BareMetalHost]) -> Option<String> {
    let mut asked = Reservation::default();
    asked.spec.resource = Some(BookedResource {
        name: Some(resource_name.to_owned()),
        ..BookedResource::default()
    });
    let Lookup::Found(host) = lookup(&asked, hosts) else {
        return None;
    };
    claim(&host)?.name.clone()
}

fn only<'a, H>(mut hits: impl Iterator<Item = &'a H>) -> Option<Lookup>
where
    H: Clone + Into<Lookup> + 'a,
{
    let first = hits.next()?;
    Some(match hits.next() {
        Some(_) => Lookup::Ambiguous,
        None => first.clone().into(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn host(name: &str, id: Option<&str>, annotation: Option<&str>) -> BareMetalHost {
        serde_json::from_value(json!({
            "metadata": {
                "name": name,
                "uid": format!("uid-{name}"),
                "labels": id.map(|id| json!({RESOURCE_ID_LABEL: id})),
                "annotations": annotation.map(|text| json!({RESOURCE_NAME_ANNOTATION: text})),
            },
            "spec": {"online": false},
        }))
        .unwrap()
    }

    fn booked(id: Option<i64>, name: &str) -> Reservation {
        let mut reservation = Reservation::default();
        reservation.spec.resource = Some(BookedResource {
            id,
            name: Some(name.to_owned()),
            ..BookedResource::default()
        });
        reservation
    }

    fn found(reservation: &Reservation, hosts: &[BareMetalHost]) -> Option<String> {
        match lookup(reservation, hosts) {
            Lookup::Found(host) => Some(host.name().to_owned()),
            _ => None,
        }
    }

    #[test]
    fn the_label_comes_before_the_annotation_and_that_before_the_name() {
        let mut hosts = vec![
            host("srv", None, None),
            host("b", None, Some("srv")),
            host("c", Some("7"), None),
        ];
        let booking = booked(Some(7), "srv");
        for expected in ["c", "b", "srv"] {
            assert_eq!(found(&booking, &hosts).as_deref(), Some(expected));
            hosts.pop();
        }
        assert_eq!(lookup(&booking, &hosts), Lookup::NotFound);
    }

    #[test]
    fn a_name_with_blanks_needs_an_annotation_and_never_matches_a_look_alike() {
        let hosts = [
            host("lab-server-a1", None, Some(" Lab Server A1 ")),
            host("x", None, None),
        ];
        assert_eq!(
            found(&booked(None, "Lab Server A1"), &hosts).as_deref(),
            Some("lab-server-a1")
        );
        assert_eq!(found(&booked(None, "lab server a1"), &hosts), None);
        assert_eq!(found(&booked(None, "X"), &hosts), None);
    }

    #[test]
    fn labels_name_no_host_whatever_the_resource_is_called() {
        let mut booking = booked(None, "srv");
        assert_eq!(named_host(&booking), Some("srv"));
        booking.spec.target = serde_json::from_value(json!({"selector": {}})).unwrap();
        assert_eq!(named_host(&booking), None);
        booking.spec.target = serde_json::from_value(json!({"hostRef": {"name": "b"}})).unwrap();
        assert_eq!(named_host(&booking), Some("b"));
    }

    #[test]
    fn several_hits_are_none() {
        let hosts = [
            host("a", Some("7"), None),
            host("b", Some("7"), None),
            host("srv", None, None),
        ];
        assert_eq!(lookup(&booked(Some(7), "srv"), &hosts), Lookup::Ambiguous);
    }

    #[test]
    fn only_a_reservation_holds_a_host_that_was_asked_for_by_its_name() {
        let held = |by: serde_json::Value| {
            let mut host = host("lab-1", None, Some("Lab 1"));
            host.spec.consumer_ref = serde_json::from_value(by).unwrap();
            holder("Lab 1", &[host])
        };
        let by = |version: &str, kind: &str| {
            held(json!({"apiVersion": version, "kind": kind, "name": "portal-101"}))
        };
        assert_eq!(
            by("harbormaster.dev/v1", "Reservation").as_deref(),
            Some("portal-101")
        );
        assert_eq!(
            by("infrastructure.cluster.x-k8s.io/v1beta1", "Metal3Machine"),
            None
        );
        assert_eq!(held(json!(null)), None);
    }

    #[test]
    fn a_host_made_anew_under_the_same_name_is_another_host() {
        let mut reservation = booked(None, "srv");
        let status = reservation.status.get_or_insert_default();
        status.host_ref = Some(crate::api::v1::HeldHost {
            name: "srv".to_owned(),
            uid: "the-old-one".to_owned(),
            ..Default::default()
        });
        assert_eq!(
            lookup(&reservation, &[host("srv", None, None)]),
            Lookup::Gone
        );
    }

    #[test]
    fn a_host_that_cannot_be_read_is_found_all_the_same() {
        let broken = json!({
            "metadata": {
                "name": "srv",
                "uid": "uid-srv",
                "labels": {RESOURCE_ID_LABEL: "7"},
            },
            "spec": {"online": "perhaps"},
        });
        let hosts: Vec<DeserializeGuard<BareMetalHost>> = vec![
            serde_json::from_value(broken).unwrap(),
            DeserializeGuard(Ok(host("other", None, None))),
        ];
        let mut booking = booked(Some(7), "nowhere");
        let unreadable = lookup(&booking, &hosts);
        assert!(
            matches!(&unreadable, Lookup::Unreadable { object, .. } if object == "BareMetalHost srv"),
            "{unreadable:?}"
        );
        booking.status.get_or_insert_default().host_ref = Some(crate::api::v1::HeldHost {
            name: "srv".to_owned(),
            uid: "uid-srv".to_owned(),
            ..Default::default()
        });
        assert_eq!(lookup(&booking, &hosts), unreadable);
        assert!(matches!(
            lookup(&booked(None, "other"), &hosts),
            Lookup::Found(_)
        ));
    }
}
