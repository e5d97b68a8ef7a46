//! What people, portals and clocks do in one schedule: drawn beforehand, done in its time.

mod others;

use std::time::Duration;

use harbormaster::events::{
    event::{Booking, Event},
    time::EventTime,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

pub(crate) use self::others::labels;
use crate::{
    api_server::{Kind, Request, Verb},
    coverage::Fault,
    world::{Actor, START, World},
};

/// Something that happens at its time.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    /// The garbage collector takes a Secret whose owner is gone.
    Collect(String),
    /// A replica's clock is turned.
    Clock(usize, SignedDuration),
    /// An event reaches the door.
    Event(Box<Event>),
    /// Somebody deletes a host.
    DeleteHost(String),
    /// Somebody deletes a Reservation.
    DeleteRecord(String),
    /// Somebody takes a Reservation away by force, and after a while frees the host that it had.
    ForceRecord(String, SignedDuration),
    /// Somebody makes a host (again).
    MakeHost(String),
    /// Somebody makes a Reservation by hand.
    MakeRecord(Box<Value>),
    /// Somebody edits a host.
    PatchHost(String, Value),
    /// Somebody breaks the glass of hosts whose holders are no more.
    Salvage,
    /// Another project gives a host back.
    StrangerLeaves(String, String),
    /// A second replica believes that it leads, or no longer does.
    TwoLeaders(bool),
}

/// Draws a schedule.
pub(crate) fn deeds(world: &mut World) {
    let now = world.now;
    let count = world.rng.usize(1..=3);
    let mut hosts: Vec<_> = (0..count).map(|n| format!("srv{n}")).collect();
    if world.rng.u8(0..6) == 0 {
        let failing = [
            "demo-validation-error",
            "demo-provisioning",
            "demo-preparing-error",
            "demo-registration-error",
        ];
        let name = failing[world.rng.usize(0..failing.len())];
        hosts.push(name.to_owned());
    }
    for host in &hosts {
        let late = world.rng.u8(0..10) == 0;
        let made = if late {
            minutes(world, 90)
        } else {
            SignedDuration::ZERO
        };
        world.later(now + made, Deed::MakeHost(host.clone()));
    }
    let mut free = now + minutes(world, 30);
    for id in 0..world.rng.u32(2..=6) {
        let host = hosts[world.rng.usize(0..hosts.len())].clone();
        // Back to back as often as not: that is where one tenant could hurt the next.
        let start = match world.rng.u8(0..4) {
            0 | 1 => free,
            2 => free - minutes(world, 40),
            _ => free + minutes(world, 60),
        };
        let end = start + SignedDuration::from_mins(10) + minutes(world, 80);
        free = end;
        match world.rng.u8(0..10) {
            0 => minimal(world, &host, start, end),
            1 => by_hand(world, id, &host, start, end),
            _ => portal(world, id, &host, &hosts, start, end),
        }
    }
    admins(world, &hosts);
    clocks(world);
    others::others(world, &hosts);
}

fn portal(
    world: &mut World,
    id: u32,
    host: &str,
    hosts: &[String],
    start: Timestamp,
    end: Timestamp,
) {
    let person = world.rng.u32(0..4);
    let made = made(world, start - SignedDuration::from_mins(10));
    let booking = |host: &str, start: Timestamp, end: Timestamp, as_of: Timestamp| Booking {
        event_id: Some(id.to_string()),
        revision: Some(as_of),
        user_id: Some(person_of(person)),
        start: time(start),
        end: time(end),
        resource_name: host.to_owned(),
        ..Booking::default()
    };
    let keyed = |booking: Booking| Booking {
        ssh_public_key: Some(format!(
            "ssh-ed25519 AAAAC3Nz{person} {}",
            person_of(person)
        )),
        ..booking
    };
    if world.rng.bool() || world.is_crowded {
        send(world, made, Event::Changed(booking(host, start, end, made)));
    }
    let (mut host, mut start, mut end) = (host.to_owned(), start, end);
    if world.rng.u8(0..4) == 0 {
        let at = made + minutes(world, 90);
        match world.rng.u8(0..3) {
            0 => end += minutes(world, 60),
            1 => {
                let by = minutes(world, 60);
                (start, end) = (start + by, end + by);
            }
            _ => host = hosts[world.rng.usize(0..hosts.len())].clone(),
        }
        send(world, at, Event::Changed(booking(&host, start, end, at)));
    }
    let due = start - SignedDuration::from_secs(world.rng.i64(0..300));
    send(
        world,
        due,
        Event::Start(keyed(booking(&host, start, end, due))),
    );
    if world.rng.u8(0..6) == 0 {
        let at = made + minutes(world, 120);
        send(world, at, Event::Deleted(booking(&host, start, end, at)));
    }
    let over = end + SignedDuration::from_secs(world.rng.i64(0..60));
    send(
        world,
        over,
        Event::End(keyed(booking(&host, start, end, over))),
    );
}

