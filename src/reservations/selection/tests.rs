//! Which host a wish by labels gets, and that it stays.

#![expect(
    clippy::needless_pass_by_value,
    reason = "a literal reads better without a reference"
)]

use serde_json::{Value, json};

use super::*;
use crate::api::calendar::{Booking, HostCalendar};

fn host(name: &str, more: Value) -> BareMetalHost {
    let mut host = json!({
        "metadata": {"name": name, "uid": format!("uid-{name}"), "labels": {"gpu": "yes"}},
        "spec": {"online": false},
        "status": {"operationalStatus": "OK", "provisioning": {"state": "available"}},
    });
    json_patch::merge(&mut host, &more);
    serde_json::from_value(host).unwrap()
}

fn wish(selector: Value) -> Reservation {
    serde_json::from_value(json!({
        "apiVersion": "harbormaster.dev/v1",
        "kind": "Reservation",
        "metadata": {"name": "r", "uid": "uid-r"},
        "spec": {
            "target": {"selector": selector},
            "window": {"start": "2026-01-01T10:00:00Z", "end": "2026-01-01T12:00:00Z"},
        },
    }))
    .unwrap()
}

fn gpu() -> Reservation {
    wish(json!({"matchLabels": {"gpu": "yes"}}))
}

fn calendar(host: &str, uid: &str, from: &str, until: &str) -> HostCalendar {
    let booking: Booking = serde_json::from_value(json!({
        "uid": uid, "name": "other", "start": from, "end": until,
    }))
    .unwrap();
    let mut calendar = HostCalendar::default();
    calendar.metadata.name = Some(host.to_owned());
    calendar.status = Some(HostCalendarStatus {
        bookings: vec![booking],
        ..HostCalendarStatus::default()
    });
    calendar
}

fn offer<'a>(host: &'a BareMetalHost, calendar: &'a HostCalendarStatus) -> Offer<'a> {
    Offer {
        host,
        calendar,
        is_forsaken: false,
    }
}

