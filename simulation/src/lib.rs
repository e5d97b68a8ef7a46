//! Seeded schedules that try to get the wrong person's disk onto a host.
//!
//! The program's own code runs here, unchanged: the recorder of the event door, and the
//! controller's pass with all that it calls, from `decide` to the patches. Only what is
//! around it is made up: an API server in memory, the operator (the rules of the crate
//! `metal3`), clocks, people, and everything that can go wrong. One seed is one schedule, to
//! the last request. Called by `cargo xtask soak simulation` and by this crate's tests.
//!
//! After each write the oracle is asked whether a promise was broken: it knows what is really
//! on each disk, and shares nothing with what decides.

mod agenda;
pub mod api_server;
mod client;
pub mod coverage;
pub mod load;
mod operator;
mod oracle;
mod pace;
mod people;
mod world;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use harbormaster::{
    api::v1::Image,
    clock::Clock,
    events::{
        event::Event,
        intent::{Filters, Intent, intent},
        record::{Recorded, Recorder},
    },
    reservations::{
        controller::{Context, Decide},
        decide::{Policy, decide},
    },
};
use kube::Api;
use metal3::BareMetalHost;

use self::{
    api_server::{ApiServer, NAMESPACE, Request},
    client::{Shared, client},
    coverage::{Coverage, Fault},
    people::{Deed, FAULTS_END},
    world::{Actor, FREE_IMAGE, PROVISIONING_TIMEOUT, World},
};

/// How a schedule is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// What decides: the program's own, or one that must be found out.
    pub decide: Decide,
    /// What becomes of the controller's requests on their way, if it is to be found out.
    pub meddle: Option<Meddle>,
    /// Whether two replicas lead all the time, and get in each other's way at every turn, as
    /// they do in one world of eight anyhow.
    pub crowded: bool,
    /// Whether another project takes each host that it finds free, which it else does now and
    /// then, and not in every world.
    pub strangers: bool,
    /// Faults that don't happen this time.
    pub quiet: BTreeSet<Fault>,
    /// Whether everything that happens is written down.
    pub trace: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            decide,
            meddle: None,
            crowded: false,
            strangers: false,
            quiet: BTreeSet::new(),
            trace: false,
        }
    }
}

/// Makes of a request what a faulty controller would have asked; it is not sent at all, but
/// answered as if it had been, where this says false.
pub type Meddle = fn(&mut Request, &ApiServer) -> bool;

/// How a schedule went.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// What was met.
    pub coverage: Coverage,
    /// The promise that was broken, if one was.
    pub broken: Option<String>,
    /// What happened, line by line, if that was asked for.
    pub trace: Vec<String>,
}

/// Runs the schedule of a seed.
pub fn run(seed: u64, options: &Options) -> Outcome {
    // One thread, no timers but those that never come to fire: the same seed does the same.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without I/O takes nothing from the system");
    runtime.block_on(async {
        let shared = set(seed, options);
        let broken = play(&shared).await.err();
        let mut world = shared.world();
        world.coverage.busiest = world.pace.take_most();
        Outcome {
            coverage: world.coverage.clone(),
            broken,
            trace: world.trace.take().unwrap_or_default(),
        }
    })
}

/// The faults without which a failing seed doesn't fail, as far as leaving out one after
/// another tells.
pub fn needed_faults(seed: u64, options: &Options) -> Options {
    let mut smaller = options.clone();
    for fault in Fault::ALL {
        let mut quieter = smaller.clone();
        quieter.quiet.insert(fault);
        if run(seed, &quieter).broken.is_some() {
            smaller = quieter;
        }
    }
    smaller
}

fn set(seed: u64, options: &Options) -> Arc<Shared> {
    let mut world = World::new(seed, options);
    let free_image = world.rng.u8(0..5) == 0;
    equip(world, options, free_image)
}

