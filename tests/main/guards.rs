//! The guards of hosts on the real API server, rule by rule; the names are those of the audit
//! log. Who is exempt is in `exempt`, and by which ways people try in `ways`.

#[path = "guards/exempt.rs"]
mod exempt;
#[path = "guards/ways.rs"]
mod ways;

use harbormaster::api::v1::{Phase, Reservation};
use kube::{
    Api, Client, Error,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use metal3::BareMetalHost;
use serde_json::{Value, json};
use xtask::stage::{NAMESPACE, Stage, USER};

use crate::stage::{
    flat, hosts, new_host, post_signed, reaches, reservation_until, reservations, reserve, shared,
    until,
};

pub(crate) fn hosts_as(client: Client) -> Api<BareMetalHost> {
    Api::namespaced_with(client, NAMESPACE, &BareMetalHost::resource())
}

fn hosts_of(stage: &Stage, user: &str) -> Api<BareMetalHost> {
    // Whatever RBAC allows: it is the hooks that are asked.
    let groups = ["system:masters"];
    hosts_as(stage.control_plane().client_as(user, &groups).unwrap())
}

/// A host that somebody has.
pub(crate) async fn held(stage: &Stage, host: &str, event_id: &str) -> Reservation {
    new_host(stage, host).await;
    post_signed(stage, &flat("EVENT_START", event_id, host)).await;
    reaches(stage, &format!("portal-{event_id}"), Phase::Active).await
}

pub(crate) async fn merge(
    hosts: &Api<BareMetalHost>,
    name: &str,
    patch: Value,
) -> Result<BareMetalHost, String> {
    let patched = hosts
        .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await;
    patched.map_err(told)
}

fn told(error: Error) -> String {
    match error {
        Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    }
}

fn rehearsed() -> DeleteParams {
    DeleteParams {
        dry_run: true,
        ..DeleteParams::default()
    }
}

/// Waits until the audit log tells of a write to a host what our hook noted, and how it ended.
async fn noted(stage: &Stage, host: &str, code: u16, note: &str, value: &str) {
    let note = format!("held.baremetalhost.harbormaster.dev/{note}");
    let log = stage.control_plane().audit_log();
    let found = log.wait_for(|event| {
        event.is_about("baremetalhosts", host)
            && event.code() == Some(code)
            && event.annotations.get(&note).map(String::as_str) == Some(value)
    });
    found.await.unwrap();
}

/// H1, H2, H5 and H7.
#[tokio::test]
async fn a_held_host_is_changed_by_nobody_else_not_even_an_administrator() {
    let stage = shared();
    let reservation = held(stage, "guarded", "401").await;
    let control_plane = stage.control_plane();
    let luigi = hosts_as(control_plane.client_as("luigi", &[]).unwrap());
    let admin = hosts(stage);
    let before = admin.get("guarded").await.unwrap();
    for (rule, patch) in [
        ("H1", json!({"spec": {"image": {"url": "http://mine"}}})),
        ("H1", json!({"spec": {"image": null}})),
        ("H1", json!({"spec": {"image": {"url": ""}}})),
        ("H1", json!({"spec": {"customDeploy": {"method": "mine"}}})),
        ("H1", json!({"spec": {"userData": {"name": "mine"}}})),
        ("H1", json!({"spec": {"userData": null}})),
        ("H1", json!({"spec": {"networkData": {"name": "mine"}}})),
        ("H1", json!({"spec": {"metaData": {"name": "mine"}}})),
        ("H2", json!({"spec": {"consumerRef": null}})),
        ("H2", json!({"spec": {"consumerRef": {"name": "mine"}}})),
        (
            "H2",
            json!({"spec": {"consumerRef": {"kind": "Metal3Machine"}}}),
        ),
        (
            "H2",
            json!({"spec": {"consumerRef": {"apiVersion": "x/v1"}}}),
        ),
        (
            "H1,H2",
            json!({"spec": {"consumerRef": null, "image": null}}),
        ),
        ("H5", json!({"spec": {"externallyProvisioned": true}})),
        ("H5", json!({"spec": {"automatedCleaningMode": "disabled"}})),
        (
            "H5",
            json!({"metadata": {"annotations": {"baremetalhost.metal3.io/detached": "{}"}}}),
        ),
        (
            "H7",
            json!({"metadata": {"labels": {"harbormaster.dev/resource-id": "99"}}}),
        ),
        (
            "H7",
            json!({"metadata": {"annotations": {"harbormaster.dev/resource-name": "Server"}}}),
        ),
    ] {
        for hosts in [&luigi, &admin] {
            let refusal = merge(hosts, "guarded", patch.clone()).await.unwrap_err();
            assert!(
                refusal
                    .contains("admission webhook \"held.baremetalhost.harbormaster.dev\" denied")
                    && refusal.contains("held by Reservation portal-401"),
                "{patch}: {refusal}"
            );
        }
        noted(stage, "guarded", 403, "rule", rule).await;
    }
    let host = hosts(stage).get("guarded").await.unwrap();
    assert_eq!(host.spec, before.spec);
    assert_eq!(host.consumer().unwrap().uid, reservation.metadata.uid);
}

/// Not H1: a person who writes the same in other words changes nothing.
#[tokio::test]
async fn what_does_not_touch_a_held_hosts_disk_passes() {
    let stage = shared();
    held(stage, "labelled", "402").await;
    let hosts = hosts(stage);
    for patch in [
        json!({"metadata": {"labels": {"rack": "7"}}}),
        json!({"metadata": {"finalizers": ["example.com/audited"]}}),
        json!({"metadata": {"finalizers": null}}),
        json!({"spec": {"description": "x", "architecture": "x86_64"}}),
        json!({"spec": {"image": {"checksumType": null}}}),
        json!({"spec": {"userData": {"namespace": NAMESPACE}}}),
        json!({"spec": {"automatedCleaningMode": "metadata", "externallyProvisioned": false}}),
        json!({"spec": {"online": true}}),
    ] {
        merge(&hosts, "labelled", patch).await.unwrap();
    }
}

/// H2.
#[tokio::test]
async fn a_claim_can_be_made_by_nobody_else() {
    let stage = shared();
    new_host(stage, "unclaimed").await;
    let claim = json!({"spec": {"consumerRef": {
        "apiVersion": "harbormaster.dev/v1", "kind": "Reservation", "name": "none",
    }}});
    let refusal = merge(&hosts(stage), "unclaimed", claim).await.unwrap_err();
    assert!(refusal.contains("held by Reservation none"), "{refusal}");
    // Another project's kind of the same name is none of our business.
    let foreign = json!({"spec": {"consumerRef": {
        "apiVersion": "scheduling.koordinator.sh/v1alpha1", "kind": "Reservation", "name": "x",
    }}});
    merge(&hosts(stage), "unclaimed", foreign).await.unwrap();
}

/// H3.
#[tokio::test]
async fn not_even_we_take_a_host_from_another_consumer() {
    let stage = shared();
    new_host(stage, "machine").await;
    let (admin, ours) = (hosts(stage), hosts_of(stage, USER));
    let theirs = json!({"spec": {"consumerRef": {
        "apiVersion": "infrastructure.cluster.x-k8s.io/v1beta1", "kind": "Metal3Machine",
        "name": "node-1", "namespace": NAMESPACE,
    }}});
    merge(&admin, "machine", theirs).await.unwrap();
    let claim = |uid: Option<&str>| {
        json!({"spec": {"consumerRef": {
            "apiVersion": "harbormaster.dev/v1", "kind": "Reservation", "name": "mine",
            "uid": uid, "namespace": NAMESPACE,
        }}})
    };
    let refusal = merge(&ours, "machine", claim(Some("1"))).await.unwrap_err();
    assert!(refusal.contains("is Metal3Machine node-1's"), "{refusal}");
    noted(stage, "machine", 403, "rule", "H3").await;

    // Nor does the controller try: it says whose the host is, and waits.
    post_signed(stage, &flat("EVENT_START", "420", "machine")).await;
    reservation_until(stage, "portal-420", "to wait", |reservation| {
        let status = reservation.status.clone().unwrap_or_default();
        let mut conditions = status.conditions.iter();
        conditions.any(|condition| condition.reason == "ClaimedByOther")
    })
    .await;
    let host = admin.get("machine").await.unwrap();
    assert_eq!(host.consumer().unwrap().name.as_deref(), Some("node-1"));
    post_signed(stage, &flat("EVENT_END", "420", "machine")).await;

    // Nor from another Reservation, nor without saying which one it is.
    held(stage, "anothers", "421").await;
    let refusal = merge(&ours, "anothers", claim(Some("1")))
        .await
        .unwrap_err();
    assert!(refusal.contains("Reservation portal-421's"), "{refusal}");
    new_host(stage, "vague").await;
    let refusal = merge(&ours, "vague", claim(None)).await.unwrap_err();
    assert!(
        refusal.contains("without spec.consumerRef.uid"),
        "{refusal}"
    );
}

/// H4, one by one and all at once.
#[tokio::test]
async fn a_held_host_is_deleted_only_by_who_breaks_the_glass() {
    let stage = shared();
    held(stage, "undeletable", "410").await;
    let hosts = hosts(stage);
    let delete = async || {
        let deleted = hosts.delete("undeletable", &DeleteParams::default()).await;
        deleted.map(drop).map_err(told)
    };
    let refusal = delete().await.unwrap_err();
    assert!(
        refusal.contains("held by Reservation portal-410"),
        "{refusal}"
    );
    let label = json!({"metadata": {"labels": {"example.com/rack": "scrapped"}}});
    merge(&hosts, "undeletable", label).await.unwrap();
    let scrapped = ListParams::default().labels("example.com/rack=scrapped");
    let params = DeleteParams::default();
    let deleted = hosts.delete_collection(&params, &scrapped);
    let refusal = told(deleted.await.unwrap_err());
    assert!(
        refusal.contains("held by Reservation portal-410"),
        "{refusal}"
    );
    // Whoever may edit a host can give it an owner that isn't there: that is no way either.
    let collector = "system:serviceaccount:kube-system:generic-garbage-collector";
    let collector = hosts_of(stage, collector);
    let collected = collector.delete("undeletable", &params);
    let refusal = told(collected.await.unwrap_err());
    assert!(
        refusal.contains("held by Reservation portal-410"),
        "{refusal}"
    );
    // A step of its own, and by somebody who may.
    let reason = json!({"metadata": {"annotations": {
        "harbormaster.dev/break-glass": "the rack is being scrapped today",
    }}});
    merge(&hosts, "undeletable", reason).await.unwrap();
    delete().await.unwrap();
    noted(stage, "undeletable", 200, "break-glass-rule", "H4").await;
}

/// H4 and H7 of hosts that are only booked.
#[tokio::test]
async fn a_booked_host_is_neither_deleted_nor_renamed_and_two_hosts_never_bear_one_name() {
    let stage = shared();
    new_host(stage, "booked").await;
    book(stage, "booked-later", "booked", "2199-01-01T00:00:00Z").await;
    let hosts = hosts(stage);
    let rename = json!({"metadata": {"labels": {"harbormaster.dev/resource-id": "4711"}}});
    // The hook's cache may lag behind the calendar for a moment.
    let refusal = until("the hook to know of the booking", async || {
        hosts.delete("booked", &rehearsed()).await.err()
    })
    .await;
    assert!(
        refusal
            .to_string()
            .contains("booked by Reservation booked-later"),
        "{refusal}"
    );
    let refusal = merge(&hosts, "booked", rename.clone()).await.unwrap_err();
    assert!(
        refusal.contains("booked by Reservation booked-later"),
        "{refusal}"
    );
    // Until then it is as free as any.
    let image = json!({"spec": {"image": {"url": "http://mine", "checksum": "x"}}});
    merge(&hosts, "booked", image).await.unwrap();
    merge(&hosts, "booked", json!({"spec": {"image": null}}))
        .await
        .unwrap();

    new_host(stage, "first-twin").await;
    new_host(stage, "second-twin").await;
    merge(&hosts, "first-twin", rename.clone()).await.unwrap();
    let refusal = until("the hook to know of the twin", async || {
        let params = PatchParams {
            dry_run: true,
            ..PatchParams::default()
        };
        let patch = Patch::Merge(&rename);
        hosts.patch("second-twin", &params, &patch).await.err()
    })
    .await;
    assert!(
        refusal.to_string().contains("host first-twin has the same"),
        "{refusal}"
    );

    reservations(stage)
        .delete("booked-later", &DeleteParams::default())
        .await
        .unwrap();
    until("the booking to be gone", async || {
        hosts.delete("booked", &DeleteParams::default()).await.ok()
    })
    .await;
}

/// H1 and H5 of a host whose booking has begun, but which it could not claim yet.
#[tokio::test]
async fn a_host_whose_booking_waits_is_not_used_for_anything_else() {
    let stage = shared();
    new_host(stage, "waited-for").await;
    let hosts = hosts(stage);
    let paused = json!({"metadata": {"annotations": {"baremetalhost.metal3.io/paused": ""}}});
    merge(&hosts, "waited-for", paused).await.unwrap();
    let now = jiff::Timestamp::now().to_string();
    book(stage, "waiting", "waited-for", &now).await;
    let image = json!({"spec": {"online": true, "image": {"url": "http://mine", "checksum": "x"}}});
    let detached = json!({"metadata": {"annotations": {"baremetalhost.metal3.io/detached": "{}"}}});
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    for patch in [image, detached] {
        let refusal = until("the hook to know of the booking", async || {
            let patch = Patch::Merge(&patch);
            hosts.patch("waited-for", &params, &patch).await.err()
        });
        let refusal = told(refusal.await);
        assert!(
            refusal.contains("booked by Reservation waiting"),
            "{refusal}"
        );
    }
    reservations(stage)
        .delete("waiting", &DeleteParams::default())
        .await
        .unwrap();
}

async fn book(stage: &Stage, name: &str, host: &str, start: &str) {
    let spec = json!({
        "target": {"hostRef": {"name": host}},
        "window": {"start": start, "end": "2199-01-02T00:00:00Z"},
    });
    reserve(stage, name, spec).await;
    reservation_until(stage, name, "to be accepted", |reservation| {
        let status = reservation.status.clone().unwrap_or_default();
        let mut conditions = status.conditions.iter();
        conditions.any(|condition| condition.type_ == "Accepted" && condition.status == "True")
    })
    .await;
}

/// H6, and what breaking the glass is worth.
#[tokio::test]
async fn a_broken_glass_counts_for_one_write_and_only_for_those_who_may() {
    let stage = shared();
    held(stage, "glass", "411").await;
    let with = |reason: &str, spec: Value| {
        json!({
            "metadata": {"annotations": {"harbormaster.dev/break-glass": reason}},
            "spec": spec,
        })
    };
    let rescue = || json!({"image": {"url": "http://rescue"}});
    let luigi = hosts_as(stage.control_plane().client_as("luigi", &[]).unwrap());
    let refusal = merge(&luigi, "glass", with("because I can do it", rescue()))
        .await
        .unwrap_err();
    assert!(refusal.contains("held by Reservation"), "{refusal}");
    let admin = hosts(stage);
    let refusal = merge(&admin, "glass", with("short", rescue())).await;
    assert!(refusal.unwrap_err().contains("held by Reservation"));

    let mut off = rescue();
    off["online"] = json!(false);
    let refusal = merge(&admin, "glass", with("the disk must be rescued", off))
        .await
        .unwrap_err();
    assert!(refusal.contains("spec.online is false"), "{refusal}");
    noted(stage, "glass", 403, "rule", "H6").await;

    merge(&admin, "glass", with("the disk must be rescued", rescue()))
        .await
        .unwrap();
    noted(stage, "glass", 200, "break-glass-rule", "H1").await;
    let again = json!({"spec": {"image": {"url": "http://again"}}});
    merge(&admin, "glass", again).await.unwrap_err();
}

/// W1.
#[tokio::test]
async fn what_passes_but_will_be_noticed_is_said_aloud() {
    let stage = shared();
    held(stage, "noticed", "412").await;
    new_host(stage, "free").await;
    let annotate = |key: &str| json!({"metadata": {"annotations": {key: ""}}});
    let image = |image: Value| json!({"spec": {"image": image}});
    for (host, patch, warning) in [
        (
            "noticed",
            annotate("baremetalhost.metal3.io/paused"),
            "while it is paused, it can't be given back",
        ),
        ("noticed", annotate("reboot.metal3.io"), "it is rebooted"),
        ("noticed", annotate("reboot.metal3.io/x"), "it is rebooted"),
        ("noticed", annotate("inspect.metal3.io"), "it is inspected"),
        (
            "noticed",
            json!({"spec": {"online": false}}),
            "it is switched off",
        ),
        (
            "noticed",
            json!({"spec": {"bmc": {"credentialsName": "other"}}}),
            "with a wrong spec.bmc it can't be wiped",
        ),
        (
            "noticed",
            json!({"metadata": {"finalizers": null}}),
            "without the operator's finalizer",
        ),
        (
            "free",
            image(json!({"url": "http://i", "checksum": "x"})),
            "over plain HTTP",
        ),
        (
            "free",
            image(json!({"url": "https://i", "checksum": "x", "checksumType": "md5"})),
            "use sha256",
        ),
        (
            "free",
            image(json!({"url": "https://i", "format": "live-iso"})),
            "virtual media",
        ),
        (
            "free",
            image(json!({"url": "https://i", "checksum": "x"})),
            "the image is not put on the host",
        ),
        (
            "free",
            json!({"spec": {"bmc": {"address": "REDFISH://192.0.2.1/redfish/v1/Systems/1/"}}}),
            "host restart-srv01 has the same spec.bmc.address",
        ),
        (
            "free",
            json!({"spec": {"bootMACAddress": "02:00:00:00:00:01"}}),
            "host restart-srv01 has the same spec.bootMACAddress",
        ),
    ] {
        let mut kubectl = stage.control_plane().kubectl();
        kubectl.args(["patch", "bmh", host, "--dry-run=server", "--type=merge"]);
        let patched = kubectl.args(["-p", &patch.to_string()]).output().unwrap();
        let said = String::from_utf8(patched.stderr).unwrap();
        assert!(patched.status.success(), "{patch}: {said}");
        assert!(
            said.contains("Warning: ") && said.contains(warning),
            "{patch}: {said}"
        );
    }
}
