//! Controllers that are wrong on purpose: each must break a promise, within few schedules. An
//! oracle that finds none of them out would be worth nothing.

use std::ops::Range;

use harbormaster::{
    api::{calendar::HostCalendarStatus, v1::Reservation},
    reservations::{
        decide::{Action, Decision, Policy, decide},
        lookup::Lookup,
    },
};
use jiff::Timestamp;
use json_patch::PatchOperation;
use serde_json::{Value, json};
use simulation::{
    Meddle, Options,
    api_server::{ApiServer, Kind, Request, Verb},
    run,
};

#[test]
fn a_release_without_evidence_of_a_wiped_disk_is_found_out() {
    expect_found_out(&deciding(frees_at_once), "while a disk of");
}

#[test]
fn an_end_before_its_time_is_found_out() {
    expect_found_out(&deciding(ends_early), "before its time is over");
}

#[test]
fn a_controller_that_doesnt_look_who_has_the_host_is_found_out() {
    expect_found_out(&deciding(ignores_the_holder), "was written to for");
}

#[test]
fn a_controller_that_doesnt_wait_for_the_wipe_is_found_out() {
    expect_found_out(&deciding(trusts_the_wipe), "while a disk of");
}

#[test]
fn a_host_that_is_never_given_back_is_found_out() {
    expect_found_out(&deciding(keeps_the_host), "never ends");
}

#[test]
fn user_data_that_stays_is_found_out() {
    expect_found_out(&meddling(keeps_user_data), "was freed, and Secret");
}

#[test]
fn a_booking_without_compare_and_swap_is_found_out() {
    expect_found_out(&meddling(books_blindly), "was lost by a write for");
}

#[test]
fn a_claim_without_the_version_that_was_read_is_found_out() {
    let taken = Options {
        strangers: true,
        ..meddling(claims_blindly)
    };
    expect_found_out(&taken, "which machine-");
}

#[test]
fn an_image_without_the_version_that_was_read_is_found_out() {
    let promises = [
        "which nobody holds, was written to",
        "was freed with an image",
        "got an image on an unwiped disk",
    ];
    expect_one_of(175..225, &meddling(images_blindly), &promises);
}

#[test]
fn an_image_taken_off_without_the_version_that_was_read_is_found_out() {
    let promises = [
        "which nobody holds, was written to",
        "holds, was written to for",
    ];
    expect_one_of(40..SEEDS, &meddling(clears_blindly), &promises);
}

#[test]
fn a_claim_given_back_without_the_version_that_was_read_is_found_out() {
    let taken = Options {
        strangers: true,
        ..meddling(frees_blindly)
    };
    let promises = ["holds, was written to for", "was freed with an image"];
    expect_one_of(45..SEEDS, &taken, &promises);
}

#[test]
fn a_controller_that_spins_is_found_out() {
    expect_found_out(&deciding(spins), "it spins");
}

fn deciding(decide: harbormaster::reservations::controller::Decide) -> Options {
    Options {
        decide,
        ..Options::default()
    }
}

fn meddling(meddle: Meddle) -> Options {
    Options {
        meddle: Some(meddle),
        // What a compare-and-swap is good for shows where two meet.
        crowded: true,
        ..Options::default()
    }
}

fn expect_found_out(mutant: &Options, what: &str) {
    expect_one_of(0..SEEDS, mutant, &[what]);
}

/// Whichever of the promises that hang on it is broken first.
fn expect_one_of(mut seeds: Range<u64>, mutant: &Options, promises: &[&str]) {
    let found = seeds.find_map(|seed| Some((seed, run(seed, mutant).broken?)));
    let is_one = |(_, broken): &(u64, String)| promises.iter().any(|it| broken.contains(it));
    assert!(found.as_ref().is_some_and(is_one), "{found:?}");
}

/// Gives the host back as soon as the image is taken off its spec.
fn frees_at_once(
    reservation: &Reservation,
    calendar: &HostCalendarStatus,
    host: &Lookup,
    policy: &Policy,
    now: Timestamp,
) -> Decision {
    let mut decision = decide(reservation, calendar, host, policy, now);
    let is_released = |it: &k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition| {
        it.type_ == "Released" && it.reason == "Deprovisioning"
    };
    let waits = decision.action == Action::Wait;
    if waits && decision.status.conditions.iter().any(is_released) {
        decision.action = Action::Free { image: None };
    }
    decision
}

/// Believes every window to be over an hour too soon.
fn ends_early(
    reservation: &Reservation,
    calendar: &HostCalendarStatus,
    host: &Lookup,
    policy: &Policy,
    now: Timestamp,
) -> Decision {
    let mut wrong = reservation.clone();
    if let Some(end) = &mut wrong.spec.window.end {
        end.0 -= std::time::Duration::from_secs(3600);
    }
    decide(&wrong, calendar, host, policy, now)
}

