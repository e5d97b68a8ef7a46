//! The end of the event door: makes an intent durable as a Reservation object.
//!
//! An answer means that it is stored in etcd. Any replica may take any event: the object's
//! name is the idempotency key, and every change carries the version that it was planned
//! on, so two replicas at once end in one object.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use kube::{
    Api, ResourceExt,
    api::{ListParams, PostParams},
};

use super::{
    identity::BaseName,
    intent::Intent,
    plan::{Plan, plan},
};
use crate::api::{EVENT_ID_LABEL, v1::Reservation};

/// Stores what events ask for.
#[derive(Clone, Debug)]
pub struct Recorder {
    reservations: Api<Reservation>,
    provider: String,
    deadline: Duration,
}

/// What an event became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It was stored already.
    AlreadyHandled,
    /// It asks for nothing: the reason.
    Ignored(String),
    /// It is stored: the object's name.
    Taken(String),
}

/// It could be stored nowhere; the sender must be told.
#[derive(Debug, thiserror::Error)]
pub enum NotRecorded {
    /// The API server answered, but not in time or not with a yes.
    #[error("the API server did not store the reservation")]
    Api(#[from] kube::Error),
    /// Others kept changing the object.
    #[error("the reservation kept changing while it was being written")]
    Contended,
    /// The API server did not answer in time.
    #[error("the API server did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
}

impl Recorder {
    /// A recorder that writes to `reservations`, for events of `provider`.
    pub fn new(reservations: Api<Reservation>, provider: String) -> Self {
        Self {
            reservations,
            provider,
            deadline: DEADLINE,
        }
    }

    /// Takes another time than [`DEADLINE`] over an event.
    #[must_use]
    pub fn within(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Stores an intent, before the deadline.
    pub async fn record(&self, intent: &Intent) -> Result<Recorded, NotRecorded> {
        tokio::time::timeout(self.deadline, self.settle(intent))
            .await
            .map_err(|_| NotRecorded::Timeout(self.deadline))?
    }

    /// Stores the intents of one delivery, several at a time but those of one booking in
    /// their order. The first that can't be stored fails the delivery, which may then be
    /// sent again: what was stored is found.
    pub async fn record_all(&self, intents: &[Intent]) -> Result<Vec<Recorded>, NotRecorded> {
        let mut bookings: BTreeMap<BaseName, Vec<usize>> = BTreeMap::new();
        let mut outcomes = vec![Recorded::AlreadyHandled; intents.len()];
        for (index, intent) in intents.iter().enumerate() {
            match intent {
                Intent::Ignore(reason) => outcomes[index] = Recorded::Ignored(reason.clone()),
                _ => {
                    if let Some(booking) = intent.booking() {
                        let base = BaseName::of(&self.provider, booking);
                        bookings.entry(base).or_default().push(index);
                    }
                }
            }
        }
        let deadline = batch_deadline(self.deadline, intents.len());
        let recorded = stream::iter(bookings.into_values().map(|indices| async move {
            let mut recorded = Vec::with_capacity(indices.len());
            for index in indices {
                recorded.push((index, self.settle(&intents[index]).await?));
            }
            Ok::<_, NotRecorded>(recorded)
        }))
        .buffer_unordered(AT_ONCE)
        .try_collect::<Vec<_>>();
        let recorded = tokio::time::timeout(deadline, recorded)
            .await
            .map_err(|_| NotRecorded::Timeout(deadline))??;
        for (index, outcome) in recorded.into_iter().flatten() {
            outcomes[index] = outcome;
        }
        Ok(outcomes)
    }

    async fn settle(&self, intent: &Intent) -> Result<Recorded, NotRecorded> {
        let booking = match (intent, intent.booking()) {
            (Intent::Ignore(reason), _) => return Ok(Recorded::Ignored(reason.clone())),
            (_, None) => return Ok(Recorded::AlreadyHandled),
            (_, Some(booking)) => booking,
        };
        let base = BaseName::of(&self.provider, booking);
        let mut taken = None;
        for _ in 0..ATTEMPTS {
            let chain = self.chain(&base).await?;
            let (written, is_last, is_news) = match plan(&self.provider, intent, &chain) {
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

/// Whoever sends a large batch waits a little longer, and not in vain.
fn batch_deadline(one: Duration, items: usize) -> Duration {
    one.saturating_add(ITEM_TIME.saturating_mul(u32::try_from(items).unwrap_or(u32::MAX)))
}

/// Somebody else wrote, made or removed the object in between: look again.
fn was_overtaken(status: &kube::core::Status) -> bool {
    matches!(status.code, 404 | 409)
}

/// The sender waits for us in its scheduler's thread: what it hears, it hears within a second.
pub const DEADLINE: Duration = Duration::from_millis(900);

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
