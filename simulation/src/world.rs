//! The world of one schedule: the API server, the machines, the clocks, and what is still to
//! happen. Synchronous; whoever drives it holds it for a step at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fastrand::Rng;
use harbormaster::reservations::{decide::only_waits_for_its_time, essentials::Essentials};
use jiff::{SignedDuration, Timestamp};
use metal3::simulator::{Situation, Timings};
use serde_json::{Value, json};

use crate::{
    Meddle, Options,
    agenda::Agenda,
    api_server::{Answer, ApiServer, Change, Kind, Request, Verb},
    coverage::{Coverage, Fault},
    oracle::{Oracle, Times, Writer, host, reservation},
    pace::Pace,
    people::{Deed, deeds, labels},
};

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Actor {
    /// A person with kubectl.
    Admin,
    /// The event door.
    Door,
    /// A replica that believes that it leads.
    Leader(usize),
    /// Metal3's operator.
    Operator,
}

/// Everything.
pub(crate) struct World {
    pub(crate) server: ApiServer,
    pub(crate) now: Timestamp,
    pub(crate) rng: Rng,
    /// For those who come beside the portal's people: without them, nothing else changes.
    pub(crate) others: Rng,
    /// Another project takes hosts, too: once in so many times that it could.
    pub(crate) strangers_take: Option<u32>,
    pub(crate) strangers: u32,
    pub(crate) coverage: Coverage,
    /// Nothing goes wrong any more.
    pub(crate) is_calm: bool,
    pub(crate) are_two_leading: bool,
    /// Two replicas lead, and meet at every turn.
    pub(crate) is_crowded: bool,
    /// Which Reservation each replica looks at.
    pub(crate) at_work: [Option<String>; 2],
    /// When each look at a Reservation began that went well.
    pub(crate) looks: BTreeMap<String, Vec<Timestamp>>,
    /// Which replicas have died in the midst of a pass.
    pub(crate) dead: [bool; 2],
    /// How deep in each other passes are.
    pub(crate) depth: u8,
    pub(crate) pace: Pace,
    /// When each host is to be looked at by the operator.
    pub(crate) machines: Agenda,
    /// What the operator knows of each host since its last look.
    pub(crate) situations: BTreeMap<String, Situation>,
    pub(crate) timings: Timings,
    pub(crate) operator_back: Timestamp,
    pub(crate) deeds: BTreeMap<(Timestamp, u64), Deed>,
    /// When each Reservation is to be looked at.
    pub(crate) due: Agenda,
    /// The objects that the senders were told are stored.
    pub(crate) acknowledged: BTreeSet<String>,
    pub(crate) trace: Option<Vec<String>>,
    pub(crate) broken: Option<String>,
    oracle: Oracle,
    skews: [SignedDuration; 2],
    latest: Timestamp,
    quiet: BTreeSet<Fault>,
    meddle: Option<Meddle>,
    numbered: u64,
    /// The Reservations that have to do with a host, by the host's name.
    concerned: BTreeMap<String, BTreeSet<String>>,
    changes: u64,
    /// After so many changes, not everything had come to rest.
    restless: Option<u64>,
}

impl World {
    pub(crate) fn new(seed: u64, options: &Options) -> Self {
        let mut world = Self::empty(seed, options);
        world.is_crowded = world.rng.u8(0..8) == 0 || options.crowded;
        world.are_two_leading = world.is_crowded && world.goes_wrong(Fault::TwoLeaders, 1000);
        deeds(&mut world);
        world
    }

    /// One in which nothing happens by itself, and nothing goes wrong.
    pub(crate) fn quiet(options: &Options) -> Self {
        let mut world = Self::empty(0, options);
        world.is_calm = true;
        world
    }

