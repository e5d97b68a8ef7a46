//! What the portal is told, by a run of the program of its own, and a portal that is slow,
//! failing and picky.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use harbormaster::{
    api::v1::{Phase, Reservation},
    events::signature::sign,
};
use kube_webhook::Server;
use serde_json::{Value, json};
use xtask::stage::SECRET;

use crate::{
    site::Site,
    stage::{flat, install_crypto, is_in},
};

/// A portal: what it was told at which path, and what it answers there.
#[derive(Clone, Default)]
struct Portal(Arc<Mutex<Desk>>);

#[derive(Default)]
struct Desk {
    calls: Vec<Call>,
    /// What is answered next, at `/log` and `/notifications`; then 200.
    answers: [Vec<u16>; 2],
}

#[derive(Clone, Debug)]
struct Call {
    path: &'static str,
    answer: u16,
    is_signed: bool,
    body: Value,
    text: String,
}

impl Portal {
    /// Opens it; the base of its addresses.
    fn open(&self) -> String {
        install_crypto();
        let router = Router::new()
            .route("/log", post(log))
            .route("/notifications", post(notification))
            .with_state(self.clone());
        let server = Server::bind_plain((Ipv4Addr::LOCALHOST, 0).into(), router).unwrap();
        let base = format!("http://{}", server.local_addr());
        tokio::spawn(server.serve(std::future::pending()));
        base
    }

    fn answer(&self, log: &[u16], notifications: &[u16]) {
        let mut desk = self.0.lock().unwrap();
        desk.answers = [log, notifications].map(|codes| codes.iter().rev().copied().collect());
    }

    async fn take(
        &self,
        path: &'static str,
        headers: &HeaderMap,
        body: &Bytes,
    ) -> (StatusCode, &'static str) {
        let answer = {
            let mut desk = self.0.lock().unwrap();
            let answer = desk.answers[usize::from(path != "/log")].pop();
            let answer = answer.unwrap_or(200);
            desk.calls.push(Call {
                path,
                answer,
                is_signed: headers["x-webhook-signature"] == sign(SECRET, body),
                body: serde_json::from_slice(body).unwrap(),
                text: String::from_utf8(body.to_vec()).unwrap(),
            });
            answer
        };
        if answer == HANGS {
            std::future::pending::<()>().await;
        }
        // As the real one's log does: nobody may keep this.
        (
            StatusCode::from_u16(answer).unwrap(),
            "{\"secret\":\"the-portal-s-own\"}",
        )
    }

    fn calls(&self) -> Vec<Call> {
        self.0.lock().unwrap().calls.clone()
    }

    /// What it took, by path: the outcome of each.
    fn taken(&self, path: &str) -> Vec<Value> {
        let calls = self.calls().into_iter();
        let taken = calls.filter(|call| call.path == path && call.answer == 200);
        let field = if path == "/log" {
            "response"
        } else {
            "eventType"
        };
        taken.map(|call| call.body[field].clone()).collect()
    }
}

async fn log(
    State(portal): State<Portal>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    portal.take("/log", &headers, &body).await
}

async fn notification(
    State(portal): State<Portal>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    portal.take("/notifications", &headers, &body).await
}

/// A site whose programs are told where the portal is.
async fn site(namespace: &'static str, portal: &str) -> Site {
    let site = Site::new(namespace).await.simulated();
    let secrets = site.folder.path().join("secrets");
    std::fs::create_dir(&secrets).unwrap();
    std::fs::write(secrets.join("7"), format!("{SECRET}\n")).unwrap();
    std::fs::write(secrets.join("other"), "another secret").unwrap();
    site.with([
        ("WEBHOOK_SECRET", String::new()),
        ("WEBHOOK_SECRETS_DIR", secrets.to_str().unwrap().to_owned()),
        ("NOTIFICATION_ENDPOINT", format!("{portal}/notifications")),
        ("NOTIFICATION_TIMEOUT", "1".to_owned()),
        ("WEBHOOK_LOG_ENDPOINT", format!("{portal}/log")),
        ("WEBHOOK_LOG_TIMEOUT", "1s".to_owned()),
    ])
}

