//! The events of one booking, in every order.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use proptest::prelude::*;

use super::*;

/// What the portal says of the booking at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Version {
    day: u8,
    host: u8,
    revision: i64,
}

#[derive(Clone, Copy, Debug)]
enum Sent {
    Changed(Version),
    Deleted(Version),
    End(Version),
    Start(Version),
}

fn told(sent: Sent) -> Intent {
    let (Sent::Changed(version)
    | Sent::Deleted(version)
    | Sent::End(version)
    | Sent::Start(version)) = sent;
    let start = format!("2025-07-{:02}T15:20:00Z", version.day + 1);
    let end = format!("2025-07-{:02}T17:20:00Z", version.day + 1);
    let time = |text: &str| EventTime::from_json(&text.into());
    let window = BookedWindow {
        start: start.parse().unwrap(),
        end: Some(end.parse().unwrap()),
    };
    let by_processor = matches!(sent, Sent::End(_) | Sent::Start(_));
    let booking = Box::new(Booking {
        event_id: Some("101".to_owned()),
        revision: Some(Timestamp::from_second(version.revision).unwrap()),
        user_id: Some("1".to_owned()),
        ssh_public_key: by_processor.then(|| "ssh-ed25519 AAAA mario".to_owned()),
        start: time(&start),
        end: time(&end),
        resource_name: format!("srv{}", version.host),
        resource_id: Some(version.host.into()),
        ..Booking::default()
    });
    match sent {
        Sent::Changed(_) => Intent::Schedule { booking, window },
        Sent::Deleted(_) => Intent::Delete { booking, window },
        Sent::End(_) => Intent::End { booking, window },
        Sent::Start(_) => Intent::Begin { booking, window },
    }
}

/// A booking's life: its versions, at which of them its START was sent, how it ended; and
/// an order in which its events come, each perhaps twice, with the controller at work in
/// between or not.
#[derive(Clone, Debug)]
struct Life {
    last: Version,
    started: bool,
    over: bool,
    arrivals: Vec<(Sent, bool)>,
}

fn life() -> impl Strategy<Value = Life> {
    let versions = prop::collection::vec((0..3_u8, 0..2_u8), 1..5);
    let start = prop::option::of(any::<prop::sample::Index>());
    (versions, start, any::<(bool, bool)>()).prop_flat_map(
        |(mut versions, start, (ended, deleted))| {
            // An end of an earlier time never ends a booking that is still to come: one that is
            // moved to an earlier time is left to the clock in some orders.
            versions.sort_by_key(|(day, _)| *day);
            let versions: Vec<_> = (1..)
                .zip(versions)
                .map(|(number, (day, host))| Version {
                    day,
                    host,
                    revision: number * 10,
                })
                .collect();
            let last = *versions.last().unwrap();
            let at = |version: Version, later| Version {
                revision: version.revision + later,
                ..version
            };
            let mut sent: Vec<_> = versions.iter().copied().map(Sent::Changed).collect();
            sent.extend(start.map(|index| Sent::Start(at(*index.get(&versions), 1))));
            sent.extend(ended.then(|| Sent::End(at(last, 2))));
            sent.extend(deleted.then(|| Sent::Deleted(at(last, 3))));
            let twice = [sent.clone(), sent].concat();
            let length = twice.len();
            let begun = prop::collection::vec(any::<bool>(), length);
            (Just(twice).prop_shuffle(), begun).prop_map(move |(sent, begun)| Life {
                last,
                started: start.is_some(),
                over: ended || deleted,
                arrivals: sent.into_iter().zip(begun).collect(),
            })
        },
    )
}

/// The controller has seen the newest object, and its time had come.
fn begin(objects: &mut [Reservation]) {
    if let Some(newest) = objects.last_mut() {
        let status = newest.status.get_or_insert_default();
        status.begin_time = Some(Time(Timestamp::from_second(1).unwrap()));
    }
}

proptest! {
    #[test]
    fn the_events_of_a_booking_end_the_same_in_any_order(life in life()) {
        let mut objects = Vec::new();
        for (sent, begun) in &life.arrivals {
            while step(&mut objects, &told(*sent)) {}
            if *begun {
                begin(&mut objects);
            }
        }
        let live: Vec<_> = objects.iter().filter(|object| !is_over(object)).collect();
        if life.over {
            prop_assert!(live.is_empty(), "{live:?}");
            return Ok(());
        }
        prop_assert_eq!(live.len(), 1, "{:?}", objects);
        let said = told(Sent::Changed(life.last));
        let (said, wanted) = (said.booking().unwrap(), live[0]);
        prop_assert_eq!(start_of(wanted), said.start.as_ref().unwrap().instant);
        let resource = wanted.spec.resource.as_ref().unwrap();
        prop_assert_eq!(resource.name.as_ref(), Some(&said.resource_name));
        // A key comes with a START alone, and is found wherever the booking went.
        prop_assert_eq!(wanted.authorized_keys().len(), usize::from(life.started));
        if life.started {
            prop_assert_eq!(wanted.desired_state(), DesiredState::Active);
        }
    }

    #[test]
    fn until_it_begins_a_booking_is_the_very_same_object_in_any_order(mut life in life()) {
        life.arrivals.retain(|(sent, _)| matches!(sent, Sent::Changed(_)));
        let objects = life.arrivals.iter().map(|(sent, _)| told(*sent)).collect::<Vec<_>>();
        let objects = after(&objects);
        let only = after(&[told(Sent::Changed(life.last))]);
        prop_assert_eq!(objects, only);
    }

    #[test]
    fn what_the_portal_deleted_is_never_revived(life in life()) {
        let mut objects = after(&[told(Sent::Deleted(life.last))]);
        for (sent, _) in &life.arrivals {
            while step(&mut objects, &told(*sent)) {}
        }
        prop_assert_eq!(objects.len(), 1);
        prop_assert!(is_over(&objects[0]));
    }
}

fn start_of(object: &Reservation) -> Option<Timestamp> {
    super::super::start(object)
}
