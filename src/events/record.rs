//! The end of the event door: makes an intent durable as a Reservation object, or, while
//! the API server doesn't take it, in this replica's spool.
//!
//! An answer means that it is stored. Any replica may take any event: the object's name is
//! the idempotency key, and every change carries the version that it was planned on, so two
//! replicas at once end in one object. A write whose answer never came may have been done:
//! the event is spooled, and finds its own object when it is recorded again.

mod drain;
mod holder;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};
use tokio::time::Instant;
use tracing::warn;

use self::holder::Holders;
use super::{
    identity::BaseName,
    intent::Intent,
    plan::{Plan, plan},
    spool::{NotSpooled, Spool, Waiting},
};
use crate::api::{EVENT_ID_LABEL, v1::Reservation};

/// Stores what events ask for.
#[derive(Clone, Debug)]
pub struct Recorder {
    reservations: Api<Reservation>,
    provider: String,
    deadline: Duration,
    spool: Option<Spool>,
    holders: Option<Holders>,
    /// The last call found no API server, and so will the next.
    is_away: Arc<AtomicBool>,
}

/// What an event became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It was stored already.
    AlreadyHandled,
    /// It asks for nothing: the reason.
    Ignored(String),
    /// It waits in the spool.
    Spooled,
    /// It is stored: the object's name.
    Taken(String),
}

/// It could be stored nowhere; the sender must be told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotRecorded {
    /// The API server answered, but not with a yes.
    #[error("the API server did not store the reservation")]
    Api(#[from] kube::Error),
    /// Others kept changing the object.
    #[error("the reservation kept changing while it was being written")]
    Contended,
    /// The API server doesn't take it, and neither does the spool.
    #[error("the API server can't be reached, nor the spool be used")]
    Spool(#[from] NotSpooled),
    /// The API server did not answer in time.
    #[error("the API server did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
}

/// What a failure tells of the next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hope {
    /// The API server is away: nothing else will be taken, either.
    Away,
    /// It will never be taken as it is.
    Never,
    /// This one isn't taken now: a right or a namespace is missing.
    Stuck,
}

impl Recorder {
    /// A recorder that writes to `reservations`, for events of `provider`.
    pub fn new(reservations: Api<Reservation>, provider: String) -> Self {
        Self {
            reservations,
            provider,
            deadline: ALONE_DEADLINE,
            spool: None,
            holders: None,
            is_away: Arc::default(),
        }
    }

    /// Takes another time over an event.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Lets events wait in `spool` when the API server takes longer than half a second.
    #[must_use]
    pub fn spooling(mut self, spool: Spool) -> Self {
        self.spool = Some(spool);
        self.within(DEADLINE)
    }

    /// Stores an intent, received at `now`, before the deadline.
    ///
    /// # Errors
    ///
    /// If it is stored nowhere.
    pub async fn record(&self, intent: &Intent, now: Timestamp) -> Result<Recorded, NotRecorded> {
        if self.must_queue(intent) {
            return self.spool(&[intent], now).await;
        }
        let settled = tokio::time::timeout(self.deadline, self.settle(intent, Delivery::First));
        match settled.await {
            Ok(Ok(recorded)) => Ok(recorded),
            Ok(Err(error)) => self.resort(intent, now, error).await,
            Err(_) => {
                let error = NotRecorded::Timeout(self.deadline);
                self.resort(intent, now, error).await
            }
        }
    }

    /// Stores the intents of one delivery, several at a time but those of one booking in
    /// their order. If one can be stored nowhere, the delivery fails, and may then be sent
    /// again: what was stored is found.
    ///
    /// # Errors
    ///
    /// If one is stored nowhere.
    pub async fn record_all(
        &self,
        intents: &[Intent],
        now: Timestamp,
    ) -> Result<Vec<Recorded>, NotRecorded> {
        let mut bookings: BTreeMap<BaseName, Vec<usize>> = BTreeMap::new();
        let mut outcomes = vec![None; intents.len()];
        for (index, intent) in intents.iter().enumerate() {
            match intent.booking() {
                None => outcomes[index] = Some(self.settle(intent, Delivery::First).await?),
                // Behind those that wait already.
                Some(_) if self.must_queue(intent) => {}
                Some(booking) => {
                    let base = BaseName::of(&self.provider, booking);
                    bookings.entry(base).or_default().push(index);
                }
            }
        }
        let limit = self.batch_deadline(intents.len());
        let deadline = Instant::now() + limit;
        let mut failure = None;
        let mut recorded = stream::iter(bookings.into_values().map(|indices| async move {
            let mut recorded = Vec::with_capacity(indices.len());
            for index in indices {
                match self.settle(&intents[index], Delivery::First).await {
                    Ok(outcome) => recorded.push((index, outcome)),
                    Err(error) => return (recorded, Some(error)),
                }
            }
            (recorded, None)
        }))
        .buffer_unordered(AT_ONCE);
        loop {
            let Ok(next) = tokio::time::timeout_at(deadline, recorded.next()).await else {
                failure = Some(NotRecorded::Timeout(limit));
                break;
            };
            let Some((stored, error)) = next else { break };
            for (index, outcome) in stored {
                outcomes[index] = Some(outcome);
            }
            failure = error.or(failure);
        }
        drop(recorded);
        let left: Vec<_> = (0..intents.len())
            .filter(|&index| outcomes[index].is_none())
            .collect();
        if !left.is_empty() {
            if let Some(error) = failure {
                self.expect_failure(error)?;
            }
            let left: Vec<_> = left.into_iter().map(|index| &intents[index]).collect();
            self.spool(&left, now).await?;
        }
        let outcomes = outcomes.into_iter();
        Ok(outcomes
            .map(|outcome| outcome.unwrap_or(Recorded::Spooled))
            .collect())
    }

