//! `serve --register`: what leads API servers to us, put there and kept by the program itself, for those
//! who install without manifests: both webhook configurations, and the conversion of the Reservation
//! CRD, which must be there.
//!
//! Comes last of all that a start does: a hook that fails closed is registered once its listener answers
//! under the very bundle that is written, knows what it is asked about, and has had the time to become
//! an endpoint of its Service. From then on, whatever of it is deleted or changed is put back.
//! Somebody else's webhooks in a configuration of ours are none of our business.
//!
//! Done by the elected replica, by server-side apply and with the version that was read, so that it
//! never writes over CAs that were exchanged meanwhile. Called by the wiring.

mod entry;
mod object;
mod roots;

use std::{
    collections::BTreeSet,
    fmt,
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, join_all},
};
use kube::Client;
use kube_webhook::Target;
use tokio::time::Instant;
use tracing::{error, info, warn};

pub(crate) use self::roots::Roots;
use self::{
    object::{Applied, Object},
    roots::{RootsError, Trust},
};
use crate::{
    certificates::{Complaint, Places, greet},
    config::AltName,
    manifests::Installation,
    reservations::{
        caches::{Caches, Freshness},
        host::ApiError,
    },
    webhooks::{self, OwnUser},
};

/// Keeps us registered.
#[derive(Clone)]
pub(crate) struct Registrar {
    pub(crate) client: Client,
    /// What is registered, and where.
    pub(crate) installation: Installation,
    /// The name by which API servers call us there.
    pub(crate) server_name: AltName,
    pub(crate) operator_users: BTreeSet<String>,
    pub(crate) own_user: OwnUser,
    pub(crate) roots: Roots,
    pub(crate) caches: Caches,
    /// Where to hear of changes.
    pub(crate) places: Places,
}

/// What came of a pass.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// All is as it should be.
    Done,
    /// It isn't time yet: the reason.
    NotYet(&'static str),
    /// Something was taken away that others had put in: there is more to do at once.
    Again,
}

/// Why we aren't registered, or not as we should be.
#[derive(Debug, thiserror::Error)]
enum RegistrarError {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("{0} is not there: harbormaster generate crds | kubectl apply --server-side -f -")]
    NoDefinition(String),
    #[error(transparent)]
    Roots(#[from] RootsError),
}

impl Registrar {
    /// Works until `end`; a write that is under way then is given up, since it only says again what
    /// should be there.
    pub(crate) async fn run(self, listener: SocketAddr, end: BoxFuture<'static, ()>) {
        let end = end.shared();
        let objects = match self.objects() {
            Ok(objects) => objects,
            Err(error) => {
                error!("can't be registered, as what is to be is not known: {error:#}");
                return end.await;
            }
        };
        let mut changes = self.places.changes().take_until(end.clone());
        let mut term = Term {
            registrar: &self,
            objects,
            listener,
            trust: None,
            ready_since: None,
            is_registered: false,
        };
        let mut complaint = Complaint::default();
        loop {
            let passed = tokio::select! {
                () = end.clone() => return,
                passed = term.pass() => passed,
            };
            let pause = match passed {
                Ok(Outcome::Done) => {
                    complaint.settle();
                    LONGEST_PAUSE
                }
                Ok(Outcome::NotYet(why)) => {
                    tracing::debug!("not registered yet: {why}");
                    SHORT_PAUSE
                }
                Ok(Outcome::Again) => SHORT_PAUSE,
                // Whoever overtook us has changed what there is to do.
                Err(RegistrarError::Api(error)) if error.is_conflict() => SHORT_PAUSE,
                Err(error) => {
                    let text = error.to_string();
                    if complaint.raise(&text) {
                        warn!("can't be registered: {text}");
                    }
                    RETRY
                }
            };
            // Never at once: somebody who undoes what we do would keep the API server busy.
            let rest = async {
                tokio::time::sleep(SHORT_PAUSE.min(pause)).await;
                tokio::select! {
                    _ = changes.next() => {}
                    () = self.roots.changed(term.trust.as_ref()) => {}
                    () = tokio::time::sleep(pause.saturating_sub(SHORT_PAUSE)) => {}
                }
            };
            tokio::select! {
                () = end.clone() => return,
                () = rest => {}
            }
        }
    }

