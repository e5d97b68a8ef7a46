//! From an event to a host and back, step by step, by the running program.

use harbormaster::api::{
    calendar::HostCalendar,
    v1::{DesiredState, Phase, Reservation},
};
use k8s_openapi::api::{core::v1::Secret, events::v1::Event};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use metal3::BareMetalHost;
use serde_json::json;

use crate::stage::{
    KEY, create_host, flat, host_until, hosts, named, namespaced, new_host, post_signed, reaches,
    reservation_until, reservations, shared, until,
};

#[tokio::test]
async fn a_start_images_the_host_for_its_user_and_an_end_wipes_it() {
    let stage = shared();
    new_host(stage, "story").await;

    let answer = post_signed(stage, &flat("EVENT_START", "201", "story")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.body,
        json!({"status": "success", "message": "Provisioning initiated for story"})
    );

    let active = reaches(stage, "portal-201", Phase::Active).await;
    let requester = active.spec.requester.unwrap();
    assert_eq!(requester.username.as_deref(), Some("mario.rossi"));
    assert_eq!(active.spec.parameters.unwrap()["os"], "noble");

    let host = hosts(stage).get("story").await.unwrap();
    let consumer = host.consumer().unwrap();
    assert_eq!(consumer.api_version.as_deref(), Some("harbormaster.dev/v1"));
    assert_eq!(consumer.kind.as_deref(), Some("Reservation"));
    assert_eq!(consumer.name.as_deref(), Some("portal-201"));
    assert_eq!(consumer.uid, active.metadata.uid);
    assert_eq!(
        host.wanted_image_url(),
        Some("https://images.example.com/noble.qcow2")
    );
    assert_eq!(host.spec.online, Some(true));
    // The mutating hook's work: we write no type.
    let image = host.spec.image.as_ref().unwrap();
    assert_eq!(image.checksum_type.as_deref(), Some("auto"));

    let secrets: Api<Secret> = namespaced(stage);
    let user_data = host.spec.user_data.as_ref().unwrap().name.clone().unwrap();
    let secret = secrets.get(&user_data).await.unwrap();
    let document = String::from_utf8(secret.data.unwrap()["userData"].0.clone()).unwrap();
    assert!(document.starts_with("#cloud-config\n") && document.contains(KEY));

    let answer = post_signed(stage, &flat("EVENT_END", "201", "story")).await;
    assert_eq!(answer.body["message"], "Deprovisioning initiated for story");
    reaches(stage, "portal-201", Phase::Released).await;
    let host = hosts(stage).get("story").await.unwrap();
    assert!(host.is_available());
    assert_eq!(host.wanted_image_url(), None);
    assert_eq!(host.deployed_image_url(), None);
    assert_eq!(host.consumer(), None);
    assert_eq!(host.spec.online, Some(false));
    assert_eq!(host.spec.user_data, None);
    assert!(host.last_deprovision().is_some());
    assert!(secrets.get_opt(&user_data).await.unwrap().is_none());
}

#[tokio::test]
async fn the_earlier_receivers_own_example_sets_and_clears_the_image() {
    let stage = shared();
    new_host(stage, "seed").await;
    let event = |event_type: &str| json!({"eventType": event_type, "resourceName": "seed"});

    let answer = post_signed(stage, &event("EVENT_START")).await;
    assert_eq!(answer.body["message"], "Provisioning initiated for seed");
    let has_image = |host: &BareMetalHost| host.wanted_image_url().is_some();
    let host = host_until(stage, "seed", "to have an image", has_image).await;
    assert_eq!(
        host.wanted_image_url(),
        Some("https://images.example.com/noble.qcow2")
    );
    reaches(stage, "host-seed", Phase::Active).await;

    let answer = post_signed(stage, &event("EVENT_END")).await;
    assert_eq!(answer.body["message"], "Deprovisioning initiated for seed");
    let has_none = |host: &BareMetalHost| host.spec.image.is_none();
    host_until(stage, "seed", "to have no image", has_none).await;
    reaches(stage, "host-seed", Phase::Released).await;

    // Another booking of the same host, which the minimal shape can't tell from the first.
    post_signed(stage, &event("EVENT_START")).await;
    reaches(stage, "host-seed.2", Phase::Active).await;
}

