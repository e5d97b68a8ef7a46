//! Many bookings, back to back on many hosts, and what is seen of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use harbormaster::api::v1::{Phase, Reservation};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::{
    Api, Client, Error, ResourceExt,
    api::{ListParams, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use metal3::BareMetalHost;
use serde_json::json;
use tokio::task::JoinHandle;
use xtask::stage::{NAMESPACE, Stage};

use crate::Size;

/// The bookings, and who watches them.
pub(crate) struct Bookings {
    client: Client,
    size: Size,
    first: Timestamp,
    seen: Arc<Mutex<Seen>>,
    watch: JoinHandle<()>,
}

/// When each was first seen to be in a phase, and accepted.
#[derive(Default)]
struct Seen {
    phases: BTreeMap<String, Vec<(Phase, Timestamp)>>,
    accepted: BTreeMap<String, Timestamp>,
    over: usize,
    failed: Vec<(String, Option<String>)>,
}

impl Bookings {
    /// Makes the hosts, waits until they are available, and begins to watch.
    pub(crate) async fn new(stage: &Stage, size: Size) -> Self {
        let client = stage.control_plane().client();
        let resource = BareMetalHost::resource();
        let hosts: Api<BareMetalHost> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
        for id in 0..size.hosts {
            let host = json!({
                "apiVersion": "metal3.io/v1alpha1",
                "kind": "BareMetalHost",
                "metadata": {"name": host_name(id)},
                "spec": {
                    "online": false,
                    "bootMACAddress": format!("02:00:00:01:{:02x}:{:02x}", id / 256, id % 256),
                    "bmc": {
                        "address": format!("redfish://192.0.2.9/redfish/v1/Systems/{id}"),
                        "credentialsName": "restart-srv01-bmc",
                    },
                },
            });
            let host = serde_json::from_value(host).unwrap();
            hosts.create(&PostParams::default(), &host).await.unwrap();
        }
        until("hosts are available", size, size.hosts, async || {
            let Ok(hosts) = hosts.list(&ListParams::default()).await else {
                return 0;
            };
            let named = hosts
                .iter()
                .filter(|host| host.name().starts_with("bench-"));
            named.filter(|host| host.is_available()).count()
        })
        .await;
        let seen = Arc::default();
        let watch = tokio::spawn(watch(client.clone(), Arc::clone(&seen)));
        // Time enough to make them all on a busy machine.
        let making = Duration::from_millis(100) * u32::try_from(size.reservations).unwrap();
        let first = Timestamp::now() + making + size.waiting + Duration::from_secs(20);
        Self {
            client,
            size,
            first,
            seen,
            watch,
        }
    }

    /// Makes them, eight at a time.
    pub(crate) async fn book(&self) {
        let reservations = &Api::namespaced(self.client.clone(), NAMESPACE);
        stream::iter(0..self.size.reservations)
            .map(|id| async move {
                let (start, end) = self.window(id);
                let key = format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEXAMPLE{id:08} u{id}");
                let reservation = json!({
                    "apiVersion": "harbormaster.dev/v1",
                    "kind": "Reservation",
                    "metadata": {"name": format!("bench-{id}")},
                    "spec": {
                        "requester": {"id": format!("u{id}")},
                        "target": {"hostRef": {"name": host_name(id % self.size.hosts)}},
                        "window": {"start": Time(start), "end": Time(end)},
                        "access": {"authorizedKeys": [{"key": key}]},
                    },
                });
                make(reservations, &serde_json::from_value(reservation).unwrap()).await;
            })
            .buffer_unordered(8)
            .collect::<Vec<()>>()
            .await;
    }

    fn window(&self, id: usize) -> (Timestamp, Timestamp) {
        let turn = u32::try_from(id / self.size.hosts).unwrap();
        // The API server keeps whole seconds.
        let first = Timestamp::from_second(self.first.as_second()).unwrap();
        let start = first + self.size.window * turn;
        (start, start + self.size.window)
    }

    pub(crate) async fn until_accepted(&self) {
        until(
            "are accepted",
            self.size,
            self.size.reservations,
            async || self.seen.lock().unwrap().accepted.len(),
        )
        .await;
    }

    /// Until the first is about to begin.
    pub(crate) async fn wait(&self) {
        let left = self.first.duration_since(Timestamp::now()).as_secs();
        println!("... {left} s until the first begins");
        if left <= 0 {
            println!("NOTE: they took so long to accept that none waited (BENCH_WAITING)");
        }
        let left = u64::try_from(left).unwrap_or_default();
        tokio::time::sleep(Duration::from_secs(left)).await;
    }

    /// Until the last is over. Gives back how many changes of a phase that took.
    pub(crate) async fn until_over(&self) -> usize {
        until("are over", self.size, self.size.reservations, async || {
            self.seen.lock().unwrap().over
        })
        .await;
        self.watch.abort();
        let seen = self.seen.lock().unwrap();
        if !seen.failed.is_empty() {
            println!("NOT SERVED, of {}: {:?}", seen.over, seen.failed);
        }
        let phases = seen.phases.values().flatten();
        phases.filter(|(phase, _)| *phase != Phase::Pending).count()
    }

    /// How long after its time each was ready, and free again.
    pub(crate) fn tell_lateness(&self) {
        let seen = self.seen.lock().unwrap();
        let late = |phase: Phase, when: When| {
            let ids = 0..self.size.reservations;
            let mut late: Vec<_> = ids
                .filter_map(|id| {
                    let mut phases = seen.phases[&format!("bench-{id}")].iter();
                    let (_, at) = phases.find(|(seen, _)| *seen == phase)?;
                    Some(at.duration_since(when(self.window(id))).as_secs_f64())
                })
                .collect();
            late.sort_by(f64::total_cmp);
            if late.is_empty() {
                return "never".to_owned();
            }
            let at = |share: usize| late[(late.len() - 1) * share / 100];
            format!(
                "{:.1} s (p50), {:.1} s (p99), {:.1} s",
                at(50),
                at(99),
                at(100)
            )
        };
        let (start, end): (When, When) = (|it| it.0, |it| it.1);
        for (what, phase, since) in [
            ("its start to Provisioning", Phase::Provisioning, start),
            ("its start to Active", Phase::Active, start),
            ("its end to Releasing", Phase::Releasing, end),
            ("its end to Released", Phase::Released, end),
        ] {
            println!("from {what}: {}", late(phase, since));
        }
    }
}

/// One of the two ends of a window.
type When = fn((Timestamp, Timestamp)) -> Timestamp;

/// Tries again: one call that came to nothing on a busy machine is no reason to lose a long run.
async fn make(reservations: &Api<Reservation>, reservation: &Reservation) {
    let params = PostParams::default();
    let mut attempt = 1;
    loop {
        let made = reservations.create(&params, reservation).await;
        let Err(error) = made else {
            return;
        };
        // By the attempt before, whose answer was lost.
        let is_there = matches!(&error, Error::Api(status) if status.is_already_exists());
        if is_there && attempt > 1 {
            return;
        }
        let name = reservation.name_any();
        println!("... {name} could not be made: {error}");
        attempt += 1;
        assert!(attempt <= ATTEMPTS, "{name} can't be made");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn watch(client: Client, seen: Arc<Mutex<Seen>>) {
    let reservations: Api<Reservation> = Api::namespaced(client, NAMESPACE);
    let mut changes = watcher(reservations, watcher::Config::default())
        .default_backoff()
        .touched_objects()
        .boxed();
    while let Some(change) = changes.next().await {
        // It lists again by itself after an error; what is told late by that shows in the times.
        let reservation = match change {
            Ok(reservation) => reservation,
            Err(error) => {
                println!("... the watch failed, and goes on: {error}");
                continue;
            }
        };
        let now = Timestamp::now();
        let name = reservation.name_any();
        let Some(status) = reservation.status else {
            continue;
        };
        let mut seen = seen.lock().unwrap();
        let mut conditions = status.conditions.iter();
        if conditions.any(|it| it.type_ == "Accepted" && it.status == "True") {
            seen.accepted.entry(name.clone()).or_insert(now);
        }
        let Some(phase) = status.phase else {
            continue;
        };
        let phases = seen.phases.entry(name.clone()).or_default();
        if !phases.iter().any(|(seen, _)| *seen == phase) {
            phases.push((phase, now));
            match phase {
                Phase::Released => seen.over += 1,
                Phase::Failed => {
                    seen.over += 1;
                    let mut conditions = status.conditions.into_iter();
                    let ready = conditions.find(|it| it.type_ == "Ready");
                    seen.failed.push((name, ready.map(|it| it.reason)));
                }
                _ => {}
            }
        }
    }
}

/// Polls until there are so many, and tells how far it is.
async fn until(what: &str, size: Size, count: usize, have: impl AsyncFn() -> usize) {
    let mut told = Instant::now();
    let (mut most, mut since) = (0, Instant::now());
    loop {
        let there = have().await;
        if there >= count {
            println!("... {there} {what}");
            return;
        }
        if told.elapsed() >= Duration::from_secs(10) {
            println!("... {there} of {count} {what}");
            told = Instant::now();
        }
        if there > most {
            (most, since) = (there, Instant::now());
        }
        assert!(
            since.elapsed() < PATIENCE + size.window,
            "{there} of {count} {what}, and no more"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn host_name(id: usize) -> String {
    format!("bench-{id:03}")
}

/// Of a reservation that can't be made.
const ATTEMPTS: u32 = 10;

/// Without any going on, but for those that have their hosts for their windows.
const PATIENCE: Duration = Duration::from_secs(600);