    /// Whether events wait that this one must not overtake, or in vain would try to.
    fn must_queue(&self, intent: &Intent) -> bool {
        let (Some(spool), Some(booking)) = (&self.spool, intent.booking()) else {
            return false;
        };
        self.is_away.load(Ordering::Relaxed) || spool.holds(&booking.resource_name)
    }

    /// The API server didn't take it.
    async fn resort(
        &self,
        intent: &Intent,
        now: Timestamp,
        error: NotRecorded,
    ) -> Result<Recorded, NotRecorded> {
        if let (Some(spool), Hope::Never) = (&self.spool, error.hope()) {
            let waiting = Waiting {
                received: now,
                intent: intent.clone(),
            };
            spool.keep_aside(waiting, reason(&error)).await?;
            // Kept for people to look at, but nothing will come of it: no success.
            return Err(error);
        }
        self.expect_failure(error)?;
        self.spool(&[intent], now).await
    }

    /// Takes note of a failure that the spool makes up for; without one, gives it back.
    fn expect_failure(&self, error: NotRecorded) -> Result<(), NotRecorded> {
        if self.spool.is_none() {
            return Err(error);
        }
        let is_away = error.hope() == Hope::Away;
        if !is_away || !self.is_away.swap(true, Ordering::Relaxed) {
            warn!(
                "the API server didn't take an event, which is spooled: {}",
                reason(&error)
            );
        }
        Ok(())
    }

    async fn spool(&self, intents: &[&Intent], now: Timestamp) -> Result<Recorded, NotRecorded> {
        let spool = self.spool.as_ref().ok_or(NotSpooled::Closed)?;
        let waiting = intents.iter().map(|&intent| Waiting {
            received: now,
            intent: intent.clone(),
        });
        spool.append(waiting.collect()).await?;
        Ok(Recorded::Spooled)
    }

    /// Whoever sends a large batch waits a little longer where there is no spool, and not in
    /// vain.
    fn batch_deadline(&self, items: usize) -> Duration {
        if self.spool.is_some() {
            return self.deadline;
        }
        let items = u32::try_from(items).unwrap_or(u32::MAX);
        self.deadline
            .saturating_add(ITEM_TIME.saturating_mul(items))
    }

    async fn settle(&self, intent: &Intent, delivery: Delivery) -> Result<Recorded, NotRecorded> {
        let booking = match (intent, intent.booking()) {
            (Intent::Ignore(reason), _) => return Ok(Recorded::Ignored(reason.clone())),
            (_, None) => return Ok(Recorded::AlreadyHandled),
            (_, Some(booking)) => booking,
        };
        let base = BaseName::of(&self.provider, booking);
        let mut taken = None;
        for _ in 0..ATTEMPTS {
            let chain = self.chain(&base).await?;
            if delivery == Delivery::Again && is_of_this_delivery(intent, &chain) {
                return Ok(Recorded::AlreadyHandled);
            }
            let planned = plan(&self.provider, intent, &chain);
            if matches!(planned, Plan::Create(_))
                && intent.is_minimal_end()
                && let Some(reason) = self.held_by_another(&booking.resource_name).await?
            {
                return Ok(Recorded::Ignored(reason));
            }
            let (written, is_last, is_news) = match planned {
                Plan::Done => return Ok(outcome(taken)),
                Plan::Ignore(reason) => return Ok(Recorded::Ignored(reason)),
                Plan::Create(object) => (self.create(&object).await, true, true),
                Plan::Supersede(object) => (self.create(&object).await, false, true),
                Plan::Replace(object) => {
                    let is_news = says_more(&object, &chain);
                    (self.replace(&object).await, true, is_news)
                }
                Plan::Retire(object) => (self.replace(&object).await, false, false),
            };
            match written {
                Ok(object) if is_news => taken = Some(object.name_any()),
                Ok(_) => {}
                Err(kube::Error::Api(status)) if was_overtaken(&status) => continue,
                Err(error) => return Err(error.into()),
            }
            if is_last {
                return Ok(outcome(taken));
            }
        }
        Err(NotRecorded::Contended)
    }

