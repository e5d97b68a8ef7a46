//! Which host a reservation means.
//!
//! Pure. A label with the portal's id comes first, then an annotation with the portal's
//! name, then the host's own name, byte for byte. Never a guess: a look-alike could image
//! the wrong machine, and several hits are none.

use kube::ResourceExt;
use metal3::BareMetalHost;

use crate::api::{RESOURCE_ID_LABEL, RESOURCE_NAME_ANNOTATION, v1::Reservation};

/// What looking for a reservation's host found.
#[derive(Clone, Debug, PartialEq)]
pub enum Lookup {
    /// More than one host answers to the description.
    Ambiguous,
    /// This one.
    Found(Box<BareMetalHost>),
    /// The host that the reservation is pinned to exists no more.
    Gone,
    /// No host answers to the description.
    NotFound,
}

/// Looks among the hosts of the reservation's namespace.
pub fn lookup(reservation: &Reservation, hosts: &[BareMetalHost]) -> Lookup {
    let pinned = reservation
        .status
        .as_ref()
        .and_then(|status| status.host_ref.as_ref());
    if let Some(pinned) = pinned {
        let same = |host: &&BareMetalHost| host.uid().as_deref() == Some(pinned.uid.as_str());
        return match hosts.iter().find(same) {
            Some(host) => Lookup::Found(Box::new(host.clone())),
            None => Lookup::Gone,
        };
    }
    let spec = &reservation.spec;
    let target = spec
        .target
        .as_ref()
        .and_then(|target| target.host_ref.as_ref()?.name.as_deref());
    if let Some(name) = target {
        return only(hosts.iter().filter(|host| host.name() == name)).unwrap_or(Lookup::NotFound);
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
                .filter(|host| Some(host.name()) == resource.name.as_deref()),
        )
    };
    by_id
        .or_else(by_annotation)
        .or_else(by_name)
        .unwrap_or(Lookup::NotFound)
}

fn only<'a>(mut hits: impl Iterator<Item = &'a BareMetalHost>) -> Option<Lookup> {
    let first = hits.next()?;
    Some(match hits.next() {
        Some(_) => Lookup::Ambiguous,
        None => Lookup::Found(Box::new(first.clone())),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::v1::BookedResource;

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
    fn several_hits_are_none() {
        let hosts = [
            host("a", Some("7"), None),
            host("b", Some("7"), None),
            host("srv", None, None),
        ];
        assert_eq!(lookup(&booked(Some(7), "srv"), &hosts), Lookup::Ambiguous);
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
}
