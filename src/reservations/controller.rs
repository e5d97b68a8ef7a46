//! Runs the decisions: watches Reservations and hosts, stores statuses, takes actions.
//!
//! Each pass reads its objects afresh (a cache may not yet show our own last write, and a
//! host that was just cleared must not look as if it had never been imaged); only that a
//! neighbour is still there is believed of the watch (`living`). Called by the wiring; the only
//! module that knows both the API server and `decide`.

mod act;
mod living;
mod look;
mod trigger;
mod trouble;

use std::{fmt, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Resource, ResourceExt,
    core::DeserializeGuard,
    discovery::ApiResource,
    runtime::{
        Controller,
        controller::{self, Action as Requeue, Config},
        events::{Recorder, Reporter},
        reflector::Store,
        utils::Backoff,
        watcher,
    },
};
use metal3::BareMetalHost;
use tracing::{debug, info, warn};

use self::{
    act::{act, store_status},
    look::{View, look},
    trigger::{Known, concerned, in_calendar},
    trouble::Troubles,
};
use super::{
    caches::is_of_a_changed_definition,
    calendar::store::CalendarStore,
    decide::{Action, Decision, Policy, decide, only_waits_for_its_time},
    host::{ApiError, HostWriter, within_deadline},
    lookup::Lookup,
    metrics::ControllerMetrics,
    news::{News, PARTING, news},
    user_data::Template,
};
use crate::{
    api::{
        calendar::{HostCalendar, HostCalendarStatus},
        v1::Reservation,
    },
    clock::Clock,
};

/// All that the controller needs.
#[derive(Clone)]
pub struct Context {
    reservations: Api<Reservation>,
    seen_reservations: Api<Guarded<Reservation>>,
    /// The Reservations as the controller's own watch shows them, where there is one.
    seen: Option<Store<Guarded<Reservation>>>,
    hosts: Api<Guarded<BareMetalHost>>,
    host_resource: ApiResource,
    calendars: Api<Guarded<HostCalendar>>,
    calendar_store: CalendarStore,
    writer: HostWriter,
    policy: Policy,
    clock: Clock,
    troubles: Arc<Troubles>,
    metrics: ControllerMetrics,
    recorder: Recorder,
    news: Option<News>,
    decide: Decide,
}

/// An object of a watch or of a list. One that can't be decoded must not keep the others from
/// coming: the schema lets through what no type of ours has room for.
type Guarded<K> = DeserializeGuard<K>;

/// What decides.
pub type Decide = fn(&Reservation, &HostCalendarStatus, &Lookup, &Policy, Timestamp) -> Decision;

impl Context {
    /// A controller of the Reservations and hosts in `namespace`.
    pub fn new(
        client: kube::Client,
        namespace: &str,
        host_resource: ApiResource,
        policy: Policy,
        clock: Clock,
    ) -> Self {
        let hosts = Api::namespaced_with(client.clone(), namespace, &host_resource);
        let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let calendars = Api::namespaced(client.clone(), namespace);
        Self {
            calendar_store: CalendarStore::new(calendars, host_resource.clone()),
            calendars: Api::namespaced(client.clone(), namespace),
            reservations: Api::namespaced(client.clone(), namespace),
            seen_reservations: Api::namespaced(client.clone(), namespace),
            seen: None,
            writer: HostWriter::new(hosts, secrets),
            hosts: Api::namespaced_with(client.clone(), namespace, &host_resource),
            recorder: Recorder::new(client, reporter()),
            news: None,
            host_resource,
            policy,
            clock,
            troubles: Arc::default(),
            metrics: ControllerMetrics::default(),
            decide,
        }
    }

    /// Makes user data from the site's own template.
    #[must_use]
    pub fn templated(self, template: Option<Template>) -> Self {
        Self {
            writer: self.writer.templated(template),
            ..self
        }
    }

    /// Counts what it does there.
    #[must_use]
    pub fn counting(self, metrics: ControllerMetrics) -> Self {
        Self {
            writer: self.writer.counting(metrics.clone()),
            metrics,
            ..self
        }
    }

