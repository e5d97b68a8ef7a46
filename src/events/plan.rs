//! What to do to the Reservation objects so that they say what an intent asks.
//!
//! Pure and order-proof: the events of a booking come in any order, twice or not at all,
//! and the objects end the same. Two rules make it so. What is released stays released,
//! unless the booking was moved to a later time; and of two events that differ the one with
//! the later revision holds, whichever came first. Called by the recorder with all objects
//! of the booking, again after each conflict.

mod object;

use jiff::Timestamp;
use kube::ResourceExt;

use self::object::News;
use super::intent::Intent;
use crate::api::v1::{DesiredState, Reservation};

pub use self::object::{DELETED_ANNOTATION, MOVED_AWAY_ANNOTATION, REVISION_ANNOTATION};

/// One step that brings the objects to what an intent asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Plan {
    /// They say so already.
    Done,
    /// Nothing is to be done: the reason.
    Ignore(String),
    /// Make a new object.
    Create(Box<Reservation>),
    /// Replace an object, as long as it is still the one that was looked at.
    Replace(Box<Reservation>),
    /// Make the object that takes the place of the newest, then look again: that one is
    /// still to be released. In this order, so that a crash in between loses no booking.
    Supersede(Box<Reservation>),
    /// Release an earlier object, then look again.
    Retire(Box<Reservation>),
}

/// Plans for an intent, given the objects of its booking, the newest last.
pub fn plan(provider: &str, intent: &Intent, chain: &[Reservation]) -> Plan {
    let (booking, window) = match intent {
        Intent::Ignore(reason) => return Plan::Ignore(reason.clone()),
        Intent::Begin { booking, window }
        | Intent::Delete { booking, window }
        | Intent::End { booking, window }
        | Intent::Schedule { booking, window }
        | Intent::Withdraw {
            booking, window, ..
        } => (booking, *window),
    };
    let news = News::new(provider, booking, window);
    if let Some((_, earlier)) = chain.split_last()
        && let Some(live) = earlier.iter().find(|object| !is_over(object))
    {
        return Plan::Retire(Box::new(object::released(live)));
    }
    match intent {
        Intent::Begin { .. } => bring(&news, chain, DesiredState::Active),
        Intent::Schedule { .. } => bring(&news, chain, DesiredState::Scheduled),
        Intent::Delete { .. } => delete(&news, chain),
        Intent::Withdraw { reason, .. } => withdraw(&news, chain, reason),
        Intent::End { .. } | Intent::Ignore(_) => end(&news, chain),
    }
}

fn bring(news: &News<'_>, chain: &[Reservation], wanted: DesiredState) -> Plan {
    let Some(newest) = chain.last() else {
        return Plan::Create(Box::new(news.object(1, wanted)));
    };
    if object::is_deleted(newest) {
        return Plan::Done;
    }
    if is_over(newest) {
        // The minimal shape has no times: each START after an END is another booking.
        if news.is_minimal() || is_another_time(news, newest) {
            let next = news.number(newest).saturating_add(1);
            return Plan::Create(Box::new(news.object(next, wanted)));
        }
        if object::has_moved_away(newest) && news.is_newer_than(newest) {
            // It has come back, and the key with it: its START is not sent again.
            return Plan::Create(Box::new(news.successor(newest, wanted)));
        }
        return Plan::Done;
    }
    let newer = news.is_newer_than(newest);
    let started = newest.desired_state() == DesiredState::Active || object::has_begun(newest);
    if newer && started && news.is_elsewhere(newest) {
        // Its START is not sent again for the other host.
        return Plan::Supersede(Box::new(news.successor(newest, DesiredState::Active)));
    }
    let mut replacement = newest.clone();
    if newer {
        news.overwrite(&mut replacement);
    }
    news.fill_in(&mut replacement);
    if wanted == DesiredState::Active {
        object::want(&mut replacement, wanted);
    }
    unless_same(newest, replacement)
}

fn end(news: &News<'_>, chain: &[Reservation]) -> Plan {
    let Some(newest) = chain.last() else {
        // Recorded all the same: a START that comes late must find that it is over.
        return Plan::Create(Box::new(news.object(1, DesiredState::Released)));
    };
    let number = news.number(newest);
    let tombstone = || {
        let next = number.saturating_add(1);
        Plan::Create(Box::new(news.object(next, DesiredState::Released)))
    };
    if news.is_minimal() {
        // The host may have got another image since, from nobody that we know of.
        return if newest.is_finished() {
            tombstone()
        } else {
            unless_same(newest, object::released(newest))
        };
    }
    // An end that is newer than all we know is of the booking as it is now, even if it was
    // moved back to a time that it had before; but never of one that is still to come.
    let is_current = news.is_newer_than(newest) && !news.is_over_before(newest);
    if let Some(own) = chain.iter().rev().find(|object| news.starts_with(object))
        && own.name_any() != newest.name_any()
        && !is_current
    {
        return unless_same(own, object::released(own));
    }
    if newest.desired_state() == DesiredState::Released {
        return if !object::is_deleted(newest) && is_another_time(news, newest) {
            tombstone()
        } else {
            Plan::Done
        };
    }
    if number > 1 && news.is_over_before(newest) {
        // An end is sent again and again; this one is of the time before the booking was
        // moved, and must not end the one that it became.
        return Plan::Done;
    }
    let mut replacement = object::released(newest);
    if news.is_newer_than(newest) {
        // Else a late change to this very window would look like another booking.
        news.overwrite_window(&mut replacement);
    }
    unless_same(newest, replacement)
}

/// There is no way back from this one, not even to a later time.
fn delete(news: &News<'_>, chain: &[Reservation]) -> Plan {
    let Some(newest) = chain.last() else {
        let mut tombstone = news.object(1, DesiredState::Released);
        object::mark_deleted(&mut tombstone);
        return Plan::Create(Box::new(tombstone));
    };
    let mut replacement = object::released(newest);
    if news.is_newer_than(newest) {
        news.overwrite_window(&mut replacement);
    }
    object::mark_deleted(&mut replacement);
    unless_same(newest, replacement)
}

/// The booking is of a resource that isn't ours, now: what we had for it is given back.
fn withdraw(news: &News<'_>, chain: &[Reservation], reason: &str) -> Plan {
    match chain.last() {
        Some(newest) if !is_over(newest) && !news.is_older_than(newest) => {
            let mut replacement = object::released(newest);
            object::mark_moved_away(&mut replacement);
            news.stamp(&mut replacement);
            Plan::Replace(Box::new(replacement))
        }
        _ => Plan::Ignore(reason.to_owned()),
    }
}

fn is_over(object: &Reservation) -> bool {
    object.desired_state() == DesiredState::Released
        || object.metadata.deletion_timestamp.is_some()
        || object.is_finished()
}

/// Whether a booking that is over was moved to a later time, and so begins again.
fn is_another_time(news: &News<'_>, newest: &Reservation) -> bool {
    news.starts_after(newest) && !news.is_older_than(newest)
}

fn unless_same(present: &Reservation, replacement: Reservation) -> Plan {
    let same = replacement.spec == present.spec
        && replacement.metadata.annotations == present.metadata.annotations;
    if same {
        Plan::Done
    } else {
        Plan::Replace(Box::new(replacement))
    }
}

fn start(object: &Reservation) -> Option<Timestamp> {
    object.spec.window.start.as_ref().map(|start| start.0)
}

#[cfg(test)]
mod tests;
