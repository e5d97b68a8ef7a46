//! What conversion promises, held against made-up objects. `PROPTEST_CASES` says how many;
//! `cargo xtask soak conversion` runs them by the million.

mod made;

use std::sync::LazyLock;

use kube_webhook::{Conversion, Webhooks, testing};
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::*;
use crate::api::GROUP;

const V1: &str = "harbormaster.dev/v1";
const BETA: &str = "harbormaster.dev/v1beta1";
const ALPHA: &str = "harbormaster.dev/v1alpha1";
const ROUTE: &str = "/convert/harbormaster.dev/reservations";

/// The real route, asked and judged as the API server does.
struct Doors {
    api_server: testing::ApiServer,
    runtime: Runtime,
}

impl Doors {
    fn get() -> &'static Self {
        static DOORS: LazyLock<Doors> = LazyLock::new(|| {
            let conversion = Conversion::new(ReservationConversion).annotation_prefix(GROUP);
            let registered = Webhooks::new("harbormaster")
                .domain(GROUP)
                .add_webhook(conversion)
                .build()
                .unwrap();
            Doors {
                api_server: testing::ApiServer::of(registered.router()),
                runtime: Runtime::new().unwrap(),
            }
        });
        &DOORS
    }

    fn convert(&self, object: &Value, to: &str) -> Value {
        let objects = std::slice::from_ref(object);
        let converted = self.api_server.convert(ROUTE, to, objects);
        let converted = self.runtime.block_on(converted);
        converted.unwrap().into_iter().next().unwrap()
    }

    fn comes_back(&self, object: &Value, via: &[&str]) {
        let trip = testing::check_round_trip(&self.api_server, ROUTE, object, via);
        if let Err(error) = self.runtime.block_on(trip) {
            panic!("{error}");
        }
    }
}

/// What of an object is neither version nor remainder.
fn plain(mut object: Value) -> Value {
    if let Some(metadata) = object["metadata"].as_object_mut()
        && let Some(Value::Object(annotations)) = metadata.get_mut("annotations")
    {
        annotations.retain(|key, _| !key.starts_with(GROUP));
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    object
}

fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object["metadata"]["annotations"][format!("{GROUP}/{key}")].as_str()
}

/// The first key that the alpha view shows, written there.
fn with_first_key(mut stored: Value, key: &str) -> Value {
    stored["spec"]["access"]["authorizedKeys"][0]["key"] = json!(key);
    stored
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_stored_comes_back_from_every_version(object in made::hub()) {
        Doors::get().comes_back(&object, &[BETA, ALPHA]);
    }

    #[test]
    fn what_was_written_in_beta_comes_back(object in made::beta()) {
        Doors::get().comes_back(&object, &[V1, ALPHA]);
    }

    #[test]
    fn what_was_written_in_alpha_comes_back(object in made::alpha()) {
        Doors::get().comes_back(&object, &[V1, BETA]);
    }

    #[test]
    fn storage_never_holds_the_remainder_of_a_view(
        object in prop_oneof![made::hub(), made::beta(), made::alpha()],
    ) {
        let doors = Doors::get();
        for via in [BETA, ALPHA] {
            let stored = doors.convert(&doors.convert(&object, via), V1);
            prop_assert_eq!(annotation(&stored, "conversion-data"), None);
        }
    }

    #[test]
    fn an_edit_through_beta_changes_what_it_names_and_nothing_else(
        object in made::hub(),
        name in "[a-z]{1,8}",
    ) {
        let doors = Doors::get();
        let mut view = doors.convert(&object, BETA);
        view["spec"]["user"]["name"] = json!(name);
        view["spec"]["cancelled"] = json!(true);
        let stored = doors.convert(&view, V1);
        let mut expected = object;
        expected["spec"]["requester"]["username"] = json!(name);
        expected["spec"]["lifecycle"]["desiredState"] = json!("Released");
        prop_assert_eq!(plain(stored), plain(expected));
    }

    #[test]
    fn an_edit_through_alpha_changes_what_it_names_and_nothing_else(
        object in made::hub(),
        name in "[a-z]{1,8}",
    ) {
        let doors = Doors::get();
        let mut view = doors.convert(&object, ALPHA);
        view["spec"]["username"] = json!(name);
        view["spec"]["endTime"] = json!("2040-01-01T00:00:00.5+01:00");
        let stored = doors.convert(&view, V1);
        // The fraction is the view's to remember: times of the stored version are whole.
        prop_assert!(annotation(&stored, "spoke-data").is_some());
        prop_assert_eq!(&doors.convert(&stored, ALPHA)["spec"], &view["spec"]);
        let mut expected = object;
        expected["spec"]["requester"]["username"] = json!(name);
        expected["spec"]["window"]["end"] = json!("2039-12-31T23:00:00Z");
        prop_assert_eq!(plain(stored), plain(expected));
    }

    #[test]
    fn the_only_key_that_alpha_shows_is_exchanged_and_the_others_stay(
        object in made::hub(),
        first in "[a-z]{1,8}",
        second in "[a-z]{1,8}",
    ) {
        let doors = Doors::get();
        let mut object = object;
        object["spec"]["access"]["authorizedKeys"] =
            json!([{"name": "laptop", "key": first}, {"name": "desk", "key": second}]);
        let mut view = doors.convert(&object, ALPHA);
        view["spec"]["sshPublicKey"] = json!("exchanged");
        let stored = doors.convert(&view, V1);
        prop_assert_eq!(plain(stored), plain(with_first_key(object, "exchanged")));
    }

    #[test]
    fn annotations_that_are_not_ours_are_as_if_absent(
        object in prop_oneof![made::beta(), made::alpha()],
        garbage in prop_oneof![
            "\\PC{0,9}",
            Just("{\"version\":1}".to_owned()),
            Just("{\"version\":2,\"hub\":{}}".to_owned()),
            Just("{\"version\":1,\"hub\":{\"spec\":7}}".to_owned()),
            Just("{\"version\":1,\"spokes\":{\"v1beta1\":{\"content\":{\"spec\":[]}}}}".to_owned()),
        ],
    ) {
        let doors = Doors::get();
        let mut tampered = object.clone();
        for key in ["conversion-data", "spoke-data"] {
            tampered["metadata"]["annotations"][format!("{GROUP}/{key}")] = json!(garbage);
        }
        let (stored, expected) = (doors.convert(&tampered, V1), doors.convert(&object, V1));
        prop_assert_eq!(&stored["spec"], &expected["spec"]);
        prop_assert_eq!(&stored["status"], &expected["status"]);
    }
}

