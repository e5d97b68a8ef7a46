//! The end of the event door: makes an intent durable as a Reservation object.
//!
//! An answer means that it is stored in etcd. Any replica may take any event: the object's
//! name is the idempotency key, and every change carries the version that it was planned
//! on, so two replicas at once end in one object.

use std::time::Duration;

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

    async fn settle(&self, intent: &Intent) -> Result<Recorded, NotRecorded> {
        let booking = match intent {
            Intent::Ignore(reason) => return Ok(Recorded::Ignored(reason.clone())),
            Intent::Begin { booking, .. } | Intent::End { booking, .. } => booking,
        };
        let base = BaseName::of(&self.provider, booking);
        for _ in 0..ATTEMPTS {
            let newest = self.newest(&base).await?;
            let written = match plan(&self.provider, intent, newest.as_ref()) {
                Plan::Done => return Ok(Recorded::AlreadyHandled),
                Plan::Ignore(reason) => return Ok(Recorded::Ignored(reason)),
                Plan::Create(object) => {
                    self.reservations
                        .create(&PostParams::default(), &object)
                        .await
                }
                Plan::Replace(object) => {
                    self.reservations
                        .replace(&object.name_any(), &PostParams::default(), &object)
                        .await
                }
            };
            match written {
                Ok(object) => return Ok(Recorded::Taken(object.name_any())),
                Err(kube::Error::Api(status)) if was_overtaken(&status) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(NotRecorded::Contended)
    }

    /// The newest object of a booking. Those before it may be gone: their records expire
    /// one by one. The first is asked for by its name as well, since labels can be lost.
    async fn newest(&self, base: &BaseName) -> Result<Option<Reservation>, kube::Error> {
        let name = base.nth(1);
        let selector = ListParams::default().labels(&format!("{EVENT_ID_LABEL}={base}"));
        let (first, chain) = futures::try_join!(
            self.reservations.get_opt(&name),
            self.reservations.list(&selector),
        )?;
        Ok(newest(base, first.into_iter().chain(chain.items)))
    }
}

fn newest(base: &BaseName, objects: impl IntoIterator<Item = Reservation>) -> Option<Reservation> {
    objects
        .into_iter()
        .filter_map(|object| Some((base.number(&object.name_any())?, object)))
        .max_by_key(|(number, _)| *number)
        .map(|(_, object)| object)
}

/// Somebody else wrote, made or removed the object in between: look again.
fn was_overtaken(status: &kube::core::Status) -> bool {
    matches!(status.code, 404 | 409)
}

/// The sender waits for us in its scheduler's thread: what it hears, it hears within a second.
pub const DEADLINE: Duration = Duration::from_millis(900);

const ATTEMPTS: usize = 5;

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
            newest(&base, objects).map(|object| object.name_any())
        };
        assert_eq!(found(&["host-srv.2"]).as_deref(), Some("host-srv.2"));
        assert_eq!(
            found(&["host-srv", "host-srv.10", "host-srv.9", "host-srv2"]).as_deref(),
            Some("host-srv.10")
        );
        assert_eq!(found(&[]), None);
    }
}