/// Takes every host that somebody else has for a free one.
fn ignores_the_holder(
    reservation: &Reservation,
    calendar: &HostCalendarStatus,
    host: &Lookup,
    policy: &Policy,
    now: Timestamp,
) -> Decision {
    let mut seen = host.clone();
    if let Lookup::Found(host) = &mut seen {
        let holder = host.consumer().and_then(|consumer| consumer.uid.clone());
        if holder != reservation.metadata.uid {
            host.spec.consumer_ref = None;
            host.spec.image = None;
            host.status = None;
        }
    }
    decide(reservation, calendar, &seen, policy, now)
}

/// Takes a disk that is being wiped for a clean one.
fn trusts_the_wipe(
    reservation: &Reservation,
    calendar: &HostCalendarStatus,
    host: &Lookup,
    policy: &Policy,
    now: Timestamp,
) -> Decision {
    let mut seen = host.clone();
    if let Lookup::Found(host) = &mut seen
        && let Some(status) = &mut host.status
        && status.provisioning.state == metal3::ProvisioningState::Deprovisioning
    {
        status.provisioning.state = metal3::ProvisioningState::Available;
        status.provisioning.image = None;
    }
    decide(reservation, calendar, &seen, policy, now)
}

/// Never takes the image off a host.
fn keeps_the_host(
    reservation: &Reservation,
    calendar: &HostCalendarStatus,
    host: &Lookup,
    policy: &Policy,
    now: Timestamp,
) -> Decision {
    let mut decision = decide(reservation, calendar, host, policy, now);
    if matches!(decision.action, Action::Clear) {
        decision.action = Action::Wait;
        decision.wake = None;
    }
    decision
}

/// Always wants to look again at once.
fn spins(
    reservation: &Reservation,
    calendar: &HostCalendarStatus,
    host: &Lookup,
    policy: &Policy,
    now: Timestamp,
) -> Decision {
    let decision = decide(reservation, calendar, host, policy, now);
    let wake = Some(now);
    Decision { wake, ..decision }
}

/// Claims a host whoever has come to have it since it was read.
fn claims_blindly(request: &mut Request, _: &ApiServer) -> bool {
    forget_version(request, "consumerRef")
}

/// Puts an image on a host whatever has come to be on it since it was read.
fn images_blindly(request: &mut Request, _: &ApiServer) -> bool {
    forget_version(request, "userData")
}

/// Takes off a host whatever has come to be on it since it was read.
fn clears_blindly(request: &mut Request, _: &ApiServer) -> bool {
    forget_version_where(request, |spec| spec.get("userData") == Some(&Value::Null))
}

/// Gives a host back whoever has come to have it since it was seen to be clean.
fn frees_blindly(request: &mut Request, _: &ApiServer) -> bool {
    forget_version_where(request, |spec| {
        spec.get("consumerRef") == Some(&Value::Null)
    })
}

fn forget_version(request: &mut Request, of_who_sets: &str) -> bool {
    forget_version_where(request, |spec| spec[of_who_sets].is_object())
}

fn forget_version_where(request: &mut Request, is_meant: impl Fn(&Value) -> bool) -> bool {
    if request.kind == Kind::Host
        && let Verb::Merge(patch) = &mut request.verb
        && is_meant(&patch["spec"])
        && let Some(metadata) = patch["metadata"].as_object_mut()
    {
        metadata.remove("resourceVersion");
    }
    true
}

/// Doesn't delete the Secret with the user data.
fn keeps_user_data(request: &mut Request, _: &ApiServer) -> bool {
    if request.kind != Kind::Secret {
        return true;
    }
    if let Verb::Json(patch) = &mut request.verb {
        let empties = |operation: &PatchOperation| match operation {
            PatchOperation::Add(add) => add.value == json!({}),
            _ => false,
        };
        patch.0.retain(|operation| !empties(operation));
    }
    !matches!(request.verb, Verb::Delete { .. })
}

/// Writes a calendar over whatever is there by now.
fn books_blindly(request: &mut Request, server: &ApiServer) -> bool {
    if request.kind == Kind::Calendar
        && let Verb::Replace(body) = &mut request.verb
        && let Some(stored) = server.one(Kind::Calendar, &request.name)
    {
        body["metadata"]["resourceVersion"] = stored["metadata"]["resourceVersion"].clone();
    }
    true
}

/// Until the first that breaks a promise; most do within ten. Those in whose way few come at the
/// very moment are found by one of fifty or more, and begin shortly before it.
const SEEDS: u64 = 150;
