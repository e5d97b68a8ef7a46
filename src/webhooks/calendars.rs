//! The hosts' calendars in memory, so that a review never waits for a read of its own.
//!
//! Fed by one watch; until that has begun, and for hosts without a calendar, nothing is
//! known to be taken: admission refuses early what it can, and acceptance decides.

use std::{future::Future, pin::pin, sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use kube::{
    Api,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher,
    },
};
use tracing::debug;

use crate::api::calendar::HostCalendar;

/// What is known of the hosts' calendars.
#[derive(Clone)]
pub struct Calendars {
    store: Store<HostCalendar>,
}

/// The watch that feeds [`Calendars`].
pub struct Feed {
    api: Api<HostCalendar>,
    writer: Writer<HostCalendar>,
}

impl Calendars {
    /// Those of `api`, once its feed runs.
    pub fn new(api: Api<HostCalendar>) -> (Self, Feed) {
        let (store, writer) = reflector::store();
        (Self { store }, Feed { api, writer })
    }

    /// None, and never any.
    pub fn none() -> Self {
        Self {
            store: reflector::store().0,
        }
    }

    /// The host's calendar.
    pub fn of(&self, namespace: &str, host: &str) -> Option<Arc<HostCalendar>> {
        self.store.get(&ObjectRef::new(host).within(namespace))
    }

    #[cfg(test)]
    pub(crate) fn with(calendar: HostCalendar) -> Self {
        let (store, mut writer) = reflector::store();
        writer.apply_watcher_event(&watcher::Event::Apply(calendar));
        Self { store }
    }
}

impl Feed {
    /// Follows the calendars until `shutdown`.
    pub async fn run(self, shutdown: BoxFuture<'static, ()>) {
        let events = watcher(self.api, watcher::Config::default())
            .default_backoff()
            .reflect(self.writer);
        let mut events = pin!(events);
        let follow = async {
            while let Some(event) = events.next().await {
                if let Err(error) = event {
                    debug!("calendars: {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        either(follow, shutdown).await;
    }
}

async fn either(one: impl Future<Output = ()>, other: impl Future<Output = ()>) {
    let (one, other) = (pin!(one.fuse()), pin!(other.fuse()));
    futures::future::select(one, other).await;
}

impl std::fmt::Debug for Calendars {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Calendars").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Feed").finish_non_exhaustive()
    }
}

/// Beside the watcher's own back-off, so that no failure can make it spin.
const PAUSE: Duration = Duration::from_millis(100);
