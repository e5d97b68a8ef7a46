//! The story: a booking begins, is lived in, is defended, and ends.

use anyhow::bail;
use jiff::{SignedDuration, Timestamp};
use xtask::{
    stage::{HOST, Stage},
    tool::say,
};

pub(crate) async fn tell(stage: &Stage) -> anyhow::Result<()> {
    let start = Timestamp::now();
    let end = start.checked_add(SignedDuration::from_hours(2))?;
    let event = |event_type: &str| {
        format!(
            "harbormaster send-event --type {event_type} --resource {HOST} --event-id 101 \
             --start {start} --end {end} --username mario.rossi --ssh-key '{KEY}'"
        )
    };

    say("\n1. A booking's time has come: the portal's event processor posts a signed START.");
    let answer = stage.shell(&event("EVENT_START")).await?;
    expect(&answer, "Provisioning initiated for restart-srv01")?;

    say("\n2. It is recorded as a Reservation, which can be read in each of its versions.");
    let hub = stage
        .shell("kubectl get reservations.v1.harbormaster.dev portal-101 -o jsonpath='{.spec.access}{\"\\n\"}'")
        .await?;
    expect(&hub, "authorizedKeys")?;
    let spoke = stage
        .shell("kubectl get reservations.v1alpha1.harbormaster.dev portal-101 -o jsonpath='{.spec.sshPublicKey}{\"\\n\"}'")
        .await?;
    expect(&spoke, "ssh-ed25519")?;

    say("\n3. The host is claimed, imaged, and ready for its user.");
    stage.await_phase("portal-101", "Active").await?;
    stage.shell("kubectl get rsv").await?;
    let hosts = stage.shell("kubectl get bmh").await?;
    expect(&hosts, "provisioned")?;
    let user_data = stage
        .shell("kubectl get secret portal-101-userdata -o jsonpath='{.data.userData}' | base64 -d")
        .await?;
    expect(&user_data, KEY)?;

    say("\n4. Somebody else tries to put another image on it.");
    let refusal = stage
        .shell_refused(&format!(
            "kubectl --as luigi patch bmh {HOST} --type merge \
             -p '{{\"spec\":{{\"image\":{{\"url\":\"http://images.example.com/mine.qcow2\"}}}}}}'"
        ))
        .await?;
    expect(&refusal, "held by Reservation portal-101")?;

    say("\n5. The booking's time is over: the signed END arrives.");
    let answer = stage.shell(&event("EVENT_END")).await?;
    expect(&answer, "Deprovisioning initiated for restart-srv01")?;

    say("\n6. The disk is wiped, the key is gone, and the host is free again.");
    stage.await_phase("portal-101", "Released").await?;
    let host = stage
        .shell(&format!(
            "kubectl get bmh {HOST} -o jsonpath='{{.status.provisioning.state}} \
             image={{.spec.image.url}} consumer={{.spec.consumerRef.name}}{{\"\\n\"}}'"
        ))
        .await?;
    expect(&host, "available image= consumer=\n")?;
    let secret = stage
        .shell("kubectl get secret portal-101-userdata --ignore-not-found")
        .await?;
    if !secret.trim().is_empty() {
        bail!("the user-data Secret is still there");
    }
    stage.shell("kubectl get rsv -o wide").await?;
    Ok(())
}

fn expect(output: &str, what: &str) -> anyhow::Result<()> {
    if output.contains(what) {
        return Ok(());
    }
    bail!("expected to see {what:?} there");
}

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGhhcmJvcm1hc3Rlci1kZW1vLWtleS1ub3QtcmVhbA mario@laptop";
