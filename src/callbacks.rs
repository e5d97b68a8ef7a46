//! What the portal is told of a reservation: that it began, is ready, failed, is over.
//!
//! Driven by the Reservation alone: what it has come to is in its status, what the portal
//! was told in its condition `Notified`, so a restart or another leader goes on where the
//! last one was. At least once: a crash between an answer and its record tells it again.
//! Never in the way of an event or of a host, and never a key, an address or a secret. Run
//! by the elected replica; a portal that is away is tried for a day.

mod message;
mod milestone;
mod portal;
mod progress;

use std::{fmt, sync::Arc, time::Duration};

use futures::{
    FutureExt, StreamExt,
    future::{BoxFuture, Shared},
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::{
        Controller,
        controller::{Action as Requeue, Config},
        watcher,
    },
};
use serde_json::json;
use tracing::{debug, info, warn};

pub use self::portal::{Endpoint, Endpoints, Portal, UntrustingPortal};
use self::{
    milestone::{Milestone, Noted, due},
    portal::NotTold,
    progress::{Progress, Step},
};
use crate::{
    api::v1::Reservation,
    clock::Clock,
    reservations::host::{ApiError, FIELD_MANAGER, within_deadline},
};

/// All that telling needs. Clones share what they have told.
#[derive(Clone)]
pub struct Callbacks {
    reservations: Api<Reservation>,
    /// For the watch: a Reservation that can't be decoded must not keep the news of the
    /// others from the portal.
    seen: Api<DeserializeGuard<Reservation>>,
    portal: Portal,
    clock: Clock,
    progress: Arc<Progress>,
}

/// Why a reservation has to be looked at again.
#[derive(Debug, thiserror::Error)]
enum Untold {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Portal(#[from] NotTold),
}

/// A leader's term.
struct Term {
    callbacks: Callbacks,
    end: Shared<BoxFuture<'static, ()>>,
}

impl Callbacks {
    /// Tells `portal` of the reservations of one namespace.
    pub fn new(client: Client, namespace: &str, portal: Portal, clock: Clock) -> Self {
        Self {
            reservations: Api::namespaced(client.clone(), namespace),
            seen: Api::namespaced(client, namespace),
            portal,
            clock,
            progress: Arc::default(),
        }
    }

    /// Runs until `shutdown`; a call under way is given up, and made again by the next term.
    pub async fn run(self, shutdown: BoxFuture<'static, ()>) {
        if self.portal.is_mute() {
            return shutdown.await;
        }
        let end = shutdown.shared();
        let term = Arc::new(Term {
            callbacks: self.clone(),
            end: end.clone(),
        });
        Controller::new(self.seen.clone(), watcher::Config::default())
            .with_config(Config::default().concurrency(CONCURRENCY))
            .graceful_shutdown_on(end)
            .run(
                |reservation, term| async move {
                    // The controller logs those that can't be read.
                    if let Ok(reservation) = &reservation.0 {
                        term.tell(reservation).await?;
                    }
                    Ok::<_, Untold>(Requeue::await_change())
                },
                |reservation, error, term| {
                    let uid = reservation.uid().unwrap_or_default();
                    let pause = term.callbacks.progress.failed(&uid);
                    warn!(
                        reservation = reservation.name_any(),
                        "the portal could not be told, and will be again in {} s: {error}",
                        pause.as_secs()
                    );
                    Requeue::requeue(pause)
                },
                term,
            )
            .for_each(|outcome| async move {
                if let Err(error) = outcome {
                    debug!("callbacks: {error}");
                }
            })
            .await;
    }
}

impl Term {
    async fn tell(&self, seen: &Reservation) -> Result<(), Untold> {
        let Callbacks {
            reservations,
            clock,
            ..
        } = &self.callbacks;
        if due(seen, clock.now()).is_empty() {
            return Ok(());
        }
        // What was seen may be older than what we noted last.
        let name = seen.name_any();
        let Some(mut reservation) = within_deadline(reservations.get_opt(&name)).await? else {
            return Ok(());
        };
        for milestone in due(&reservation, clock.now()) {
            let noted = match self.tell_of(milestone, &reservation).await {
                Ok(None) => continue,
                Ok(Some(noted)) => noted,
                Err(error) => {
                    let noted = Noted::Trying(error.to_string());
                    self.note(reservation, milestone, noted).await?;
                    return Err(error.into());
                }
            };
            reservation = self.note(reservation, milestone, noted).await?;
        }
        self.callbacks
            .progress
            .forget(&reservation.uid().unwrap_or_default());
        Ok(())
    }