#[test]
fn partial_objects_of_server_side_apply_pass_in_every_direction() {
    let doors = Doors::get();
    for from in [V1, BETA, ALPHA] {
        for to in [V1, BETA, ALPHA] {
            for rest in [
                json!({}),
                json!({"metadata": {}}),
                json!({"metadata": {"name": "r"}, "spec": {}}),
                json!({"metadata": {"name": "r"}, "status": {}}),
            ] {
                let mut object = rest;
                object["apiVersion"] = json!(from);
                object["kind"] = json!("Reservation");
                let converted = doors.convert(&object, to);
                assert_eq!(converted["apiVersion"], to);
                for part in ["spec", "status"] {
                    assert_eq!(
                        converted.get(part).is_some(),
                        object.get(part).is_some(),
                        "{object} became {converted}"
                    );
                }
            }
        }
    }
}

#[test]
fn each_field_of_the_older_versions_has_its_place_in_v1() {
    let doors = Doors::get();
    let beta = json!({
        "apiVersion": BETA, "kind": "Reservation", "metadata": {"name": "r"},
        "spec": {
            "startTime": "2030-01-02T10:00:00Z", "endTime": "2030-01-02T12:00:00Z",
            "user": {"id": "u", "name": "mario", "email": "m@example.com"},
            "sshAuthorizedKeys": ["k1", "k2"], "userDataSecretName": "mine",
            "hostRef": {"name": "srv"}, "eventRef": {"id": "101", "provider": "portal"},
            "title": "t", "resourceName": "Lab Server", "siteId": "s",
            "image": {"url": "i", "checksum": "c", "checksumType": "auto", "format": "qcow2"},
            "parameters": {"os": "noble"}, "cancelled": true, "gracePeriodSeconds": 900,
        },
    });
    let stored = doors.convert(&beta, V1);
    assert_eq!(
        stored["spec"],
        json!({
            "source": {"provider": "portal", "eventId": "101", "title": "t"},
            "requester": {"id": "u", "username": "mario", "email": "m@example.com"},
            "resource": {"name": "Lab Server", "siteId": "s"},
            "target": {"hostRef": {"name": "srv"}},
            "window": {"start": "2030-01-02T10:00:00Z", "end": "2030-01-02T12:00:00Z"},
            "lifecycle": {"desiredState": "Released", "cleanupTime": "900s"},
            "access": {
                "authorizedKeys": [{"key": "k1"}, {"key": "k2"}],
                "userDataSecretRef": {"name": "mine"},
            },
            "provisioning": {
                "image": {"url": "i", "checksum": "c", "checksumType": "auto", "format": "qcow2"},
            },
            "parameters": {"os": "noble"},
        })
    );
    // Nothing of it needs to be remembered apart.
    assert_eq!(annotation(&stored, "spoke-data"), None);
    let alpha = doors.convert(&stored, ALPHA);
    assert_eq!(
        alpha["spec"],
        json!({
            "startTime": "2030-01-02T10:00:00Z", "endTime": "2030-01-02T12:00:00Z",
            "userId": "u", "username": "mario", "email": "m@example.com",
            "sshPublicKey": "k1", "userDataSecretName": "mine", "bmhName": "srv",
            "eventId": "101", "eventTitle": "t", "resourceName": "Lab Server", "siteId": "s",
            "imageUrl": "i", "imageChecksum": "c", "imageChecksumType": "auto",
            "customParameters": "{\"os\":\"noble\"}",
        })
    );
}
