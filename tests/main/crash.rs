//! What was answered is kept: through `kill -9` at any instant, and while the API server is
//! away.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use harbormaster::api::v1::{DesiredState, Reservation};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::json;
use tokio::sync::Mutex;
use xtask::stage::{Cast, HOST, SECRET, Stage, USER, Way};

use crate::{
    own::{Own, Settings, nowhere},
    stage::{
        OWN_CONTROL_PLANE, flat, install_crypto, post, program, reservations, scrape, shared, until,
    },
};
use harbormaster::events::signature::sign;

/// What senders saw of each event: whether its 200 came.
type Sent = Arc<Mutex<BTreeMap<u32, bool>>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_answered_is_recorded_once_however_often_the_program_is_killed() {
    let client = shared().control_plane().client();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = serde_json::from_value(json!({"metadata": {"name": "crash"}})).unwrap();
    namespaces
        .create(&PostParams::default(), &namespace)
        .await
        .unwrap();
    let reservations: Api<Reservation> = Api::namespaced(client, "crash");
    let folder = tempfile::tempdir().unwrap();
    let nowhere = nowhere(folder.path());
    // As the program of the stage: what anybody else writes is judged as if made by hand.
    let kubeconfig = shared()
        .control_plane()
        .kubeconfig_for(USER, &["system:masters"])
        .unwrap();
    let settings = |is_away: bool| Settings {
        kubeconfig: if is_away { &nowhere } else { &kubeconfig },
        namespace: "crash",
        folder: folder.path(),
        more: &[],
    };

    let sent = Sent::default();
    let (mut started, mut longest) = (Duration::ZERO, Duration::ZERO);
    for round in 0..KILLS {
        // Half of them into the spool alone, half against the API server while the spool is
        // being emptied.
        let begun = Instant::now();
        let is_away = round % 2 == 0;
        let own = Own::start(&settings(is_away));
        started += begun.elapsed();
        longest = longest.max(begun.elapsed());
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (door, sent) = (own.sender(), Arc::clone(&sent));
                tokio::spawn(async move {
                    for number in 0..EACH {
                        let id = (round * SENDERS + sender) * EACH + number;
                        sent.lock().await.insert(id, false);
                        let answer = door.post(&event(id)).await;
                        let Some((status, body)) = answer else { return };
                        assert_eq!(status, 200, "{body}");
                        sent.lock().await.insert(id, true);
                    }
                })
            })
            .collect();
        // Spread over the time that the senders take, which the API server makes longer.
        let step = if is_away { 150 } else { 700 };
        tokio::time::sleep(Duration::from_micros(u64::from(round * 79 % 97) * step)).await;
        own.kill();
        for ended in join_all(senders).await {
            ended.unwrap();
        }
    }

    let own = Own::start(&settings(false));
    until("the spool to be empty", async || {
        let (_, text) = own.scrape("/metrics").await;
        text.contains("harbormaster_spooled_events 0\n")
            .then_some(())
    })
    .await;
    let all = reservations.list(&Default::default()).await.unwrap().items;
    let recorded: BTreeMap<_, _> = all.iter().map(|it| (it.name_any(), it)).collect();
    let sent = sent.lock().await;
    let names: BTreeSet<_> = sent.keys().map(|id| format!("portal-{id}")).collect();
    let answered = sent.values().filter(|answered| **answered).count();
    for (id, answered) in &*sent {
        match recorded.get(&format!("portal-{id}")) {
            Some(reservation) => {
                assert_eq!(reservation.desired_state(), DesiredState::Active);
                assert_eq!(reservation.authorized_keys().len(), 1);
            }
            None => assert!(!answered, "event {id} was answered and is lost"),
        }
    }
    for name in recorded.keys() {
        assert!(
            names.contains(name),
            "{name} was recorded twice, or never sent"
        );
    }
    tell(&format!(
        "{KILLS} kills, {} events sent, {answered} answered 200, {} recorded; start to listening \
         {} ms on average, {} ms at most",
        sent.len(),
        recorded.len(),
        (started / KILLS).as_millis(),
        longest.as_millis(),
    ));
    assert!(answered > 100, "too few events were in flight: {answered}");
}

