//! Passes against an API server in memory: what is asked for, how often, and in which order
//! it is written.

#![expect(
    clippy::needless_pass_by_value,
    reason = "a literal reads better without a reference"
)]

mod world;

use metal3::ProvisioningState;
use serde_json::{Value, json};

use self::world::{World, at};
use super::*;

#[tokio::test]
async fn a_finished_record_is_looked_at_once_an_hour_and_deleted_at_its_time() {
    let world = World::new();
    world.put(
        "reservations/wish",
        wish(
            json!({}),
            json!({
                "phase": "Released",
                "releasedTime": "2026-01-01T11:00:00Z",
                "hostRef": {"namespace": "metal3", "name": "a", "uid": "uid-a"},
            }),
        ),
    );
    world.put("baremetalhosts/a", host("a", "1"));
    while let Some(wait) = world.pass("wish").await {
        world.sleep(wait);
    }
    // A week after the window's end, to the second.
    let asked = world.asked();
    let deleted = asked
        .iter()
        .position(|(_, call)| call == "DELETE reservations/wish");
    assert_eq!(asked[deleted.unwrap()].0, at("2026-01-08T12:00:00Z"));
    // One Reservation and its host, each hour of a week and two hours.
    assert!(asked.len() <= 2 * (7 * 24 + 6), "{} requests", asked.len());
}

#[tokio::test]
async fn a_record_that_is_not_over_is_looked_at_every_five_minutes() {
    let world = World::new();
    world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
    world.settle("wish").await;
    assert_eq!(world.pass("wish").await, Some(RESYNC));
}

#[tokio::test]
async fn who_only_waits_for_its_time_is_looked_at_every_quarter_of_an_hour_and_then() {
    let world = World::new();
    world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
    world.put("baremetalhosts/a", host("a", "1"));
    world.settle("wish").await;
    let mut looks = Vec::new();
    while world.ready("wish") == "Scheduled" {
        world.forget();
        let wait = world.pass("wish").await.unwrap();
        looks.push(world.asked()[0].0);
        world.sleep(wait);
    }
    let expected = [
        "2026-01-01T09:00:00Z",
        "2026-01-01T09:15:00Z",
        "2026-01-01T09:30:00Z",
    ];
    assert_eq!(looks[..3], expected.map(at));
    assert!(looks.contains(&at("2026-01-01T10:00:00Z")), "{looks:?}");
}

#[tokio::test]
async fn a_booked_wish_reads_its_own_host_and_calendar_and_nothing_else() {
    let world = World::new();
    world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
    for name in ["a", "b", "c"] {
        world.put(&format!("baremetalhosts/{name}"), host(name, "1"));
    }
    world.settle("wish").await;
    assert_eq!(world.booked_on("wish"), ["a"]);
    world.forget();
    world.pass("wish").await;
    assert_eq!(
        world.calls(),
        [
            "GET reservations/wish",
            "GET hostcalendars/a",
            "GET baremetalhosts/a",
        ]
    );
}

#[tokio::test]
async fn a_booked_wish_keeps_its_place_while_its_host_or_its_calendar_can_not_be_read() {
    let (torn_host, torn_calendar) = (
        json!({"status": {"operationHistory": {"provision": {"end": TEN_DIGITS}}}}),
        json!({"status": {"until": TEN_DIGITS}}),
    );
    for (path, torn) in [
        ("baremetalhosts/a", torn_host),
        ("hostcalendars/a", torn_calendar),
    ] {
        let world = World::new();
        world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
        world.put("baremetalhosts/a", host("a", "1"));
        world.settle("wish").await;
        world.put("baremetalhosts/b", host("b", "1"));
        let whole = world.edit(path, &torn);
        world.settle("wish").await;
        assert_eq!(world.booked_on("wish"), ["a"], "{path}");
        assert_eq!(world.ready("wish"), "Unreadable", "{path}");
        world.put(path, whole);
        world.settle("wish").await;
        assert_eq!(world.booked_on("wish"), ["a"], "{path}");
        assert_eq!(world.ready("wish"), "Scheduled", "{path}");
    }
}

