//! The story: a booking begins, is lived in, is defended, and ends; and the next one, on the
//! same host and with the same image, gets a disk and keys of its own.

use anyhow::bail;
use jiff::{SignedDuration, Timestamp};
use xtask::{
    stage::{HOST, Stage},
    tool::say,
};

pub(crate) async fn tell(stage: &Stage) -> anyhow::Result<()> {
    let now = Timestamp::now();
    // Back to back, and the portal's START comes up to five minutes early.
    let change = now.checked_add(SignedDuration::from_mins(4))?;
    let mario = Booking {
        id: 101,
        user: "mario.rossi",
        key: MARIOS_KEY,
        start: now.checked_sub(SignedDuration::from_hours(1))?,
        end: change,
    };
    let luigi = Booking {
        id: 102,
        user: "luigi.verdi",
        key: LUIGIS_KEY,
        start: change,
        end: change.checked_add(SignedDuration::from_hours(2))?,
    };

    say("\n1. A booking's time has come: the portal's event processor posts a signed START.");
    let answer = stage.shell(&mario.event("EVENT_START")).await?;
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
    let hosts = stage.shell("kubectl get bmh").await?;
    expect(&hosts, "provisioned")?;
    let first = imaged(stage).await?;
    expect(&user_data(stage, &mario).await?, mario.key)?;

    say("\n4. Somebody else tries to put another image on it.");
    let refusal = stage
        .shell_refused(&format!(
            "kubectl --as luigi patch bmh {HOST} --type merge \
             -p '{{\"spec\":{{\"image\":{{\"url\":\"http://images.example.com/mine.qcow2\"}}}}}}'"
        ))
        .await?;
    expect(&refusal, "held by Reservation portal-101")?;

    say("\n5. The next booking of the same host, with the same image: it waits.");
    stage.shell(&luigi.event("EVENT_START")).await?;
    stage.await_reason("portal-102", "Scheduled").await?;
    stage.shell("kubectl get rsv,hcal").await?;

    say(
        "\n6. The first one's time is over: the disk is wiped, the key goes, the host changes hands.",
    );
    let answer = stage.shell(&mario.event("EVENT_END")).await?;
    expect(&answer, "Deprovisioning initiated for restart-srv01")?;
    stage.await_phase("portal-101", "Released").await?;
    stage.await_phase("portal-102", "Active").await?;
    stage.shell("kubectl get rsv,hcal").await?;
    let second = imaged(stage).await?;
    if image_of(&first) != image_of(&second) || first == second {
        bail!("the same image was to be written anew");
    }
    let data = user_data(stage, &luigi).await?;
    expect(&data, luigi.key)?;
    if data.contains(mario.key) {
        bail!("the first user's key is still there");
    }
    gone(stage, &mario).await?;

    say("\n7. The first one's END comes once more, late: it is no business of the second's.");
    stage.shell(&mario.event("EVENT_END")).await?;
    if imaged(stage).await? != second {
        bail!("the second user's disk was touched");
    }

    say("\n8. The second one's END: the host is clean and free.");
    stage.shell(&luigi.event("EVENT_END")).await?;
    stage.await_phase("portal-102", "Released").await?;
    let host = stage
        .shell(&format!(
            "kubectl get bmh {HOST} -o jsonpath='{{.status.provisioning.state}} \
             image={{.spec.image.url}} consumer={{.spec.consumerRef.name}}{{\"\\n\"}}'"
        ))
        .await?;
    expect(&host, "available image= consumer=\n")?;
    gone(stage, &luigi).await?;
    stage.shell("kubectl get rsv -o wide").await?;
    Ok(())
}

struct Booking {
    id: u32,
    user: &'static str,
    key: &'static str,
    start: Timestamp,
    end: Timestamp,
}

impl Booking {
    fn event(&self, event_type: &str) -> String {
        let Self {
            id,
            user,
            key,
            start,
            end,
        } = self;
        format!(
            "harbormaster send-event --type {event_type} --resource {HOST} --event-id {id} \
             --start {start} --end {end} --username {user} --ssh-key '{key}'"
        )
    }

    fn secret(&self) -> String {
        format!("portal-{}-userdata", self.id)
    }
}

/// Which image is on the disk, and since when.
async fn imaged(stage: &Stage) -> anyhow::Result<String> {
    let line = format!(
        "kubectl get bmh {HOST} -o jsonpath='{{.status.provisioning.image.url}} \
         since {{.status.operationHistory.provision.end}}{{\"\\n\"}}'"
    );
    stage.shell(&line).await
}

fn image_of(imaged: &str) -> Option<&str> {
    imaged.split(' ').next()
}

async fn user_data(stage: &Stage, booking: &Booking) -> anyhow::Result<String> {
    let secret = booking.secret();
    let line = format!("kubectl get secret {secret} -o jsonpath='{{.data.userData}}' | base64 -d");
    stage.shell(&line).await
}

async fn gone(stage: &Stage, booking: &Booking) -> anyhow::Result<()> {
    let line = format!("kubectl get secret {} --ignore-not-found", booking.secret());
    if stage.shell(&line).await?.trim().is_empty() {
        return Ok(());
    }
    bail!("the user-data Secret is still there");
}

fn expect(output: &str, what: &str) -> anyhow::Result<()> {
    if output.contains(what) {
        return Ok(());
    }
    bail!("expected to see {what:?} there");
}

const MARIOS_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGhhcmJvcm1hc3Rlci1kZW1vLWtleS1ub3QtcmVhbA mario@laptop";

const LUIGIS_KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGhhcmJvcm1hc3Rlci1kZW1vLWtleS10d28tbm90LXI luigi@laptop";