/// Puts the replicas into a world.
fn equip(world: World, options: &Options, free_image: bool) -> Arc<Shared> {
    let policy = Policy {
        image: Image {
            url: "http://images.example.com/noble.qcow2".to_owned(),
            ..Image::default()
        },
        deprovision_image: free_image.then(|| FREE_IMAGE.to_owned()),
        provisioning_timeout: PROVISIONING_TIMEOUT,
        end_grace: Duration::from_secs(600),
    };
    let shared = Shared::new(world);
    let leaders = [0, 1].map(|leader| {
        let watched = Arc::downgrade(&shared);
        let clock = Clock::telling(move || {
            let shared = watched.upgrade().expect("the world outlives its clocks");
            let mut world = shared.world();
            world.believed(leader)
        });
        let client = client(&shared, Actor::Leader(leader));
        let hosts = BareMetalHost::resource();
        Context::new(client, NAMESPACE, hosts, policy.clone(), clock).deciding(options.decide)
    });
    drop(shared.leaders.set(leaders));
    shared
}

/// What is next.
enum Next {
    Act(Deed),
    Operate(String),
    Pass(usize, String),
    Rest,
}

async fn play(shared: &Arc<Shared>) -> Result<(), String> {
    let door = Api::namespaced(client(shared, Actor::Door), NAMESPACE);
    // Its own limit is for the sender's sake; here it would only make machines differ.
    let recorder = Recorder::new(door, "portal".to_owned()).within(Duration::from_secs(3600));
    let begun = shared.world().now;
    loop {
        let next = {
            let mut world = shared.world();
            if let Some(broken) = world.broken.take() {
                return Err(broken);
            }
            world.pace.check()?;
            next(&mut world, begun)
        };
        match next {
            Next::Act(Deed::Event(event)) => deliver(shared, &recorder, *event).await,
            Next::Act(deed) => shared.world().act(deed),
            Next::Operate(name) => shared.world().operate(&name),
            Next::Pass(leader, name) => shared.pass(leader, &name).await,
            Next::Rest => {
                let world = shared.world();
                return world.at_rest();
            }
        }
    }
}

/// Of what is due, anything: only time is in order.
fn next(world: &mut World, begun: jiff::Timestamp) -> Next {
    loop {
        let now = world.now;
        if !world.is_calm && now >= begun + FAULTS_END {
            world.mend();
        }
        let mut due = Vec::new();
        if let Some((key, _)) = world.deeds.range(..=(now, u64::MAX)).next() {
            let key = *key;
            due.push(Ok(key));
        }
        let named = |is_machine| move |name: &str| Err((is_machine, name.to_owned()));
        due.extend(world.machines.due(now).into_iter().map(named(true)));
        due.extend(world.due.due(now).into_iter().map(named(false)));
        if !due.is_empty() {
            let n = world.rng.usize(0..due.len());
            return match due.swap_remove(n) {
                Ok(key) => match world.deeds.remove(&key) {
                    Some(deed) => Next::Act(deed),
                    None => continue,
                },
                Err((true, name)) => Next::Operate(name),
                Err((false, name)) => {
                    let second = world.are_two_leading && world.rng.bool();
                    Next::Pass(usize::from(second), name)
                }
            };
        }
        let is_at_rest = world.is_calm && world.deeds.is_empty() && world.has_come_to_rest();
        let at = [
            world.deeds.keys().next().map(|(at, _)| *at),
            world.machines.first().map(|(at, _)| at),
            world.due.first().map(|(at, _)| at),
        ];
        let at = at.into_iter().flatten().min();
        match at {
            Some(at) if !is_at_rest && at <= begun + LAST => world.now = at,
            None if !world.is_calm => world.now = begun + FAULTS_END,
            _ => return Next::Rest,
        }
    }
}

/// What the door does with an event, from where its body is understood.
async fn deliver(shared: &Arc<Shared>, recorder: &Recorder, event: Event) {
    let now = {
        let mut world = shared.world();
        world.note(|| format!("EVENT {event:?}"));
        world.now
    };
    let asked: Intent = intent(event, &Filters::default(), now);
    let recorded = recorder.record(&asked, now).await;
    let mut world = shared.world();
    match recorded {
        Ok(Recorded::Taken(name)) => {
            world.coverage.meet("an event taken");
            world.acknowledged.insert(name);
        }
        Ok(Recorded::AlreadyHandled) => world.coverage.meet("an event known"),
        Ok(Recorded::Ignored(_)) => world.coverage.meet("an event ignored"),
        // Nobody sends it again. (This door has no spool, so that it can lose events.)
        Ok(Recorded::Spooled) | Err(_) => world.coverage.meet("an event refused"),
    }
}

/// When everything must have come to its end, counted from the start.
const LAST: Duration = Duration::from_secs(40 * 3600);