    /// Posts what is to be said of one milestone, if there is anything: each message until
    /// it is taken or refused, whatever becomes of the others.
    async fn tell_of(
        &self,
        milestone: Milestone,
        reservation: &Reservation,
    ) -> Result<Option<Noted>, NotTold> {
        let Callbacks {
            portal,
            progress,
            clock,
            ..
        } = &self.callbacks;
        let messages = message::all(reservation, milestone, clock.now());
        let messages = messages.into_iter().filter(|it| portal.hears(it.channel));
        let uid = reservation.uid().unwrap_or_default();
        let mut trouble = None;
        let mut is_any = false;
        for message in messages {
            is_any = true;
            let step = Step {
                milestone,
                channel: message.channel,
            };
            if progress.is_done(&uid, step) {
                continue;
            }
            let posted = tokio::select! {
                posted = portal.post(&message) => posted,
                () = self.end.clone() => Err(NotTold::Ending),
            };
            match posted {
                Ok(()) => {
                    info!(
                        reservation = reservation.name_any(),
                        webhook_id = message.webhook_id,
                        milestone = milestone.name(),
                        channel = message.channel.name(),
                        "the portal was told"
                    );
                    progress.done(&uid, step, None);
                }
                Err(error) if error.is_final() => {
                    warn!(
                        reservation = reservation.name_any(),
                        webhook_id = message.webhook_id,
                        milestone = milestone.name(),
                        channel = message.channel.name(),
                        "the portal refuses to be told: {error}"
                    );
                    progress.done(&uid, step, Some(error.to_string()));
                }
                Err(error) => trouble = Some(error),
            }
        }
        if let Some(trouble) = trouble {
            return Err(trouble);
        }
        let noted = || match progress.refusal(&uid, milestone) {
            Some(refusal) => Noted::Refused(refusal),
            None => Noted::Told,
        };
        Ok(is_any.then(noted))
    }

    /// Writes the condition, over the version that was read.
    async fn note(
        &self,
        mut reservation: Reservation,
        milestone: Milestone,
        noted: Noted,
    ) -> Result<Reservation, ApiError> {
        if !milestone.note(&mut reservation, noted, self.callbacks.clock.now()) {
            return Ok(reservation);
        }
        // The whole status, in the controller's own name: what is left out would be removed.
        let status = json!({
            "apiVersion": <Reservation as kube::Resource>::api_version(&()),
            "kind": <Reservation as kube::Resource>::kind(&()),
            "metadata": {"resourceVersion": reservation.resource_version()},
            "status": reservation.status,
        });
        let apply = PatchParams::apply(FIELD_MANAGER).force();
        let name = reservation.name_any();
        let patch = Patch::Apply(&status);
        within_deadline(
            self.callbacks
                .reservations
                .patch_status(&name, &apply, &patch),
        )
        .await
    }
}

impl fmt::Debug for Callbacks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callbacks")
            .field("portal", &self.portal)
            .finish_non_exhaustive()
    }
}

/// A portal that hangs holds up this many reservations' news, and nothing else.
const CONCURRENCY: u16 = 4;

/// After this long, nobody waits for the news any more.
const WORTH_TELLING: Duration = Duration::from_secs(24 * 60 * 60);