fn minimal(world: &mut World, host: &str, start: Timestamp, end: Timestamp) {
    let booking = Booking {
        resource_name: host.to_owned(),
        ..Booking::default()
    };
    send(world, start, Event::Start(booking.clone()));
    send(world, end, Event::End(booking));
}

fn by_hand(world: &mut World, id: u32, host: &str, start: Timestamp, end: Timestamp) {
    let person = person_of(world.rng.u32(0..4));
    let object = json!({
        "metadata": {"name": format!("hand-{id}")},
        "spec": {
            "requester": {"id": person, "username": person},
            "target": {"hostRef": {"name": host}},
            "window": {"start": start.to_string(), "end": end.to_string()},
            "access": {"authorizedKeys": [{"key": format!("ssh-ed25519 AAAAC3Nz {person}")}]},
        },
    });
    let made = made(world, start);
    world.later(made, Deed::MakeRecord(Box::new(object)));
    let deleted = made + minutes(world, 120);
    if world.goes_wrong(Fault::RecordDeleted, 300) {
        world.later(deleted, Deed::DeleteRecord(format!("hand-{id}")));
    }
}

/// An event on its way: it may be lost, come twice, early or late, and so in any order.
fn send(world: &mut World, at: Timestamp, event: Event) {
    let event = Box::new(event);
    let times = if world.goes_wrong(Fault::EventRepeated, 150) {
        2
    } else {
        1
    };
    for turn in 0..times {
        let mut at = at;
        if turn > 0 {
            at += minutes(world, 150);
        }
        if world.goes_wrong(Fault::EventLost, 120) {
            continue;
        }
        if world.goes_wrong(Fault::EventLate, 150) {
            at += minutes(world, 90);
        }
        if world.goes_wrong(Fault::EventEarly, 80) {
            at -= minutes(world, 20);
        }
        // After the last END, a START without an id would begin what nobody ever ends.
        let is_open_ended = matches!(&*event, Event::Start(booking) if booking.event_id.is_none());
        if is_open_ended {
            at = at.min(begun() + FAULTS_END);
        }
        world.later(at, Deed::Event(event.clone()));
    }
}

fn admins(world: &mut World, hosts: &[String]) {
    for host in hosts {
        let annotate = |key: &str, value: Value| {
            Deed::PatchHost(
                host.clone(),
                json!({"metadata": {"annotations": {key: value}}}),
            )
        };
        let spec = |spec: Value| Deed::PatchHost(host.clone(), json!({"spec": spec}));
        let paused = "baremetalhost.metal3.io/paused";
        let detached = "baremetalhost.metal3.io/detached";
        let edits = [
            (
                Fault::HostPaused,
                200,
                annotate(paused, json!("")),
                annotate(paused, Value::Null),
            ),
            (
                Fault::HostDetached,
                100,
                annotate(detached, json!("{}")),
                annotate(detached, Value::Null),
            ),
            (
                Fault::CleaningDisabled,
                100,
                spec(json!({"automatedCleaningMode": "disabled"})),
                spec(json!({"automatedCleaningMode": "metadata"})),
            ),
            (
                Fault::HandImage,
                100,
                spec(json!({"image": {"url": "http://by-hand", "checksum": "x"}, "online": true})),
                spec(json!({"image": null})),
            ),
            (
                Fault::HandTouch,
                300,
                spec(json!({"online": true})),
                annotate("example.com/note", json!("seen")),
            ),
        ];
        for (fault, per_mille, edit, undo) in edits {
            if world.goes_wrong(fault, per_mille) {
                let at = world.now + minutes(world, 360);
                let back = at + minutes(world, 90);
                world.later(at, edit);
                world.later(back.min(world.now + FAULTS_END), undo);
            }
        }
        if world.goes_wrong(Fault::HostDeleted, 100) {
            let at = world.now + minutes(world, 300);
            world.later(at, Deed::DeleteHost(host.clone()));
            if world.goes_wrong(Fault::HostMadeAnew, 700) {
                let again = at + minutes(world, 90);
                world.later(again, Deed::MakeHost(host.clone()));
            }
        }
    }
}

