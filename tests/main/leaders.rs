//! Two real replicas of the program, of which one reconciles.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use harbormaster::api::v1::Phase;
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Api, api::DeleteParams};
use xtask::stage::{Cast, Stage, Way};

use crate::stage::{
    OWN_CONTROL_PLANE, flat, install_crypto, new_host, post_signed, program, reaches, until,
};

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_goes_the_other_replica_goes_on_with_what_was_begun() {
    let _turn = OWN_CONTROL_PLANE.lock().await;
    install_crypto();
    let mut stage = Stage::set(program(), Cast::Simulator, Way::Url)
        .await
        .unwrap();
    new_host(&stage, "led").await;
    let first = leader(&stage).await;
    let second = stage.replica().await.unwrap();

    // Told to go, in the midst of it: it gives the Lease back, and the other one begins.
    post_signed(&stage, &flat("EVENT_START", "601", "led")).await;
    let begun = Instant::now();
    signal(first.pid, "TERM");
    let second_leads = next_leader(&stage, &first).await;
    let handed_over = begun.elapsed();
    assert!(second.log().contains(&second_leads.identity));
    reaches(&stage, "portal-601", Phase::Active).await;

    // Killed: nobody gives the Lease back, and it has to run out.
    stage.restart_program().await.unwrap();
    post_signed(&stage, &flat("EVENT_END", "601", "led")).await;
    let begun = Instant::now();
    signal(second_leads.pid, "KILL");
    let third = next_leader(&stage, &second_leads).await;
    let taken_over = begun.elapsed();
    assert!(stage.serve_log().contains(&third.identity));
    reaches(&stage, "portal-601", Phase::Released).await;
    assert_eq!(transitions(&stage).await, 2);
    tell(&format!(
        "another replica leads {} ms after the leader's SIGTERM, {} ms after its SIGKILL",
        handed_over.as_millis(),
        taken_over.as_millis(),
    ));
    // One that was killed can't have given its Lease back, and one that was told to has.
    assert!(taken_over > Duration::from_secs(10), "{taken_over:?}");
    assert!(handed_over < Duration::from_secs(10), "{handed_over:?}");
    stage.strike().await.unwrap();
}

/// Who holds the Lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Leader {
    identity: String,
    pub(crate) pid: u32,
}

/// Who leads, once somebody does.
pub(crate) async fn leader(stage: &Stage) -> Leader {
    let leases = leases(stage);
    until("somebody to lead", async || {
        let lease = leases.get_opt("harbormaster").await.unwrap()?;
        let identity = lease.spec?.holder_identity?;
        // Host, process and start, as the program names itself.
        let pid = identity.rsplit('_').nth(1)?.parse().ok()?;
        Some(Leader { identity, pid })
    })
    .await
}

async fn next_leader(stage: &Stage, before: &Leader) -> Leader {
    until("another replica to lead", async || {
        let now = leader(stage).await;
        (now != *before).then_some(now)
    })
    .await
}

/// As if it had run out.
pub(crate) async fn forget_the_lease(stage: &Stage) {
    let params = DeleteParams::default();
    leases(stage).delete("harbormaster", &params).await.unwrap();
}

/// Sends a signal to a process of ours.
pub(crate) fn signal(pid: u32, signal: &str) {
    let sent = Command::new("kill")
        .args([&format!("-{signal}"), &pid.to_string()])
        .status();
    assert!(sent.unwrap().success(), "SIG{signal} to {pid}");
}

async fn transitions(stage: &Stage) -> i32 {
    let lease = leases(stage).get("harbormaster").await.unwrap();
    lease.spec.unwrap().lease_transitions.unwrap()
}

fn leases(stage: &Stage) -> Api<Lease> {
    Api::namespaced(stage.control_plane().client(), "harbormaster-system")
}

#[expect(clippy::print_stdout, reason = "figures that are worth a look")]
fn tell(figures: &str) {
    println!("{figures}");
}