fn notified(reservation: &Reservation) -> Option<(&str, &str)> {
    let status = reservation.status.as_ref()?;
    let told = status.conditions.iter().find(|it| it.type_ == "Notified")?;
    Some((&told.status, &told.reason))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_portal_that_fails_hangs_and_sees_us_killed_is_told_in_the_end_of_each_step_once() {
    let portal = Portal::default();
    let site = site("callbacks", &portal.open()).await;
    site.host("srv", json!({})).await;
    portal.answer(&[503, HANGS, 401], &[500, 429]);
    let own = site.run(&[]);
    let begun = std::time::Instant::now();
    let mut start = flat("EVENT_START", "401", "srv");
    start["email"] = json!("mario.rossi@example.com");
    assert_eq!(own.sender().post(&start).await.unwrap().0, 200);
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "an event waits for no portal"
    );
    let active = |it: &Reservation| notified(it) == Some(("True", "Completed"));
    site.reservation_until("portal-401", "to be told of", active)
        .await;
    assert_eq!(
        portal.taken("/log"),
        ["Provisioning initiated", "Provisioned"]
    );
    assert_eq!(portal.taken("/notifications"), ["PROVISIONING_COMPLETED"]);

    // Killed with news under way: whoever comes next goes on with them.
    portal.answer(&[503; 100], &[]);
    assert_eq!(
        own.sender()
            .post(&flat("EVENT_END", "401", "srv"))
            .await
            .unwrap()
            .0,
        200
    );
    let trying = |it: &Reservation| notified(it) == Some(("False", "Released"));
    site.reservation_until("portal-401", "to be told of in vain", trying)
        .await;
    let first_log = site.log();
    own.kill();
    portal.answer(&[], &[]);
    let own = site.run(&[]);
    let told = |it: &Reservation| notified(it) == Some(("True", "Released"));
    let over = site
        .reservation_until("portal-401", "to be told of at its end", told)
        .await;
    assert!(is_in(Phase::Released)(&over));
    own.terminate();
    assert!(own.ended().success());

    assert_eq!(
        portal.taken("/log"),
        ["Provisioning initiated", "Provisioned", "Deprovisioned"]
    );
    assert_eq!(portal.taken("/notifications"), ["PROVISIONING_COMPLETED"]);
    for call in portal.calls() {
        assert!(call.is_signed, "{call:?}");
        assert_eq!(
            (
                &call.body["webhookId"],
                &call.body["metadata"]["timestamp"].is_string()
            ),
            (&json!(7), &(call.path == "/notifications"))
        );
        for text in ["ssh-", "example.com", "mario", "192.0.2.9", SECRET] {
            assert!(!call.text.contains(text), "{text}: {call:?}");
        }
    }
    let logs = first_log + &site.log();
    assert!(logs.contains("the portal was told"), "{logs}");
    for text in ["the-portal-s-own", "ssh-ed25519", "example.com", SECRET] {
        assert!(!logs.contains(text), "{text} is logged");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_is_told_of_a_failure_and_a_portal_that_refuses_is_not_asked_again() {
    let portal = Portal::default();
    let site = site("callbacks-failed", &portal.open()).await;
    portal.answer(&[], &[400; 9]);
    let own = site.run(&[("PROVISIONING_TIMEOUT", "1s")]);
    assert_eq!(
        own.sender()
            .post(&flat("EVENT_START", "402", "nowhere"))
            .await
            .unwrap()
            .0,
        200
    );
    // Its secret is in no file that is named for it.
    let mut stranger = flat("EVENT_START", "403", "nowhere-else");
    stranger["webhookId"] = json!(8);
    assert_eq!(own.sender().post(&stranger).await.unwrap().0, 200);

    let refused = |it: &Reservation| notified(it) == Some(("False", "FailedRefused"));
    let failed = site
        .reservation_until("portal-402", "to be refused", refused)
        .await;
    assert!(is_in(Phase::Failed)(&failed) || is_in(Phase::Releasing)(&failed));
    let unsigned = |it: &Reservation| notified(it).is_some_and(|(status, _)| status == "False");
    let untold = site
        .reservation_until("portal-403", "not to be told of", unsigned)
        .await;
    let conditions = untold.status.unwrap().conditions;
    let why = conditions.iter().find(|it| it.type_ == "Notified").unwrap();
    assert_eq!(
        why.message,
        "WEBHOOK_SECRETS_DIR has no file named 8 to sign with"
    );

    tokio::time::sleep(Duration::from_secs(3)).await;
    let calls = portal.calls();
    let of_webhook = |id: i64| {
        calls
            .iter()
            .filter(move |call| call.body["webhookId"] == id)
    };
    assert_eq!(of_webhook(8).count(), 0);
    let posted: Vec<_> = of_webhook(7).map(|call| (call.path, call.answer)).collect();
    assert_eq!(
        posted,
        [("/log", 200), ("/log", 200), ("/notifications", 400)]
    );
    let notification = &of_webhook(7).next_back().unwrap().body;
    assert_eq!(notification["type"], "ERROR");
    assert_eq!(notification["eventType"], "PROVISIONING_FAILED");
    assert_eq!(of_webhook(7).nth(1).unwrap().body["success"], false);
}

/// Stands for no answer at all.
const HANGS: u16 = 999;
