//! What must hold after every write, whoever made it.
//!
//! The oracle knows what the program doesn't: what is really on each disk, and whose it is.
//! It asks the program nothing, and shares no code with `decide`.

mod bookings;
mod hosts;

use std::collections::{BTreeMap, BTreeSet};

use harbormaster::{
    api::v1::{DesiredState, Phase, Reservation},
    reservations::user_data,
};
use jiff::{SignedDuration, Timestamp};
use metal3::BareMetalHost;
use serde_json::Value;

use self::{
    bookings::crosses_nothing,
    hosts::{has_keys_of, is_filled},
};
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
    /// When the record itself went.
    gone: Option<Timestamp>,
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
    /// When hosts and calendars were last written.
    touched: BTreeMap<(Kind, String), Timestamp>,
    /// When a host last got other labels, and which it had before.
    relabelled: BTreeMap<String, (Timestamp, BTreeMap<String, String>)>,
    /// The hosts whose calendars are empty since the booking of a dead one was taken out.
    vacated: BTreeSet<String>,
}

/// When it is, and when it is for those who decide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) now: Timestamp,
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
    /// When each look at it began that went well.
    pub(crate) looks: &'a [Timestamp],
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
        if matches!(change.kind, Kind::Calendar | Kind::Host) {
            let touched = (change.kind, change.name.clone());
            self.touched.insert(touched, times.now);
        }
        match change.kind {
            Kind::Host => self.host(writer, change, server, times),
            Kind::Reservation => self.reservation(writer, change, server, times, coverage),
            Kind::Calendar => {
                self.loses_no_booking(writer, change, times)?;
                self.is_booked_where_it_may(change, server, times, coverage)?;
                self.note_vacated(change);
                crosses_nothing(change, times)
            }
            Kind::Secret => self.nobody_who_is_over_gets_keys(change),
        }
    }

    fn reservation(
        &mut self,
        writer: Writer<'_>,
        change: &Change,
        server: &ApiServer,
        times: Times,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let Some(after) = change.after.as_ref().map(reservation) else {
            if let Some(uid) = change.before.as_ref().and_then(uid_of) {
                let record = self.records.entry(uid).or_default();
                (record.is_over, record.gone) = (true, Some(times.now));
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
        let was_finished = std::mem::replace(&mut record.is_finished, after.is_finished());
        if after.is_finished() && !was_finished {
            // Nobody looks at it again.
            let secret = user_data::secret_name(&after);
            let there = server.one(Kind::Secret, &secret);
            if there.is_some_and(|there| has_keys_of(there, &uid)) {
                return Err(format!(
                    "{} is over, and Secret {secret} is there",
                    change.name
                ));
            }
        }
        if after.is_finished() && !was_finished {
            self.waited_for_a_reason(&after, writer.looks, server, times)?;
        }
        let record = self.records.entry(uid.clone()).or_default();
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

    /// What must hold once everything has come to rest.
    pub(crate) fn at_rest(&self, server: &ApiServer) -> Result<(), String> {
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
        let mut secrets = server.all(Kind::Secret);
        if let Some((name, _)) = secrets.find(|(_, secret)| is_filled(secret)) {
            return Err(format!("Secret {name} outlives its reservation's end"));
        }
        Ok(())
    }
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
