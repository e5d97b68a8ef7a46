//! Which host a reservation gets that names none, but says by labels which would do: pure.
//!
//! The first of the free ones, by name: whoever looks at the same hosts and calendars picks
//! the same. What is picked counts only once it is in that host's calendar; from then on it
//! stays that host, unless it can't be lent any more and another one can, or the wish itself
//! was edited and the host doesn't fit it any more. Called by the controller, in place of
//! `lookup`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{
    ResourceExt,
    core::{Selector, SelectorExt},
};
use metal3::BareMetalHost;

use super::{
    calendar::{self, Verdict, store::is_predecessors},
    decide::decided_on,
    deployment,
    lookup::{Lookup, Shortage, claim, not_reservable},
};
use crate::api::{
    calendar::{HostCalendar, HostCalendarStatus},
    v1::Reservation,
};

/// Whether a reservation takes whatever host bears its labels, and has not begun with one.
pub fn is_choosing(reservation: &Reservation) -> bool {
    let status = reservation.status.as_ref();
    let is_pinned = status.is_some_and(|status| status.host_ref.is_some());
    selector(reservation).is_some() && !is_pinned && !reservation.is_finished()
}

/// Whether a host of these labels would do.
pub fn would_do(reservation: &Reservation, labels: &BTreeMap<String, String>) -> bool {
    matches!(selector(reservation), Some(Ok(selector)) if selector.matches(labels))
}

/// Whether it keeps the host whose calendar this is, so that no other need be looked at.
/// `free_image` is what a free host of this site carries.
pub fn stays(
    reservation: &Reservation,
    host: &BareMetalHost,
    calendar: &HostCalendarStatus,
    free_image: Option<&str>,
    now: Timestamp,
) -> bool {
    let Some(Ok(selector)) = selector(reservation) else {
        return false;
    };
    let candidate = calendar::candidate(reservation);
    is_entitled(reservation, &selector, host)
        && calendar::booking_of(calendar, &candidate.uid).is_some()
        && usability(host, free_image).is_some_and(|usability| usability < Usability::Waited)
        && !calendar::waits_for_an_open_end(calendar, &candidate, now)
}

/// The host that it has in its calendar; else the one that it should book.
pub fn pick(
    reservation: &Reservation,
    hosts: &[BareMetalHost],
    calendars: &[HostCalendar],
    free_image: Option<&str>,
    now: Timestamp,
) -> Lookup {
    let selector = match selector(reservation) {
        Some(Ok(selector)) => selector,
        Some(Err(why)) => return Lookup::NoneFree(Shortage::Nonsense(why)),
        None => return Lookup::NotFound,
    };
    let candidate = calendar::candidate(reservation);
    let bookings = |host: &BareMetalHost| {
        let mut calendars = calendars.iter();
        let calendar = calendars.find(|calendar| calendar.name_any() == host.name());
        let calendar = calendar.filter(|calendar| !is_predecessors(calendar, host));
        let status = calendar.and_then(|calendar| calendar.status.clone());
        status.unwrap_or_default()
    };
    let booked = hosts.iter().find(|host| {
        calendar::booking_of(&bookings(host), &candidate.uid).is_some()
            && is_entitled(reservation, &selector, host)
    });
    if let Some(booked) = booked
        && stays(reservation, booked, &bookings(booked), free_image, now)
    {
        return Lookup::Found(Box::new(booked.clone()));
    }
    let can_be_had = |host: &BareMetalHost| {
        let calendar = bookings(host);
        let verdict = calendar::book(&calendar, &candidate, now);
        !matches!(verdict, Verdict::Overlap(_))
            && !calendar::waits_for_an_open_end(&calendar, &candidate, now)
    };
    let bearing: Vec<_> = hosts
        .iter()
        .filter(|host| selector.matches(host.labels()))
        .collect();
    let mut free: Vec<_> = bearing
        .iter()
        .filter_map(|host| Some((usability(host, free_image)?, host.name(), *host)))
        .filter(|(usability, ..)| *usability < Usability::Waited)
        .filter(|(.., host)| can_be_had(host))
        .collect();
    free.sort_by_key(|&(usability, name, _)| (usability, name));
    match (free.first(), booked) {
        (Some((.., host)), _) => Lookup::Found(Box::new((*host).clone())),
        (None, Some(booked)) => Lookup::Found(Box::new(booked.clone())),
        (None, None) if bearing.is_empty() => Lookup::NoneFree(Shortage::NoneBearing),
        (None, None) => Lookup::NoneFree(Shortage::AllTaken(bearing.len())),
    }
}

/// Whether it may keep this host. What was accepted is not taken back because somebody labels
/// hosts anew; who edits the wish asks for it.
fn is_entitled(reservation: &Reservation, selector: &Selector, host: &BareMetalHost) -> bool {
    let is_edited = decided_on(reservation) < reservation.metadata.generation;
    !is_edited || selector.matches(host.labels())
}

/// How soon a host could be imaged, as far as it tells by itself. What can't be lent has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Usability {
    /// At once.
    Ready,
    /// Once the operator, or another reservation, is done with it.
    Later,
    /// Once somebody has done something about it.
    Waited,
}

fn usability(host: &BareMetalHost, free_image: Option<&str>) -> Option<Usability> {
    if not_reservable(host).is_some() {
        return None;
    }
    let consumer = host.consumer();
    let is_others = match consumer {
        Some(_) => claim(host).is_none(),
        None => deployment::has_leftover(host, free_image),
    };
    if is_others || host.is_paused() || host.has_error() {
        return Some(Usability::Waited);
    }
    Some(if host.is_available() && consumer.is_none() {
        Usability::Ready
    } else {
        Usability::Later
    })
}

fn selector(reservation: &Reservation) -> Option<Result<Selector, String>> {
    let selector = reservation.spec.target.as_ref()?.selector.clone()?;
    Some(
        selector
            .try_into()
            .map_err(|error: kube::core::ParseExpressionError| error.to_string()),
    )
}

#[cfg(test)]
mod tests;
