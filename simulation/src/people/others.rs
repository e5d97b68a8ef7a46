//! Who comes beside the portal's people: those who wish for a host by labels, another project
//! that takes hosts for itself, a hand at the wrong moment.
//!
//! Drawn from numbers of their own: a schedule without them is the same as if there were none.

use std::time::Duration;

use jiff::SignedDuration;
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
}

/// A Reservation of whichever host bears a label.
fn wish(world: &mut World, id: u32) {
    let person = person_of(world.others.u32(0..4));
    let rack = if world.others.u8(0..3) == 0 { "b" } else { "a" };
    let start = world.now + minutes(world, 240);
    let end = start + SignedDuration::from_mins(10) + minutes(world, 80);
    let object = json!({
        "metadata": {"name": format!("wish-{id}")},
        "spec": {
            "requester": {"id": person, "username": person},
            "target": {"selector": {"matchLabels": {RACK: rack}}},
            "window": {"start": start.to_string(), "end": end.to_string()},
            "access": {"authorizedKeys": [{"key": format!("ssh-ed25519 AAAAC3Nz {person}")}]},
        },
    });
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

    /// Whether a replica stops for a while, and over which Reservation.
    pub(crate) fn stalls(&mut self, leader: usize) -> Option<String> {
        if self.strangers_take.is_none() || !self.drawn(Fault::LeaderStalls, 6) {
            return None;
        }
        let stopped = minutes(self, 40);
        self.now += stopped;
        self.at_work[leader].clone()
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

const RACK: &str = "example.com/rack";