    /// What `generate webhooks` prints, and of `generate crds` what is about us.
    fn objects(&self) -> anyhow::Result<Vec<Object>> {
        let own_user = self.own_user.name().unwrap_or_default().to_owned();
        let operator_users = self.operator_users.clone();
        let registered = webhooks::offline(&self.installation.hosts, own_user, operator_users)?;
        let wanted = self.installation.registration(&registered)?.into_iter();
        Ok(wanted
            .map(|wanted| Object::new(&self.client, wanted))
            .collect())
    }
}

impl fmt::Debug for Registrar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registrar")
            .field("target", &self.installation.target)
            .field("roots", &self.roots)
            .finish_non_exhaustive()
    }
}

/// As long as this replica is elected.
struct Term<'r> {
    registrar: &'r Registrar,
    objects: Vec<Object>,
    listener: SocketAddr,
    /// As it was read last.
    trust: Option<Trust>,
    /// Since when there is nothing against being called.
    ready_since: Option<Instant>,
    /// Whether it was seen to that we are.
    is_registered: bool,
}

impl Term<'_> {
    async fn pass(&mut self) -> Result<Outcome, RegistrarError> {
        let Some(trust) = self.registrar.roots.read().await? else {
            return Ok(Outcome::NotYet("there is no certificate"));
        };
        self.trust = Some(trust.clone());
        if !self.is_registered
            && let Some(why) = self.unready(&trust).await
        {
            self.ready_since = None;
            return Ok(Outcome::NotYet(why));
        }
        let now = SystemTime::now();
        let lives = join_all(self.objects.iter().map(Object::read)).await;
        let lives: Vec<_> = lives.into_iter().collect::<Result<_, _>>()?;
        let is_new = lives.iter().any(Option::is_none);
        let since = *self.ready_since.get_or_insert_with(Instant::now);
        if is_new && !self.is_registered && since.elapsed() < self.until_endpoint() {
            return Ok(Outcome::NotYet("no endpoint may be known yet"));
        }
        let mut outcome = Outcome::Done;
        for (object, live) in self.objects.iter().zip(&lives) {
            if live.is_none() && !object.may_be_made() {
                return Err(RegistrarError::NoDefinition(object.name()));
            }
            match object.apply(live.as_ref(), &trust, now).await? {
                Applied::Unchanged => {}
                Applied::Changed if self.is_registered => {
                    info!(object = object.name(), "registered anew, as it was changed");
                }
                Applied::Changed => info!(object = object.name(), "registered"),
                Applied::Cleared(fields) => {
                    info!(
                        object = object.name(),
                        ?fields,
                        "took away what others had put into our webhooks"
                    );
                    outcome = Outcome::Again;
                }
            }
        }
        if outcome == Outcome::Done && !self.is_registered {
            let server_name = self.registrar.server_name.to_string();
            info!(server_name, "API servers are told of us");
            self.is_registered = true;
        }
        Ok(outcome)
    }

    /// Why API servers shouldn't call us yet.
    async fn unready(&self, trust: &Trust) -> Option<&'static str> {
        let Registrar {
            caches,
            server_name,
            ..
        } = self.registrar;
        if caches.freshness() == Freshness::Unknown {
            return Some("hosts, calendars and Reservations weren't read yet");
        }
        let roots = trust.roots()?;
        let name = server_name.to_string();
        let greeted = greet(&name, roots, self.listener).await;
        greeted.is_err().then_some("the listener isn't trusted yet")
    }

    /// How long it takes from our being ready to our being called, through a Service.
    fn until_endpoint(&self) -> Duration {
        match self.registrar.installation.target {
            Target::Service { .. } => UNTIL_ENDPOINT,
            Target::Url { .. } => Duration::ZERO,
        }
    }
}

/// The kubelet asks every five seconds, and what it finds has to get around.
const UNTIL_ENDPOINT: Duration = Duration::from_secs(10);

const SHORT_PAUSE: Duration = Duration::from_secs(1);

/// After an error.
const RETRY: Duration = Duration::from_secs(5);

/// Between two looks at what nobody has changed.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