fn picked(
    reservation: &Reservation,
    hosts: &[BareMetalHost],
    calendars: &[HostCalendar],
) -> Result<String, Shortage> {
    let now = "2026-01-01T09:00:00Z".parse().unwrap();
    let none = HostCalendarStatus::default();
    let offers: Vec<_> = hosts
        .iter()
        .map(|host| {
            let mut calendars = calendars.iter();
            let calendar = calendars.find(|calendar| calendar.name_any() == host.name());
            offer(
                host,
                calendar.map_or(&none, |it| it.status.as_ref().unwrap()),
            )
        })
        .collect();
    match pick(reservation, &offers, Some("http://idle"), now) {
        Lookup::Found(host) => Ok(host.name().to_owned()),
        Lookup::NoneFree(shortage) => Err(shortage),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_by_name_of_those_that_are_ready_is_picked_in_whatever_order_they_come() {
    let cleaning = json!({"status": {"provisioning": {"state": "deprovisioning"}}});
    let mut hosts = vec![
        host("a", cleaning),
        host("b", json!({"metadata": {"labels": {"gpu": "no"}}})),
        host("d", json!({})),
        host("c", json!({"spec": {"image": {"url": "http://idle"}}})),
    ];
    assert_eq!(picked(&gpu(), &hosts, &[]), Ok("c".to_owned()));
    hosts.reverse();
    assert_eq!(picked(&gpu(), &hosts, &[]), Ok("c".to_owned()));
    // One that is being cleaned is better than none.
    hosts.retain(|host| host.name() < "c");
    assert_eq!(picked(&gpu(), &hosts, &[]), Ok("a".to_owned()));
}

#[test]
fn what_can_not_be_had_is_never_picked() {
    let consumer = |version: &str, kind: &str| json!({"spec": {"consumerRef": {"apiVersion": version, "kind": kind, "name": "x"}}});
    let hosts = [
        host("a", json!({"spec": {"externallyProvisioned": true}})),
        host("b", json!({"spec": {"automatedCleaningMode": "disabled"}})),
        host(
            "c",
            json!({"metadata": {"annotations": {"baremetalhost.metal3.io/paused": ""}}}),
        ),
        host(
            "d",
            json!({"metadata": {"annotations": {"baremetalhost.metal3.io/detached": ""}}}),
        ),
        host("e", json!({"status": {"operationalStatus": "error"}})),
        host("f", json!({"spec": {"image": {"url": "http://by-hand"}}})),
        host(
            "g",
            consumer("infrastructure.cluster.x-k8s.io/v1beta1", "Metal3Machine"),
        ),
        host(
            "h",
            json!({"metadata": {"deletionTimestamp": "2026-01-01T08:00:00Z"}}),
        ),
    ];
    assert_eq!(picked(&gpu(), &hosts, &[]), Err(Shortage::AllTaken(8)));
    assert_eq!(picked(&gpu(), &[], &[]), Err(Shortage::NoneBearing));
    // What another reservation has now may be free in this one's window.
    let held = [host("i", consumer("harbormaster.dev/v1", "Reservation"))];
    assert_eq!(picked(&gpu(), &held, &[]), Ok("i".to_owned()));
}

#[test]
fn a_host_whose_calendar_has_no_room_is_passed_over() {
    let hosts = [host("a", json!({})), host("b", json!({}))];
    let a = calendar("a", "uid-7", "2026-01-01T11:00:00Z", "2026-01-01T13:00:00Z");
    assert_eq!(
        picked(&gpu(), &hosts, std::slice::from_ref(&a)),
        Ok("b".to_owned())
    );
    let b = calendar("b", "uid-8", "2026-01-01T09:00:00Z", "2026-01-01T10:30:00Z");
    assert_eq!(
        picked(&gpu(), &hosts, &[a.clone(), b]),
        Err(Shortage::AllTaken(2))
    );
    let before = calendar("b", "uid-8", "2026-01-01T09:00:00Z", "2026-01-01T10:00:00Z");
    assert_eq!(picked(&gpu(), &hosts, &[a, before]), Ok("b".to_owned()));
}

#[test]
fn what_is_booked_stays_unless_it_can_not_be_lent_and_another_can() {
    let booked = calendar("b", "uid-r", "2026-01-01T10:00:00Z", "2026-01-01T12:00:00Z");
    let calendars = std::slice::from_ref(&booked);
    let a = host("a", json!({}));
    // A better one has come, and this one lost its label and is being cleaned.
    let change = json!({
        "metadata": {"labels": {"gpu": "no"}},
        "status": {"provisioning": {"state": "deprovisioning"}},
    });
    let hosts = [a.clone(), host("b", change)];
    assert_eq!(picked(&gpu(), &hosts, calendars), Ok("b".to_owned()));
    let broken = host("b", json!({"status": {"operationalStatus": "error"}}));
    assert_eq!(
        picked(&gpu(), &[a, broken.clone()], calendars),
        Ok("a".to_owned())
    );
    assert_eq!(picked(&gpu(), &[broken], calendars), Ok("b".to_owned()));
}

#[test]
fn a_host_that_somebody_has_without_an_end_is_waited_for_only_where_no_other_is_free() {
    let hosts = [host("a", json!({})), host("b", json!({}))];
    let mut endless = calendar("a", "uid-7", "2026-01-01T08:00:00Z", "2026-01-01T09:00:00Z");
    let open = &mut endless.status.as_mut().unwrap().bookings[0];
    open.end = None;
    let mine = open.clone();
    let calendars = std::slice::from_ref(&endless);
    assert_eq!(picked(&gpu(), &hosts, calendars), Ok("b".to_owned()));
    assert_eq!(
        picked(&gpu(), &hosts[..1], calendars),
        Err(Shortage::AllTaken(1))
    );
    // Nor is one that came in between, and stays, a reason to wait for it.
    let mut both = endless.clone();
    let booking = |from: &str| Booking {
        uid: "uid-r".to_owned(),
        start: Some(serde_json::from_value(json!(from)).unwrap()),
        ..mine.clone()
    };
    let bookings = &mut both.status.as_mut().unwrap().bookings;
    bookings.push(booking("2026-01-01T10:00:00Z"));
    let calendars = std::slice::from_ref(&both);
    assert_eq!(picked(&gpu(), &hosts, calendars), Ok("b".to_owned()));
    assert_eq!(picked(&gpu(), &hosts[..1], calendars), Ok("a".to_owned()));
    // Its own open end is in nobody's way.
    let mut own = endless;
    own.status.as_mut().unwrap().bookings = vec![booking("2026-01-01T08:00:00Z")];
    let calendars = std::slice::from_ref(&own);
    assert_eq!(picked(&gpu(), &hosts, calendars), Ok("a".to_owned()));
}

#[test]
fn a_wish_that_is_edited_is_chosen_for_again_and_keeps_only_what_still_fits() {
    let booked = calendar("b", "uid-r", "2026-01-01T10:00:00Z", "2026-01-01T12:00:00Z");
    let calendars = std::slice::from_ref(&booked);
    let rack = |name: &str, rack: &str| host(name, json!({"metadata": {"labels": {"rack": rack}}}));
    let hosts = [rack("a", "1"), rack("b", "2"), rack("c", "2")];
    let of = |rack: &str, observed: i64| {
        let mut wish = wish(json!({"matchLabels": {"rack": rack}}));
        wish.metadata.generation = Some(2);
        wish.status.get_or_insert_default().observed_generation = Some(observed);
        wish
    };
    assert_eq!(picked(&of("1", 1), &hosts, calendars), Ok("a".to_owned()));
    assert_eq!(picked(&of("2", 1), &hosts, calendars), Ok("b".to_owned()));
    assert_eq!(
        picked(&of("3", 1), &hosts, calendars),
        Err(Shortage::NoneBearing)
    );
    // It was decided on since: the host was labelled anew, and that takes nothing back.
    assert_eq!(picked(&of("1", 2), &hosts, calendars), Ok("b".to_owned()));
}

#[test]
fn who_stays_is_told_by_its_own_host_and_calendar_alone() {
    let booked = calendar("b", "uid-r", "2026-01-01T10:00:00Z", "2026-01-01T12:00:00Z");
    let other = calendar("b", "uid-7", "2026-01-01T10:00:00Z", "2026-01-01T12:00:00Z");
    let now = "2026-01-01T09:00:00Z".parse().unwrap();
    let stays = |host: &BareMetalHost, calendar: &HostCalendar| {
        super::stays(
            &gpu(),
            &offer(host, calendar.status.as_ref().unwrap()),
            None,
            now,
        )
    };
    let b = host("b", json!({}));
    assert!(stays(&b, &booked));
    assert!(!stays(&b, &other));
    let broken = host("b", json!({"status": {"operationalStatus": "error"}}));
    assert!(!stays(&broken, &booked));
}

#[test]
fn labels_are_chosen_by_expressions_too_and_nonsense_is_told() {
    let hosts = [
        host("a", json!({"metadata": {"labels": {"rack": "1"}}})),
        host("b", json!({"metadata": {"labels": {"rack": "2"}}})),
    ];
    let expression = |operator: &str| {
        wish(json!({"matchExpressions": [
            {"key": "rack", "operator": operator, "values": ["1"]},
        ]}))
    };
    assert_eq!(picked(&expression("In"), &hosts, &[]), Ok("a".to_owned()));
    assert_eq!(
        picked(&expression("NotIn"), &hosts, &[]),
        Ok("b".to_owned())
    );
    assert!(matches!(
        picked(&expression("Near"), &hosts, &[]),
        Err(Shortage::Nonsense(_))
    ));
}
