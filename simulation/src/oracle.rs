//! What must hold after every write, whoever made it.
//!
//! The oracle knows what the program doesn't: what is really on each disk, and whose it is.
//! It asks the program nothing, and shares no code with `decide`.

use std::collections::{BTreeMap, BTreeSet};

use harbormaster::{
    api::{
        calendar::{Booking, HostCalendar},
        v1::{DesiredState, Phase, Reservation},
    },
    reservations::user_data,
};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use metal3::{BareMetalHost, ProvisioningState};
use serde_json::Value;

use crate::{
    api_server::{ApiServer, Change, Kind},
    coverage::Coverage,
    world::{Actor, FREE_IMAGE, PROVISIONING_TIMEOUT},
};

/// What is really on a machine's disk.
#[derive(Clone, Debug, Default)]
struct Disk {
    /// The uid of the Reservation that it was written for.
    owner: Option<String>,
    /// Whether anything was written since it was last wiped.
    is_dirty: bool,
    /// Whether the image is on it to its end.
    is_whole: bool,
    /// Whether somebody other than the program chose what is on it.
    by_hand: bool,
}

/// What was ever known of a Reservation.
#[derive(Clone, Debug, Default)]
struct Record {
    name: String,
    person: Option<String>,
    is_over: bool,
    /// Its status says that nothing more comes.
    is_finished: bool,
    ends: BTreeSet<Timestamp>,
    begun: Option<Timestamp>,
    /// It was taken back because imaging took too long, and rightly so.
    ran_late: bool,
}

/// The judge.
#[derive(Clone, Debug, Default)]
pub(crate) struct Oracle {
    disks: BTreeMap<String, Disk>,
    records: BTreeMap<String, Record>,
}

/// When it is for those who decide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// The latest that any of them ever believed it to be.
    pub(crate) latest: Timestamp,
    /// What the one who writes believes.
    pub(crate) writers: Timestamp,
}

/// Who writes, and for the sake of which Reservation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writer<'a> {
    pub(crate) actor: Actor,
    pub(crate) concerns: Option<&'a str>,
}

impl Oracle {
    /// Looks at one write. An error is a broken promise.
    pub(crate) fn judge(
        &mut self,
        writer: Writer<'_>,
        change: &Change,
        server: &ApiServer,
        times: Times,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        match change.kind {
            Kind::Host => self.host(writer.actor, change, server, times),
            Kind::Reservation => self.reservation(change, times, coverage),
            Kind::Calendar => {
                self.loses_no_booking(writer, change, times)?;
                calendar(change, times)
            }
            Kind::Secret => Ok(()),
        }
    }

    fn host(
        &mut self,
        actor: Actor,
        change: &Change,
        server: &ApiServer,
        times: Times,
    ) -> Result<(), String> {
        let before = change.before.as_ref().map(host);
        let Some(after) = change.after.as_ref().map(host) else {
            self.disks.remove(&change.name);
            return Ok(());
        };
        let before = before.unwrap_or_default();
        match actor {
            Actor::Leader(_) => self.by_us(&before, &after, server, times),
            Actor::Operator => self.by_operator(&before, &after, server, times),
            Actor::Admin => {
                if before.wanted_image_url() != after.wanted_image_url() || after.is_deleting() {
                    self.disks.entry(change.name.clone()).or_default().by_hand = true;
                }
                Ok(())
            }
            Actor::Door => Err("the event door wrote to a host".to_owned()),
        }
    }