/// A booking of tomorrow, on a machine that no host is.
fn event(id: u32) -> serde_json::Value {
    let mut event = flat(
        "EVENT_START",
        &id.to_string(),
        &format!("nowhere-{}", id % 7),
    );
    let tomorrow = |hours| {
        let span = jiff::SignedDuration::from_hours(hours);
        jiff::Timestamp::now()
            .checked_add(span)
            .unwrap()
            .to_string()
    };
    event["eventStart"] = json!(tomorrow(24));
    event["eventEnd"] = json!(tomorrow(26));
    event
}

#[tokio::test]
async fn while_the_api_server_is_away_events_are_answered_and_afterwards_recorded_in_order() {
    let _only_one = OWN_CONTROL_PLANE.lock().await;
    install_crypto();
    let stage = Stage::set(program(), Cast::Simulator, Way::Url)
        .await
        .unwrap();
    let control_plane = stage.control_plane();
    calendar_until(&stage, |page| !page.contains("API server")).await;
    control_plane.stop_api_server().await.unwrap();

    // The minimal shape: what becomes of it depends on the order alone.
    let mut slowest = Duration::ZERO;
    for step in 0..5 {
        let event_type = if step % 2 == 0 {
            "EVENT_START"
        } else {
            "EVENT_END"
        };
        for host in 0..10 {
            let event = json!({"eventType": event_type, "resourceName": format!("away-{host}")});
            let body = event.to_string();
            let begun = Instant::now();
            let answer = post(&stage, &body, Some(&sign(SECRET, body.as_bytes()))).await;
            slowest = slowest.max(begun.elapsed());
            assert_eq!(
                (answer.status, &answer.body["status"]),
                (200, &json!("success"))
            );
        }
        // Each START of a host begins at another second, which is what it is known by.
        tokio::time::sleep(Duration::from_millis(1100)).await;
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    let metrics = scrape(&stage, "/metrics").await;
    assert!(
        metrics.contains("harbormaster_spooled_events 50\n"),
        "{metrics}"
    );
    calendar_until(&stage, |page| {
        page.contains("can’t be watched") && page.contains(HOST)
    })
    .await;
    control_plane.start_api_server().await.unwrap();

    until("the spool to be empty", async || {
        let metrics = scrape(&stage, "/metrics").await;
        metrics
            .contains("harbormaster_spooled_events 0\n")
            .then_some(())
    })
    .await;
    let all = reservations(&stage)
        .list(&Default::default())
        .await
        .unwrap();
    let states: BTreeMap<_, _> = all
        .iter()
        .map(|object| (object.name_any(), object.desired_state()))
        .collect();
    let expected = (0..10).flat_map(|host| {
        let name = format!("host-away-{host}");
        [
            (name.clone(), DesiredState::Released),
            (format!("{name}.2"), DesiredState::Released),
            (format!("{name}.3"), DesiredState::Active),
        ]
    });
    assert_eq!(states, expected.collect());
    calendar_until(&stage, |page| {
        !page.contains("API server") && page.contains("host-away-9.3")
    })
    .await;
    tell(&format!(
        "50 events while the API server was away, the slowest answer {} ms",
        slowest.as_millis()
    ));
    stage.strike().await.unwrap();
}

/// What people see is as old as it says.
async fn calendar_until(stage: &Stage, is_so: impl Fn(&str) -> bool) {
    until("the calendar to say so", async || {
        is_so(&scrape(stage, "/calendar").await).then_some(())
    })
    .await;
}

#[expect(clippy::print_stdout, reason = "figures that are worth a look")]
fn tell(figures: &str) {
    println!("{figures}");
}

const KILLS: u32 = 200;

const SENDERS: u32 = 4;

/// Few enough that recording them all takes seconds.
const EACH: u32 = 3;
