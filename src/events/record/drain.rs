//! Empties the spool into the API server: in the order in which events came, host by host,
//! and each as often as it takes.
//!
//! A pass walks the line once. What the API server will never take is set aside, so that it
//! blocks nobody; what it doesn't take now blocks the later events of its host alone; and
//! when it is away, the pass ends and waits. Run by the wiring as one task.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::Future,
    sync::{Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use futures::{StreamExt, stream};
use tracing::{error, info, warn};

use super::{Delivery, Hope, NotRecorded, Recorder, reason};
use crate::events::{
    intent::Intent,
    spool::{Entry, NotSpooled, Spool},
};

impl Recorder {
    /// Drains the spool until `shutdown`; what is left then is drained by the next run.
    /// `cluster` asks the API server which cluster it is.
    pub async fn drain<F>(
        &self,
        cluster: impl Fn() -> F + Send + Sync,
        shutdown: impl Future<Output = ()> + Send,
    ) where
        F: Future<Output = Result<String, kube::Error>> + Send,
    {
        let Some(spool) = &self.spool else {
            return shutdown.await;
        };
        tokio::select! {
            () = self.drain_for_ever(spool, cluster) => {}
            () = shutdown => {}
        }
    }

    async fn drain_for_ever<F>(&self, spool: &Spool, cluster: impl Fn() -> F)
    where
        F: Future<Output = Result<String, kube::Error>>,
    {
        let mut pause = SHORTEST;
        while let Err(error) = claim(spool, &cluster).await {
            if matches!(error, NotSpooled::Foreign) {
                error!("{error}; until then, its events wait and no others are spooled");
                return std::future::pending().await;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
        pause = SHORTEST;
        loop {
            if spool.counts().waiting == 0 {
                self.is_away.store(false, Ordering::Relaxed);
                pause = SHORTEST;
                spool.arrival().await;
            }
            match self.pass(spool).await {
                Ok(Pass { taken, left: 0 }) => {
                    if taken > 0 {
                        info!(taken, "the spool is drained");
                    }
                    continue;
                }
                Ok(Pass { taken, .. }) if taken > 0 => pause = SHORTEST,
                Ok(_) => {}
                Err(error) => warn!("the spool can't be drained: {error}"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST);
        }
    }

    async fn pass(&self, spool: &Spool) -> Result<Pass, NotSpooled> {
        let mut pass = Pass::default();
        let mut stuck = BTreeSet::new();
        let mut after = None;
        loop {
            let entries = spool.read(after, CHUNK).await?;
            let Some(last) = entries.last() else {
                return Ok(pass);
            };
            after = Some(last.place);
            let mut hosts: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
            for entry in entries {
                hosts.entry(host(&entry)).or_default().push(entry);
            }
            hosts.retain(|host, entries| {
                let is_stuck = stuck.contains(host);
                pass.left += if is_stuck { entries.len() } else { 0 };
                !is_stuck
            });
            let done = Mutex::new(Vec::new());
            let outcomes: Vec<_> = stream::iter(hosts.into_values())
                .map(|entries| self.line(spool, entries, &done))
                .buffer_unordered(super::AT_ONCE)
                .collect()
                .await;
            let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
            pass.taken += done.len();
            spool.remove(done).await?;
            let mut is_away = false;
            for (host, left, hope) in outcomes.into_iter().flatten() {
                pass.left += left;
                is_away |= hope == Hope::Away;
                stuck.insert(host);
            }
            self.is_away.store(is_away, Ordering::Relaxed);
            if is_away {
                pass.left = pass.left.max(1);
                return Ok(pass);
            }
        }
    }

    /// The events of one host, in their order, up to the first that isn't taken: whose it
    /// is, how many are left, and why.
    async fn line(
        &self,
        spool: &Spool,
        entries: Vec<Entry>,
        done: &Mutex<Vec<u64>>,
    ) -> Option<(String, usize, Hope)> {
        let all = entries.len();
        for (index, entry) in entries.into_iter().enumerate() {
            let intent = &entry.waiting.intent;
            let settled = tokio::time::timeout(PATIENCE, self.settle(intent, Delivery::Again));
            let error = match settled.await {
                Ok(Ok(_)) => {
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(entry.place);
                    continue;
                }
                Ok(Err(error)) => error,
                Err(_) => NotRecorded::Timeout(PATIENCE),
            };
            let hope = error.hope();
            if hope == Hope::Never {
                let reason = reason(&error);
                error!("a spooled event will never be taken, and is set aside: {reason}");
                if spool.set_aside(entry.place, reason).await.is_ok() {
                    continue;
                }
            } else if hope == Hope::Stuck {
                warn!("a spooled event isn't taken yet: {}", reason(&error));
            }
            return Some((host(&entry), all - index, hope));
        }
        None
    }
}

/// What one walk along the line did.
#[derive(Debug, Default)]
struct Pass {
    taken: usize,
    left: usize,
}

async fn claim<F>(spool: &Spool, cluster: impl Fn() -> F) -> Result<(), NotSpooled>
where
    F: Future<Output = Result<String, kube::Error>>,
{
    let asked = tokio::time::timeout(PATIENCE, cluster());
    match asked.await {
        Ok(Ok(uid)) => spool.claim(uid).await,
        Ok(Err(error)) => {
            tracing::debug!("the API server doesn't say which cluster it is: {error}");
            Err(NotSpooled::Timeout(PATIENCE))
        }
        Err(_) => Err(NotSpooled::Timeout(PATIENCE)),
    }
}

fn host(entry: &Entry) -> String {
    let booking = Intent::booking(&entry.waiting.intent);
    booking.map_or_else(String::new, |booking| booking.resource_name.clone())
}

/// An API server that comes back is seen soon.
const SHORTEST: Duration = Duration::from_millis(100);

const LONGEST: Duration = Duration::from_secs(2);

/// Longer than a sender could wait: an API server that is slow but there is made use of.
const PATIENCE: Duration = Duration::from_secs(10);

const CHUNK: usize = 256;