    fn by_us(
        &self,
        before: &BareMetalHost,
        after: &BareMetalHost,
        server: &ApiServer,
        times: Times,
    ) -> Result<(), String> {
        let name = after.name();
        let disk = self.disks.get(name).cloned().unwrap_or_default();
        match (holder(before), holder(after)) {
            (Some(one), Some(other)) if one != other => {
                return Err(format!("host {name}: the claim of {one} became {other}'s"));
            }
            (Some(one), None) => {
                if disk.is_dirty {
                    return Err(format!(
                        "host {name} was freed by {one} while a disk of {:?} was on it",
                        disk.owner
                    ));
                }
                let consumer = before.consumer().and_then(|it| it.name.clone());
                let secret = format!("{}-userdata", consumer.unwrap_or_default());
                if server.one(Kind::Secret, &secret).is_some() {
                    return Err(format!(
                        "host {name} was freed, and Secret {secret} is there"
                    ));
                }
                if after.spec.user_data.is_some() {
                    return Err(format!("host {name} was freed with its user data"));
                }
                if after
                    .wanted_image_url()
                    .is_some_and(|url| url != FREE_IMAGE)
                {
                    return Err(format!("host {name} was freed with an image"));
                }
            }
            _ => {}
        }
        let changed = before.wanted_image_url() != after.wanted_image_url();
        if changed && holder(after).is_none() && holder(before).is_none() {
            return Err(format!(
                "host {name}, which nobody holds, got another image"
            ));
        }
        if changed && before.wanted_image_url().is_some() && !disk.by_hand {
            self.may_wipe(&disk, name, times)?;
        }
        if changed && after.wanted_image_url().is_some() && holder(after).is_some() {
            if disk.is_dirty {
                return Err(format!("host {name} got an image on an unwiped disk"));
            }
            self.keys_are_the_holders(after, server)?;
        }
        Ok(())
    }

    fn by_operator(
        &mut self,
        before: &BareMetalHost,
        after: &BareMetalHost,
        server: &ApiServer,
        times: Times,
    ) -> Result<(), String> {
        let name = after.name().to_owned();
        if before.state() == after.state() {
            return Ok(());
        }
        let disk = self.disks.entry(name.clone()).or_default();
        match after.state() {
            ProvisioningState::Provisioning => {
                // What a free host idles with is nobody's, whoever has claimed it since.
                let is_idle = after.wanted_image_url() == Some(FREE_IMAGE);
                disk.owner = holder(after).filter(|_| !is_idle);
                disk.is_dirty = disk.owner.is_some();
                disk.is_whole = false;
            }
            ProvisioningState::Provisioned => {
                disk.is_whole = true;
                let is_idle = after.wanted_image_url() == Some(FREE_IMAGE);
                if disk.owner != holder(after) && !disk.by_hand && !is_idle {
                    return Err(format!(
                        "host {name} was imaged for {:?}, and is held by {:?}",
                        disk.owner,
                        holder(after)
                    ));
                }
                if !disk.by_hand && !is_idle {
                    self.keys_are_the_holders(after, server)?;
                }
            }
            ProvisioningState::Deprovisioning => {
                let disk = disk.clone();
                let was_used = *before.state() == ProvisioningState::Provisioned;
                if was_used && !disk.by_hand {
                    self.may_wipe(&disk, &name, times)?;
                }
            }
            ProvisioningState::Available | ProvisioningState::PoweringOffBeforeDelete => {
                *disk = Disk::default();
            }
            _ => {}
        }
        Ok(())
    }

    fn may_wipe(&self, disk: &Disk, name: &str, times: Times) -> Result<(), String> {
        let Some(owner) = &disk.owner else {
            return Ok(());
        };
        let Some(record) = self.records.get(owner) else {
            return Err(format!("host {name}: a disk of nobody known ({owner})"));
        };
        let is_over = record.is_over || record.ends.iter().any(|end| *end <= times.latest);
        if is_over || record.ran_late {
            return Ok(());
        }
        Err(format!(
            "host {name}: the disk of {} is wiped before its time is over",
            record.name
        ))
    }

    /// Nobody's key but the holder's is in what the host will read.
    fn keys_are_the_holders(&self, host: &BareMetalHost, server: &ApiServer) -> Result<(), String> {
        let Some(uid) = holder(host) else {
            return Ok(());
        };
        let secret = host.spec.user_data.as_ref().and_then(|it| it.name.clone());
        let Some(secret) = secret.and_then(|name| server.one(Kind::Secret, &name)) else {
            return Ok(());
        };
        let person = self.records.get(&uid).and_then(|it| it.person.clone());
        for key in keys(secret) {
            let owner = key.rsplit(' ').next();
            if owner != person.as_deref() {
                return Err(format!(
                    "host {}: a key of {owner:?} for the host of {person:?}",
                    host.name()
                ));
            }
        }
        Ok(())
    }

