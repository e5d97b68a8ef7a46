//! The hooks, called by the real API server for other people's writes.

use harbormaster::api::v1::{Phase, Reservation};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use metal3::BareMetalHost;
use serde_json::{Value, json};
use xtask::stage::{NAMESPACE, Stage};

use crate::stage::{
    flat, hosts, named, new_host, post_signed, reservation_until, reservations, shared,
};

fn hosts_as(client: Client) -> Api<BareMetalHost> {
    Api::namespaced_with(client, NAMESPACE, &BareMetalHost::resource())
}

/// A host that somebody has.
async fn held(stage: &Stage, host: &str, event_id: &str) -> Reservation {
    new_host(stage, host).await;
    post_signed(stage, &flat("EVENT_START", event_id, host)).await;
    let name = format!("portal-{event_id}");
    reservation_until(stage, &name, "to be active", |reservation| {
        reservation.status.as_ref().and_then(|status| status.phase) == Some(Phase::Active)
    })
    .await
}

async fn merge(
    hosts: &Api<BareMetalHost>,
    name: &str,
    patch: Value,
) -> Result<BareMetalHost, String> {
    let patched = hosts
        .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
        .await;
    patched.map_err(|error| match error {
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    })
}

#[tokio::test]
async fn a_held_host_is_changed_by_nobody_else_not_even_an_administrator() {
    let stage = shared();
    let reservation = held(stage, "guarded", "401").await;
    let control_plane = stage.control_plane();
    for client in [
        control_plane.client_as("luigi", &[]).unwrap(),
        control_plane.client(),
    ] {
        let hosts = hosts_as(client);
        for spec in [
            json!({"image": {"url": "http://mine"}}),
            json!({"image": null}),
            json!({"userData": {"name": "mine"}}),
            json!({"networkData": {"name": "mine"}}),
            json!({"consumerRef": null}),
            json!({"consumerRef": {"name": "mine"}}),
        ] {
            let refusal = merge(&hosts, "guarded", json!({"spec": spec}))
                .await
                .unwrap_err();
            assert!(
                refusal
                    .contains("admission webhook \"held.baremetalhost.harbormaster.dev\" denied")
                    && refusal.contains("held by Reservation portal-401"),
                "{refusal}"
            );
        }
    }
    let host = hosts(stage).get("guarded").await.unwrap();
    assert_eq!(host.consumer().unwrap().uid, reservation.metadata.uid);
}

#[tokio::test]
async fn what_does_not_touch_a_held_hosts_disk_passes() {
    let stage = shared();
    held(stage, "labelled", "402").await;
    let hosts = hosts(stage);
    let labels = json!({"metadata": {"labels": {"rack": "7"}}, "spec": {"description": "x"}});
    merge(&hosts, "labelled", labels).await.unwrap();
}

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

#[tokio::test]
async fn a_checksum_without_a_type_gets_one_when_its_image_is_set_and_only_then() {
    let stage = shared();
    new_host(stage, "defaulted").await;
    let hosts = hosts(stage);
    let image = json!({"spec": {"image": {"url": "http://i", "checksum": "abc"}}});
    let host = merge(&hosts, "defaulted", image).await.unwrap();
    let checksum_type = host.spec.image.unwrap().checksum_type;
    assert_eq!(checksum_type.as_deref(), Some("auto"));
    let host = merge(&hosts, "defaulted", json!({"spec": {"image": null}}))
        .await
        .unwrap();
    assert_eq!(host.spec.image, None);
}

