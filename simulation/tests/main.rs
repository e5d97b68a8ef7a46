//! Schedules enough for every day; `cargo xtask soak simulation` runs as many as one likes.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests say what they expect by unwrapping it; clippy spares only the test functions"
)]

#[path = "main/fidelity.rs"]
mod fidelity;
#[path = "main/script.rs"]
mod script;

use harbormaster::{
    api::{calendar::HostCalendarStatus, v1::Reservation},
    reservations::{
        controller::Decide,
        decide::{Action, Decision, Policy, decide},
        lookup::Lookup,
    },
};
use jiff::Timestamp;
use simulation::{
    Options,
    coverage::{Coverage, Fault},
    run,
};

#[test]
fn no_schedule_breaks_a_promise_and_every_fault_and_phase_is_met() {
    let mut met = Coverage::default();
    for seed in 0..SCHEDULES {
        let outcome = run(seed, &Options::default());
        assert_eq!(outcome.broken, None, "seed {seed}");
        met.add(&outcome.coverage);
    }
    for fault in Fault::ALL {
        assert!(met.faults.contains_key(&fault), "{fault:?} never happened");
    }
    for phase in [
        "Active",
        "Failed",
        "Pending",
        "Provisioning",
        "Released",
        "Releasing",
    ] {
        let phase = format!("phase {phase}");
        assert!(met.met.contains_key(&phase), "{phase} was never reached");
    }
    assert!(met.met.contains_key("a conflict"), "nothing ever collided");
}

#[test]
fn one_seed_is_one_schedule() {
    let traced = Options {
        trace: true,
        ..Options::default()
    };
    let first = run(7, &traced);
    assert!(!first.trace.is_empty());
    assert_eq!(first, run(7, &traced));
}

#[test]
fn a_release_without_evidence_of_a_wiped_disk_is_found_out() {
    expect_found_out(frees_at_once, "while a disk of");
}

#[test]
fn an_end_before_its_time_is_found_out() {
    expect_found_out(ends_early, "before its time is over");
}

fn expect_found_out(decide: Decide, what: &str) {
    let mutant = Options {
        decide,
        ..Options::default()
    };
    let found = (0..SCHEDULES).find_map(|seed| run(seed, &mutant).broken);
    assert!(
        found.as_ref().is_some_and(|broken| broken.contains(what)),
        "{found:?}"
    );
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

const SCHEDULES: u64 = 60;