    fn reservation(
        &mut self,
        change: &Change,
        times: Times,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let Some(after) = change.after.as_ref().map(reservation) else {
            if let Some(uid) = change.before.as_ref().and_then(uid_of) {
                self.records.entry(uid).or_default().is_over = true;
            }
            return Ok(());
        };
        let uid = after.metadata.uid.clone().unwrap_or_default();
        let record = self.records.entry(uid.clone()).or_default();
        record.name = change.name.clone();
        if let Some(requester) = &after.spec.requester {
            record.person = requester.id.clone();
        }
        record.is_over |= after.desired_state() == DesiredState::Released
            || after.metadata.deletion_timestamp.is_some();
        record
            .ends
            .extend(after.spec.window.end.as_ref().map(|end| end.0));
        record.is_finished |= after.is_finished();
        let status = after.status.unwrap_or_default();
        let begun = status.begin_time.as_ref().map(|time| time.0);
        record.begun = record.begun.or(begun);
        let limit = SignedDuration::try_from(PROVISIONING_TIMEOUT).unwrap_or_default();
        let reasons = status.conditions.iter().map(|it| it.reason.as_str());
        for reason in reasons.filter(|reason| SITUATIONS.contains(reason)) {
            coverage.meet(format!("told {reason}"));
        }
        let is_late = |begun: Timestamp| begun + limit <= times.latest;
        record.ran_late |= status.active_time.is_none()
            && record.begun.is_some_and(is_late)
            && status
                .conditions
                .iter()
                .any(|it| it.reason == "DeadlineExceeded");
        let before = change.before.as_ref().map(reservation);
        let phase_before = before.and_then(|before| before.status?.phase);
        if status.phase == phase_before {
            return Ok(());
        }
        if let Some(phase) = status.phase {
            coverage.meet(format!("phase {phase:?}"));
        }
        if status.phase == Some(Phase::Active) {
            let host = status.host_ref.map(|host| host.name).unwrap_or_default();
            let disk = self.disks.get(&host).cloned().unwrap_or_default();
            if !disk.by_hand && (disk.owner.as_ref() != Some(&uid) || !disk.is_whole) {
                return Err(format!(
                    "{} is told that host {host} is ready, and its disk is {:?}'s",
                    change.name, disk.owner
                ));
            }
        }
        Ok(())
    }

    /// What was accepted stays so until it is over, or lets go itself.
    fn loses_no_booking(
        &self,
        writer: Writer<'_>,
        change: &Change,
        times: Times,
    ) -> Result<(), String> {
        let (Some(before), Some(after)) = (&change.before, &change.after) else {
            return Ok(());
        };
        let (before, after) = (bookings(before), bookings(after));
        let lost = before.iter().find(|booking| {
            let record = self.records.get(&booking.uid);
            let is_over = record.is_none_or(|it| it.is_over || it.is_finished)
                || booking
                    .end
                    .as_ref()
                    .is_some_and(|end| end.0 <= times.latest);
            let is_kept = after.iter().any(|other| other.uid == booking.uid);
            !is_kept && !is_over && writer.concerns != Some(&*booking.name)
        });
        match lost {
            Some(lost) => Err(format!(
                "host {}: the booking of {} was lost by a write for {:?}",
                change.name, lost.name, writer.concerns
            )),
            None => Ok(()),
        }
    }

