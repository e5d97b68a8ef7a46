//! What the portal is told, by a run of the program of its own, and a portal that is slow,
//! failing and picky.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
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
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::PostParams};
use kube_webhook::Server;
use metal3::{BareMetalHost, simulator::Simulator};
use serde_json::{Value, json};
use xtask::stage::{SECRET, USER};

use crate::{
    own::{Own, Settings},
    stage::{flat, install_crypto, shared, until},
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

/// A namespace with what plays the operator in it, and a program that is told where a portal
/// is.
struct Site {
    namespace: &'static str,
    kubeconfig: PathBuf,
    folder: tempfile::TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Site {
    async fn new(namespace: &'static str, portal: &str) -> Self {
        let control_plane = shared().control_plane();
        let client = control_plane.client();
        let namespaces: Api<Namespace> = Api::all(client.clone());
        let object = serde_json::from_value(json!({"metadata": {"name": namespace}})).unwrap();
        namespaces
            .create(&PostParams::default(), &object)
            .await
            .unwrap();
        let simulator = Simulator::new(client, namespace);
        tokio::spawn(simulator.run(std::future::pending()));
        let folder = tempfile::tempdir().unwrap();
        let secrets = folder.path().join("secrets");
        std::fs::create_dir(&secrets).unwrap();
        std::fs::write(secrets.join("7"), format!("{SECRET}\n")).unwrap();
        std::fs::write(secrets.join("other"), "another secret").unwrap();
        let settings = vec![
            ("WEBHOOK_SECRET", String::new()),
            ("WEBHOOK_SECRETS_DIR", secrets.to_str().unwrap().to_owned()),
            (
                "PROVISION_IMAGE",
                "https://images.example.com/noble.qcow2".to_owned(),
            ),
            (
                "PROVISION_CHECKSUM",
                "https://images.example.com/noble.sha256".to_owned(),
            ),
            ("NOTIFICATION_ENDPOINT", format!("{portal}/notifications")),
            ("NOTIFICATION_TIMEOUT", "1".to_owned()),
            ("WEBHOOK_LOG_ENDPOINT", format!("{portal}/log")),
            ("WEBHOOK_LOG_TIMEOUT", "1s".to_owned()),
        ];
        Self {
            namespace,
            kubeconfig: control_plane
                .kubeconfig_for(USER, &["system:masters"])
                .unwrap(),
            folder,
            settings,
        }
    }

    fn run(&self, more: &[(&str, &str)]) -> Own {
        let settings = self
            .settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()));
        let settings: Vec<_> = settings.chain(more.iter().copied()).collect();
        Own::start(&Settings {
            kubeconfig: &self.kubeconfig,
            namespace: self.namespace,
            folder: self.folder.path(),
            more: &settings,
        })
    }

    async fn host(&self, name: &str) {
        let client = shared().control_plane().client();
        let hosts: Api<BareMetalHost> =
            Api::namespaced_with(client, self.namespace, &BareMetalHost::resource());
        let host = serde_json::from_value(json!({
            "apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost",
            "metadata": {"name": name},
            "spec": {"online": false, "bootMACAddress": "02:00:00:00:01:01", "bmc":
                {"address": "redfish://192.0.2.9/redfish/v1/Systems/1", "credentialsName": "bmc"}},
        }));
        hosts
            .create(&PostParams::default(), &host.unwrap())
            .await
            .unwrap();
    }

    async fn reservation_until(
        &self,
        name: &str,
        what: &str,
        is_so: impl Fn(&Reservation) -> bool,
    ) -> Reservation {
        let reservations: Api<Reservation> =
            Api::namespaced(shared().control_plane().client(), self.namespace);
        until(&format!("{name} {what}"), async || {
            let reservation = reservations.get_opt(name).await.unwrap()?;
            is_so(&reservation).then_some(reservation)
        })
        .await
    }

    fn log(&self) -> String {
        read(&self.folder.path().join("log"))
    }
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}

fn notified(reservation: &Reservation) -> Option<(&str, &str)> {
    let status = reservation.status.as_ref()?;
    let told = status.conditions.iter().find(|it| it.type_ == "Notified")?;
    Some((&told.status, &told.reason))
}

fn is_in(phase: Phase) -> impl Fn(&Reservation) -> bool {
    move |reservation| reservation.status.as_ref().and_then(|status| status.phase) == Some(phase)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_portal_that_fails_hangs_and_sees_us_killed_is_told_in_the_end_of_each_step_once() {
    let portal = Portal::default();
    let site = Site::new("callbacks", &portal.open()).await;
    site.host("srv").await;
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
    let site = Site::new("callbacks-failed", &portal.open()).await;
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
