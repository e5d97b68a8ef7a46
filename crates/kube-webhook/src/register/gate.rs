//! How much is let in at once: reviews being answered, bytes of their bodies, large conversions on
//! their threads. Used by `intake` and `route`.
//!
//! What doesn't fit is shed with 429 and `Retry-After: 1`, upon which the API server calls again
//! within its deadline. Whether a review fits is looked at when its head comes, before anything of
//! its body is read; its share is taken as its body comes. So neither a body that was announced and
//! never sent, nor one that trickles in, takes anything from the others.

use std::{sync::Arc, thread::available_parallelism};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::intake::Limits;
use crate::{
    Fault,
    metrics::{Counted, Metrics},
};

#[derive(Debug)]
pub(super) struct Gate {
    reviews: Arc<Semaphore>,
    kibibytes: Arc<Semaphore>,
    threads: Arc<Semaphore>,
    metrics: Metrics,
}

impl Gate {
    pub(super) fn new(limits: &Limits, metrics: Metrics) -> Self {
        // A budget below the largest body would never let that body in.
        let bytes = limits
            .bytes_in_flight
            .max(limits.review)
            .max(limits.conversion);
        let threads = limits
            .conversion_threads
            .unwrap_or_else(|| available_parallelism().map_or(1, usize::from))
            .max(1);
        Self {
            reviews: semaphore(limits.in_flight),
            kibibytes: semaphore(kibibytes(bytes)),
            threads: semaphore(threads),
            metrics,
        }
    }

    /// Sheds what would not fit at present.
    pub(super) fn look(&self, announced: usize) -> Result<(), Fault> {
        if self.reviews.available_permits() == 0
            || self.kibibytes.available_permits() < kibibytes(announced)
        {
            return Err(Fault::overloaded());
        }
        Ok(())
    }

    /// Room for one more body, of which nothing has come yet.
    pub(super) fn room(&self) -> Room<'_> {
        Room {
            gate: self,
            bytes: 0,
            held: None,
        }
    }

    /// A turn for a large conversion. The line for it is no longer than the reviews in flight.
    pub(super) async fn thread(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.threads).acquire_owned().await.ok()
    }
}

/// The room that a body takes as it comes.
pub(super) struct Room<'g> {
    gate: &'g Gate,
    bytes: usize,
    held: Option<OwnedSemaphorePermit>,
}

impl Room<'_> {
    /// Room for `bytes` in all.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Fault> {
        if bytes <= self.bytes {
            return Ok(());
        }
        // By steps, since a large body comes in thousands of frames.
        let step = if self.bytes == 0 {
            bytes
        } else {
            STEP.max(bytes - self.bytes)
        };
        let more = take(&self.gate.kibibytes, kibibytes(step))
            .or_else(|| take(&self.gate.kibibytes, kibibytes(bytes - self.bytes)))
            .ok_or_else(Fault::overloaded)?;
        self.bytes += more.num_permits() * KIBIBYTE;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }

    /// The body has come: its review is in flight until the share is dropped.
    pub(super) fn enter(self) -> Result<Share, Fault> {
        let review = take(&self.gate.reviews, 1).ok_or_else(Fault::overloaded)?;
        Ok(Share {
            _review: review,
            _kibibytes: self.held,
            _counted: self.gate.metrics.in_flight(),
        })
    }
}

/// One review's share of what may be in flight.
#[derive(Debug)]
pub(super) struct Share {
    _review: OwnedSemaphorePermit,
    _kibibytes: Option<OwnedSemaphorePermit>,
    _counted: Counted,
}

fn take(semaphore: &Arc<Semaphore>, permits: usize) -> Option<OwnedSemaphorePermit> {
    let permits = u32::try_from(permits).ok()?;
    Arc::clone(semaphore).try_acquire_many_owned(permits).ok()
}

fn semaphore(permits: usize) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
}

fn kibibytes(bytes: usize) -> usize {
    bytes.div_ceil(KIBIBYTE)
}

const KIBIBYTE: usize = 1024;
const STEP: usize = 256 * KIBIBYTE;

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(in_flight: usize) -> Gate {
        let limits = Limits {
            review: KIBIBYTE,
            conversion: KIBIBYTE,
            bytes_in_flight: 4 * KIBIBYTE,
            in_flight,
            ..Limits::default()
        };
        Gate::new(&limits, Metrics::default())
    }

    #[test]
    fn a_body_takes_room_as_it_comes_and_gives_it_back() {
        let gate = gate(8);
        gate.look(4 * KIBIBYTE).unwrap();
        gate.look(4 * KIBIBYTE + 1).unwrap_err();
        let mut room = gate.room();
        room.grow(100).unwrap();
        room.grow(KIBIBYTE).unwrap();
        gate.look(3 * KIBIBYTE).unwrap();
        // A step of 256 KiB would not fit, what has come does.
        room.grow(KIBIBYTE + 1).unwrap();
        assert_eq!(gate.look(3 * KIBIBYTE).unwrap_err().code(), 429);
        room.grow(5 * KIBIBYTE).unwrap_err();
        let share = room.enter().unwrap();
        gate.look(2 * KIBIBYTE).unwrap();
        gate.look(2 * KIBIBYTE + 1).unwrap_err();
        drop(share);
        gate.look(4 * KIBIBYTE).unwrap();
    }

    #[test]
    fn reviews_beyond_the_limit_are_shed_before_and_after_their_bodies() {
        let gate = gate(1);
        let first = gate.room().enter().unwrap();
        gate.look(0).unwrap_err();
        assert_eq!(gate.room().enter().unwrap_err().code(), 429);
        drop(first);
        gate.look(0).unwrap();
    }
}