    /// What must hold once everything has come to rest.
    pub(crate) fn at_rest(&self, server: &ApiServer) -> Result<(), String> {
        let mut finished = BTreeSet::new();
        let machines: BTreeSet<_> = server
            .all(Kind::Host)
            .filter_map(|(_, object)| uid_of(object))
            .collect();
        for (name, object) in server.all(Kind::Reservation) {
            let object = reservation(object);
            if !object.is_finished() {
                let status = object.status.unwrap_or_default();
                let why: Vec<_> = status
                    .conditions
                    .iter()
                    .map(|it| format!("{}={} {}", it.type_, it.status, it.reason))
                    .collect();
                return Err(format!(
                    "{name} never ends: {:?} {}",
                    status.phase,
                    why.join(", ")
                ));
            }
            let held = object.status.as_ref().and_then(|it| it.host_ref.as_ref());
            // That of a host which was deleted is read by nobody; it goes with the record.
            if held.is_some_and(|held| machines.contains(&held.uid)) {
                finished.insert(user_data::secret_name(&object));
            }
        }
        for (name, object) in server.all(Kind::Host) {
            let host = host(object);
            if let Some(uid) = holder(&host) {
                return Err(format!("host {name} stays held by {uid}"));
            }
            if host.wanted_image_url().is_some_and(|url| url != FREE_IMAGE) {
                return Err(format!("host {name} keeps an image"));
            }
            if host.spec.user_data.is_some() {
                return Err(format!("host {name} keeps its user data"));
            }
        }
        if let Some((name, _)) = server
            .all(Kind::Secret)
            .find(|(name, _)| finished.contains(*name))
        {
            return Err(format!("Secret {name} outlives its reservation's end"));
        }
        Ok(())
    }
}

/// No two that are both still to run cross each other.
fn calendar(change: &Change, times: Times) -> Result<(), String> {
    let Some(after) = &change.after else {
        return Ok(());
    };
    let mut running: Vec<_> = bookings(after)
        .iter()
        .filter_map(|booking| {
            let end = booking.end.as_ref()?.0;
            let start = booking.start.as_ref()?.0.max(times.writers);
            (end > times.writers).then_some((start, end, booking.name.clone()))
        })
        .collect();
    running.sort();
    for (one, other) in running.iter().zip(running.iter().skip(1)) {
        if other.0 < one.1 {
            return Err(format!(
                "host {}: {} and {} are both accepted, and cross",
                change.name, one.2, other.2
            ));
        }
    }
    Ok(())
}

fn bookings(calendar: &Value) -> Vec<Booking> {
    let calendar: HostCalendar = serde_json::from_value(calendar.clone()).unwrap_or_default();
    calendar.status.unwrap_or_default().bookings
}

fn keys(secret: &Value) -> Vec<String> {
    let secret: Secret = serde_json::from_value(secret.clone()).unwrap_or_default();
    let data = secret.data.unwrap_or_default();
    let text = data.get("userData").map(|data| data.0.clone());
    let text = String::from_utf8(text.unwrap_or_default()).unwrap_or_default();
    let json = text.trim_start_matches("#cloud-config\n");
    let document: Value = serde_json::from_str(json).unwrap_or_default();
    let keys = document["ssh_authorized_keys"].as_array();
    keys.into_iter()
        .flatten()
        .filter_map(|key| key.as_str().map(str::to_owned))
        .collect()
}

pub(crate) fn holder(host: &BareMetalHost) -> Option<String> {
    host.consumer()?.uid.clone()
}

pub(crate) fn host(object: &Value) -> BareMetalHost {
    serde_json::from_value(object.clone()).expect("only hosts are stored as hosts")
}

pub(crate) fn reservation(object: &Value) -> Reservation {
    serde_json::from_value(object.clone()).expect("only Reservations are stored as such")
}

fn uid_of(object: &Value) -> Option<String> {
    object["metadata"]["uid"].as_str().map(str::to_owned)
}

/// What is worth counting of what is said.
const SITUATIONS: [&str; 13] = [
    "CleaningFailed",
    "ClaimedByOther",
    "DeadlineExceeded",
    "HostBusy",
    "HostGone",
    "HostNotFound",
    "HostNotReservable",
    "HostPaused",
    "ImageChanged",
    "NoAuthorizedKey",
    "Overlap",
    "ProvisioningFailed",
    "WindowExpired",
];
