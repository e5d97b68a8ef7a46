//! What much costs: many bookings on many hosts, and nothing that goes wrong.
//!
//! Counts what the controller asks of the API server, and measures what it takes to decide;
//! the network and etcd are no part of it. Called by `cargo xtask soak simulation -- --load`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    Options,
    api_server::{Kind, Request, Verb},
    client::Shared,
    equip,
    world::{Actor, World},
};

/// What it took.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Bookings that were served, from the first pass to the release.
    pub served: u64,
    /// Changes of a phase.
    pub transitions: u64,
    /// Passes of the controller.
    pub passes: u64,
    /// Requests to the API server.
    pub requests: u64,
    /// Those of them that passes made which changed something: the others only looked.
    pub busy: u64,
    /// Time that passed here.
    pub took: Duration,
    /// Requests in an hour in which nothing was to be done, all bookings being accepted.
    pub at_rest: u64,
}

/// Serves `bookings` one-hour bookings, spread over `hosts` hosts, back to back.
pub fn load(hosts: usize, bookings: usize) -> Load {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without I/O takes nothing from the system");
    runtime.block_on(async {
        let options = Options::default();
        let shared = equip(World::quiet(&options), &options, false);
        let begun = shared.world().now;
        // All accepted, none begun.
        let first = begun + SignedDuration::from_hours(3);
        book(&shared, hosts, bookings, first);
        play(&shared, begun + SignedDuration::from_hours(1)).await;
        let before = shared.world().coverage.requests;
        play(&shared, begun + SignedDuration::from_hours(2)).await;
        let at_rest = shared.world().coverage.requests - before;

        let started = Instant::now();
        let before = shared.world().coverage.clone();
        let hours = bookings.div_ceil(hosts) * 2 + 3;
        let end = SignedDuration::from_hours(i64::try_from(hours).unwrap_or(i64::MAX));
        play(&shared, first + end).await;
        let took = started.elapsed();
        let coverage = &shared.world().coverage;
        let phases = coverage.met.iter();
        let phases = phases.filter(|(what, _)| what.starts_with("phase "));
        Load {
            served: coverage.met.get("phase Released").copied().unwrap_or(0),
            transitions: phases.map(|(_, times)| times).sum(),
            passes: coverage.passes - before.passes,
            requests: coverage.requests - before.requests,
            busy: coverage.busy - before.busy,
            took,
            at_rest,
        }
    })
}

fn book(shared: &Shared, hosts: usize, bookings: usize, first: Timestamp) {
    let mut world = shared.world();
    for host in 0..hosts {
        world.make_host(&format!("srv{host}"));
    }
    for booking in 0..bookings {
        let (turn, host) = (booking / hosts, booking % hosts);
        let hour = i64::try_from(turn).unwrap_or(i64::MAX);
        let start = first + SignedDuration::from_hours(hour);
        let end = start + SignedDuration::from_hours(1);
        let person = format!("person-{booking}");
        let object = json!({
            "metadata": {"name": format!("booking-{booking}")},
            "spec": {
                "requester": {"id": person, "username": person},
                "target": {"hostRef": {"name": format!("srv{host}")}},
                "window": {"start": start.to_string(), "end": end.to_string()},
                "access": {"authorizedKeys": [{"key": format!("ssh-ed25519 AAAAC3Nz {person}")}]},
            },
        });
        let request = Request {
            kind: Kind::Reservation,
            name: String::new(),
            status: false,
            verb: Verb::Create(object),
        };
        world.request(Actor::Admin, &request);
    }
}

/// Lets happen what is due until then, in the order of time.
async fn play(shared: &Arc<Shared>, until: Timestamp) {
    loop {
        let next = {
            let world = shared.world();
            let machines = world.machines.iter();
            let machines = machines.filter_map(|(name, it)| Some((it.due?, true, name.clone())));
            let due = world
                .due
                .iter()
                .map(|(name, at)| (*at, false, name.clone()));
            machines.chain(due).min().filter(|(at, ..)| *at <= until)
        };
        let Some((at, is_machine, name)) = next else {
            shared.world().now = until;
            return;
        };
        {
            let mut world = shared.world();
            world.now = world.now.max(at);
        }
        if is_machine {
            shared.world().operate(&name);
        } else {
            shared.pass(0, &name).await;
        }
    }
}