#[tokio::test]
async fn a_dry_run_is_judged_like_the_real_thing() {
    let stage = shared();
    held(stage, "rehearsed", "403").await;
    let patch = json!({"spec": {"image": {"url": "http://mine"}}});
    let params = PatchParams {
        dry_run: true,
        ..PatchParams::default()
    };
    let refused = hosts(stage)
        .patch("rehearsed", &params, &Patch::Merge(&patch))
        .await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_deleted_host_that_is_held_can_still_lose_its_finalizers() {
    let stage = shared();
    held(stage, "doomed", "404").await;
    let hosts = hosts(stage);
    let reason = json!({"metadata": {"annotations": {
        "harbormaster.dev/break-glass": "the rack is being scrapped today",
    }}});
    merge(&hosts, "doomed", reason).await.unwrap();
    hosts
        .delete("doomed", &DeleteParams::default())
        .await
        .unwrap();
    crate::stage::until("the host to be gone", async || {
        hosts
            .get_opt("doomed")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
    let gone = |reservation: &Reservation| {
        reservation.status.as_ref().and_then(|status| status.phase) == Some(Phase::Failed)
    };
    reservation_until(stage, "portal-404", "to fail", gone).await;
}

#[tokio::test]
async fn what_the_hooks_decided_is_counted_on_the_admin_port() {
    let stage = shared();
    held(stage, "counted", "405").await;
    let patch = json!({"spec": {"image": {"url": "http://mine"}}});
    merge(&hosts(stage), "counted", patch).await.unwrap_err();
    let metrics = crate::stage::scrape(stage, "/metrics").await;
    for counted in [
        r#"kube_webhook_reviews_total{webhook="/validate/baremetalhost",operation="UPDATE",outcome="denied"}"#,
        r#"kube_webhook_reviews_total{webhook="/mutate/baremetalhost",operation="UPDATE",outcome="patched"}"#,
        "kube_webhook_certificate_not_after_timestamp_seconds",
    ] {
        assert!(metrics.contains(counted), "{counted} is not in\n{metrics}");
    }
    assert_eq!(crate::stage::scrape(stage, "/readyz").await, "ok\n");
}

#[tokio::test]
async fn a_held_host_is_deleted_only_by_who_breaks_the_glass() {
    let stage = shared();
    held(stage, "undeletable", "410").await;
    let hosts = hosts(stage);
    let delete = async || {
        let deleted = hosts.delete("undeletable", &DeleteParams::default()).await;
        deleted.map(drop).map_err(|error| error.to_string())
    };
    let refusal = delete().await.unwrap_err();
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
}

#[tokio::test]
async fn a_broken_glass_counts_for_one_write_and_only_for_those_who_may() {
    let stage = shared();
    held(stage, "glass", "411").await;
    let with = |reason: &str, image: &str| {
        json!({
            "metadata": {"annotations": {"harbormaster.dev/break-glass": reason}},
            "spec": {"image": {"url": image}},
        })
    };
    let luigi = hosts_as(stage.control_plane().client_as("luigi", &[]).unwrap());
    let refusal = merge(
        &luigi,
        "glass",
        with("because I can do it", "http://rescue"),
    )
    .await
    .unwrap_err();
    assert!(refusal.contains("held by Reservation"), "{refusal}");
    let admin = hosts(stage);
    let rescue = with("the disk must be rescued", "http://rescue");
    merge(&admin, "glass", rescue).await.unwrap();
    let again = json!({"spec": {"image": {"url": "http://again"}}});
    merge(&admin, "glass", again).await.unwrap_err();
}

#[tokio::test]
async fn a_booked_host_is_neither_deleted_nor_renamed_and_two_hosts_never_bear_one_name() {
    let stage = shared();
    new_host(stage, "booked").await;
    let mut reservation = Reservation {
        metadata: named("booked-later"),
        ..Reservation::default()
    };
    reservation.spec = serde_json::from_value(json!({
        "target": {"hostRef": {"name": "booked"}},
        "window": {"start": "2199-01-01T00:00:00Z", "end": "2199-01-02T00:00:00Z"},
    }))
    .unwrap();
    let reservations = reservations(stage);
    reservations
        .create(&PostParams::default(), &reservation)
        .await
        .unwrap();
    reservation_until(stage, "booked-later", "to be accepted", |reservation| {
        let status = reservation.status.as_ref();
        let conditions = status.map(|status| &status.conditions);
        conditions.is_some_and(|all| {
            all.iter()
                .any(|c| c.type_ == "Accepted" && c.status == "True")
        })
    })
    .await;
    let hosts = hosts(stage);
    let rename = json!({"metadata": {"labels": {"harbormaster.dev/resource-id": "4711"}}});
    // The hook's cache may lag behind the calendar for a moment.
    let refusal = crate::stage::until("the hook to know of the booking", async || {
        let params = DeleteParams {
            dry_run: true,
            ..DeleteParams::default()
        };
        hosts.delete("booked", &params).await.err()
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

    new_host(stage, "first-twin").await;
    new_host(stage, "second-twin").await;
    merge(&hosts, "first-twin", rename.clone()).await.unwrap();
    let refusal = crate::stage::until("the hook to know of the twin", async || {
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

    reservations
        .delete("booked-later", &DeleteParams::default())
        .await
        .unwrap();
    crate::stage::until("the booking to be gone", async || {
        hosts.delete("booked", &DeleteParams::default()).await.ok()
    })
    .await;
}
