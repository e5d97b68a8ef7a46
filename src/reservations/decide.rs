//! What to do next about one reservation: pure, and the place of everything hard.
//!
//! Takes the reservation, its host and the time; gives the status to store and at most one
//! action. The status is stored first, so an action is only ever taken on a record that
//! says why: the claim is recorded before the disk is touched, the host's history before it
//! is wiped. Called by the controller on every change and at the time it asks to be woken.

mod booking;
mod conditions;
mod off;
mod on;
mod timing;

use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use metal3::BareMetalHost;

pub use self::conditions::{Conditions, failure};
pub use self::timing::would_begin_early;
use self::{booking::Slot, timing::Wanted};
use super::{
    deployment::Deployment,
    lookup::{Lookup, claim},
    reasons,
};
use crate::api::{
    self,
    calendar::HostCalendarStatus,
    v1::{Image, Reservation, ReservationStatus},
};

/// The site's own rules, where a reservation says nothing.
#[derive(Clone, Debug)]
pub struct Policy {
    /// What is put on the disk.
    pub image: Image,
    /// What is put on the disk of a host that is free again.
    pub deprovision_image: Option<String>,
    /// How long imaging may take.
    pub provisioning_timeout: Duration,
    /// How long after its end a booking from an event is released without an end event.
    pub end_grace: Duration,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The status to store, before anything else.
    pub status: ReservationStatus,
    /// The one step to take, once the status is stored.
    pub action: Action,
    /// When the clock alone may change something. Never in the past.
    pub wake: Option<Timestamp>,
}

/// A step towards what is wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Put our finalizer on the reservation.
    AddFinalizer,
    /// Make the host's claim ours.
    Claim,
    /// Take image and user data off the host, and its power.
    Clear,
    /// Remove the record, which has been kept long enough.
    Delete,
    /// Delete the user data, then store this: the record must not be over before the keys are
    /// gone, since nobody looks at it again.
    Finish {
        /// That it is over.
        status: Box<ReservationStatus>,
    },
    /// Take our finalizer off the reservation.
    Forget,
    /// Delete the user data, then give the claim back.
    Free {
        /// The image that a free host of this site carries.
        image: Option<String>,
    },
    /// Write the user data, then put this and power on the host.
    Provision(Deployment),
    /// Nothing: what is wanted is the case, or must be waited for.
    Wait,
    /// Write this over the calendar that was decided on, if it is still that one.
    WriteCalendar {
        /// The host whose calendar it is.
        host: String,
        /// What it is to say.
        status: Box<HostCalendarStatus>,
    },
}

impl Action {
    /// Whether somebody else may have a say in it: the operator's own webhook, or a policy.
    pub fn may_be_refused(&self) -> bool {
        matches!(
            self,
            Self::Claim
                | Self::Clear
                | Self::Finish { .. }
                | Self::Free { .. }
                | Self::Provision(_)
        )
    }
}

/// Why an action came to nothing, and will again until somebody does something about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The condition's reason.
    pub reason: &'static str,
    /// What was said.
    pub text: String,
}

impl Decision {
    /// Tells the user what was said to this action when it was last tried.
    pub fn tell_refusal(&mut self, reservation: &Reservation, refusal: &Refusal, now: Timestamp) {
        let conditions = Conditions::new(reservation.metadata.generation, now);
        let Refusal { reason, text } = refusal;
        let (what, type_) = match self.action {
            Action::Claim => ("writing the host", Some(conditions::HOST_CLAIMED)),
            Action::Provision(_) => ("writing the host", Some(conditions::PROVISIONED)),
            // That the host is clean is still to be known once this succeeds.
            Action::Free { .. } => ("giving the host back", None),
            Action::Finish { .. } => ("deleting the user data", None),
            _ => ("writing the host", Some(conditions::RELEASED)),
        };
        let message = format!("{what} was refused, and is tried again: {text}");
        for type_ in type_.into_iter().chain([conditions::READY]) {
            conditions.set(&mut self.status, type_, false, reason, message.as_str());
        }
    }
}

