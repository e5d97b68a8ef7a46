//! Schedules enough for every day; `cargo xtask soak simulation` runs as many as one likes.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests say what they expect by unwrapping it; clippy spares only the test functions"
)]

#[path = "main/fidelity.rs"]
mod fidelity;
#[path = "main/mutants.rs"]
mod mutants;
#[path = "main/script.rs"]
mod script;

use simulation::{
    Options,
    coverage::{Coverage, Fault},
    load::load,
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
fn no_crowd_breaks_a_promise() {
    let crowded = Options {
        crowded: true,
        ..Options::default()
    };
    // In 40 and 64, as they were then, a replica that was stopped wrote the keys of who was over by then; in
    // 605, somebody puts an image on a host between the look that finds it clean and the write that frees it.
    for seed in (0..5).chain([40, 64, 605]) {
        assert_eq!(run(seed, &crowded).broken, None, "seed {seed}");
    }
    // In 41, an image that somebody put on another project's host fails, and is put there again.
    let taken = Options {
        strangers: true,
        ..crowded
    };
    for seed in [0, 41] {
        assert_eq!(run(seed, &taken).broken, None, "seed {seed}");
    }
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
fn many_are_served_by_few_requests_and_who_waits_costs_little() {
    let load = load(6, 60);
    assert_eq!((load.served, &load.broken), (60, &None), "{load}");
    // The three parts are counted apart: all are accepted at once, and then there is peace.
    assert!(load.waiting.busiest < load.accepting.busiest, "{load}");
    assert!(load.requests_a_booking() < 90.0, "{load}");
    // A look every quarter of an hour, at three objects.
    assert!(load.requests_an_hour() <= 15.0, "{load}");
    assert!(load.passes_a_transition() < 20.0, "{load}");
}

/// Schedules that broke a promise once.
#[test]
fn an_end_without_an_id_on_a_host_that_stays_in_preparing_is_over_at_some_time() {
    assert_eq!(run(1921, &Options::default()).broken, None);
}

#[test]
fn a_wish_gets_the_host_that_only_a_record_taken_away_by_force_had_booked() {
    let outcome = run(110, &Options::default());
    assert_eq!(outcome.broken, None);
    assert!(outcome.coverage.faults.contains_key(&Fault::RecordForced));
    let met = outcome.coverage.met;
    assert!(met.contains_key("a wish booked where only the dead were"));
}

const SCHEDULES: u64 = 60;