#[tokio::test]
async fn a_key_that_is_none_is_dropped_and_the_reservation_says_so() {
    let stage = shared();
    let mut event = flat("EVENT_START", "299", "nowhere-with-a-key");
    event["sshPublicKey"] = json!(format!("{KEY}\n#cloud-config"));
    post_signed(stage, &event).await;
    let told = |reservation: &Reservation| {
        let status = reservation.status.clone().unwrap_or_default();
        let keys = status
            .conditions
            .into_iter()
            .find(|it| it.type_ == "KeysAccepted")?;
        Some((keys.status, keys.reason, keys.message))
    };
    let reservation = reservation_until(stage, "portal-299", "to tell of its keys", |it| {
        told(it).is_some()
    })
    .await;
    let (status, reason, message) = told(&reservation).unwrap();
    assert_eq!((&*status, &*reason), ("False", "KeyRejected"));
    assert!(
        message.starts_with("1 of the lines") && !message.contains("cloud"),
        "{message}"
    );
    assert_eq!(reservation.authorized_keys().len(), 1);
    post_signed(stage, &flat("EVENT_END", "299", "nowhere-with-a-key")).await;
}

#[tokio::test]
async fn an_end_of_the_minimal_shape_leaves_a_host_alone_that_a_booking_has() {
    let stage = shared();
    new_host(stage, "identified").await;
    post_signed(stage, &flat("EVENT_START", "298", "identified")).await;
    reaches(stage, "portal-298", Phase::Active).await;

    let minimal = json!({"eventType": "EVENT_END", "resourceName": "identified"});
    // The door learns of claims from its watch, a moment after the claim.
    let answer = until("the door to know the claim", async || {
        let answer = post_signed(stage, &minimal).await;
        (answer.body["status"] == "ignored").then_some(answer)
    })
    .await;
    assert_eq!(
        answer.body["message"],
        "the host is held by Reservation portal-298, which has its own end"
    );
    let host = hosts(stage).get("identified").await.unwrap();
    assert!(host.wanted_image_url().is_some());
    let still = reservations(stage).get("portal-298").await.unwrap();
    assert_eq!(still.desired_state(), DesiredState::Active);
    post_signed(stage, &flat("EVENT_END", "298", "identified")).await;
    reaches(stage, "portal-298", Phase::Released).await;
}

#[tokio::test]
async fn an_end_of_the_minimal_shape_clears_a_host_that_nothing_holds() {
    let stage = shared();
    new_host(stage, "left-over").await;
    let image =
        json!({"spec": {"online": true, "image": {"url": "http://by-hand", "checksum": "x"}}});
    patch_host(stage, "left-over", &image).await;
    let deployed = |host: &BareMetalHost| host.deployed_image_url() == Some("http://by-hand");
    host_until(stage, "left-over", "to be provisioned by hand", deployed).await;

    let end = json!({"eventType": "EVENT_END", "resourceName": "left-over"});
    assert_eq!(post_signed(stage, &end).await.status, 200);
    let clean = |host: &BareMetalHost| {
        host.is_available() && host.wanted_image_url().is_none() && host.consumer().is_none()
    };
    host_until(stage, "left-over", "to be clean and free", clean).await;
}

#[tokio::test]
async fn events_that_come_again_change_nothing() {
    let stage = shared();
    new_host(stage, "again").await;
    let start = flat("EVENT_START", "202", "again");
    let first = post_signed(stage, &start).await;
    assert_eq!(first.body["message"], "Provisioning initiated for again");
    let second = post_signed(stage, &start).await;
    assert_eq!(second.body["message"], "Already handled for again");
    reaches(stage, "portal-202", Phase::Active).await;

    let end = flat("EVENT_END", "202", "again");
    post_signed(stage, &end).await;
    reaches(stage, "portal-202", Phase::Released).await;
    for repeated in [&end, &start] {
        let answer = post_signed(stage, repeated).await;
        assert_eq!(answer.body["message"], "Already handled for again");
    }
    assert!(
        reservations(stage)
            .get_opt("portal-202.2")
            .await
            .unwrap()
            .is_none()
    );
}

#[tokio::test]
async fn an_end_that_comes_before_its_start_is_remembered() {
    let stage = shared();
    new_host(stage, "reversed").await;
    post_signed(stage, &flat("EVENT_END", "203", "reversed")).await;
    let answer = post_signed(stage, &flat("EVENT_START", "203", "reversed")).await;
    assert_eq!(answer.body["message"], "Already handled for reversed");
    let released = reaches(stage, "portal-203", Phase::Released).await;
    assert_eq!(released.desired_state(), DesiredState::Released);
    assert_eq!(
        hosts(stage)
            .get("reversed")
            .await
            .unwrap()
            .wanted_image_url(),
        None
    );
}

