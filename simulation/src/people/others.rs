//! Who comes beside the portal's people: those who wish for a host by labels, another project
//! that takes hosts for itself, a hand at the wrong moment.
//!
//! Drawn from numbers of their own: a schedule without them is the same as if there were none.

use std::time::Duration;

use fastrand::Rng;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Deed, FAULTS_END, person_of};
use crate::{
    api_server::{Kind, Verb},
    coverage::Fault,
    world::{Actor, World},
};

/// Draws them.
pub(super) fn others(world: &mut World, hosts: &[String]) {
    if world.others.u8(0..4) == 0 {
        for id in 0..world.others.u32(1..=3) {
            wish(world, id);
        }
        if world.drawn(Fault::HostRelabelled, 4) {
            let host = hosts[world.others.usize(0..hosts.len())].clone();
            let rack = json!({"metadata": {"labels": {RACK: "b"}}});
            let at = world.now + minutes(world, 300);
            world.later(at, Deed::PatchHost(host, rack));
        }
    }
    let is_crowd = world.is_crowded;
    if is_crowd || world.others.u8(0..6) == 0 {
        world.strangers_take.get_or_insert(8);
    }
    if is_crowd {
        clocks_apart(world);
    }
    force(world, hosts);
}

/// Somebody strips the finalizers of Reservations that they want out of the way: nobody takes
/// back what these had.
fn force(world: &mut World, hosts: &[String]) {
    // From numbers of its own, once more.
    let mut rng = Rng::with_seed(world.others.clone().u64(..) ^ 0xf0);
    if rng.u8(0..4) > 0 {
        return;
    }
    let mut names: Vec<_> = hosts.iter().map(|host| format!("host-{host}")).collect();
    for id in 0..4 {
        names.extend(["hand", "portal", "wish"].map(|kind| format!("{kind}-{id}")));
    }
    rng.shuffle(&mut names);
    names.truncate(4);
    // Counted when it is done: whom it is to befall may never be there.
    if rng.bool() && world.may_happen(Fault::RecordForced) {
        names.extend(endless(world, hosts, &mut rng));
    }
    for name in names {
        let at = world.now + SignedDuration::from_mins(60) + some_minutes(&mut rng, 180);
        world.later(at, Deed::ForceRecord(name, some_minutes(&mut rng, 120)));
    }
}

/// Each host is booked without an end, and somebody wishes for one.
fn endless(world: &mut World, hosts: &[String], rng: &mut Rng) -> Vec<String> {
    let (now, person) = (world.now, person_of(0));
    for host in hosts {
        let start = now + some_minutes(rng, 240);
        let target = json!({"hostRef": {"name": host}});
        let object = reservation(&format!("endless-{host}"), &person, &target, (start, None));
        let made = now + some_minutes(rng, 60);
        world.later(made, Deed::MakeRecord(Box::new(object)));
    }
    let start = now + some_minutes(rng, 300);
    let end = start + SignedDuration::from_mins(60) + some_minutes(rng, 60);
    let target = json!({"selector": {"matchLabels": {RACK: "a"}}});
    let object = reservation("wish-9", &person, &target, (start, Some(end)));
    world.later(now, Deed::MakeRecord(Box::new(object)));
    let named = hosts.iter().map(|host| format!("endless-{host}"));
    named.collect()
}

/// One that somebody makes by hand.
fn reservation(
    name: &str,
    person: &str,
    target: &Value,
    (start, end): (Timestamp, Option<Timestamp>),
) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "requester": {"id": person, "username": person},
            "target": target,
            "window": {"start": start.to_string(), "end": end.map(|end| end.to_string())},
            "access": {"authorizedKeys": [{"key": format!("ssh-ed25519 AAAAC3Nz {person}")}]},
        },
    })
}

/// A Reservation of whichever host bears a label.
fn wish(world: &mut World, id: u32) {
    let person = person_of(world.others.u32(0..4));
    let rack = if world.others.u8(0..3) == 0 { "b" } else { "a" };
    let start = world.now + minutes(world, 240);
    let end = start + SignedDuration::from_mins(10) + minutes(world, 80);
    let target = json!({"selector": {"matchLabels": {RACK: rack}}});
    let object = reservation(&format!("wish-{id}"), &person, &target, (start, Some(end)));
    let made = start - minutes(world, 90);
    world.later(made, Deed::MakeRecord(Box::new(object)));
    if world.drawn(Fault::RecordDeleted, 6) {
        let deleted = made + minutes(world, 180);
        world.later(deleted, Deed::DeleteRecord(format!("wish-{id}")));
    }
}

/// Two that lead at once, and whose clocks don't agree.
fn clocks_apart(world: &mut World) {
    for leader in 0..2 {
        let (ahead, behind) = (Fault::ClockForward, Fault::ClockBack);
        let is_ahead = world.others.bool();
        if !world.drawn(if is_ahead { ahead } else { behind }, 3) {
            continue;
        }
        let size = SignedDuration::from_secs(world.others.i64(1..5400));
        let by = if is_ahead { size } else { -size };
        let at = world.now + minutes(world, 240);
        let back = at + minutes(world, 90);
        world.later(at, Deed::Clock(leader, by));
        world.later(back, Deed::Clock(leader, SignedDuration::ZERO));
    }
}

impl World {
    /// Once in so many times.
    fn drawn(&mut self, fault: Fault, once_in: u32) -> bool {
        let drawn = self.others.u32(0..once_in) == 0;
        drawn && self.happens(fault)
    }