    /// Lets another function decide: the simulation shows by it that a wrong one is found out.
    #[must_use]
    pub fn deciding(self, decide: Decide) -> Self {
        Self { decide, ..self }
    }
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

/// Runs until `shutdown`; the pass that is under way is finished.
pub async fn run(mut context: Context, shutdown: BoxFuture<'static, ()>) {
    let (news, publisher) = news(context.recorder.clone());
    context.news = Some(news);
    // What isn't published yet must not keep the Lease from the next leader.
    let controlling = control(context, shutdown).then(|()| tokio::time::sleep(PARTING));
    tokio::select! {
        () = publisher.run() => {}
        () = controlling => {}
    }
}

async fn control(mut context: Context, shutdown: BoxFuture<'static, ()>) {
    let controller = Controller::new(
        context.seen_reservations.clone(),
        watcher::Config::default(),
    );
    context.seen = Some(controller.store());
    let context = Arc::new(context);
    let store = controller.store();
    let known = Known::default();
    let mapper = move |host: Guarded<BareMetalHost>| concerned(&store, &host, &known);
    let store = controller.store();
    let booked = move |calendar: Guarded<HostCalendar>| in_calendar(&store, &calendar);
    controller
        .with_config(Config::default().concurrency(CONCURRENCY))
        .trigger_backoff(Steadily)
        .watches_with(
            context.hosts.clone(),
            context.host_resource.clone(),
            watcher::Config::default(),
            mapper,
        )
        .watches(
            context.calendars.clone(),
            watcher::Config::default(),
            booked,
        )
        .graceful_shutdown_on(shutdown.shared())
        .run(
            |reservation, context| async move {
                if let Err(invalid) = &reservation.0 {
                    warn!(
                        reservation = reservation.name_any(),
                        "a Reservation can't be read, and is left alone until it is mended: {}",
                        invalid.error
                    );
                    if let Some(news) = &context.news {
                        news.unreadable(reservation.object_ref(&()), &invalid.error);
                    }
                    return Ok(Requeue::await_change());
                }
                let name = reservation.name_any();
                let again = pass(&name, &context).boxed().await?;
                Ok::<_, ApiError>(again.map_or_else(Requeue::await_change, Requeue::requeue))
            },
            |reservation, error, context| {
                warn!(
                    reservation = reservation.name_any(),
                    "a pass failed and will be tried again: {error}"
                );
                let uid = reservation.uid().unwrap_or_default();
                Requeue::requeue(context.troubles.note(&uid, error))
            },
            context,
        )
        .for_each(|outcome| async move {
            match outcome {
                Ok(_) => {}
                // Told by the error policy already, and the usual end of a deleted object.
                Err(
                    error @ (controller::Error::ReconcilerFailed(..)
                    | controller::Error::ObjectNotFound(_)),
                ) => debug!("controller: {error}"),
                Err(controller::Error::QueueError(error)) if is_of_a_changed_definition(&error) => {
                    info!("a watch of the controller is begun anew: {error}");
                }
                // A watch that fails (no CRD, no rights, no API server) stops everything.
                Err(error) => warn!("controller: {error}"),
            }
        })
        .await;
}

fn pinned_name(reservation: &Reservation) -> Option<&str> {
    let status = reservation.status.as_ref()?;
    Some(&status.host_ref.as_ref()?.name)
}

/// One pass over one reservation. Says after which time to look again, if there is anything
/// to look at. Called by the controller, and by the simulation in its place.
pub async fn pass(name: &str, context: &Context) -> Result<Option<Duration>, ApiError> {
    let read = within_deadline(context.reservations.get_opt(name)).await?;
    let Some(reservation) = read else {
        return Ok(None);
    };
    let View {
        host,
        calendar,
        has_searched,
    } = match look(&reservation, context).await {
        Err(error) if error.is_conflict() => return Ok(Some(OVERTAKEN)),
        looked => looked?,
    };
    let mut decision = (context.decide)(
        &reservation,
        &calendar.bookings,
        &host,
        &context.policy,
        context.clock.now(),
    );
    let uid = reservation.uid().unwrap_or_default();
    let resync = if reservation.is_finished() {
        RESYNC_OF_FINISHED
    } else if only_waits_for_its_time(&reservation) && !has_searched {
        RESYNC_OF_WAITING
    } else {
        RESYNC
    };
    if decision.action.may_be_refused()
        && let Some(refusal) = context.troubles.refusal(&uid)
    {
        decision.tell_refusal(&reservation, &refusal, context.clock.now());
    }
    let acted = match store_status(reservation, &decision.status, context).await {
        Ok(stored) => act(&decision.action, stored, &host, &calendar, context).await,
        Err(error) => Err(error),
    };
    match acted {
        Ok(()) => {
            context.troubles.clear(&uid);
            Ok(Some(again(&decision, resync, context)))
        }
        // Somebody was faster: look again, at what they left.
        Err(error) if error.is_conflict() => Ok(Some(OVERTAKEN)),
        Err(error) => Err(error),
    }
}

fn again(decision: &Decision, resync: Duration, context: &Context) -> Duration {
    // Our own write brings the next pass about, if a watch tells of it.
    let latest = match decision.action {
        Action::Wait => resync,
        _ => FOLLOW_UP,
    };
    let Some(wake) = decision.wake else {
        return latest;
    };
    let left = wake.duration_since(context.clock.now());
    let left = Duration::try_from(left).unwrap_or_default();
    left.clamp(SOONEST, latest)
}

/// Who the Events are from: this replica.
fn reporter() -> Reporter {
    Reporter {
        controller: "harbormaster".to_owned(),
        instance: std::env::var("HOSTNAME").ok(),
    }
}

/// The pause after a failed watch. kube's own doubles up to 30 s, and is one for all three
/// watches: an API server that restarts (and knows no role for its first seconds) would leave
/// hosts unattended for a minute. While there is none at all, nobody leads.
struct Steadily;

impl Iterator for Steadily {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(WATCH_AGAIN)
    }
}

impl Backoff for Steadily {
    fn reset(&mut self) {}
}

const CONCURRENCY: u16 = 8;

/// After a write that came too late.
const OVERTAKEN: Duration = Duration::from_millis(200);

/// A pass is never asked for sooner than this, so that no clock can make it spin.
const SOONEST: Duration = Duration::from_millis(100);

/// A step that no watch told of is followed by the next one all the same.
const FOLLOW_UP: Duration = Duration::from_secs(10);

/// Between two tries of a watch.
const WATCH_AGAIN: Duration = Duration::from_secs(1);

/// A lost watch is made up for by then.
const RESYNC: Duration = Duration::from_secs(5 * 60);

/// Who only waits for its time, and on the host that it wants, asks for it by the clock; until then
/// there is hardly anything to be missed, and there are many of them.
const RESYNC_OF_WAITING: Duration = Duration::from_secs(15 * 60);

/// Of what was over before, only a claim that came too late could still be told, and the time
/// at which it expires is known.
const RESYNC_OF_FINISHED: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests;
