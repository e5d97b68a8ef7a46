//! The same life with the real baremetal-operator and its own webhook, whose states, timing
//! and refusals are its own; and what breaks in the midst of it.

use harbormaster::api::v1::{Phase, Reservation};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, api::PostParams};
use metal3::BareMetalHost;
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard, OnceCell};
use xtask::stage::{Cast, Stage, Way};

use crate::{
    leaders::{forget_the_lease, leader, signal},
    stage::{
        KEY, flat, host_until, hosts, install_crypto, named, namespaced, post_signed, program,
        reaches, reservation_until, reservations, reserve,
    },
    tools,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_real_operator_images_and_wipes_a_host_for_two_tenants_in_turn() {
    let Some(stage) = real().await else { return };
    host(&stage, "turn").await;
    post_signed(&stage, &flat("EVENT_START", "501", "turn")).await;
    reaches(&stage, "portal-501", Phase::Active).await;
    // The next one comes while the first is there, with the same image.
    post_signed(&stage, &flat("EVENT_START", "502", "turn")).await;
    post_signed(&stage, &flat("EVENT_END", "501", "turn")).await;
    reaches(&stage, "portal-501", Phase::Released).await;
    reaches(&stage, "portal-502", Phase::Active).await;
    post_signed(&stage, &flat("EVENT_END", "501", "turn")).await;
    let host = hosts(&stage).get("turn").await.unwrap();
    assert_eq!(host.consumer().unwrap().name.as_deref(), Some("portal-502"));
    assert!(host.last_deprovision().unwrap().end.is_some());
    assert!(host.deployed_image_url().is_some());

    post_signed(&stage, &flat("EVENT_END", "502", "turn")).await;
    reaches(&stage, "portal-502", Phase::Released).await;
    is_clean_and_free(&stage, "turn").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_never_comes_is_made_up_for_by_the_clock_when_the_next_ones_time_comes() {
    let Some(stage) = real().await else { return };
    host(&stage, "lost-end").await;
    let handover = in_seconds(12);
    let mut first = flat("EVENT_START", "511", "lost-end");
    first["eventEnd"] = json!(handover.to_string());
    let mut second = flat("EVENT_START", "512", "lost-end");
    second["eventStart"] = json!(handover.to_string());
    post_signed(&stage, &first).await;
    reaches(&stage, "portal-511", Phase::Active).await;
    // Early, as the sender is: the first one is still there, and no END ever comes.
    post_signed(&stage, &second).await;
    let second = reaches(&stage, "portal-512", Phase::Active).await;
    let first = reservations(&stage).get("portal-511").await.unwrap();
    let (first, second) = (first.status.unwrap(), second.status.unwrap());
    assert_eq!(first.phase, Some(Phase::Released));
    let released = first.released_time.unwrap().0;
    assert!(first.release_time.unwrap().0 >= handover);
    assert!(second.claim_time.unwrap().0 >= released);

    let host = hosts(&stage).get("lost-end").await.unwrap();
    assert_eq!(host.consumer().unwrap().name.as_deref(), Some("portal-512"));
    let imaged = host.last_provision().unwrap().end.clone().unwrap().0;
    let wiped = host.last_deprovision().unwrap().start.clone().unwrap().0;
    assert!(imaged >= wiped, "the disk was imaged after it was wiped");
    let secrets: Api<Secret> = namespaced(&stage);
    let left = secrets.get_opt("portal-511-userdata").await.unwrap();
    assert!(left.is_none());
    post_signed(&stage, &flat("EVENT_END", "512", "lost-end")).await;
    reaches(&stage, "portal-512", Phase::Released).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_restarts_midway_only_delays_what_was_begun() {
    let Some(stage) = real().await else { return };
    host(&stage, "restarted").await;
    let restart = async || {
        let control_plane = stage.control_plane();
        control_plane.stop_api_server().await.unwrap();
        control_plane.start_api_server().await.unwrap();
    };
    post_signed(&stage, &flat("EVENT_START", "521", "restarted")).await;
    restart().await;
    reaches(&stage, "portal-521", Phase::Active).await;
    post_signed(&stage, &flat("EVENT_END", "521", "restarted")).await;
    restart().await;
    reaches(&stage, "portal-521", Phase::Released).await;
    is_clean_and_free(&stage, "restarted").await;
    // Watches that were lost are there again.
    post_signed(&stage, &flat("EVENT_START", "522", "restarted")).await;
    reaches(&stage, "portal-522", Phase::Active).await;
    post_signed(&stage, &flat("EVENT_END", "522", "restarted")).await;
    reaches(&stage, "portal-522", Phase::Released).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_killed_midway_goes_on_from_what_is_stored() {
    let Some(mut stage) = real().await else {
        return;
    };
    host(&stage, "killed").await;
    // The moments between two of our own writes.
    type Moment = fn(&BareMetalHost) -> bool;
    let recorded: Moment = |_| true;
    let claimed: Moment = |host| host.consumer().is_some();
    let imaged: Moment = |host| host.wanted_image_url().is_some();
    let cleared: Moment = |host| host.wanted_image_url().is_none();
    let moments = [(recorded, recorded), (claimed, cleared), (imaged, recorded)];
    for (round, (on, off)) in (0..).zip(moments) {
        let (id, name) = (format!("53{round}"), format!("portal-53{round}"));
        post_signed(&stage, &flat("EVENT_START", &id, "killed")).await;
        host_until(&stage, "killed", "to be on its way on", on).await;
        kill_and_restart(&mut stage).await;
        reaches(&stage, &name, Phase::Active).await;
        post_signed(&stage, &flat("EVENT_END", &id, "killed")).await;
        host_until(&stage, "killed", "to be on its way off", off).await;
        kill_and_restart(&mut stage).await;
        reaches(&stage, &name, Phase::Released).await;
        is_clean_and_free(&stage, "killed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_fail_are_told_of_given_back_and_never_leave_a_booking_hanging() {
    let Some(stage) = real().await else { return };
    // Names that the operator's demo mode lets get stuck, and what its user is told first.
    let stuck = [
        ("demo-registering", "WaitingForHost"),
        ("demo-registration-error", "WaitingForHost"),
        ("demo-inspecting", "WaitingForHost"),
        ("demo-preparing", "WaitingForHost"),
        ("demo-preparing-error", "WaitingForHost"),
        ("demo-provisioning", "Provisioning"),
        ("demo-validation-error", "ProvisioningFailed"),
    ];
    for (name, _) in stuck {
        create(&stage, name).await;
        let spec = json!({
            "target": {"hostRef": {"name": name}},
            "window": {"start": Timestamp::now().to_string()},
            "access": {"authorizedKeys": [{"key": KEY}]},
            "lifecycle": {"provisionTimeout": "20s"},
        });
        reserve(&stage, name, spec).await;
    }
    for (name, reason) in stuck {
        let told = |it: &Reservation| self::reason(it, "Provisioned") == Some(reason);
        reservation_until(&stage, name, &format!("to say {reason}"), told).await;
    }
    for (name, _) in stuck {
        let failed = reaches(&stage, name, Phase::Failed).await;
        assert_eq!(reason(&failed, "Ready"), Some("DeadlineExceeded"), "{name}");
        let host = hosts(&stage).get(name).await.unwrap();
        assert_eq!(host.consumer(), None, "{name}");
        assert_eq!(host.wanted_image_url(), None, "{name}");
        let secrets: Api<Secret> = namespaced(&stage);
        let secret = secrets.get_opt(&format!("{name}-userdata")).await.unwrap();
        assert!(secret.is_none(), "{name}");
    }
}

/// The stage with the real operator, for one test at a time; or a loud word that the operator
/// is missing. The end of the process takes it down.
async fn real() -> Option<MutexGuard<'static, Stage>> {
    static REAL: OnceCell<Mutex<Stage>> = OnceCell::const_new();
    let tools = tools::folder_with(OPERATOR)?;
    let stage = REAL.get_or_init(async || {
        install_crypto();
        let cast = Cast::Operator {
            program: tools::unpack(&tools, OPERATOR),
            crds: tools.join("metal3/crds"),
        };
        let stage = Stage::set(program(), cast, Way::Url).await;
        Mutex::new(stage.unwrap())
    });
    Some(stage.await.lock().await)
}

/// The leader is killed as the kernel does it, and does not give back its Lease: that another
/// one waits for it to run out is another test's subject.
async fn kill_and_restart(stage: &mut Stage) {
    let pid = leader(stage).await.pid;
    signal(pid, "KILL");
    forget_the_lease(stage).await;
    stage.restart_program().await.unwrap();
}

async fn host(stage: &Stage, name: &str) {
    create(stage, name).await;
    host_until(stage, name, "to be available", BareMetalHost::is_available).await;
}

async fn create(stage: &Stage, name: &str) {
    let secrets: Api<Secret> = namespaced(stage);
    let credentials = Secret {
        metadata: named(&format!("{name}-bmc")),
        string_data: Some(
            [("username", "admin"), ("password", "demo")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        ),
        ..Secret::default()
    };
    let params = PostParams::default();
    secrets.create(&params, &credentials).await.unwrap();
    crate::stage::create_host(stage, name).await;
}

async fn is_clean_and_free(stage: &Stage, name: &str) {
    let host = hosts(stage).get(name).await.unwrap();
    assert!(host.is_available() && host.consumer().is_none());
    assert_eq!(host.wanted_image_url(), None);
    assert_eq!(host.spec.user_data, None);
}

fn reason<'a>(reservation: &'a Reservation, condition: &str) -> Option<&'a str> {
    let conditions = &reservation.status.as_ref()?.conditions;
    let found = conditions.iter().find(|found| found.type_ == condition)?;
    Some(&found.reason)
}

fn in_seconds(seconds: i64) -> Timestamp {
    let span = SignedDuration::from_secs(seconds);
    let whole = Timestamp::from_second(Timestamp::now().as_second()).unwrap();
    whole.checked_add(span).unwrap()
}

const OPERATOR: &str = "metal3/baremetal-operator";