    /// Whether a replica stops, over which Reservation, and for how long.
    pub(crate) fn stalls(&mut self, leader: usize) -> Option<(String, SignedDuration)> {
        if self.strangers_take.is_none() || !self.drawn(Fault::LeaderStalls, 6) {
            return None;
        }
        let stopped = minutes(self, 40);
        let name = self.at_work[leader].clone()?;
        Some((name, stopped))
    }

    /// What others do to a host between two requests of ours.
    pub(crate) fn disturb(&mut self, host: &str) {
        let Some(once_in) = self.strangers_take else {
            return;
        };
        let Some(object) = self.server.one(Kind::Host, host) else {
            return;
        };
        let version = object["metadata"]["resourceVersion"].clone();
        let is_free = object["spec"]["consumerRef"].is_null()
            && object["spec"]["image"].is_null()
            && object["status"]["provisioning"]["state"] == "available";
        if is_free && self.drawn(Fault::StrangerClaims, once_in) {
            self.strangers += 1;
            let name = format!("machine-{}", self.strangers);
            let claim = json!({
                "metadata": {"resourceVersion": version},
                "spec": {"consumerRef": {
                    "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1",
                    "kind": "Metal3Machine",
                    "namespace": "capm3",
                    "name": name,
                    "uid": name,
                }},
            });
            self.patch(Actor::Admin, Kind::Host, host, claim);
            let leaves = self.now + minutes(self, 60);
            self.later(leaves, Deed::StrangerLeaves(host.to_owned(), name));
        } else if !is_free && self.drawn(Fault::HandImage, 200) {
            let image = json!({"image": {"url": "http://by-hand", "checksum": "x"}});
            self.patch(Actor::Admin, Kind::Host, host, json!({"spec": image}));
            let back = self.now + minutes(self, 90);
            let undo = json!({"spec": {"image": null}});
            self.later(back, Deed::PatchHost(host.to_owned(), undo));
        }
    }

    /// It gives back what it took, if it still has it.
    pub(super) fn stranger_leaves(&mut self, host: &str, machine: &str) {
        let test = json!([
            {"op": "test", "path": "/spec/consumerRef/uid", "value": machine},
            {"op": "remove", "path": "/spec/consumerRef"},
        ]);
        let patch = serde_json::from_value(test).expect("these are JSON patch operations");
        self.ask(Kind::Host, host, Verb::Json(patch));
    }

    /// Takes a Reservation away, whatever it still has.
    pub(super) fn force(&mut self, name: &str, salvaged: SignedDuration) {
        let is_there = self.server.one(Kind::Reservation, name).is_some();
        if !is_there || !self.happens(Fault::RecordForced) {
            return;
        }
        self.acknowledged.remove(name);
        let stripped = json!({"metadata": {"finalizers": null}});
        self.patch(Actor::Admin, Kind::Reservation, name, stripped);
        self.delete(Kind::Reservation, name);
        let at = self.now + salvaged;
        self.later(at, Deed::Salvage);
    }

    /// Frees hosts whose holders are no more, as one who breaks the glass would.
    pub(super) fn salvage(&mut self) {
        for host in self.host_names() {
            let object = self.server.one(Kind::Host, &host);
            let claim = object.map(|object| object["spec"]["consumerRef"].clone());
            let claim = claim.unwrap_or_default();
            if claim["kind"] != "Reservation" || self.is_owner_there(&claim) {
                continue;
            }
            let cleared = json!({"spec": {
                "consumerRef": null, "image": null, "customDeploy": null, "userData": null,
                "online": false,
            }});
            self.patch(Actor::Admin, Kind::Host, &host, cleared);
        }
    }

    /// What the garbage collector will do about a Secret.
    pub(crate) fn is_orphan(&self, secret: &str) -> bool {
        let object = self.server.one(Kind::Secret, secret);
        let owner = object.map(|object| object["metadata"]["ownerReferences"][0].clone());
        owner.is_some_and(|owner| !self.is_owner_there(&owner))
    }

    pub(super) fn collect(&mut self, secret: &str) {
        if self.is_orphan(secret) {
            self.delete(Kind::Secret, secret);
        }
    }

    /// Whether the Reservation that is meant is there, as the same one.
    fn is_owner_there(&self, owner: &Value) -> bool {
        let name = owner["name"].as_str().unwrap_or_default();
        let object = self.server.one(Kind::Reservation, name);
        object.is_some_and(|object| object["metadata"]["uid"] == owner["uid"])
    }

    /// Whoever is a stranger leaves.
    pub(super) fn strangers_leave(&mut self) {
        for host in self.host_names() {
            let object = self.server.one(Kind::Host, &host);
            let claim = object.map(|object| object["spec"]["consumerRef"].clone());
            let claim = claim.unwrap_or_default();
            if claim["kind"] == "Metal3Machine"
                && let Some(machine) = claim["uid"].as_str()
            {
                self.stranger_leaves(&host, machine);
            }
        }
    }
}

/// The labels of a host: in which of two racks it is.
pub(crate) fn labels(host: &str) -> Value {
    let is_even = host.ends_with(['0', '2']);
    json!({RACK: if is_even { "a" } else { "b" }})
}

fn minutes(world: &mut World, most: u64) -> SignedDuration {
    let most = Duration::from_secs(most * 60).min(FAULTS_END);
    SignedDuration::from_secs(
        world
            .others
            .i64(0..i64::try_from(most.as_secs()).unwrap_or(60)),
    )
}

fn some_minutes(rng: &mut Rng, most: i64) -> SignedDuration {
    SignedDuration::from_secs(rng.i64(0..most * 60))
}

const RACK: &str = "example.com/rack";
