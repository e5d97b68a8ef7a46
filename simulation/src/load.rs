//! What much costs: many bookings on many hosts, and nothing that goes wrong.
//!
//! Counts what the controller asks of the API server, and measures what it takes to decide;
//! the network and etcd are no part of it. Called by `cargo xtask soak simulation -- --load`.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::{
    Options,
    api_server::{Kind, Request, Verb},
    client::Shared,
    coverage::Coverage,
    equip,
    world::{Actor, World},
};

/// What it took.
#[derive(Clone, Debug)]
pub struct Load {
    /// How many were booked.
    pub bookings: u64,
    /// Bookings that were served, from the first pass to the release.
    pub served: u64,
    /// Until all were accepted.
    pub accepting: Coverage,
    /// In an hour in which nothing was to be done, all bookings being accepted.
    pub waiting: Coverage,
    /// From the first one's begin to the last one's release.
    pub serving: Coverage,
    /// Changes of a phase while they were served.
    pub transitions: u64,
    /// Time that passed here while they were served.
    pub took: Duration,
    /// The promise that was broken, if one was; not to serve everybody is to break one.
    pub broken: Option<String>,
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
        let all = u64::try_from(bookings).unwrap_or(u64::MAX);
        shared.world().pace.allow_for(all);
        let first = begun + SignedDuration::from_hours(3);
        book(&shared, hosts, bookings, first);
        play(&shared, begun + SignedDuration::from_hours(1)).await;
        let accepting = counted(&shared);
        play(&shared, begun + SignedDuration::from_hours(2)).await;
        let waiting = counted(&shared);
        // What begins at that time is to be counted.
        play(&shared, first - SignedDuration::from_secs(1)).await;
        drop(counted(&shared));

        let started = Instant::now();
        let hours = bookings.div_ceil(hosts) * 2 + 3;
        let end = SignedDuration::from_hours(i64::try_from(hours).unwrap_or(i64::MAX));
        play_while(&shared, first + end, |world| {
            world.coverage.met.get("phase Released") < Some(&all)
        })
        .await;
        let took = started.elapsed();
        let serving = counted(&shared);
        let phases = serving.met.iter();
        let phases = phases.filter(|(what, _)| what.starts_with("phase "));
        let world = shared.world();
        let broken = world.broken.clone();
        let broken = broken.or_else(|| world.pace.check().err());
        Load {
            bookings: all,
            served: serving.met.get("phase Released").copied().unwrap_or(0),
            transitions: phases.map(|(_, times)| times).sum(),
            broken: broken.or_else(|| world.at_rest().err()),
            accepting,
            waiting,
            serving,
            took,
        }
    })
}

impl Load {
    /// What acts comes to this for each booking; what only looks is not in it.
    pub fn requests_a_booking(&self) -> f64 {
        (self.accepting.busy + self.serving.busy) as f64 / self.bookings as f64
    }

    /// What a booking asks for in an hour in which it only waits.
    pub fn requests_an_hour(&self) -> f64 {
        self.waiting.requests as f64 / self.bookings as f64
    }

    /// Passes for each change of a phase, looks included.
    pub fn passes_a_transition(&self) -> f64 {
        self.serving.passes as f64 / self.transitions as f64
    }
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            bookings, served, ..
        } = self;
        writeln!(f, "{served} of {bookings} bookings served")?;
        if let Some(broken) = &self.broken {
            writeln!(f, "BROKEN: {broken}")?;
        }
        for (what, part) in [
            ("accepted", &self.accepting),
            ("waiting an hour", &self.waiting),
            ("served", &self.serving),
        ] {
            let (passes, requests, busy) = (part.passes, part.requests, part.busy);
            writeln!(
                f,
                "{what}: {passes} passes, {requests} requests, of which {busy} by passes that \
                 changed something"
            )?;
            for ((verb, kind), times) in &part.asked {
                writeln!(f, "  {times:>10}  {verb} {kind:?}")?;
            }
        }
        let seconds = self.took.as_secs_f64();
        writeln!(
            f,
            "{:.1} requests a booking, {:.1} an hour for one that waits; {} changes of a phase, \
             {:.1} passes and {:.1} requests each, {:.1} of them where something changed; {} passes \
             within ten minutes at most; {seconds:.1} s, {:.2} ms a pass",
            self.requests_a_booking(),
            self.requests_an_hour(),
            self.transitions,
            self.passes_a_transition(),
            self.serving.requests as f64 / self.transitions as f64,
            self.serving.busy as f64 / self.transitions as f64,
            self.serving.busiest,
            seconds * 1000.0 / self.serving.passes as f64,
        )
    }
}

/// What was counted since this was last asked.
fn counted(shared: &Shared) -> Coverage {
    let mut world = shared.world();
    world.coverage.busiest = world.pace.take_most();
    std::mem::take(&mut world.coverage)
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
    play_while(shared, until, |_| true).await;
}

async fn play_while(shared: &Arc<Shared>, until: Timestamp, goes_on: impl Fn(&World) -> bool) {
    loop {
        let next = {
            let world = shared.world();
            let is_well = world.broken.is_none() && world.pace.check().is_ok();
            if !is_well || !goes_on(&world) {
                return;
            }
            let machine = world.machines.first().map(|(at, name)| (at, true, name));
            let due = world.due.first().map(|(at, name)| (at, false, name));
            let next = machine.into_iter().chain(due).min();
            let next = next.filter(|(at, ..)| *at <= until);
            next.map(|(at, is_machine, name)| (at, is_machine, name.to_owned()))
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
