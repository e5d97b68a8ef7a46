//! What every replica keeps in memory of hosts and their calendars, for hooks and pages
//! that must not ask the API server.
//!
//! Fed by watches of their own, on leaders and followers alike. They lag: nothing is
//! decided from them that a compare-and-swap doesn't decide again. An object that can't be
//! decoded is left out, and stops nobody else's from coming. Built by the wiring.

use std::hash::Hash;

use futures::{StreamExt, future::BoxFuture};
use kube::{
    Api, Client, Resource,
    core::DeserializeGuard,
    discovery::ApiResource,
    runtime::{
        WatchStreamExt,
        reflector::{ObjectRef, Store, store::Writer},
        watcher,
    },
};
use metal3::BareMetalHost;
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::api::calendar::{Booking, HostCalendar};

/// Hosts and calendars, as they were a moment ago. Clones share what they hold.
#[derive(Clone)]
pub struct Caches {
    hosts: Store<DeserializeGuard<BareMetalHost>>,
    calendars: Store<DeserializeGuard<HostCalendar>>,
    host_resource: ApiResource,
    namespace: String,
}

/// What fills them.
pub struct Feeds {
    hosts: Writer<DeserializeGuard<BareMetalHost>>,
    calendars: Writer<DeserializeGuard<HostCalendar>>,
    caches: Caches,
    client: Client,
}

impl Caches {
    /// Empty caches for the hosts of one namespace, and what fills them.
    pub fn new(client: Client, namespace: &str, host_resource: &ApiResource) -> (Self, Feeds) {
        let (caches, hosts, calendars) = Self::empty(namespace, host_resource);
        let feeds = Feeds {
            hosts,
            calendars,
            caches: caches.clone(),
            client,
        };
        (caches, feeds)
    }

    /// Caches that nothing will ever be in.
    pub fn offline(host_resource: &ApiResource) -> Self {
        Self::empty("", host_resource).0
    }

    fn empty(
        namespace: &str,
        host_resource: &ApiResource,
    ) -> (
        Self,
        Writer<DeserializeGuard<BareMetalHost>>,
        Writer<DeserializeGuard<HostCalendar>>,
    ) {
        let hosts = Writer::new(host_resource.clone());
        let calendars = Writer::default();
        let caches = Self {
            hosts: hosts.as_reader(),
            calendars: calendars.as_reader(),
            host_resource: host_resource.clone(),
            namespace: namespace.to_owned(),
        };
        (caches, hosts, calendars)
    }

    /// The accepted bookings of a host.
    pub fn bookings(&self, host: &str) -> Vec<Booking> {
        let key = ObjectRef::new(host).within(&self.namespace);
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

    /// All calendars.
    pub fn calendars(&self) -> Vec<HostCalendar> {
        let all = self.calendars.state().into_iter();
        all.filter_map(|calendar| calendar.0.as_ref().ok().cloned())
            .collect()
    }
}

impl Feeds {
    /// Fills them until `shutdown`.
    pub async fn run(self, shutdown: BoxFuture<'static, ()>) {
        let (namespace, resource) = (&self.caches.namespace, &self.caches.host_resource);
        let hosts = Api::namespaced_with(self.client.clone(), namespace, resource);
        let calendars = Api::namespaced(self.client, namespace);
        let filled = async {
            tokio::join!(feed(hosts, self.hosts), feed(calendars, self.calendars));
        };
        tokio::select! {
            () = shutdown => {}
            () = filled => {}
        }
    }
}

async fn feed<K>(api: Api<DeserializeGuard<K>>, writer: Writer<DeserializeGuard<K>>)
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Clone + Eq + Hash,
    DeserializeGuard<K>: Clone + std::fmt::Debug,
{
    watcher(api, watcher::Config::default())
        .default_backoff()
        .reflect(writer)
        .applied_objects()
        .for_each(|object| async move {
            match object {
                Ok(object) => {
                    if let Err(invalid) = &object.0 {
                        let name = invalid.metadata.name.as_deref().unwrap_or_default();
                        warn!("{name} can't be read, and is left out: {}", invalid.error);
                    }
                }
                Err(error) => warn!("a watch failed, and is begun anew: {error}"),
            }
        })
        .await;
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