/// Decides. `calendar` is that of [`super::calendar::host_of`]; an empty one where there is none.
pub fn decide(
    reservation: &Reservation,
    calendar: &HostCalendarStatus,
    host: &Lookup,
    policy: &Policy,
    now: Timestamp,
) -> Decision {
    let mut status = reservation.status.clone().unwrap_or_default();
    status.observed_generation = reservation.metadata.generation;
    let deleting = reservation.metadata.deletion_timestamp.is_some();
    let has_finalizer = reservation
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == api::FINALIZER);

    let is_late_claim = reservation.is_finished()
        && matches!(host, Lookup::Found(found) if holder(reservation, found) == Holder::Us);
    if reservation.is_finished() && !is_late_claim {
        let expiry = timing::expiry(reservation);
        let action = match (deleting, has_finalizer) {
            (true, true) => Action::Forget,
            (false, _) if expiry.is_some_and(|expiry| expiry <= now) => Action::Delete,
            _ => Action::Wait,
        };
        return Decision {
            status,
            action,
            wake: expiry.filter(|expiry| *expiry > now),
        };
    }
    if !deleting && !has_finalizer {
        return Decision {
            status,
            action: Action::AddFinalizer,
            wake: None,
        };
    }

    let conditions = Conditions::new(reservation.metadata.generation, now);
    conditions.tell_of_keys(reservation, &mut status);
    if let Lookup::Unreadable { object, why } = host {
        // Neither may it be imaged, nor was it wiped: nothing is known of it.
        let message =
            format!("{object} can't be read, and nothing is done until it is mended: {why}");
        conditions.set(
            &mut status,
            conditions::READY,
            false,
            reasons::UNREADABLE,
            message,
        );
        // Nor was anything decided of what was edited meanwhile.
        status.observed_generation = decided_on(reservation);
        return Decision {
            status,
            action: Action::Wait,
            wake: None,
        };
    }
    let slot = Slot::new(reservation, calendar, now);
    let mut pass = Pass {
        reservation,
        calendar,
        slot,
        policy,
        now,
        status,
        conditions,
        wake: None,
    };
    if let (true, Lookup::Found(host)) = (is_late_claim, host) {
        // A claim that we had given up on was stored after all: the way off, once more.
        pass.status.released_time = None;
        pass.status.release_time = None;
        let action = pass.release(host);
        return pass.decided(action);
    }
    let action = match timing::wanted(reservation, &pass.slot, policy, now) {
        Wanted::Off => pass.off(host),
        Wanted::On => pass.on(host),
        Wanted::Later { begin } => pass.pending(host, begin),
    };
    pass.decided(action)
}

/// One look at one reservation, and the status that it will have afterwards.
struct Pass<'a> {
    reservation: &'a Reservation,
    calendar: &'a HostCalendarStatus,
    slot: Slot,
    policy: &'a Policy,
    now: Timestamp,
    status: ReservationStatus,
    conditions: Conditions,
    wake: Option<Timestamp>,
}

/// Who has the host, as its `consumerRef` says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Holder {
    Nobody,
    /// A reservation, by its name.
    OtherReservation(String),
    /// Something that isn't ours to understand.
    Stranger(String),
    Us,
}

impl Pass<'_> {
    fn decided(self, action: Action) -> Decision {
        let mut status = self.status;
        status.next_transition_time = self
            .wake
            .map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time);
        Decision {
            status,
            action,
            wake: self.wake,
        }
    }

    fn holder(&self, host: &BareMetalHost) -> Holder {
        holder(self.reservation, host)
    }

    /// A time that is over changes nothing any more: waking for it would be a busy loop.
    fn wake_at(&mut self, instant: Timestamp) {
        if instant <= self.now {
            return;
        }
        self.wake = Some(self.wake.map_or(instant, |wake| wake.min(instant)));
    }
}

fn holder(reservation: &Reservation, host: &BareMetalHost) -> Holder {
    let Some(consumer) = host.consumer() else {
        return Holder::Nobody;
    };
    let name = consumer.name.clone().unwrap_or_default();
    if claim(host).is_none() {
        let kind = consumer.kind.as_deref().unwrap_or_default();
        return Holder::Stranger(format!("{kind} {name}"));
    }
    if consumer.uid.is_some() && consumer.uid == reservation.uid() {
        Holder::Us
    } else {
        Holder::OtherReservation(name)
    }
}

/// The generation that the status is about which is stored.
pub(super) fn decided_on(reservation: &Reservation) -> Option<i64> {
    reservation.status.as_ref()?.observed_generation
}

/// Whether nothing is done for it until an object that can't be read is mended.
pub fn waits_for_mending(reservation: &Reservation) -> bool {
    ready_reason(reservation) == Some(reasons::UNREADABLE)
}

/// Whether it has its place in a calendar, and nothing but its time to wait for: how the host
/// is just now means nothing to it, only whether it may be lent at all.
pub fn only_waits_for_its_time(reservation: &Reservation) -> bool {
    ready_reason(reservation) == Some(reasons::SCHEDULED)
}

fn ready_reason(reservation: &Reservation) -> Option<&str> {
    let conditions = &reservation.status.as_ref()?.conditions;
    let ready = conditions.iter().find(|it| it.type_ == conditions::READY)?;
    Some(&ready.reason)
}

#[cfg(test)]
mod tests;