fn clocks(world: &mut World) {
    // There, two lead all the time, and each at once.
    if world.is_crowded {
        return;
    }
    if world.goes_wrong(Fault::TwoLeaders, 300) {
        let at = world.now + minutes(world, 200);
        let ends = at + minutes(world, 120);
        world.later(at, Deed::TwoLeaders(true));
        world.later(ends, Deed::TwoLeaders(false));
    }
    for leader in 0..2 {
        let ahead = world.goes_wrong(Fault::ClockForward, 80);
        let behind = world.goes_wrong(Fault::ClockBack, 80);
        if !ahead && !behind {
            continue;
        }
        let size = SignedDuration::from_secs(world.rng.i64(1..5400));
        let by = if ahead { size } else { -size };
        let at = world.now + minutes(world, 240);
        let back = at + minutes(world, 90);
        world.later(at, Deed::Clock(leader, by));
        world.later(back, Deed::Clock(leader, SignedDuration::ZERO));
    }
}

impl World {
    /// Does what needs no network.
    pub(crate) fn act(&mut self, deed: Deed) {
        self.note(|| format!("DEED {deed:?}"));
        match deed {
            Deed::Collect(secret) => self.collect(&secret),
            Deed::Clock(leader, by) => self.turn_clock(leader, by),
            Deed::TwoLeaders(are) => self.are_two_leading = are,
            Deed::MakeHost(name) => self.make_host(&name),
            Deed::PatchHost(name, patch) => {
                // An image by hand goes on whoever's host it is; the guard would want a reason.
                self.patch(Actor::Admin, Kind::Host, &name, patch);
            }
            Deed::MakeRecord(object) => {
                self.ask(Kind::Reservation, "", Verb::Create(*object));
            }
            Deed::ForceRecord(name, later) => self.force(&name, later),
            Deed::Salvage => self.salvage(),
            Deed::StrangerLeaves(host, machine) => self.stranger_leaves(&host, &machine),
            Deed::DeleteHost(name) => self.delete(Kind::Host, &name),
            Deed::DeleteRecord(name) => self.delete(Kind::Reservation, &name),
            Deed::Event(_) => {}
        }
    }

    pub(super) fn delete(&mut self, kind: Kind, name: &str) {
        let verb = Verb::Delete {
            uid: None,
            version: None,
        };
        self.ask(kind, name, verb);
    }

    fn ask(&mut self, kind: Kind, name: &str, verb: Verb) {
        let request = Request {
            kind,
            name: name.to_owned(),
            status: false,
            verb,
        };
        self.request(Actor::Admin, &request);
    }

    /// Whatever was broken is mended, and what has no end of its own is ended.
    pub(crate) fn mend(&mut self) {
        self.is_calm = true;
        self.are_two_leading = false;
        self.operator_back = Timestamp::MIN;
        self.strangers_leave();
        self.salvage();
        for leader in 0..2 {
            self.turn_clock(leader, SignedDuration::ZERO);
        }
        for name in self.host_names() {
            let annotations = json!({
                "baremetalhost.metal3.io/paused": null,
                "baremetalhost.metal3.io/detached": null,
            });
            let mut patch = json!({
                "metadata": {"annotations": annotations},
                "spec": {"automatedCleaningMode": "metadata"},
            });
            if self.held_or_not(&name) == Some(false) {
                patch["spec"]["image"] = Value::Null;
            }
            self.patch(Actor::Admin, Kind::Host, &name, patch);
            let end = Event::End(Booking {
                resource_name: name,
                ..Booking::default()
            });
            let now = self.now;
            self.later(now, Deed::Event(Box::new(end)));
        }
    }
}

/// When a booking is made that must be there by then. In a crowd all come at once.
fn made(world: &mut World, by: Timestamp) -> Timestamp {
    if world.is_crowded {
        return world.now + SignedDuration::from_mins(world.rng.i64(0..2));
    }
    by - minutes(world, 60)
}

fn minutes(world: &mut World, most: i64) -> SignedDuration {
    // Whole minutes often enough that things happen at the very same time.
    if world.rng.bool() {
        SignedDuration::from_mins(world.rng.i64(0..most))
    } else {
        SignedDuration::from_secs(world.rng.i64(0..most * 60))
    }
}

fn begun() -> Timestamp {
    Timestamp::from_second(START).expect("a time of this century")
}

fn time(instant: Timestamp) -> Option<EventTime> {
    EventTime::from_json(&json!(instant.to_string()))
}

fn person_of(number: u32) -> String {
    format!("person-{number}")
}

/// When all faults are over, counted from the start.
pub(crate) const FAULTS_END: Duration = Duration::from_secs(8 * 3600);
