//! Whether who is named somewhere is still there: a Reservation that was taken away by force,
//! its finalizer stripped, leaves its booking and its claim behind, and nobody to take them back.
//!
//! A booking like that is taken out of its calendar by whoever finds it in the way; a claim is
//! left to a person, since nobody knows what is on the disk. Called by the controller's pass.

use jiff::Timestamp;
use kube::{Resource, ResourceExt, runtime::reflector::ObjectRef};
use metal3::BareMetalHost;

use super::{Context, Guarded};
use crate::{
    api::{
        calendar::{Booking, HostCalendar},
        v1::Reservation,
    },
    reservations::{
        calendar,
        decide::would_begin_early,
        host::{ApiError, within_deadline},
        lookup::claim,
    },
};

/// The calendar without those in the reservation's way who are not there any more.
pub(super) async fn without_the_dead(
    reservation: &Reservation,
    mut stored: HostCalendar,
    context: &Context,
) -> Result<HostCalendar, ApiError> {
    let now = context.clock.now();
    let bookings = stored.status.clone().unwrap_or_default();
    let mut living = bookings.clone();
    for other in &bookings.bookings {
        if is_in_the_way(reservation, other, now)
            && !is_there(reservation, &other.name, &other.uid, context).await?
            && let Some(without) = calendar::unbook(&living, &other.uid, now)
        {
            living = without;
        }
    }
    if living != bookings {
        stored = context.calendar_store.replace(&stored, &living).await?;
    }
    Ok(stored)
}

/// Whether the host's claim is that of a reservation which is not there any more.
pub(super) async fn is_forsaken(
    reservation: &Reservation,
    host: &BareMetalHost,
    context: &Context,
) -> Result<bool, ApiError> {
    let Some(claim) = claim(host) else {
        return Ok(false);
    };
    let (name, uid) = (claim.name.as_deref(), claim.uid.as_deref());
    let (name, uid) = (name.unwrap_or_default(), uid.unwrap_or_default());
    Ok(!is_there(reservation, name, uid, context).await?)
}

/// Whether another's booking keeps anything from the reservation now.
fn is_in_the_way(reservation: &Reservation, other: &Booking, now: Timestamp) -> bool {
    let candidate = calendar::candidate(reservation);
    let is_early = would_begin_early(reservation, now);
    other.uid != candidate.uid
        && (calendar::overlaps(&candidate, other, now)
            || calendar::has_it_without_an_end(&candidate, other, now)
            || is_early && calendar::is_running(other, now))
}

/// Whether the reservation's neighbour of this name and uid is there. Whom the watch shows is
/// believed to be, or else each pass would read all that are booked beside it: it lags, and
/// what has gone since keeps its place for one more look.
async fn is_there(
    reservation: &Reservation,
    name: &str,
    uid: &str,
    context: &Context,
) -> Result<bool, ApiError> {
    let meta = reservation.meta();
    if meta.uid.as_deref() == Some(uid) {
        return Ok(true);
    }
    // Claims and calendars are edited by people, too: the client fails over what can't be a name, or
    // asks for something else.
    if !kube_webhook::is_subdomain(name) {
        return Ok(false);
    }
    if let Some(seen) = &context.seen {
        let key = ObjectRef::new(name).within(meta.namespace.as_deref().unwrap_or_default());
        let shown = seen.get(&key);
        if shown.is_some_and(|shown| is_alive(&shown, Some(uid))) {
            return Ok(true);
        }
    }
    let read = read(name, context).await?;
    Ok(read.is_some_and(|read| is_alive(&read, Some(uid))))
}

/// Whether the reservation, as it is stored now, has begun to be taken back, or is no more.
pub(super) async fn is_over(
    reservation: &Reservation,
    context: &Context,
) -> Result<bool, ApiError> {
    let read = read(&reservation.name_any(), context).await?;
    Ok(read.is_none_or(|read| {
        let status = read.0.as_ref().ok().and_then(|read| read.status.as_ref());
        let is_marked = status.is_some_and(|status| status.release_time.is_some());
        is_marked || !is_alive(&read, reservation.meta().uid.as_deref())
    }))
}

async fn read(name: &str, context: &Context) -> Result<Option<Guarded<Reservation>>, ApiError> {
    within_deadline(context.seen_reservations.get_opt(name)).await
}

fn is_alive(read: &Guarded<Reservation>, uid: Option<&str>) -> bool {
    // Of one that can't be read, nobody knows that it is over.
    let is_over = read.0.as_ref().is_ok_and(Reservation::is_finished);
    read.meta().uid.as_deref() == uid && !is_over
}
