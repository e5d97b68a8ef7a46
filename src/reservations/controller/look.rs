//! What a pass reads afresh beside its reservation: the host, and the host's calendar. Called
//! by the controller's pass.

use std::collections::BTreeMap;

use kube::{ResourceExt, api::ListParams};

use super::{
    Context,
    living::{is_forsaken, without_the_dead},
    pinned_name,
};
use crate::{
    api::{
        calendar::{HostCalendar, HostCalendarStatus},
        v1::Reservation,
    },
    reservations::{
        calendar::{self, store::is_predecessors},
        host::{ApiError, within_deadline},
        lookup::{self, Lookup, lookup},
        selection::{self, Offer},
    },
};

/// What a pass sees.
pub(super) struct View {
    pub(super) host: Lookup,
    pub(super) calendar: FoundCalendar,
    /// Whether it looked among all hosts for one that would do: then it is better off with
    /// another than with the one that it has, and no watch tells it when that one is free.
    pub(super) has_searched: bool,
}

/// The host, and what its calendar says. Where one of them can't be understood, nothing is
/// known, and whoever is booked keeps its place.
pub(super) async fn look(reservation: &Reservation, context: &Context) -> Result<View, ApiError> {
    match read(reservation, context).await {
        Err(ApiError::Unreadable { object, why }) => Ok(View {
            host: Lookup::Unreadable { object, why },
            calendar: FoundCalendar::default(),
            has_searched: false,
        }),
        read => read,
    }
}

async fn read(reservation: &Reservation, context: &Context) -> Result<View, ApiError> {
    let is_choosing = selection::is_choosing(reservation);
    if is_choosing && let Some((host, stored)) = kept_place(reservation, context).await? {
        return Ok(View {
            host,
            calendar: stored.into(),
            has_searched: false,
        });
    }
    let host = find(reservation, context).await?;
    Ok(View {
        calendar: find_calendar(reservation, &host, context).await?,
        host,
        has_searched: is_choosing,
    })
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
    let uid = reservation.uid().unwrap_or_default();
    let bookings = stored.status.as_ref();
    if bookings.is_none_or(|bookings| calendar::booking_of(bookings, &uid).is_none()) {
        return Ok(None);
    }
    let host = within_deadline(context.hosts.get_opt(name)).await?;
    Ok(match host.map(Lookup::from) {
        Some(Lookup::Found(host)) if is_predecessors(&stored, &host) => None,
        Some(Lookup::Found(host)) => {
            let stored = without_the_dead(reservation, stored, context).await?;
            let offer = Offer {
                host: &host,
                calendar: &stored.status.clone().unwrap_or_default(),
                is_forsaken: is_forsaken(reservation, &host, context).await?,
            };
            let free_image = context.policy.deprovision_image.as_deref();
            let stays = selection::stays(reservation, &offer, free_image, context.clock.now());
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
        Some(name) if !kube_webhook::is_subdomain(name) => Vec::new(),
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
    let calendars = within_deadline(context.calendars.list(&all)).await?.items;
    let calendars = calendars.into_iter();
    let mut calendars: BTreeMap<_, _> = calendars.map(|it| (it.name_any(), it.0)).collect();
    let mut known = Vec::new();
    for host in hosts.into_iter().filter_map(|host| host.0.ok()) {
        let calendar = match calendars.remove(host.name()) {
            // Nobody knows who is in a calendar that can't be read.
            Some(Err(_)) => continue,
            Some(Ok(stored)) if !is_predecessors(&stored, &host) => stored,
            Some(Ok(_)) | None => HostCalendar::default(),
        };
        let would_do = selection::would_do(reservation, host.labels());
        let (calendar, is_forsaken) = if would_do {
            let calendar = without_the_dead(reservation, calendar, context).await?;
            (calendar, is_forsaken(reservation, &host, context).await?)
        } else {
            (calendar, false)
        };
        known.push((host, calendar.status.unwrap_or_default(), is_forsaken));
    }
    let offers = known.iter().map(|(host, calendar, is_forsaken)| Offer {
        host,
        calendar,
        is_forsaken: *is_forsaken,
    });
    Ok(selection::pick(
        reservation,
        &offers.collect::<Vec<_>>(),
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

impl From<HostCalendar> for FoundCalendar {
    fn from(stored: HostCalendar) -> Self {
        Self {
            bookings: stored.status.clone().unwrap_or_default(),
            stored: Some(stored),
        }
    }
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
    Ok(without_the_dead(reservation, stored, context).await?.into())
}
