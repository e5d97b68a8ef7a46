//! What must hold of bookings: nobody is booked twice, nowhere and to no end.

use harbormaster::api::{
    calendar::{Booking, HostCalendar},
    v1::Reservation,
};
use jiff::Timestamp;
use metal3::BareMetalHost;
use serde_json::Value;

use super::{Oracle, Times, Writer, host, reservation, uid_of};
use crate::{
    api_server::{ApiServer, Change, Kind},
    coverage::Coverage,
    world::FREE_IMAGE,
};

impl Oracle {
    /// What was accepted stays so until it is over, or lets go itself.
    pub(super) fn loses_no_booking(
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

    /// Whose time was over before any host with its labels was free: then none was, not even one
    /// that is booked by those alone who are no more.
    pub(super) fn waited_for_a_reason(
        &self,
        wish: &Reservation,
        looks: &[Timestamp],
        server: &ApiServer,
        times: Times,
    ) -> Result<(), String> {
        // What happened later may not have been seen.
        let Some(seen) = looks.iter().rev().nth(LOOKS).copied() else {
            return Ok(());
        };
        let status = wish.status.as_ref();
        let mut told = status.into_iter().flat_map(|status| &status.conditions);
        let target = wish.spec.target.as_ref();
        let labels = target.and_then(|target| target.selector.as_ref()?.match_labels.as_ref());
        let Some(labels) = labels else {
            return Ok(());
        };
        let is_booked = status.is_some_and(|status| status.calendar.is_some());
        if is_booked || !told.any(|it| it.reason == "WindowExpired") {
            return Ok(());
        }
        let is_old = |kind: Kind, name: &str| {
            let touched = self.touched.get(&(kind, name.to_owned()));
            touched.is_none_or(|at| *at < seen)
        };
        let is_dead = |booking: &Booking| {
            let record = self.records.get(&booking.uid);
            record.is_some_and(|record| record.gone.is_some_and(|gone| gone < seen))
        };
        let free = server.all(Kind::Host).find(|(name, object)| {
            let machine = host(object);
            let calendar = server.one(Kind::Calendar, name);
            is_old(Kind::Host, name)
                && is_old(Kind::Calendar, name)
                && self.bears(&machine, labels, times.now)
                && is_lendable(&machine)
                && calendar.is_none_or(|calendar| bookings(calendar).iter().all(is_dead))
        });
        match free {
            Some((name, _)) => Err(format!(
                "{} had no host until its time was over, and {name} was free",
                wish.metadata.name.as_deref().unwrap_or_default()
            )),
            None => Ok(()),
        }
    }

    /// A booking is in the calendar of one host, and where it asked for labels, that one bears
    /// them.
    pub(super) fn is_booked_where_it_may(
        &self,
        change: &Change,
        server: &ApiServer,
        times: Times,
        coverage: &mut Coverage,
    ) -> Result<(), String> {
        let before = change.before.as_ref().map(bookings).unwrap_or_default();
        let after = change.after.as_ref().map(bookings).unwrap_or_default();
        let is_new = |booking: &&Booking| !before.iter().any(|it| it.uid == booking.uid);
        for booking in after.iter().filter(is_new) {
            let Booking { name, uid, .. } = booking;
            let mut calendars = server.all(Kind::Calendar);
            let other = calendars.find(|(other, calendar)| {
                let mut booked = bookings(calendar).into_iter();
                *other != change.name
                    && is_of_a_living_host(calendar, server)
                    && booked.any(|booked| booked.uid == *uid)
            });
            if let Some((other, _)) = other {
                let here = &change.name;
                return Err(format!("{name} is booked on host {here}, and on {other}"));
            }
            let record = server.one(Kind::Reservation, name).map(reservation);
            let target = record.and_then(|record| record.spec.target);
            let labels = target.and_then(|target| target.selector?.match_labels);
            let machine = server.one(Kind::Host, &change.name).map(host);
            let (Some(labels), Some(machine)) = (labels, machine) else {
                continue;
            };
            coverage.meet("a wish booked");
            if self.vacated.contains(&change.name) {
                coverage.meet(AFTER_THE_DEAD);
            }
            if !self.bears(&machine, &labels, times.now) {
                let here = &change.name;
                return Err(format!(
                    "{name} is booked on host {here}, not by its labels"
                ));
            }
        }
        Ok(())
    }
}

impl Oracle {
    /// Keeps in mind which calendars are empty since the last one in there was taken out, whose
    /// record is no more.
    pub(super) fn note_vacated(&mut self, change: &Change) {
        let before = change.before.as_ref().map(bookings).unwrap_or_default();
        let after = change.after.as_ref().map(bookings).unwrap_or_default();
        let is_dead = |booking: &Booking| {
            let record = self.records.get(&booking.uid);
            record.is_some_and(|record| record.gone.is_some())
        };
        if !after.is_empty() {
            self.vacated.remove(&change.name);
        } else if before.iter().any(is_dead) {
            self.vacated.insert(change.name.clone());
        }
    }
}

/// No new one crosses any that is still to run. Two that were there before may: a clock that is
/// set back makes of a time that was over one that is still to come.
pub(super) fn crosses_nothing(change: &Change, times: Times) -> Result<(), String> {
    let Some(after) = &change.after else {
        return Ok(());
    };
    let before = change.before.as_ref().map(bookings).unwrap_or_default();
    let after = bookings(after);
    let running = |booking: &Booking| {
        let end = booking.end.as_ref()?.0;
        let start = booking.start.as_ref()?.0.max(times.writers);
        (start < end).then_some((start, end))
    };
    for new in after.iter().filter(|booking| !before.contains(booking)) {
        let Some((start, end)) = running(new) else {
            continue;
        };
        let mut others = after.iter().filter(|other| *other != new);
        let crossed = others.find(|other| {
            running(other).is_some_and(|(begins, ends)| begins < end && start < ends)
        });
        if let Some(other) = crossed {
            let (one, other) = (&new.name, &other.name);
            return Err(format!(
                "host {}: {one} and {other} are both accepted, and cross",
                change.name
            ));
        }
    }
    Ok(())
}

fn bookings(calendar: &Value) -> Vec<Booking> {
    let calendar: HostCalendar =
        serde_json::from_value(calendar.clone()).expect("only HostCalendars are stored as such");
    calendar.status.unwrap_or_default().bookings
}

/// Whether nothing keeps anybody from lending it.
fn is_lendable(host: &BareMetalHost) -> bool {
    let image = host.wanted_image_url();
    host.is_available()
        && host.consumer().is_none()
        && image.is_none_or(|url| url == FREE_IMAGE)
        && !host.has_error()
        && !host.is_paused()
        && !host.is_detached()
        && !host.is_deleting()
        && !host.is_externally_provisioned()
        && host.spec.automated_cleaning_mode.as_deref() != Some("disabled")
}

/// That of a host which is no more counts for nothing.
fn is_of_a_living_host(calendar: &Value, server: &ApiServer) -> bool {
    let owner = &calendar["metadata"]["ownerReferences"][0];
    let name = owner["name"].as_str().unwrap_or_default();
    let machine = server.one(Kind::Host, name);
    machine.and_then(uid_of).as_deref() == owner["uid"].as_str()
}

/// A wish got a host that only those had booked who are no more.
const AFTER_THE_DEAD: &str = "a wish booked where only the dead were";

/// A look may read what is changed before it writes, but not several of them.
const LOOKS: usize = 3;

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use serde_json::json;