#[tokio::test]
async fn the_next_tenant_waits_until_the_host_is_clean_and_survives_the_first_ones_late_end() {
    let stage = shared();
    new_host(stage, "handover").await;
    post_signed(stage, &flat("EVENT_START", "204", "handover")).await;
    reaches(stage, "portal-204", Phase::Active).await;
    post_signed(stage, &flat("EVENT_START", "205", "handover")).await;
    let overlaps = |reservation: &Reservation| reason(reservation, "Accepted") == Some("Overlap");
    reservation_until(stage, "portal-205", "to wait", overlaps).await;

    post_signed(stage, &flat("EVENT_END", "204", "handover")).await;
    let second = reaches(stage, "portal-205", Phase::Active).await;
    post_signed(stage, &flat("EVENT_END", "204", "handover")).await;
    let first = reservations(stage).get("portal-204").await.unwrap();
    assert_eq!(first.status.unwrap().phase, Some(Phase::Released));
    let host = hosts(stage).get("handover").await.unwrap();
    assert_eq!(host.consumer().unwrap().uid, second.metadata.uid);
    assert!(host.wanted_image_url().is_some());
    let user_data = host.spec.user_data.unwrap().name;
    assert_eq!(user_data.as_deref(), Some("portal-205-userdata"));
}

#[tokio::test]
async fn a_reservation_made_by_hand_is_served_and_its_deletion_gives_the_host_back() {
    let stage = shared();
    new_host(stage, "by-hand").await;
    let mut reservation = Reservation {
        metadata: named("by-hand"),
        ..Reservation::default()
    };
    reservation.spec = serde_json::from_value(json!({
        "target": {"hostRef": {"name": "by-hand"}},
        "window": {"start": "2026-01-01T00:00:00Z"},
        "access": {"authorizedKeys": [{"key": KEY}]},
        "provisioning": {"image": {"url": "http://images/own.qcow2"}},
    }))
    .unwrap();
    let reservations = reservations(stage);
    reservations
        .create(&PostParams::default(), &reservation)
        .await
        .unwrap();
    reaches(stage, "by-hand", Phase::Active).await;
    let host = hosts(stage).get("by-hand").await.unwrap();
    assert_eq!(host.wanted_image_url(), Some("http://images/own.qcow2"));

    reservations
        .delete("by-hand", &DeleteParams::default())
        .await
        .unwrap();
    let free = |host: &BareMetalHost| host.is_available() && host.consumer().is_none();
    host_until(stage, "by-hand", "to be free", free).await;
    crate::stage::until("the reservation to be gone", async || {
        reservations
            .get_opt("by-hand")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_booking_of_a_host_that_is_not_there_says_so_and_is_served_when_it_comes() {
    let stage = shared();
    post_signed(stage, &flat("EVENT_START", "206", "late-host")).await;
    let waits = |reservation: &Reservation| reason(reservation, "Accepted") == Some("HostNotFound");
    reservation_until(stage, "portal-206", "to wait", waits).await;
    create_host(stage, "late-host").await;
    reaches(stage, "portal-206", Phase::Active).await;
}

#[tokio::test]
async fn a_secret_that_is_somebody_elses_is_neither_overwritten_nor_deleted() {
    let stage = shared();
    new_host(stage, "deputy").await;
    let secrets: Api<Secret> = namespaced(stage);
    let foreign = Secret {
        metadata: named("portal-208-userdata"),
        string_data: Some([("userData".to_owned(), "mine".to_owned())].into()),
        ..Secret::default()
    };
    let foreign = secrets
        .create(&PostParams::default(), &foreign)
        .await
        .unwrap();
    post_signed(stage, &flat("EVENT_START", "208", "deputy")).await;
    let refused =
        |reservation: &Reservation| reason(reservation, "Provisioned") == Some("HostRefused");
    reservation_until(stage, "portal-208", "to be refused", refused).await;
    post_signed(stage, &flat("EVENT_END", "208", "deputy")).await;
    reaches(stage, "portal-208", Phase::Released).await;
    let left = secrets.get("portal-208-userdata").await.unwrap();
    assert_eq!(left.metadata.uid, foreign.metadata.uid);
    assert_eq!(left.data, foreign.data);
}

#[tokio::test]
async fn a_calendar_tells_who_has_the_host_and_empties_when_they_are_gone() {
    let stage = shared();
    new_host(stage, "calendar").await;
    post_signed(stage, &flat("EVENT_START", "209", "calendar")).await;
    reaches(stage, "portal-209", Phase::Active).await;
    let calendars: Api<HostCalendar> = namespaced(stage);
    let status = calendars.get("calendar").await.unwrap().status.unwrap();
    assert_eq!(status.current.as_deref(), Some("portal-209"));
    assert_eq!(status.bookings.len(), 1);
    post_signed(stage, &flat("EVENT_END", "209", "calendar")).await;
    reaches(stage, "portal-209", Phase::Released).await;
    let status = calendars.get("calendar").await.unwrap().status.unwrap();
    assert_eq!(status.bookings, []);
    assert_eq!(status.free_from.as_deref(), Some("now"));
}

#[tokio::test]
async fn the_keys_of_a_host_that_is_deleted_while_it_is_held_do_not_outlive_it() {
    let stage = shared();
    new_host(stage, "scrapped").await;
    post_signed(stage, &flat("EVENT_START", "297", "scrapped")).await;
    reaches(stage, "portal-297", Phase::Active).await;
    let secrets: Api<Secret> = namespaced(stage);
    assert!(secrets.get("portal-297-userdata").await.is_ok());
    let reason = json!({"metadata": {"annotations": {
        "harbormaster.dev/break-glass": "the rack is being scrapped today",
    }}});
    patch_host(stage, "scrapped", &reason).await;
    let params = DeleteParams::default();
    hosts(stage).delete("scrapped", &params).await.unwrap();
    reaches(stage, "portal-297", Phase::Failed).await;
    let left = secrets.get_opt("portal-297-userdata").await.unwrap();
    assert_eq!(left, None);
}

#[tokio::test]
async fn what_happens_to_a_reservation_and_what_it_waits_for_is_told_in_events() {
    let stage = shared();
    new_host(stage, "eventful").await;
    post_signed(stage, &flat("EVENT_START", "296", "eventful")).await;
    reaches(stage, "portal-296", Phase::Active).await;
    post_signed(stage, &flat("EVENT_START", "295", "eventful")).await;
    post_signed(stage, &flat("EVENT_START", "294", "nowhere-to-be-found")).await;
    let told = |name: &'static str, reason: &'static str| async move {
        let events: Api<Event> = namespaced(stage);
        until(&format!("{name} to be told to be {reason}"), async || {
            let all = events.list(&ListParams::default()).await.unwrap();
            let mut all = all.into_iter();
            all.find(|event| {
                let regarding = event.regarding.as_ref().unwrap();
                regarding.name.as_deref() == Some(name) && event.reason.as_deref() == Some(reason)
            })
        })
        .await
    };
    let overlap = told("portal-295", "Overlap").await;
    let note = overlap.note.unwrap();
    assert!(
        note.starts_with("overlaps Reservation portal-296"),
        "{note}"
    );
    assert_eq!(overlap.type_.as_deref(), Some("Normal"));
    let missing = told("portal-294", "HostNotFound").await;
    assert_eq!(missing.type_.as_deref(), Some("Warning"));
    post_signed(stage, &flat("EVENT_END", "296", "eventful")).await;
    for reason in [
        "Accepted",
        "Claimed",
        "Provisioning",
        "Active",
        "EndRequested",
        "Clean",
    ] {
        let event = told("portal-296", reason).await;
        assert_eq!(event.reporting_controller.as_deref(), Some("harbormaster"));
        let host = event.related.map(|host| host.name.unwrap());
        assert!(host.is_none_or(|host| host == "eventful"));
    }
    for (name, host) in [("295", "eventful"), ("294", "nowhere-to-be-found")] {
        post_signed(stage, &flat("EVENT_END", name, host)).await;
    }
}

async fn patch_host(stage: &xtask::stage::Stage, name: &str, patch: &serde_json::Value) {
    let params = PatchParams::default();
    hosts(stage)
        .patch(name, &params, &Patch::Merge(patch))
        .await
        .unwrap();
}

fn reason<'a>(reservation: &'a Reservation, condition: &str) -> Option<&'a str> {
    let status = reservation.status.as_ref()?;
    let found = status
        .conditions
        .iter()
        .find(|found| found.type_ == condition)?;
    Some(&found.reason)
}

#[tokio::test]
async fn the_program_is_refused_nothing_that_it_asks_for() {
    let stage = shared();
    // A whole life first, else the log may hold nothing yet.
    new_host(stage, "permitted").await;
    post_signed(stage, &flat("EVENT_START", "207", "permitted")).await;
    reaches(stage, "portal-207", Phase::Active).await;
    post_signed(stage, &flat("EVENT_END", "207", "permitted")).await;
    reaches(stage, "portal-207", Phase::Released).await;
    let log = stage.serve_log();
    assert!(log.contains("portal-207"), "{log}");
    assert!(!log.contains("forbidden"), "{log}");
}