    fn empty(seed: u64, options: &Options) -> Self {
        let mut rng = Rng::with_seed(seed);
        let minutes = |rng: &mut Rng, most: u64| Duration::from_secs(rng.u64(5..most * 60));
        let timings = Timings {
            registering: minutes(&mut rng, 1),
            inspecting: minutes(&mut rng, 3),
            preparing: minutes(&mut rng, 2),
            provisioning: minutes(&mut rng, 12),
            deprovisioning: minutes(&mut rng, 20),
            powering_off: minutes(&mut rng, 1),
            deleting: minutes(&mut rng, 1),
            retry: minutes(&mut rng, 2),
        };
        let now = Timestamp::from_second(START).expect("a time of this century");
        Self {
            server: ApiServer::default(),
            now,
            rng,
            others: Rng::with_seed(!seed),
            strangers_take: options.strangers.then_some(1),
            strangers: 0,
            coverage: Coverage::default(),
            is_calm: false,
            are_two_leading: false,
            is_crowded: false,
            at_work: [None, None],
            looks: BTreeMap::new(),
            dead: [false; 2],
            depth: 0,
            pace: Pace::new(now),
            machines: Agenda::default(),
            situations: BTreeMap::new(),
            timings,
            operator_back: Timestamp::MIN,
            deeds: BTreeMap::new(),
            due: Agenda::default(),
            acknowledged: BTreeSet::new(),
            trace: options.trace.then(Vec::new),
            broken: None,
            oracle: Oracle::default(),
            skews: [SignedDuration::ZERO; 2],
            latest: Timestamp::MIN,
            quiet: options.quiet.clone(),
            meddle: options.meddle,
            numbered: 0,
            concerned: BTreeMap::new(),
            changes: 0,
            restless: None,
        }
    }

    /// Whether this goes wrong now, once in so many thousand times.
    pub(crate) fn goes_wrong(&mut self, fault: Fault, per_mille: u32) -> bool {
        let drawn = self.rng.u32(0..1000) < per_mille;
        drawn && self.happens(fault)
    }

    /// Whether what was drawn happens, and may.
    pub(crate) fn happens(&mut self, fault: Fault) -> bool {
        if !self.may_happen(fault) {
            return false;
        }
        self.coverage.fault(fault);
        self.note(|| format!("FAULT {fault:?}"));
        true
    }

    /// Whether it may.
    pub(crate) fn may_happen(&self, fault: Fault) -> bool {
        !self.is_calm && !self.quiet.contains(&fault)
    }

