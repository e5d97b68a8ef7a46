//! Elects the replica that reconciles, by a Lease (coordination.k8s.io/v1).
//!
//! A lease is no fence: whoever lost it may be in the middle of a write, so every write has
//! a precondition of its own. It only keeps replicas from doing each other's work. Other
//! machines' clocks are never compared with ours: a lease has run out if it did not change
//! for its duration by our own monotonic clock, as client-go does it. Called by the wiring.

use std::{future::Future, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, ResourceExt,
    api::{ObjectMeta, PostParams},
};
use tokio::{sync::oneshot, time::Instant};
use tracing::{debug, info, warn};

use super::host::{ApiError, within_deadline};

/// A candidate for one Lease.
#[derive(Clone, Debug)]
pub struct Election {
    leases: Api<Lease>,
    name: String,
    identity: String,
}

impl Election {
    /// For the Lease `name`; `identity` is this replica's own, and no other's.
    pub fn new(leases: Api<Lease>, name: &str, identity: String) -> Self {
        Self {
            leases,
            name: name.to_owned(),
            identity,
        }
    }

    /// Does `work` whenever this replica is elected, until `shutdown`. The work is given the
    /// end of its term, and is waited for before the Lease is let go of.
    pub async fn run<W, F>(self, shutdown: BoxFuture<'static, ()>, work: W)
    where
        W: Fn(BoxFuture<'static, ()>) -> F,
        F: Future<Output = ()>,
    {
        let shutdown = shutdown.shared();
        let mut view = View::new(self.identity.clone());
        loop {
            tokio::select! {
                () = shutdown.clone() => return,
                () = self.acquire(&mut view) => {}
            }
            info!(
                lease = self.name,
                identity = self.identity,
                "elected: this replica reconciles"
            );
            let (end, ended) = oneshot::channel::<()>();
            let work = work(ended.map(drop).boxed());
            tokio::pin!(work);
            let is_over = tokio::select! {
                () = &mut work => true,
                () = shutdown.clone() => true,
                () = self.keep(&mut view) => false,
            };
            // The term ends with the switch, and with it the work: what is under way in it
            // is finished first.
            drop(end);
            if let Some(()) = work.as_mut().now_or_never() {
                debug!("the work had ended");
            } else {
                work.await;
            }
            if is_over {
                self.release(&mut view).await;
                return;
            }
            warn!(
                lease = self.name,
                "the lease was lost: another replica reconciles"
            );
        }
    }

    async fn acquire(&self, view: &mut View) {
        loop {
            match self.try_once(view).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => debug!(lease = self.name, "not elected: {error}"),
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Renews until the lease is lost.
    async fn keep(&self, view: &mut View) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(RETRY).await;
            let left = RENEW_WITHIN.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.try_once(view)).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) | Err(_) => return,
                Ok(Err(error)) => warn!(lease = self.name, "can't renew: {error}"),
            }
        }
    }

    /// Takes or renews the Lease if that may be; tells whether it is ours now.
    async fn try_once(&self, view: &mut View) -> Result<bool, ApiError> {
        let stored = within_deadline(self.leases.get_opt(&self.name)).await?;
        let params = PostParams::default();
        let written = match view.step(stored.as_ref(), Instant::now(), Timestamp::now()) {
            Step::Wait => return Ok(false),
            Step::Create(spec) => {
                let lease = Lease {
                    metadata: ObjectMeta {
                        name: Some(self.name.clone()),
                        ..ObjectMeta::default()
                    },
                    spec: Some(spec),
                };
                within_deadline(self.leases.create(&params, &lease)).await
            }
            Step::Write(lease) => {
                within_deadline(self.leases.replace(&self.name, &params, &lease)).await
            }
        };
        match written {
            Ok(lease) => {
                view.observe(&lease, Instant::now());
                Ok(true)
            }
            // Another one was faster.
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets the next one begin at once. If it fails, the next one waits for the duration.
    async fn release(&self, view: &mut View) {
        let released = async {
            let stored = within_deadline(self.leases.get_opt(&self.name)).await?;
            let Some(lease) = stored.and_then(|lease| view.released(lease)) else {
                return Ok(());
            };
            let params = PostParams::default();
            within_deadline(self.leases.replace(&self.name, &params, &lease)).await?;
            Ok::<_, ApiError>(())
        };
        if let Err(error) = released.await {
            warn!(lease = self.name, "can't release the lease: {error}");
        }
    }
}

/// What a candidate has seen of the Lease, and when by its own clock. Pure.
#[derive(Debug)]
struct View {
    identity: String,
    seen: Option<(LeaseSpec, Instant)>,
}

/// What a candidate may do.
#[derive(Debug, PartialEq)]
enum Step {
    /// Nothing: it is another's.
    Wait,
    /// Create it: there is none.
    Create(LeaseSpec),
    /// Write this over the version that was read.
    Write(Box<Lease>),
}

impl View {
    fn new(identity: String) -> Self {
        Self {
            identity,
            seen: None,
        }
    }

    fn observe(&mut self, lease: &Lease, now: Instant) {
        let spec = lease.spec.clone().unwrap_or_default();
        if self.seen.as_ref().is_none_or(|(seen, _)| *seen != spec) {
            self.seen = Some((spec, now));
        }
    }

    fn step(&mut self, stored: Option<&Lease>, now: Instant, clock: Timestamp) -> Step {
        let Some(lease) = stored else {
            self.seen = None;
            return Step::Create(self.spec(0, None, clock));
        };
        self.observe(lease, now);
        let Some((spec, since)) = &self.seen else {
            return Step::Wait;
        };
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let duration = spec.lease_duration_seconds.unwrap_or_default().max(0);
        let duration = Duration::from_secs(duration.unsigned_abs().into());
        let transitions = spec.lease_transitions.unwrap_or_default();
        let next = if holder == self.identity {
            self.spec(transitions, spec.acquire_time.clone(), clock)
        } else if holder.is_empty() || now.duration_since(*since) >= duration {
            self.spec(transitions.saturating_add(1), None, clock)
        } else {
            return Step::Wait;
        };
        let mut lease = lease.clone();
        lease.spec = Some(next);
        Step::Write(Box::new(lease))
    }

    fn spec(&self, transitions: i32, acquired: Option<MicroTime>, clock: Timestamp) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(DURATION_SECONDS),
            acquire_time: acquired.or(Some(MicroTime(clock))),
            renew_time: Some(MicroTime(clock)),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }

    /// The Lease, let go of, if it is ours.
    fn released(&self, mut lease: Lease) -> Option<Lease> {
        let spec = lease.spec.as_mut()?;
        if spec.holder_identity.as_ref() != Some(&self.identity) {
            return None;
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        debug!(lease = lease.name_any(), "released");
        Some(lease)
    }
}

/// The Lease's name.
pub const LEASE: &str = "harbormaster";

/// client-go's own numbers: a lost leader is replaced within 17 s.
const DURATION_SECONDS: i32 = 15;

/// Given up well before the others may take it.
const RENEW_WITHIN: Duration = Duration::from_secs(10);

const RETRY: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
