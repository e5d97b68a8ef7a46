//! What every replica keeps in memory of hosts, their calendars and the Reservations, for
//! hooks and pages that must not ask the API server.
//!
//! Fed by watches of their own, on leaders and followers alike. They lag: nothing is
//! decided from them that a compare-and-swap doesn't decide again. An object that can't be
//! decoded is left out, and stops nobody else's from coming. Built by the wiring.

mod freshness;

use std::{
    hash::Hash,
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt, future::BoxFuture};
use kube::{
    Api, Client, Resource,
    core::DeserializeGuard,
    discovery::ApiResource,
    runtime::{
        reflector::{ObjectRef, Store, store::Writer},
        watcher::{self, watcher},
    },
};
use metal3::BareMetalHost;
use serde::de::DeserializeOwned;
use tracing::{info, warn};

pub use self::freshness::Freshness;
use self::freshness::Watches;
use crate::{
    api::{
        calendar::{Booking, HostCalendar},
        v1::Reservation,
    },
    clock::Clock,
};

/// Hosts, calendars and Reservations, as they were a moment ago. Clones share what they hold.
#[derive(Clone)]
pub struct Caches {
    hosts: Store<DeserializeGuard<BareMetalHost>>,
    calendars: Store<DeserializeGuard<HostCalendar>>,
    reservations: Store<DeserializeGuard<Reservation>>,
    watches: Arc<Watches>,
    host_resource: ApiResource,
    namespace: String,
}

/// What fills them.
pub struct Feeds {
    writers: Writers,
    caches: Caches,
    client: Client,
}

struct Writers {
    hosts: Writer<DeserializeGuard<BareMetalHost>>,
    calendars: Writer<DeserializeGuard<HostCalendar>>,
    reservations: Writer<DeserializeGuard<Reservation>>,
}

impl Caches {
    /// Empty caches for the hosts of one namespace, and what fills them.
    pub fn new(client: Client, namespace: &str, host_resource: &ApiResource) -> (Self, Feeds) {
        let (caches, writers) = Self::empty(namespace, host_resource);
        let feeds = Feeds {
            writers,
            caches: caches.clone(),
            client,
        };
        (caches, feeds)
    }

    /// Caches that nothing will ever be in.
    pub fn offline(host_resource: &ApiResource) -> Self {
        Self::empty("", host_resource).0
    }

    fn empty(namespace: &str, host_resource: &ApiResource) -> (Self, Writers) {
        let writers = Writers {
            hosts: Writer::new(host_resource.clone()),
            calendars: Writer::default(),
            reservations: Writer::default(),
        };
        let caches = Self {
            hosts: writers.hosts.as_reader(),
            calendars: writers.calendars.as_reader(),
            reservations: writers.reservations.as_reader(),
            watches: Arc::default(),
            host_resource: host_resource.clone(),
            namespace: namespace.to_owned(),
        };
        (caches, writers)
    }

    /// The accepted bookings of a host. Those of a namespace that isn't ours have none.
    pub fn bookings(&self, namespace: &str, host: &str) -> Vec<Booking> {
        let key = ObjectRef::new(host).within(namespace);
        let found = self.calendars.get(&key);
        let calendar = found.as_ref().and_then(|found| found.0.as_ref().ok());
        let status = calendar.and_then(|calendar| calendar.status.clone());
        status.unwrap_or_default().bookings
    }

    /// All hosts.
    pub fn hosts(&self) -> Vec<BareMetalHost> {
        let all = self.hosts.state().into_iter();
        all.filter_map(|host| host.0.as_ref().ok().cloned())
            .collect()
    }

    /// The first host of which `look` makes something, looked at as it is here.
    pub fn find_host<T>(&self, mut look: impl FnMut(&BareMetalHost) -> Option<T>) -> Option<T> {
        let all = self.hosts.state();
        all.iter().find_map(|host| look(host.0.as_ref().ok()?))
    }

    /// All calendars.
    pub fn calendars(&self) -> Vec<HostCalendar> {
        let all = self.calendars.state().into_iter();
        all.filter_map(|calendar| calendar.0.as_ref().ok().cloned())
            .collect()
    }

    /// All Reservations, without what nobody looks up here: keys, parameters, long texts.
    pub fn reservations(&self) -> Vec<Reservation> {
        let all = self.reservations.state().into_iter();
        all.filter_map(|reservation| reservation.0.as_ref().ok().cloned())
            .collect()
    }

    /// Looks at each Reservation, as it is here.
    pub fn each_reservation(&self, mut look: impl FnMut(&Reservation)) {
        for reservation in self.reservations.state() {
            if let Ok(reservation) = &reservation.0 {
                look(reservation);
            }
        }
    }