    pub(crate) fn note(&mut self, what: impl FnOnce() -> String) {
        let now = self.now;
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{now} {}", what()));
        }
    }

    pub(crate) fn later(&mut self, at: Timestamp, deed: Deed) {
        self.numbered += 1;
        self.deeds.insert((at.max(self.now), self.numbered), deed);
    }

    /// What time a replica believes it to be.
    pub(crate) fn believed(&mut self, leader: usize) -> Timestamp {
        let believed = self.now + self.skews[leader];
        self.latest = self.latest.max(believed).max(self.now);
        believed
    }

    pub(crate) fn turn_clock(&mut self, leader: usize, by: SignedDuration) {
        self.skews[leader] = by;
        self.note(|| format!("replica {leader}'s clock is off by {by}"));
        // A clock that is turned wakes nobody, but what was asked for by its time is overdue.
    }

    /// Does one request of a replica's, or what a faulty replica would have made of it.
    pub(crate) fn request_of_ours(&mut self, actor: Actor, request: &Request) -> Answer {
        let (Actor::Leader(_), Some(meddle)) = (actor, self.meddle) else {
            return self.request(actor, request);
        };
        let mut meddled = request.clone();
        if meddle(&mut meddled, &self.server) {
            return self.request(actor, &meddled);
        }
        self.note(|| format!("SWALLOWED {request:?}"));
        let body = json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
            "status": "Success"});
        Answer { code: 200, body }
    }

    /// Does one request, and looks at what it did.
    pub(crate) fn request(&mut self, actor: Actor, request: &Request) -> Answer {
        let now = self.now;
        let (answer, change) = self.server.handle(request, now);
        if request.verb.is_write() {
            self.note(|| told(actor, request, &answer));
            if answer.code == 409 {
                self.coverage.meet("a conflict");
            }
        }
        let Some(change) = change else {
            return answer;
        };
        self.changes += 1;
        let writers = match actor {
            Actor::Leader(leader) => self.believed(leader),
            _ => self.now,
        };
        let times = Times {
            now: self.now,
            latest: self.latest.max(self.now),
            writers,
        };
        let concerns = match actor {
            Actor::Leader(leader) => self.at_work[leader].as_deref(),
            _ => None,
        };
        let looks = concerns.and_then(|name| self.looks.get(name));
        let writer = Writer {
            actor,
            concerns,
            looks: looks.map_or(&[], Vec::as_slice),
        };
        let judged = self
            .oracle
            .judge(writer, &change, &self.server, times, &mut self.coverage);
        if let (Err(broken), None) = (judged, &self.broken) {
            self.note(|| format!("BROKEN {broken}"));
            self.broken = Some(broken);
        }
        let is_seen = !self.goes_wrong(Fault::WatchLost, 20);
        match change.kind {
            Kind::Host => {
                let reaction = Duration::from_millis(self.rng.u64(0..8000));
                self.machines.set_by(&change.name, now + reaction);
                if is_seen {
                    let [before, after] = [&change.before, &change.after].map(essentials);
                    let is_news = before != after;
                    self.wake(&change.name, change.after.as_ref(), is_news);
                }
            }
            Kind::Calendar if is_seen => self.wake(&change.name, None, true),
            Kind::Reservation => {
                self.index(&change);
                if change.before.is_none() {
                    self.looks.remove(&change.name);
                }
                if change.after.is_none() {
                    self.collect_later(&format!("{}-userdata", change.name));
                }
                if is_seen {
                    self.due.set(&change.name, now);
                } else {
                    // A watch that failed begins with a list, and what was missed is seen then.
                    self.due.set_if_none(&change.name, now + LISTED_AGAIN);
                }
            }
            Kind::Secret => self.collect_later(&change.name),
            Kind::Calendar => {}
        }
        answer
    }

    /// The garbage collector takes its time.
    fn collect_later(&mut self, secret: &str) {
        if self.is_orphan(secret) {
            let at = self.now + COLLECTED;
            self.later(at, Deed::Collect(secret.to_owned()));
        }
    }

    fn index(&mut self, change: &Change) {
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        let (before, after) = (before.map(hosts_of), after.map(hosts_of));
        if before == after {
            return;
        }
        for host in before.into_iter().flatten() {
            if let Some(concerned) = self.concerned.get_mut(&host) {
                concerned.remove(&change.name);
            }
        }
        for host in after.into_iter().flatten() {
            let concerned = self.concerned.entry(host).or_default();
            concerned.insert(change.name.clone());
        }
    }

    /// What the controller's watches wake when a host or its calendar changes: whoever has
    /// to do with the host, and is not over or still has it; and who has none yet, and would
    /// take it.
    fn wake(&mut self, host: &str, changed: Option<&Value>, is_news: bool) {
        let now = self.now;
        let holder = self.server.one(Kind::Host, host);
        let holder = holder.map(|it| it["spec"]["consumerRef"]["uid"].clone());
        let choosing = self.concerned.get(ANY).into_iter().flatten();
        for name in choosing.chain(self.concerned.get(host).into_iter().flatten()) {
            let Some(object) = self.server.one(Kind::Reservation, name) else {
                continue;
            };
            let wanted = &object["spec"]["target"]["selector"]["matchLabels"];
            let has_none = object["status"]["calendar"].is_null();
            if let (Some(changed), Some(wanted), true) = (changed, wanted.as_object(), has_none) {
                let there = &changed["metadata"]["labels"];
                let mut wanted = wanted.iter();
                if !wanted.all(|(key, value)| there[key] == *value) {
                    continue;
                }
            }
            if !is_news && wanted.is_null() && only_waits_for_its_time(&reservation(object)) {
                continue;
            }
            let phase = object["status"]["phase"].as_str();
            let is_over = matches!(phase, Some("Released" | "Failed"));
            let holds = holder.as_ref() == Some(&object["metadata"]["uid"]);
            if !is_over || holds {
                self.due.set(name, now);
            }
        }
    }

    /// A merge patch by a person, or by the operator.
    pub(crate) fn patch(&mut self, actor: Actor, kind: Kind, name: &str, patch: Value) {
        let request = Request {
            kind,
            name: name.to_owned(),
            status: false,
            verb: Verb::Merge(patch),
        };
        self.request(actor, &request);
    }

    pub(crate) fn make_host(&mut self, name: &str) {
        let object = json!({
            "metadata": {"name": name, "labels": labels(name)},
            "spec": {"online": false, "bmc": {
                "address": "redfish://192.0.2.7/redfish/v1/Systems/1",
                "credentialsName": format!("{name}-bmc"),
            }},
        });
        let request = Request {
            kind: Kind::Host,
            name: String::new(),
            status: false,
            verb: Verb::Create(object),
        };
        self.request(Actor::Admin, &request);
    }

    pub(crate) fn host_names(&self) -> Vec<String> {
        let hosts = self.server.all(Kind::Host);
        hosts.map(|(name, _)| name.to_owned()).collect()
    }

    pub(crate) fn held_or_not(&self, name: &str) -> Option<bool> {
        let object = self.server.one(Kind::Host, name)?;
        Some(host(object).consumer().is_some())
    }

    pub(crate) fn at_rest(&self) -> Result<(), String> {
        if let Some(lost) = self
            .acknowledged
            .iter()
            .find(|name| !self.due.contains(name) && !self.is_known(name))
        {
            return Err(format!("{lost} was acknowledged, and is not there"));
        }
        self.oracle.at_rest(&self.server)
    }

    /// The same, where it may be asked at every step: it takes a look at every object.
    pub(crate) fn has_come_to_rest(&mut self) -> bool {
        if self.restless == Some(self.changes) {
            return false;
        }
        let is_at_rest = self.at_rest().is_ok();
        self.restless = (!is_at_rest).then_some(self.changes);
        is_at_rest
    }

    fn is_known(&self, name: &str) -> bool {
        self.server.one(Kind::Reservation, name).is_some()
    }
}