    async fn create(&self, object: &Reservation) -> Result<Reservation, kube::Error> {
        let params = PostParams::default();
        self.reservations.create(&params, object).await
    }

    /// The object carries the version that was planned on.
    async fn replace(&self, object: &Reservation) -> Result<Reservation, kube::Error> {
        let params = PostParams::default();
        self.reservations
            .replace(&object.name_any(), &params, object)
            .await
    }

    /// The objects of a booking, the newest last. Some may be gone: their records expire
    /// one by one. The first is asked for by its name as well, since labels can be lost.
    async fn chain(&self, base: &BaseName) -> Result<Vec<Reservation>, kube::Error> {
        let name = base.nth(1);
        let selector = ListParams::default().labels(&format!("{EVENT_ID_LABEL}={base}"));
        let (first, chain) = futures::try_join!(
            self.reservations.get_opt(&name),
            self.reservations.list(&selector),
        )?;
        Ok(ordered(base, first.into_iter().chain(chain.items)))
    }
}

fn ordered(base: &BaseName, objects: impl IntoIterator<Item = Reservation>) -> Vec<Reservation> {
    let numbered: BTreeMap<u32, Reservation> = objects
        .into_iter()
        .filter_map(|object| Some((base.number(&object.name_any())?, object)))
        .collect();
    numbered.into_values().collect()
}

fn outcome(taken: Option<String>) -> Recorded {
    taken.map_or(Recorded::AlreadyHandled, Recorded::Taken)
}

/// Whether more than its own bookkeeping changes.
fn says_more(object: &Reservation, chain: &[Reservation]) -> bool {
    let present = chain
        .iter()
        .find(|present| present.metadata.name == object.metadata.name);
    present.is_none_or(|present| present.spec != object.spec)
}

impl NotRecorded {
    /// Whether the same event will fail in the same way, however often it is sent.
    pub fn is_final(&self) -> bool {
        self.hope() == Hope::Never
    }

    fn hope(&self) -> Hope {
        match self {
            Self::Api(kube::Error::Api(status)) => match status.code {
                400 | 413 | 422 => Hope::Never,
                429 => Hope::Away,
                code if code < 500 => Hope::Stuck,
                _ => Hope::Away,
            },
            Self::Contended => Hope::Stuck,
            Self::Api(_) | Self::Spool(_) | Self::Timeout(_) => Hope::Away,
        }
    }
}

/// How often this event has been tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delivery {
    /// It has just come.
    First,
    /// It was spooled: an earlier attempt may have been done, unheard.
    Again,
}

/// The minimal shape has no identity but its time of receipt, which is its window's start:
/// an object that begins then was made for this very event, even if it is over by now.
fn is_of_this_delivery(intent: &Intent, chain: &[Reservation]) -> bool {
    let Intent::Begin { booking, window } = intent else {
        return false;
    };
    booking.event_id.is_none()
        && !booking.has_start()
        && chain.iter().any(|object| {
            let start = object.spec.window.start.as_ref();
            start.is_some_and(|start| start.0 == window.start)
        })
}

/// The error with its cause, for logs and for people who look into the spool. The API
/// server's own words may echo a value: it stays with the operator.
fn reason(error: &NotRecorded) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// Somebody else wrote, made or removed the object in between: look again.
fn was_overtaken(status: &kube::core::Status) -> bool {
    matches!(status.code, 404 | 409)
}

/// What the API server is given where there is a spool behind it.
pub const DEADLINE: Duration = Duration::from_millis(500);

/// The sender waits for us in its scheduler's thread: what it hears, it hears within a second.
const ALONE_DEADLINE: Duration = Duration::from_millis(900);

/// Enough for the three steps of a booking that moves to another host, and some conflicts.
const ATTEMPTS: usize = 8;

const AT_ONCE: usize = 16;

const ITEM_TIME: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::event::Booking;

    #[test]
    fn a_booking_that_goes_on_is_found_after_its_first_record_has_expired() {
        let minimal = Booking {
            resource_name: "srv".to_owned(),
            ..Booking::default()
        };
        let base = BaseName::of("portal", &minimal);
        let named = |name: &str| {
            let mut reservation = Reservation::default();
            reservation.metadata.name = Some(name.to_owned());
            reservation
        };
        let found = |names: &[&str]| {
            let objects = names.iter().map(|name| named(name));
            ordered(&base, objects).last().map(ResourceExt::name_any)
        };
        assert_eq!(found(&["host-srv.2"]).as_deref(), Some("host-srv.2"));
        assert_eq!(
            found(&["host-srv", "host-srv.10", "host-srv.9", "host-srv2"]).as_deref(),
            Some("host-srv.10")
        );
        assert_eq!(found(&[]), None);
    }
}
