//! The hooks, called by the real API server for other people's writes.

use harbormaster::api::v1::{Phase, Reservation};
use kube::{
    Api, Client,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    discovery::ApiResource,
};
use metal3::BareMetalHost;
use serde_json::{Value, json};
use xtask::stage::{NAMESPACE, Stage};

use crate::stage::{
    KEY, flat, hosts, named, namespaced, new_host, post_signed, reservation_until, reservations,
    shared,
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
async fn a_reservation_reads_the_same_through_both_versions_and_loses_nothing() {
    let stage = shared();
    let mut reservation = Reservation {
        metadata: named("two-versions"),
        ..Reservation::default()
    };
    reservation.spec = serde_json::from_value(json!({
        "requester": {"id": "u1", "username": "mario", "groups": ["lab"]},
        "resource": {"name": "nowhere-at-all", "specs": "16 cores"},
        "window": {"start": "2030-01-02T10:00:00Z", "end": "2030-01-02T12:00:00Z"},
        "lifecycle": {"desiredState": "Scheduled", "leadTime": "5m"},
        "access": {"authorizedKeys": [{"name": "laptop", "key": KEY}, {"key": "ssh-rsa AAAA"}]},
        "parameters": {"os": "noble", "nested": {"numbers": [1, 2.5]}},
    }))
    .unwrap();
    let hub = reservations(stage);
    let created = hub
        .create(&PostParams::default(), &reservation)
        .await
        .unwrap();
    assert_eq!(created.spec, reservation.spec);

    // Through the old version: flat, and without what it can't say.
    let spokes: Api<harbormaster::api::v1alpha1::Reservation> = namespaced(stage);
    let spoke = spokes.get("two-versions").await.unwrap();
    assert_eq!(spoke.spec.username.as_deref(), Some("mario"));
    assert_eq!(spoke.spec.ssh_public_key.as_deref(), Some(KEY));
    assert_eq!(
        spoke.spec.start_time.as_deref(),
        Some("2030-01-02T10:00:00Z")
    );

    // An edit there changes what it names, and keeps what it can't show.
    let patch = json!({"spec": {"username": "luigi"}});
    let params = PatchParams::default();
    spokes
        .patch("two-versions", &params, &Patch::Merge(&patch))
        .await
        .unwrap();
    let edited = hub.get("two-versions").await.unwrap();
    let mut expected = reservation.spec.clone();
    expected.requester.as_mut().unwrap().username = Some("luigi".to_owned());
    assert_eq!(edited.spec, expected);
    let annotations = edited.metadata.annotations.unwrap_or_default();
    assert!(
        !annotations.contains_key("harbormaster.dev/conversion-data"),
        "{annotations:?}"
    );
}

#[tokio::test]
async fn a_reservation_made_through_the_old_version_is_stored_as_the_new_one() {
    let stage = shared();
    let spokes: Api<harbormaster::api::v1alpha1::Reservation> = namespaced(stage);
    let spoke = serde_json::from_value(json!({
        "apiVersion": "harbormaster.dev/v1alpha1",
        "kind": "Reservation",
        "metadata": {"name": "old-style"},
        "spec": {
            "startTime": "2030-01-02T12:00:00.5+02:00",
            "username": "mario",
            "bmhName": "nowhere-at-all",
            "customParameters": "not json",
        },
    }))
    .unwrap();
    let spoke: harbormaster::api::v1alpha1::Reservation = spoke;
    let created = spokes.create(&PostParams::default(), &spoke).await.unwrap();
    assert_eq!(created.spec, spoke.spec);
    let hub = reservations(stage).get("old-style").await.unwrap();
    let start = hub.spec.window.start.unwrap().0.to_string();
    // To the second, as all Kubernetes times are.
    assert_eq!(start, "2030-01-02T10:00:00Z");
    let target = hub.spec.target.unwrap().host_ref.unwrap().name;
    assert_eq!(target.as_deref(), Some("nowhere-at-all"));
    // Text that the hub can't hold comes back all the same.
    let again = spokes.get("old-style").await.unwrap();
    assert_eq!(again.spec, spoke.spec);
    spokes
        .delete("old-style", &DeleteParams::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_window_that_ends_before_it_starts_is_refused_in_both_versions() {
    let stage = shared();
    let kubectl = |manifest: Value| {
        let mut kubectl = stage.control_plane().kubectl();
        let file = stage.folder().join(format!(
            "{}.json",
            manifest["metadata"]["name"].as_str().unwrap()
        ));
        std::fs::write(&file, manifest.to_string()).unwrap();
        let output = kubectl.args(["create", "-f"]).arg(file).output().unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (created, complaint) = kubectl(json!({
        "apiVersion": "harbormaster.dev/v1", "kind": "Reservation",
        "metadata": {"name": "reversed-v1", "namespace": NAMESPACE},
        "spec": {"window": {"start": "2030-01-02T10:00:00Z", "end": "2030-01-02T09:00:00Z"}},
    }));
    assert!(
        !created && complaint.contains("end must be after start"),
        "{complaint}"
    );
    let (created, complaint) = kubectl(json!({
        "apiVersion": "harbormaster.dev/v1alpha1", "kind": "Reservation",
        "metadata": {"name": "reversed-v1alpha1", "namespace": NAMESPACE},
        "spec": {"startTime": "2030-01-02T10:00:00Z", "endTime": "2030-01-02T09:00:00Z"},
    }));
    assert!(
        !created && complaint.contains("endTime must be after startTime"),
        "{complaint}"
    );
}

#[tokio::test]
async fn a_time_that_we_could_not_read_back_is_refused_in_both_versions() {
    // One such object would fail every list of Reservations, the controller's own too.
    let stage = shared();
    let params = PostParams::default();
    for (n, (start, end)) in [
        ("2030-01-02T10:00:00Z", "9999-12-31T23:59:59Z"),
        ("2030-01-02T10:00:00+99:99", "2031-01-02T10:00:00Z"),
        ("2030-01-02T10:00:00.1234567890Z", "2031-01-02T10:00:00Z"),
    ]
    .into_iter()
    .enumerate()
    {
        for (version, spec) in [
            ("v1", json!({"window": {"start": start, "end": end}})),
            ("v1alpha1", json!({"startTime": start, "endTime": end})),
        ] {
            let kind = ApiResource {
                version: version.to_owned(),
                api_version: format!("harbormaster.dev/{version}"),
                ..ApiResource::erase::<Reservation>(&())
            };
            let mut object = DynamicObject::new(&format!("unreadable-{version}-{n}"), &kind);
            object.data = json!({"spec": spec});
            let client = stage.control_plane().client();
            let untyped: Api<DynamicObject> = Api::namespaced_with(client, NAMESPACE, &kind);
            let refused = untyped.create(&params, &object).await;
            let refusal = refused.map(|_| ()).unwrap_err().to_string();
            assert!(refusal.contains("is invalid"), "{version} {refusal}");
        }
    }
    reservations(stage).list(&Default::default()).await.unwrap();
}

#[tokio::test]
async fn a_deleted_host_that_is_held_can_still_lose_its_finalizers() {
    let stage = shared();
    held(stage, "doomed", "404").await;
    let hosts = hosts(stage);
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