fn told(actor: Actor, request: &Request, answer: &Answer) -> String {
    let Request {
        kind, name, status, ..
    } = request;
    let verb = request.verb.name();
    let body = match &request.verb {
        Verb::Apply(body) | Verb::Create(body) | Verb::Replace(body) | Verb::Merge(body) => {
            body.clone()
        }
        Verb::Json(patch) => json!(patch),
        Verb::Delete { .. } | Verb::Get | Verb::List { .. } => Value::Null,
    };
    let body = match (kind, status) {
        (Kind::Reservation, true) => {
            let status = &body["status"];
            let short: Vec<_> = status["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|it| format!("{}={}", it["type"], it["reason"]).replace('"', ""))
                .collect();
            format!("{} {}", status["phase"], short.join(" "))
        }
        (Kind::Host, true) => format!(
            "{} {} image={}",
            body["status"]["provisioning"]["state"],
            body["status"]["operationalStatus"],
            body["status"]["provisioning"]["image"]["url"]
        ),
        (Kind::Calendar, true) => body["status"]["bookings"].to_string(),
        _ => body.to_string(),
    };
    let part = if *status { "/status" } else { "" };
    format!(
        "{actor:?} {verb} {kind:?} {name}{part} -> {} {body}",
        answer.code
    )
}

fn essentials(host: &Option<Value>) -> Option<Essentials> {
    let host = serde_json::from_value(host.clone()?);
    Some(Essentials::of(
        &host.expect("only hosts are stored as hosts"),
    ))
}

/// The hosts that a Reservation has to do with, by its spec and its status; any, if it has
/// yet to choose.
fn hosts_of(reservation: &Value) -> BTreeSet<String> {
    let (spec, status) = (&reservation["spec"], &reservation["status"]);
    let names = [
        &spec["resource"]["name"],
        &spec["target"]["hostRef"]["name"],
        &status["hostRef"]["name"],
        &status["calendar"],
    ];
    let is_choosing = spec["target"]["selector"].is_object() && status["calendar"].is_null();
    let names = names.iter().filter_map(|name| name.as_str());
    let any = is_choosing.then_some(ANY);
    names.chain(any).map(str::to_owned).collect()
}

/// In place of a host's name, which is never empty.
const ANY: &str = "";

/// How long the garbage collector takes.
const COLLECTED: Duration = Duration::from_secs(30);

/// How long a lost watch may go unnoticed.
const LISTED_AGAIN: Duration = Duration::from_secs(300);

/// 2026-01-01T00:00:00Z.
pub(crate) const START: i64 = 1_767_225_600;

/// The image that a free host carries, in those worlds that want one.
pub(crate) const FREE_IMAGE: &str = "http://images.example.com/idle.qcow2";

/// How long imaging may take.
pub(crate) const PROVISIONING_TIMEOUT: Duration = Duration::from_secs(45 * 60);