#[tokio::test]
async fn a_wish_that_is_edited_moves_and_is_in_one_calendar_at_most_wherever_it_is_interrupted() {
    for failing in 0..8 {
        let world = World::new();
        world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
        world.put("baremetalhosts/a", host("a", "1"));
        world.put("baremetalhosts/b", host("b", "2"));
        world.settle("wish").await;
        assert_eq!(world.booked_on("wish"), ["a"]);
        world.edit(
            "reservations/wish",
            &json!({
                "metadata": {"generation": 2},
                "spec": {"target": {"selector": {"matchLabels": {"rack": "2"}}}},
            }),
        );
        world.fail_write(failing);
        world.settle("wish").await;
        assert_eq!(world.booked_on("wish"), ["b"], "the write {failing} failed");
        assert_eq!(world.ready("wish"), "Scheduled");
        // Hosts that are labelled anew take nothing back, and neither does the next pass.
        world.edit(
            "baremetalhosts/b",
            &json!({"metadata": {"labels": {"rack": "1"}}}),
        );
        world.settle("wish").await;
        assert_eq!(world.booked_on("wish"), ["b"]);
    }
}

#[tokio::test]
async fn a_wish_that_is_edited_to_what_nobody_bears_gives_its_place_up_and_waits() {
    let world = World::new();
    world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
    world.put("baremetalhosts/a", host("a", "1"));
    world.settle("wish").await;
    world.edit(
        "reservations/wish",
        &json!({
            "metadata": {"generation": 2},
            "spec": {"target": {"selector": {"matchLabels": {"rack": "9"}}}},
        }),
    );
    world.settle("wish").await;
    assert_eq!(world.booked_on("wish"), [""; 0]);
    assert_eq!(world.ready("wish"), "HostNotFound");
}

#[tokio::test]
async fn what_was_begun_with_a_host_is_not_chosen_for_again() {
    let world = World::new();
    world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
    world.put("baremetalhosts/a", host("a", "1"));
    world.put("baremetalhosts/b", host("b", "2"));
    world.sleep(Duration::from_secs(2 * 3600));
    world.settle("wish").await;
    assert_eq!(world.holder("a").as_deref(), Some("wish"));
    // As by somebody who broke the glass.
    world.edit(
        "reservations/wish",
        &json!({
            "metadata": {"generation": 2},
            "spec": {"target": {"selector": {"matchLabels": {"rack": "2"}}}},
        }),
    );
    world.settle("wish").await;
    assert_eq!(world.booked_on("wish"), ["a"]);
    assert_eq!(
        (world.holder("a").as_deref(), world.holder("b")),
        (Some("wish"), None)
    );
}

#[tokio::test]
async fn a_wish_takes_a_host_whose_booking_belongs_to_nobody_any_more_and_takes_that_out() {
    for end in [Value::Null, json!("2026-01-01T13:00:00Z")] {
        let world = World::new();
        world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
        world.put("baremetalhosts/a", host("a", "1"));
        world.put("hostcalendars/a", calendar("a", end.clone()));
        world.settle("wish").await;
        assert_eq!(world.booked_on("wish"), ["a"], "until {end}");
        assert_eq!(world.booked_on("ghost"), [""; 0], "until {end}");
    }
}

#[tokio::test]
async fn a_wish_does_not_move_for_a_booking_that_belongs_to_nobody_any_more() {
    let world = World::new();
    world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
    world.put("baremetalhosts/a", host("a", "1"));
    world.settle("wish").await;
    world.put("baremetalhosts/b", host("b", "1"));
    let mut bookings = calendar("a", Value::Null)["status"]["bookings"].clone();
    let own = world.object("hostcalendars/a")["status"]["bookings"][0].clone();
    bookings.as_array_mut().unwrap().push(own);
    world.edit(
        "hostcalendars/a",
        &json!({"status": {"bookings": bookings}}),
    );
    world.settle("wish").await;
    assert_eq!(world.booked_on("wish"), ["a"]);
    assert_eq!(world.booked_on("ghost"), [""; 0]);
}

