//! What a pass reads afresh beside its reservation: the host, and the host's calendar. Called
//! by the controller's pass.

use kube::{Resource, ResourceExt, api::ListParams};
use metal3::BareMetalHost;

use super::{Context, pinned_name};
use crate::{
    api::{
        calendar::{HostCalendar, HostCalendarStatus},
        v1::Reservation,
    },
    reservations::{
        calendar::{self, store::is_predecessors},
        host::{ApiError, within_deadline},
        lookup::{self, Lookup, lookup},
        selection,
    },
};

/// The host, and what its calendar says. Where one of them can't be understood, nothing is
/// known, and whoever is booked keeps its place.
pub(super) async fn look(
    reservation: &Reservation,
    context: &Context,
) -> Result<(Lookup, FoundCalendar), ApiError> {
    match read(reservation, context).await {
        Err(ApiError::Unreadable { object, why }) => {
            let unreadable = Lookup::Unreadable { object, why };
            Ok((unreadable, FoundCalendar::default()))
        }
        read => read,
    }
}

async fn read(
    reservation: &Reservation,
    context: &Context,
) -> Result<(Lookup, FoundCalendar), ApiError> {
    if selection::is_choosing(reservation)
        && let Some((host, stored)) = kept_place(reservation, context).await?
    {
        let calendar = count(reservation, stored, context).await?;
        return Ok((host, calendar));
    }
    let host = find(reservation, context).await?;
    let calendar = find_calendar(reservation, &host, context).await?;
    Ok((host, calendar))
}

/// The host that a wish by labels is booked on, and its calendar, if it stays there: then no
/// other is asked for.
async fn kept_place(
    reservation: &Reservation,
    context: &Context,
) -> Result<Option<(Lookup, HostCalendar)>, ApiError> {
    let status = reservation.status.as_ref();
    let Some(name) = status.and_then(|status| status.calendar.as_deref()) else {
        return Ok(None);
    };
    let Some(stored) = context.calendar_store.read(name).await? else {
        return Ok(None);
    };
    let bookings = stored.status.clone().unwrap_or_default();
    let uid = reservation.uid().unwrap_or_default();
    if calendar::booking_of(&bookings, &uid).is_none() {
        return Ok(None);
    }
    let host = within_deadline(context.hosts.get_opt(name)).await?;
    Ok(match host.map(Lookup::from) {
        Some(Lookup::Found(host)) => {
            let free_image = context.policy.deprovision_image.as_deref();
            let now = context.clock.now();
            let stays = !is_predecessors(&stored, &host)
                && selection::stays(reservation, &host, &bookings, free_image, now);
            stays.then_some((Lookup::Found(host), stored))
        }
        unreadable => unreadable.map(|unreadable| (unreadable, stored)),
    })
}

async fn find(reservation: &Reservation, context: &Context) -> Result<Lookup, ApiError> {
    if reservation.is_finished() && pinned_name(reservation).is_none() {
        return Ok(Lookup::NotFound);
    }
    if selection::is_choosing(reservation) {
        return choose(reservation, context).await;
    }
    let hosts = match pinned_name(reservation).or_else(|| lookup::wanted_name(reservation)) {
        Some(name) => within_deadline(context.hosts.get_opt(name))
            .await?
            .into_iter()
            .collect(),
        None => {
            within_deadline(context.hosts.list(&ListParams::default()))
                .await?
                .items
        }
    };
    Ok(lookup(reservation, &hosts))
}

/// Picks a host by its labels, among those that can be read.
async fn choose(reservation: &Reservation, context: &Context) -> Result<Lookup, ApiError> {
    let all = ListParams::default();
    let hosts = within_deadline(context.hosts.list(&all)).await?.items;
    let hosts: Vec<_> = hosts.into_iter().filter_map(|host| host.0.ok()).collect();
    let calendars = within_deadline(context.calendars.list(&all)).await?.items;
    let is_whole = |host: &BareMetalHost| {
        // Nobody knows who is in a calendar that can't be read.
        let mut broken = calendars.iter().filter(|calendar| calendar.0.is_err());
        !broken.any(|calendar| calendar.name_any() == host.name())
    };
    let hosts: Vec<_> = hosts.into_iter().filter(is_whole).collect();
    let calendars: Vec<_> = calendars
        .iter()
        .filter_map(|calendar| calendar.0.as_ref().ok().cloned())
        .collect();
    Ok(selection::pick(
        reservation,
        &hosts,
        &calendars,
        context.policy.deprovision_image.as_deref(),
        context.clock.now(),
    ))
}

/// A calendar, as it is stored and as it counts.
#[derive(Default)]
pub(super) struct FoundCalendar {
    pub(super) stored: Option<HostCalendar>,
    pub(super) bookings: HostCalendarStatus,
}

async fn find_calendar(
    reservation: &Reservation,
    host: &Lookup,
    context: &Context,
) -> Result<FoundCalendar, ApiError> {
    if reservation.is_finished() {
        return Ok(FoundCalendar::default());
    }
    let Some(name) = calendar::host_of(reservation, host) else {
        return Ok(FoundCalendar::default());
    };
    let Some(stored) = context.calendar_store.read(name).await? else {
        return Ok(FoundCalendar::default());
    };
    if let Lookup::Found(host) = host
        && is_predecessors(&stored, host)
        && host.name() == name
    {
        context.calendar_store.discard(&stored).await?;
        return Ok(FoundCalendar::default());
    }
    count(reservation, stored, context).await
}

/// Whether a reservation is still there, as the same one, and not over.
pub(super) async fn lives(
    name: &str,
    uid: Option<&str>,
    context: &Context,
) -> Result<bool, ApiError> {
    let read = within_deadline(context.seen_reservations.get_opt(name)).await?;
    Ok(read.is_some_and(|read| {
        // Of one that can't be read, nobody knows that it is over.
        let is_over = read.0.as_ref().is_ok_and(Reservation::is_finished);
        read.meta().uid.as_deref() == uid && !is_over
    }))
}

/// What counts of a calendar: whose record is over, or gone, is in nobody's way.
async fn count(
    reservation: &Reservation,
    stored: HostCalendar,
    context: &Context,
) -> Result<FoundCalendar, ApiError> {
    let mut bookings = stored.status.clone().unwrap_or_default();
    let candidate = calendar::candidate(reservation);
    let now = context.clock.now();
    let in_the_way: Vec<_> = bookings
        .bookings
        .iter()
        .filter(|other| other.uid != candidate.uid && calendar::overlaps(&candidate, other, now))
        .cloned()
        .collect();
    for other in in_the_way {
        // Whose record was taken away by force can't leave the calendar by itself.
        if !lives(&other.name, Some(&other.uid), context).await?
            && let Some(without) = calendar::unbook(&bookings, &other.uid, now)
        {
            bookings = without;
        }
    }
    Ok(FoundCalendar {
        stored: Some(stored),
        bookings,
    })
}
