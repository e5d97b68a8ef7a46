//! A stand-in for Metal3's baremetal-operator: it drives every BareMetalHost of a namespace through the
//! operator's states, against any API server and without hardware.
//!
//! [`next`] is the operator as a pure function of one host and of time; [`Simulator`] runs it in a
//! cluster. A test that needs neither tasks nor a network drives the rules by itself:
//!
//! ```
//! use jiff::{SignedDuration, Timestamp};
//! use metal3::simulator::{Situation, Timings, next};
//! use metal3::{BareMetalHost, Bmc};
//!
//! let mut host = BareMetalHost::new("rack1-u07", &BareMetalHost::resource());
//! host.spec.bmc = Some(Bmc {
//!     address: Some("redfish://192.0.2.7/redfish/v1/Systems/1".to_owned()),
//!     ..Bmc::default()
//! });
//!
//! let mut now = Timestamp::UNIX_EPOCH;
//! let mut situation = Situation::first(&host, now);
//! while !host.is_available() {
//!     next(&host, &situation, &Timings::default()).apply(&mut host);
//!     now += SignedDuration::from_millis(50);
//!     situation = situation.again(&host, now);
//! }
//! ```
//!
//! # What it does as the operator does
//!
//! - It is level-triggered: an image that was cleared and set again before it looked was never cleared,
//!   and only a changed URL (or deploy method) counts on a host that is provisioned.
//! - `status.provisioning.image` is filled when the image is written and emptied when the disk is wiped.
//! - An image on a host with `online: false` waits, silently.
//! - Conditions carry the generation that was looked at, even where there was nothing to do.
//! - The annotations [`PAUSED`](crate::names::PAUSED) and [`DETACHED`](crate::names::DETACHED) are obeyed,
//!   and a deletion wipes, powers off and only then lets go of the finalizer.
//! - The host names of the operator's demo mode have their meaning: `demo-registering`,
//!   `demo-registration-error`, `demo-inspecting`, `demo-preparing`, `demo-preparing-error`,
//!   `demo-provisioning` and `demo-validation-error` get stuck or fail where they say.
//!
//! # What it leaves out
//!
//! Hardware details and the HardwareData object, Events, RAID and firmware settings, reboot
//! and re-inspection annotations, the `delayed` status, and every check of the operator's webhook. The
//! Secret with the BMC's credentials need not exist.

mod conditions;

mod draft;

mod pass;

mod rules;

mod situation;

mod timings;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::FuturesUnordered;
use futures::{StreamExt, TryStreamExt};
use kube::api::ListParams;
use kube::discovery::ApiResource;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client};
use tokio::time::{Instant, interval_at, sleep_until, timeout};
use tracing::{info, warn};

use self::pass::{Outcome, Worker};
pub use self::rules::{Step, next};
pub use self::situation::Situation;
pub use self::timings::Timings;
use crate::BareMetalHost;

/// Plays the baremetal-operator in one namespace.
///
/// ```no_run
/// # async fn play(client: kube::Client, stop: tokio::sync::oneshot::Receiver<()>) -> Result<(), metal3::simulator::Error> {
/// use metal3::simulator::{Simulator, Timings};
///
/// Simulator::new(client, "metal3")
///     .timings(Timings::realistic())
///     .run(async {
///         let _ = stop.await;
///     })
///     .await
/// # }
/// ```
#[derive(Clone)]
#[must_use = "a simulator does nothing until it is run"]
pub struct Simulator {
    client: Client,
    namespace: String,
    resource: ApiResource,
    timings: Timings,
    require_user_data: bool,
}