#[tokio::test]
async fn a_wish_whose_host_is_out_of_order_looks_for_another_every_five_minutes_until_one_is_free()
{
    let world = World::new();
    world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
    world.put("baremetalhosts/a", host("a", "1"));
    world.settle("wish").await;
    world.put("baremetalhosts/b", host("b", "1"));
    world.put("reservations/ghost", ghost("uid-ghost", "Pending"));
    let until_noon = json!("2026-01-01T12:00:00Z");
    world.put("hostcalendars/b", calendar("b", until_noon));
    let paused = json!({"metadata": {"annotations": {"baremetalhost.metal3.io/paused": ""}}});
    world.edit("baremetalhosts/a", &paused);
    world.settle("wish").await;
    assert_eq!(world.booked_on("wish"), ["a"]);
    assert_eq!(world.ready("wish"), "Scheduled");
    assert_eq!(world.pass("wish").await, Some(RESYNC));
    world.edit("hostcalendars/b", &json!({"status": {"bookings": []}}));
    world.settle("wish").await;
    assert_eq!(world.booked_on("wish"), ["b"]);
    assert_eq!(world.pass("wish").await, Some(RESYNC_OF_WAITING));
}

#[tokio::test]
async fn a_wish_waits_for_no_host_whose_claim_belongs_to_nobody_any_more() {
    let world = World::new();
    world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
    let mut held = host("a", "1");
    held["spec"]["consumerRef"] = json!({
        "apiVersion": "harbormaster.dev/v1", "kind": "Reservation",
        "namespace": "metal3", "name": "ghost", "uid": "uid-ghost",
    });
    world.put("baremetalhosts/a", held);
    world.settle("wish").await;
    assert_eq!(world.ready("wish"), "NoHostFree");
    // As by somebody who broke the glass.
    let free = json!({"spec": {"consumerRef": null}});
    world.edit("baremetalhosts/a", &free);
    world.settle("wish").await;
    assert_eq!(world.booked_on("wish"), ["a"]);
}

#[tokio::test]
async fn a_neighbour_that_the_watch_shows_alive_is_not_read_and_any_other_is_before_it_counts_as_gone()
 {
    let read = "GET reservations/ghost".to_owned();
    for (shown, is_believed) in [
        (Some(ghost("uid-ghost", "Pending")), true),
        (Some(ghost("uid-ghost", "Released")), false),
        (Some(ghost("uid-another", "Pending")), false),
        (None, false),
    ] {
        let world = World::new().having_shown(shown.as_slice());
        world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
        world.put("baremetalhosts/a", host("a", "1"));
        world.put("hostcalendars/a", calendar("a", Value::Null));
        world.settle("wish").await;
        assert_ne!(world.calls().contains(&read), is_believed, "{shown:?}");
        let still_there: &[_] = if is_believed { &["a"] } else { &[] };
        assert_eq!(world.booked_on("ghost"), still_there, "{shown:?}");
        // Nobody is put out whom a watch that lags shows as gone.
        let world = World::new().having_shown(shown.as_slice());
        world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
        world.put("baremetalhosts/a", host("a", "1"));
        world.put("hostcalendars/a", calendar("a", Value::Null));
        world.put("reservations/ghost", ghost("uid-ghost", "Pending"));
        world.settle("wish").await;
        assert_eq!(world.booked_on("ghost"), ["a"], "{shown:?}");
    }
}