    /// How many objects of each kind can't be decoded.
    pub fn unreadable(&self) -> [(&'static str, usize); 3] {
        fn count<K>(store: &Store<DeserializeGuard<K>>) -> usize
        where
            K: Resource + Clone + 'static,
            K::DynamicType: Clone + Eq + Hash,
        {
            let all = store.state().into_iter();
            all.filter(|object| object.0.is_err()).count()
        }
        [
            ("BareMetalHost", count(&self.hosts)),
            ("HostCalendar", count(&self.calendars)),
            ("Reservation", count(&self.reservations)),
        ]
    }

    /// With one more calendar, which stays.
    #[cfg(test)]
    pub(crate) fn with_calendar(self, calendar: HostCalendar) -> Self {
        let mut writer = Writer::default();
        writer.apply_watcher_event(&watcher::Event::Apply(DeserializeGuard(Ok(calendar))));
        let calendars = writer.as_reader();
        Self { calendars, ..self }
    }

    /// With one more host, which stays.
    #[cfg(test)]
    pub(crate) fn with_host(self, host: BareMetalHost) -> Self {
        let mut writer = Writer::new(self.host_resource.clone());
        writer.apply_watcher_event(&watcher::Event::Apply(DeserializeGuard(Ok(host))));
        let hosts = writer.as_reader();
        Self { hosts, ..self }
    }

    /// How old all this is.
    pub fn freshness(&self) -> Freshness {
        self.watches.freshness()
    }
}

impl Feeds {
    /// Fills them until `shutdown`.
    pub async fn run(self, clock: Clock, shutdown: BoxFuture<'static, ()>) {
        let Self {
            writers,
            caches,
            client,
        } = self;
        let (namespace, resource) = (&caches.namespace, &caches.host_resource);
        let hosts = Api::namespaced_with(client.clone(), namespace, resource);
        let calendars = Api::namespaced(client.clone(), namespace);
        let reservations = Api::namespaced(client, namespace);
        let watch = |kind| Watch {
            kind,
            watches: &caches.watches,
            clock: &clock,
        };
        let filled = async {
            tokio::join!(
                watch(0).feed(hosts, writers.hosts, strip),
                watch(1).feed(calendars, writers.calendars, strip),
                watch(2).feed(reservations, writers.reservations, strip_reservation),
            );
        };
        tokio::select! {
            () = shutdown => {}
            () = filled => {}
        }
    }
}

/// One kind's watch.
struct Watch<'a> {
    kind: usize,
    watches: &'a Watches,
    clock: &'a Clock,
}

impl Watch<'_> {
    async fn feed<K>(
        self,
        api: Api<DeserializeGuard<K>>,
        mut writer: Writer<DeserializeGuard<K>>,
        strip: fn(&mut K),
    ) where
        K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
        K::DynamicType: Clone + Eq + Hash,
        DeserializeGuard<K>: Clone + std::fmt::Debug,
    {
        let mut pause = SHORTEST_PAUSE;
        loop {
            // A watch that failed is begun with a list, not resumed: a resumed one says
            // nothing until something changes, and nobody could tell that it works again.
            let mut events = pin!(watcher(api.clone(), watcher::Config::default()));
            let begun = Instant::now();
            while let Some(event) = events.next().await {
                let mut event = match event {
                    Ok(event) => event,
                    Err(error) => {
                        if is_of_a_changed_definition(&error) {
                            info!("a watch is begun anew: {error}");
                        } else {
                            warn!("a watch failed, and is begun anew: {error}");
                        }
                        self.watches.failed(self.kind, self.clock.now());
                        break;
                    }
                };
                if let watcher::Event::InitApply(object) | watcher::Event::Apply(object) =
                    &mut event
                {
                    match &mut object.0 {
                        Ok(object) => strip(object),
                        Err(invalid) => {
                            let name = invalid.metadata.name.as_deref().unwrap_or_default();
                            warn!("{name} can't be read, and is left out: {}", invalid.error);
                        }
                    }
                }
                let is_whole =
                    !matches!(event, watcher::Event::Init | watcher::Event::InitApply(_));
                writer.apply_watcher_event(&event);
                if is_whole {
                    self.watches.works(self.kind);
                }
            }
            // One that fails at once each time must not become a list each half second.
            if begun.elapsed() > LONGEST_PAUSE {
                pause = SHORTEST_PAUSE;
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Whether that is what comes whenever a definition has changed, with each exchange of a CA, that is: the API
/// server knows no more where a watch was, and has no storage for a new one yet.
pub(super) fn is_of_a_changed_definition(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchError, WatchStartFailed};

    match error {
        WatchError(status) => status.code == 410,
        // Only the text tells it from an API server that is overloaded.
        InitialListFailed(kube::Error::Api(status))
        | WatchStartFailed(kube::Error::Api(status)) => {
            status.code == 429 && status.message.contains("(re)initializing")
        }
        _ => false,
    }
}

fn strip<K: Resource>(object: &mut K) {
    object.meta_mut().managed_fields = None;
}

fn strip_reservation(reservation: &mut Reservation) {
    strip(reservation);
    let spec = &mut reservation.spec;
    spec.access = None;
    spec.parameters = None;
    spec.provisioning = None;
    if let Some(source) = &mut spec.source {
        (source.title, source.description) = (None, None);
    }
}

impl std::fmt::Debug for Caches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Caches").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Feeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feeds").finish_non_exhaustive()
    }
}

const SHORTEST_PAUSE: Duration = Duration::from_millis(500);

const LONGEST_PAUSE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    #[test]
    fn what_a_change_of_a_definition_brings_about_is_known() {
        let start = |status| watcher::Error::WatchStartFailed(kube::Error::Api(status));
        let status = |message: &str, code| Status::failure(message, "").with_code(code).boxed();
        for (error, is_expected) in [
            (watcher::Error::WatchError(status("Expired", 410)), true),
            (start(status("storage is (re)initializing", 429)), true),
            (start(status("too many requests", 429)), false),
            (start(status("forbidden", 403)), false),
        ] {
            assert_eq!(is_of_a_changed_definition(&error), is_expected, "{error}");
        }
    }
}
