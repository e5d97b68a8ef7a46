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
    calendar::{self, Verdict},
    decide::decided_on,
    deployment,
    lookup::{Lookup, Shortage, claim, not_reservable},
};
use crate::api::{calendar::HostCalendarStatus, v1::Reservation};

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

/// A host, and what is known of it.
#[derive(Clone, Copy, Debug)]
pub struct Offer<'a> {
    /// The host.
    pub host: &'a BareMetalHost,
    /// What its calendar says; nothing, if it has none.
    pub calendar: &'a HostCalendarStatus,
    /// Whether its claim belongs to a reservation that is not there any more.
    pub is_forsaken: bool,
}

/// Whether it keeps this host, so that no other need be looked at. `free_image` is what a free
/// host of this site carries.
pub fn stays(
    reservation: &Reservation,
    offer: &Offer<'_>,
    free_image: Option<&str>,
    now: Timestamp,
) -> bool {
    let Some(Ok(selector)) = selector(reservation) else {
        return false;
    };
    let candidate = calendar::candidate(reservation);
    is_entitled(reservation, &selector, offer.host)
        && calendar::booking_of(offer.calendar, &candidate.uid).is_some()
        && usability(offer, free_image).is_some_and(|usability| usability < Usability::Waited)
        && !calendar::waits_for_an_open_end(offer.calendar, &candidate, now)
}

/// The host that it has in its calendar; else the one that it should book.
pub fn pick(
    reservation: &Reservation,
    offers: &[Offer<'_>],
    free_image: Option<&str>,
    now: Timestamp,
) -> Lookup {
    let selector = match selector(reservation) {
        Some(Ok(selector)) => selector,
        Some(Err(why)) => return Lookup::NoneFree(Shortage::Nonsense(why)),
        None => return Lookup::NotFound,
    };
    let candidate = calendar::candidate(reservation);
    let booked = offers.iter().find(|offer| {
        calendar::booking_of(offer.calendar, &candidate.uid).is_some()
            && is_entitled(reservation, &selector, offer.host)
    });
    if let Some(booked) = booked
        && stays(reservation, booked, free_image, now)
    {
        return booked.host.clone().into();
    }
    let can_be_had = |offer: &Offer<'_>| {
        let verdict = calendar::book(offer.calendar, &candidate, now);
        !matches!(verdict, Verdict::Overlap(_))
            && !calendar::waits_for_an_open_end(offer.calendar, &candidate, now)
    };
    let bearing: Vec<_> = offers
        .iter()
        .filter(|offer| selector.matches(offer.host.labels()))
        .collect();
    let free = bearing
        .iter()
        .filter_map(|offer| Some((usability(offer, free_image)?, offer)))
        .filter(|(usability, offer)| *usability < Usability::Waited && can_be_had(offer))
        .min_by_key(|(usability, offer)| (*usability, offer.host.name()));
    match (free, booked) {
        (Some((_, offer)), _) => offer.host.clone().into(),
        (None, Some(booked)) => booked.host.clone().into(),
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

fn usability(offer: &Offer<'_>, free_image: Option<&str>) -> Option<Usability> {
    let host = offer.host;
    if not_reservable(host).is_some() {
        return None;
    }
    let consumer = host.consumer();
    let is_others = match consumer {
        Some(_) => claim(host).is_none(),
        None => deployment::has_leftover(host, free_image),
    };
    if is_others || offer.is_forsaken || host.is_paused() || host.has_error() {
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