    use super::*;

    /// What is said of a new booking of the minutes from one to another, among these old ones.
    fn added((from, until): (i64, i64), old: &[(i64, i64)]) -> Result<(), String> {
        let at = |minute| Timestamp::UNIX_EPOCH + SignedDuration::from_mins(minute);
        let booking = |(from, until): (i64, i64)| {
            let name = format!("{from}-{until}");
            json!({
                "uid": name, "name": name,
                "start": at(from).to_string(), "end": at(until).to_string(),
            })
        };
        let mut bookings: Vec<_> = old.iter().copied().map(booking).collect();
        let calendar = |bookings: &[Value]| {
            json!({
                "apiVersion": "harbormaster.dev/v1", "kind": "HostCalendar",
                "metadata": {"name": "srv"}, "spec": {}, "status": {"bookings": bookings},
            })
        };
        let before = Some(calendar(&bookings));
        bookings.push(booking((from, until)));
        let change = Change {
            kind: Kind::Calendar,
            name: "srv".to_owned(),
            before,
            after: Some(calendar(&bookings)),
        };
        let now = at(5);
        let times = Times {
            now,
            latest: now,
            writers: now,
        };
        crosses_nothing(&change, times)
    }

    #[test]
    fn a_new_booking_is_held_against_each_that_runs_and_not_only_its_neighbour() {
        let old = [(0, 100), (10, 20)];
        assert!(added((50, 60), &old).unwrap_err().contains("0-100"));
        assert!(added((15, 200), &old).is_err());
        assert_eq!(added((100, 110), &old), Ok(()));
        // What is over takes nobody's time, and two old ones are nobody's fault now.
        assert_eq!(added((2, 8), &[(0, 4), (10, 20), (12, 15)]), Ok(()));
    }
}