#[tokio::test]
async fn what_no_object_can_be_called_is_not_there_and_keeps_nobody_from_anything() {
    let names = [Value::Null, json!(""), json!("Not a name"), json!("a/../b")];
    for name in names {
        let world = World::new();
        world.put("reservations/wish", wish(json!({"rack": "1"}), json!({})));
        let mut claimed = host("a", "1");
        claimed["spec"]["consumerRef"] = json!({
            "apiVersion": "harbormaster.dev/v1", "kind": "Reservation", "name": name,
        });
        world.put("baremetalhosts/a", claimed);
        world.put("baremetalhosts/b", host("b", "1"));
        let mut edited = calendar("b", Value::Null);
        edited["status"]["bookings"][0]["name"] = json!(name.as_str().unwrap_or_default());
        world.put("hostcalendars/b", edited);
        world.settle("wish").await;
        assert_eq!(world.booked_on("wish"), ["b"], "{name}");
        assert_eq!(world.ready("wish"), "Scheduled", "{name}");
    }
}

#[tokio::test]
async fn a_host_by_a_name_that_none_can_have_is_not_found() {
    for name in ["", "Not a name", "a/../b"] {
        let world = World::new();
        let mut wish = wish(json!({}), json!({}));
        wish["spec"]["target"] = json!({"hostRef": {"name": name}});
        world.put("reservations/wish", wish);
        world.settle("wish").await;
        assert_eq!(world.ready("wish"), "HostNotFound", "{name}");
    }
}

#[tokio::test]
async fn an_early_start_waits_for_nobody_who_is_no_more() {
    let world = World::new();
    let mut started = wish(json!({}), json!({}));
    started["spec"]["target"] = json!({"hostRef": {"name": "a"}});
    started["spec"]["lifecycle"] = json!({"desiredState": "Active"});
    world.put("reservations/wish", started);
    world.put("baremetalhosts/a", host("a", "1"));
    world.put("hostcalendars/a", calendar("a", Value::Null));
    world.sleep(Duration::from_secs(56 * 60));
    world.settle("wish").await;
    assert_eq!(world.holder("a").as_deref(), Some("wish"));
    assert_eq!(world.booked_on("ghost"), [""; 0]);
}

fn wish(labels: Value, status: Value) -> Value {
    json!({
        "apiVersion": "harbormaster.dev/v1",
        "kind": "Reservation",
        "metadata": {
            "name": "wish", "namespace": "metal3", "uid": "uid-wish", "generation": 1,
            "finalizers": ["harbormaster.dev/release"],
        },
        "spec": {
            "target": {"selector": {"matchLabels": labels}},
            "window": {"start": "2026-01-01T10:00:00Z", "end": "2026-01-01T12:00:00Z"},
        },
        "status": status,
    })
}

/// Whose booking it is, where [`calendar`] is not to be anybody's.
fn ghost(uid: &str, phase: &str) -> Value {
    let mut ghost = wish(json!({}), json!({"phase": phase}));
    ghost["metadata"]["name"] = json!("ghost");
    ghost["metadata"]["uid"] = json!(uid);
    ghost
}

fn host(name: &str, rack: &str) -> Value {
    json!({
        "apiVersion": "metal3.io/v1alpha1",
        "kind": "BareMetalHost",
        "metadata": {
            "name": name, "namespace": "metal3", "uid": format!("uid-{name}"),
            "labels": {"rack": rack},
        },
        "spec": {"online": false},
        "status": {
            "operationalStatus": "OK",
            "provisioning": {"state": ProvisioningState::Available.as_str(), "ID": "1"},
        },
    })
}

/// A calendar with the booking of a Reservation that is not there.
fn calendar(host: &str, end: Value) -> Value {
    let mut booking = json!({
        "uid": "uid-ghost", "name": "ghost", "start": "2026-01-01T08:00:00Z", "end": end,
    });
    if end.is_null() {
        booking.as_object_mut().unwrap().remove("end");
    }
    json!({
        "apiVersion": "harbormaster.dev/v1",
        "kind": "HostCalendar",
        "metadata": {"name": host, "namespace": "metal3", "ownerReferences": [{
            "apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost",
            "name": host, "uid": format!("uid-{host}"),
        }]},
        "spec": {},
        "status": {"bookings": [booking]},
    })
}

/// A time that no timestamp of ours has room for.
const TEN_DIGITS: &str = "2026-01-01T10:00:00.1234567890Z";
