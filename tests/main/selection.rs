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
