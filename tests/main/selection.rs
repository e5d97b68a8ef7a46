//! Reservations that name no host, but say by labels which would do.

use harbormaster::api::{
    calendar::HostCalendar,
    v1::{Phase, Reservation},
};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use xtask::stage::Stage;

use crate::{
    site::{condition, says},
    stage::{
        KEY, hosts, namespaced, new_host, reaches, reservation_until, reservations, reserve, shared,
    },
};

#[tokio::test]
async fn a_reservation_by_labels_gets_the_first_host_that_is_free_and_else_waits_for_one() {
    let stage = shared();
    for name in ["pooled-a", "pooled-b"] {
        new_host(stage, name).await;
        label(stage, name, "pool").await;
    }
    choose(stage, "first", "pool").await;
    let first = reaches(stage, "first", Phase::Active).await;
    assert_eq!(held(&first), "pooled-a");
    choose(stage, "second", "pool").await;
    let second = reaches(stage, "second", Phase::Active).await;
    assert_eq!(held(&second), "pooled-b");

    choose(stage, "third", "pool").await;
    let waits = says("Accepted", "NoHostFree");
    let third = reservation_until(stage, "third", "to wait for a host", waits).await;
    let [_, _, message] = condition(&third, "Accepted").unwrap();
    assert!(message.starts_with("none of the 2 hosts"), "{message}");
    let patch = json!({"spec": {"lifecycle": {"desiredState": "Released"}}});
    let params = PatchParams::default();
    let reservations = reservations(stage);
    reservations
        .patch("second", &params, &Patch::Merge(&patch))
        .await
        .unwrap();
    let third = reaches(stage, "third", Phase::Active).await;
    assert_eq!(held(&third), "pooled-b");
    let calendars: Api<HostCalendar> = namespaced(stage);
    let calendar = calendars.get("pooled-b").await.unwrap().status.unwrap();
    assert_eq!(calendar.current.as_deref(), Some("third"));
    // Whoever has a host keeps it.
    let first = reservations.get("first").await.unwrap();
    assert_eq!(held(&first), "pooled-a");
}

#[tokio::test]
async fn a_reservation_whose_labels_no_host_bears_says_so_and_is_served_once_one_does() {
    let stage = shared();
    new_host(stage, "labelled-late").await;
    choose(stage, "picky", "late-pool").await;
    let waits = says("Accepted", "HostNotFound");
    reservation_until(stage, "picky", "to find no host", waits).await;
    label(stage, "labelled-late", "late-pool").await;
    let served = reaches(stage, "picky", Phase::Active).await;
    assert_eq!(held(&served), "labelled-late");
}

#[tokio::test]
async fn a_reservation_whose_labels_are_edited_before_it_begins_moves_to_a_host_that_bears_them() {
    let stage = shared();
    for (name, pool) in [("moves-from", "old-pool"), ("moves-to", "new-pool")] {
        new_host(stage, name).await;
        label(stage, name, pool).await;
    }
    let spec = json!({
        "target": {"selector": {"matchLabels": {"pool": "old-pool"}}},
        "window": {"start": "2199-01-01T00:00:00Z", "end": "2199-01-02T00:00:00Z"},
    });
    reserve(stage, "mover", spec).await;
    let booked_on = |host: &'static str| {
        let accepted = says("Accepted", "Accepted");
        move |reservation: &Reservation| {
            let status = reservation.status.as_ref();
            let calendar = status.and_then(|status| status.calendar.as_deref());
            calendar == Some(host) && accepted(reservation)
        }
    };
    reservation_until(stage, "mover", "to be booked", booked_on("moves-from")).await;
    let patch = json!({"spec": {"target": {"selector": {"matchLabels": {"pool": "new-pool"}}}}});
    let params = PatchParams::default();
    let reservations = reservations(stage);
    reservations
        .patch("mover", &params, &Patch::Merge(&patch))
        .await
        .unwrap();
    reservation_until(stage, "mover", "to move", booked_on("moves-to")).await;
    let calendars: Api<HostCalendar> = namespaced(stage);
    let bookings = async |host: &str| {
        let status = calendars.get(host).await.unwrap().status.unwrap();
        let names = status.bookings.into_iter().map(|booking| booking.name);
        names.collect::<Vec<_>>()
    };
    assert_eq!(bookings("moves-from").await, [""; 0]);
    assert_eq!(bookings("moves-to").await, ["mover"]);
}

fn held(reservation: &Reservation) -> String {
    let status = reservation.status.clone().unwrap();
    status.host_ref.unwrap().name
}

async fn label(stage: &Stage, host: &str, pool: &str) {
    let patch = json!({"metadata": {"labels": {"pool": pool}}});
    let params = PatchParams::default();
    let hosts = hosts(stage);
    let patch = Patch::Merge(&patch);
    hosts.patch(host, &params, &patch).await.unwrap();
}

async fn choose(stage: &Stage, name: &str, pool: &str) {
    let spec: Value = json!({
        "target": {"selector": {"matchLabels": {"pool": pool}}},
        "window": {"start": "2026-01-01T00:00:00Z"},
        "access": {"authorizedKeys": [{"key": KEY}]},
    });
    reserve(stage, name, spec).await;
}
