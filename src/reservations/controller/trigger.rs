//! Which reservations a change matters to: that of a host, or of a host's calendar. Called by
//! the controller's watches; one too many is only a pass that changes nothing.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use kube::{
    Resource, ResourceExt,
    runtime::reflector::{ObjectRef, Store},
};
use metal3::BareMetalHost;

use super::{Guarded, pinned_name};
use crate::{
    api::{calendar::HostCalendar, v1::Reservation},
    reservations::{
        decide::{only_waits_for_its_time, waits_for_mending},
        essentials::Essentials,
        lookup::{Lookup, lookup},
        selection,
    },
};

/// Each host's essentials, as they were last seen.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashMap<String, Essentials>>);

impl Known {
    /// Whether this is more than a change of how the host is just now.
    fn learn(&self, host: &Guarded<BareMetalHost>) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = host.name_any();
        // Its last change and its end look the same. The end of one that has no finalizer looks
        // like no change at all, and is no news: who waits for that host is woken when its
        // calendar goes, which the garbage collector takes.
        if host.meta().deletion_timestamp.is_some() {
            known.remove(&name);
            return true;
        }
        let essentials = Essentials::of(host);
        let before = known.insert(name, essentials.clone());
        before.is_none_or(|before| before != essentials)
    }
}

/// The reservations that a change of this host may matter to.
pub(super) fn concerned(
    store: &Seen,
    host: &Guarded<BareMetalHost>,
    known: &Known,
) -> Vec<ObjectRef<Guarded<Reservation>>> {
    let hosts = std::slice::from_ref(host);
    let is_news = known.learn(host);
    triggered(store, |reservation| {
        if selection::is_choosing(reservation) {
            let booked = reservation.status.as_ref();
            return match booked.and_then(|status| status.calendar.as_ref()) {
                Some(booked) => host.meta().name.as_ref() == Some(booked),
                None => selection::would_do(reservation, host.labels()),
            };
        }
        if !is_news && only_waits_for_its_time(reservation) {
            return false;
        }
        let is_live = !reservation.is_finished() || holds(reservation, host);
        is_live
            && match lookup(reservation, hosts) {
                Lookup::Ambiguous | Lookup::Found(_) | Lookup::Unreadable { .. } => true,
                Lookup::NoneFree(_) | Lookup::NotFound => false,
                // Pinned to another host, or to this one's predecessor of the same name.
                Lookup::Gone => pinned_name(reservation) == host.meta().name.as_deref(),
            }
    })
}

/// What waits, and what is in there: the one may begin now, and the other has to make room.
pub(super) fn in_calendar(
    store: &Seen,
    calendar: &Guarded<HostCalendar>,
) -> Vec<ObjectRef<Guarded<Reservation>>> {
    let name = calendar.name_any();
    triggered(store, |reservation| {
        let status = reservation.status.as_ref();
        match status.and_then(|status| status.calendar.as_ref()) {
            Some(calendar) => !reservation.is_finished() && *calendar == name,
            // It may be this one that couldn't be read: then nobody booked anything in it.
            None => selection::is_choosing(reservation) || waits_for_mending(reservation),
        }
    })
}

fn triggered(
    store: &Seen,
    is_meant: impl Fn(&Reservation) -> bool,
) -> Vec<ObjectRef<Guarded<Reservation>>> {
    store
        .state()
        .into_iter()
        .filter(|seen| seen.0.as_ref().is_ok_and(&is_meant))
        .map(|seen| ObjectRef::from_obj(&*seen))
        .collect()
}

/// The Reservations as the watch shows them.
type Seen = Store<Guarded<Reservation>>;

fn holds(reservation: &Reservation, host: &Guarded<BareMetalHost>) -> bool {
    let host = host.0.as_ref().ok();
    let consumer = host.and_then(|host| host.consumer()?.uid.as_ref());
    consumer.is_some() && consumer == reservation.metadata.uid.as_ref()
}

#[cfg(test)]
mod tests {
    use kube::{
        core::DeserializeGuard,
        runtime::{reflector, watcher::Event},
    };
    use serde_json::{Value, json};

    use super::*;

    fn guarded<K>(object: Value) -> Guarded<K>
    where
        Guarded<K>: serde::de::DeserializeOwned,
    {
        serde_json::from_value(object).unwrap()
    }

    fn waiting(reason: &str) -> Guarded<Reservation> {
        guarded(json!({
            "apiVersion": "harbormaster.dev/v1",
            "kind": "Reservation",
            "metadata": {"name": "waits", "namespace": "metal3"},
            "spec": {
                "window": {"start": "2026-01-01T10:00:00Z"},
                "target": {"hostRef": {"name": "srv01"}},
            },
            "status": {"conditions": [{
                "type": "Ready", "status": "False", "reason": reason, "message": "",
                "lastTransitionTime": "2026-01-01T10:00:00Z",
            }]},
        }))
    }

    #[test]
    fn who_waits_for_a_calendar_to_be_mended_is_looked_at_when_one_changes() {
        let calendar: Guarded<HostCalendar> = guarded(json!({
            "apiVersion": "harbormaster.dev/v1",
            "kind": "HostCalendar",
            "metadata": {"name": "srv01", "namespace": "metal3"},
            "spec": {},
            "status": {"until": "2026-01-01T10:00:00.1234567890Z"},
        }));
        assert!(calendar.0.is_err());
        for (reason, is_meant) in [("Unreadable", true), ("HostNotFound", false)] {
            let (store, mut writer) = reflector::store::<DeserializeGuard<Reservation>>();
            writer.apply_watcher_event(&Event::Apply(waiting(reason)));
            assert_eq!(
                !in_calendar(&store, &calendar).is_empty(),
                is_meant,
                "{reason}"
            );
        }
    }

    #[test]
    fn who_only_waits_for_its_time_is_looked_at_when_a_host_can_be_lent_no_more_and_not_else() {
        let host = |change: Value| -> Guarded<BareMetalHost> {
            let mut host = json!({
                "apiVersion": "metal3.io/v1alpha1",
                "kind": "BareMetalHost",
                "metadata": {"name": "srv01", "namespace": "metal3", "uid": "1"},
                "spec": {"online": false},
            });
            json_patch::merge(&mut host, &change);
            guarded(host)
        };
        let wakes = |reason: &str| {
            let (store, mut writer) = reflector::store::<DeserializeGuard<Reservation>>();
            writer.apply_watcher_event(&Event::Apply(waiting(reason)));
            let known = Known::default();
            let changes = [
                json!({}),
                json!({"spec": {"online": true}}),
                json!({"spec": {"automatedCleaningMode": "disabled"}}),
                json!({"metadata": {"labels": {"a": "b"}}}),
                json!({"metadata": {"labels": {"a": "b"}}, "spec": {"online": true}}),
                json!({"metadata": {"uid": "2"}}),
                json!({"metadata": {"uid": "2", "deletionTimestamp": "2026-01-01T10:00:00Z"}}),
                json!({"metadata": {"uid": "2", "deletionTimestamp": "2026-01-01T10:00:00Z"}}),
                json!({"status": {"operationHistory": "none"}}),
            ];
            changes.map(|change| !concerned(&store, &host(change), &known).is_empty())
        };
        assert_eq!(
            wakes("Scheduled"),
            [true, false, true, true, false, true, true, true, true]
        );
        assert_eq!(wakes("HostBusy"), [true; 9]);
    }
}