impl Simulator {
    /// A simulator of the hosts in that namespace, with the default timings.
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            resource: BareMetalHost::resource(),
            timings: Timings::default(),
            require_user_data: false,
        }
    }

    /// Where the kind is served, if not at [`BareMetalHost::resource`].
    pub fn resource(self, resource: ApiResource) -> Self {
        Self { resource, ..self }
    }

    /// How long each phase takes.
    pub fn timings(self, timings: Timings) -> Self {
        Self { timings, ..self }
    }

    /// Whether a host whose user-data Secret is missing fails to be provisioned. Off by default, as in
    /// the operator's demo mode; with real hardware the operator needs the Secret.
    pub fn require_user_data(self, require_user_data: bool) -> Self {
        Self {
            require_user_data,
            ..self
        }
    }

    /// Runs until `shutdown` resolves; passes under way are then dropped, as in a crash, which the next
    /// run copes with.
    ///
    /// # Errors
    ///
    /// [`Error::NotServed`] and [`Error::Forbidden`] at the start, where the hosts cannot be listed for
    /// a reason that does not go away by itself. All later trouble is logged and tried again.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
        let hosts = Api::<BareMetalHost>::namespaced_with(
            self.client.clone(),
            &self.namespace,
            &self.resource,
        );
        tokio::select! {
            () = shutdown => Ok(()),
            result = self.work(hosts) => result,
        }
    }

    async fn work(self, hosts: Api<BareMetalHost>) -> Result<(), Error> {
        self.check(&hosts).await?;
        info!(
            namespace = self.namespace,
            "simulating the baremetal-operator"
        );

        let worker = Worker::new(&self, hosts.clone());
        let watch = || {
            watcher(hosts.clone(), watcher::Config::default())
                .default_backoff()
                .boxed()
        };
        let mut events = watch();
        let mut renewal = interval_at(Instant::now() + RENEWAL, RENEWAL);
        let mut queue = Queue::default();
        let mut passes = FuturesUnordered::new();
        loop {
            while passes.len() < MOST_PASSES
                && let Some((name, situation)) = queue.take(Instant::now())
            {
                passes.push(worker.pass(name, situation));
            }
            let next_due = queue.next_due();
            tokio::select! {
                event = events.try_next() => match event {
                    Ok(Some(event)) => queue.note(event),
                    // The stream of a watcher has no end; an error is followed by a new LIST.
                    Ok(None) => return Ok(()),
                    Err(error) => warn!(%error, "watch of the hosts failed, trying again"),
                },
                Some(outcome) = passes.next() => queue.settle(outcome),
                // A watch whose connection hangs is silent for ever.
                _ = renewal.tick() => events = watch(),
                () = sleep_until(next_due), if passes.len() < MOST_PASSES => {}
            }
        }
    }

    /// Asks once, so that a missing definition is an error rather than a line in a log.
    async fn check(&self, hosts: &Api<BareMetalHost>) -> Result<(), Error> {
        let one = ListParams::default().limit(1);
        let Ok(Err(error)) = timeout(CALL_DEADLINE, hosts.list_metadata(&one)).await else {
            return Ok(());
        };
        let resource = format!("{}.{}", self.resource.plural, self.resource.group);
        let namespace = self.namespace.clone();
        // By code: an unknown kind is answered with a plain text, which has no reason.
        let code = match &error {
            kube::Error::Api(status) => status.code,
            _ => 0,
        };
        let source = Box::new(error);
        match code {
            404 => Err(Error::NotServed { resource, source }),
            401 | 403 => Err(Error::Forbidden {
                resource,
                namespace,
                source,
            }),
            _ => {
                warn!(error = %source, "hosts cannot be listed, trying again");
                Ok(())
            }
        }
    }
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulator")
            .field("namespace", &self.namespace)
            .field("resource", &self.resource)
            .field("timings", &self.timings)
            .field("require_user_data", &self.require_user_data)
            .finish_non_exhaustive()
    }
}

/// Why a simulator cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The API server refuses the list of hosts.
    #[error(
        "{resource} in namespace {namespace} may not be listed: allow list, watch, get, patch and update of them and of their status"
    )]
    Forbidden {
        /// Plural and group of the kind.
        resource: String,
        /// Namespace of the hosts.
        namespace: String,
        /// The API server's answer.
        source: Box<kube::Error>,
    },
    /// The API server does not know the kind.
    #[error("{resource} are not served: apply their CustomResourceDefinition first")]
    NotServed {
        /// Plural and group of the kind.
        resource: String,
        /// The API server's answer.
        source: Box<kube::Error>,
    },
}

/// The hosts and when each is to be looked at: one entry per host, so that it is bounded by what the
/// cluster stores, and never two passes over the same host.
#[derive(Debug, Default)]
struct Queue {
    hosts: BTreeMap<String, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    due: Option<Instant>,
    situation: Option<Situation>,
    is_under_way: bool,
    /// Touched while a pass was under way, so that one more is due.
    is_touched: bool,
    is_listed: bool,
}

impl Queue {
    fn note(&mut self, event: watcher::Event<BareMetalHost>) {
        match event {
            watcher::Event::Init => {
                for entry in self.hosts.values_mut() {
                    entry.is_listed = false;
                }
            }
            watcher::Event::Apply(host)
            | watcher::Event::InitApply(host)
            | watcher::Event::Delete(host) => self.touch(host.name()),
            watcher::Event::InitDone => {
                // What was deleted while nobody watched.
                self.hosts
                    .retain(|_, entry| entry.is_listed || entry.is_under_way);
            }
        }
    }

    fn touch(&mut self, name: &str) {
        let entry = self.hosts.entry(name.to_owned()).or_default();
        entry.is_listed = true;
        entry.is_touched = true;
        if !entry.is_under_way {
            entry.due = Some(Instant::now());
        }
    }

    fn take(&mut self, now: Instant) -> Option<(String, Option<Situation>)> {
        let (name, entry) = self
            .hosts
            .iter_mut()
            .filter(|(_, entry)| entry.due.is_some_and(|due| due <= now))
            .min_by_key(|(_, entry)| entry.due)?;
        entry.due = None;
        entry.is_under_way = true;
        entry.is_touched = false;
        Some((name.clone(), entry.situation.take()))
    }

    fn settle(&mut self, outcome: Outcome) {
        let Outcome {
            name,
            again,
            situation,
        } = outcome;
        let Some(entry) = self.hosts.get_mut(&name) else {
            return;
        };
        if situation.is_none() && again.is_none() && !entry.is_touched {
            self.hosts.remove(&name);
            return;
        }
        let now = Instant::now();
        entry.is_under_way = false;
        entry.situation = situation;
        // Without a reason, too, now and then: a watch may have missed something.
        let wait = again.map_or(IDLE, |wait| wait.min(IDLE));
        entry.due = Some(if entry.is_touched { now } else { now + wait });
    }

    fn next_due(&self) -> Instant {
        let due = self.hosts.values().filter_map(|entry| entry.due).min();
        due.unwrap_or_else(|| Instant::now() + IDLE)
    }
}

/// As many hosts at once; the operator's own default is of this size.
const MOST_PASSES: usize = 8;

const CALL_DEADLINE: Duration = Duration::from_secs(10);

const RENEWAL: Duration = Duration::from_secs(5 * 60);

/// As often as the operator looks at a host that rests.
const IDLE: Duration = Duration::from_secs(60);
