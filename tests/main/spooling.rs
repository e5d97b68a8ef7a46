//! When an event can't simply be recorded: a disk that is full or missing, an event that
//! nobody will ever take, and two replicas that get the same one.

use std::path::PathBuf;

use harbormaster::api::v1::{DesiredState, Reservation};
use k8s_openapi::api::{
    admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding},
    core::v1::Namespace,
};
use kube::{Api, ResourceExt, api::PostParams};
use serde_json::{Value, json};
use xtask::stage::USER;

use crate::{
    own::{Own, Settings, nowhere},
    stage::{flat, install_crypto, shared, until},
};

/// A namespace of its own, and a kubeconfig of the program's user.
async fn namespace(name: &str) -> (Api<Reservation>, PathBuf) {
    let control_plane = shared().control_plane();
    let client = control_plane.client();
    let object = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(&PostParams::default(), &object)
        .await
        .unwrap();
    let kubeconfig = control_plane
        .kubeconfig_for(USER, &["system:masters"])
        .unwrap();
    (Api::namespaced(client, name), kubeconfig)
}

/// A booking of a machine that no host is.
fn start(event_id: u32) -> Value {
    flat("EVENT_START", &event_id.to_string(), "nowhere")
}

async fn gauge(own: &Own, name: &str) -> u32 {
    let (_, metrics) = own.scrape("/metrics").await;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.and_then(|value| value.parse().ok()).unwrap()
}

#[tokio::test]
async fn a_full_disk_is_told_of_and_loses_nothing_that_was_answered() {
    install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let nowhere = nowhere(folder.path());
    let settings = Settings {
        kubeconfig: &nowhere,
        namespace: "disk",
        folder: folder.path(),
        more: &[],
    };
    let own = Own::start_within(2600, &settings);
    let sender = own.sender();
    let mut answered = 0;
    let refusal = loop {
        let mut event = start(answered);
        event["eventDescription"] = json!("x".repeat(60_000));
        let (status, body) = sender.post(&event).await.unwrap();
        if status != 200 {
            break (status, body);
        }
        answered += 1;
        assert!(answered < 1000, "the disk never fills");
    };
    assert_eq!(refusal.0, 503, "{refusal:?}");
    assert!(refusal.1["detail"].is_string());
    assert!(answered > 0, "nothing was taken at all");
    // It goes on answering, and claims no more than it keeps.
    let (status, body) = sender.post(&start(2000)).await.unwrap();
    assert!(matches!(status, 200 | 503), "{status} {body}");
    answered += u32::from(status == 200);
    own.kill();

    let own = Own::start(&settings);
    let kept = gauge(&own, "harbormaster_spooled_events").await;
    assert!(kept >= answered, "{kept} of {answered}");
    assert_eq!(
        own.sender().post(&start(3000)).await.unwrap().0,
        200,
        "there is room again"
    );
}

#[tokio::test]
async fn without_a_spool_or_beyond_its_limit_nothing_is_claimed_while_the_api_server_is_away() {
    install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let nowhere = nowhere(folder.path());
    // A file where the folder should be: nobody, not even root, can write into that.
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let settings = Settings {
        kubeconfig: &nowhere,
        namespace: "disk",
        folder: folder.path(),
        more: &[("SPOOL_DIR", file.to_str().unwrap())],
    };
    let own = Own::start(&settings);
    let (status, body) = own.sender().post(&start(1)).await.unwrap();
    assert_eq!(
        (status, &body["detail"]),
        (503, &json!("the event could not be stored; send it again"))
    );
    // What asks for nothing needs no place.
    let test = json!({"eventType": "ALL", "data": {}});
    assert_eq!(own.sender().post(&test).await.unwrap().0, 200);
    drop(own);

    let own = Own::start(&Settings {
        more: &[("SPOOL_LIMIT", "2KiB")],
        ..settings
    });
    let (mut taken, mut refused) = (0, 0);
    for id in 0..10 {
        match own.sender().post(&start(id)).await.unwrap() {
            (200, _) => taken += 1,
            (503, body) => {
                assert!(body["detail"].is_string());
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
    assert_eq!(gauge(&own, "harbormaster_spooled_events").await, taken);
    let (_, metrics) = own.scrape("/metrics").await;
    let line = format!(
        "harbormaster_events_total{{type=\"EVENT_START\",outcome=\"unstored\"}} {refused}\n"
    );
    assert!(metrics.contains(&line), "{metrics}");
}

/// A rule of the cluster's own: bookings with this id are never to be stored.
async fn refuse(event_id: u32, namespace: &str) {
    let client = shared().control_plane().client();
    let params = PostParams::default();
    let policies: Api<ValidatingAdmissionPolicy> = Api::all(client.clone());
    let name = format!("refuse-{event_id}");
    let policy = json!({"metadata": {"name": name}, "spec": {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [{
            "apiGroups": ["harbormaster.dev"], "apiVersions": ["*"], "operations": ["CREATE"],
            "resources": ["reservations"],
        }]},
        "validations": [{
            "expression": format!("object.spec.source.eventId != '{event_id}'"),
            "message": "not this one",
        }],
    }});
    policies
        .create(&params, &serde_json::from_value(policy).unwrap())
        .await
        .unwrap();
    let bindings: Api<ValidatingAdmissionPolicyBinding> = Api::all(client);
    let binding = json!({"metadata": {"name": name}, "spec": {
        "policyName": name,
        "validationActions": ["Deny"],
        "matchResources": {"namespaceSelector":
            {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
    }});
    bindings
        .create(&params, &serde_json::from_value(binding).unwrap())
        .await
        .unwrap();
}

#[tokio::test]
async fn an_event_that_is_never_taken_is_set_aside_and_holds_up_nobody() {
    let (reservations, kubeconfig) = namespace("poison").await;
    refuse(666, "poison").await;
    // Policies are in force a moment after they were made.
    let probe: Reservation = serde_json::from_value(json!({
        "metadata": {"name": "probe"},
        "spec": {"source": {"eventId": "666"}, "resource": {"name": "x"}, "window": {"start": "2030-01-01T00:00:00Z"}},
    }))
    .unwrap();
    let as_program = shared()
        .control_plane()
        .client_as(USER, &["system:masters"])
        .unwrap();
    let dry: Api<Reservation> = Api::namespaced(as_program, "poison");
    until("the policy to be in force", async || {
        let params = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        dry.create(&params, &probe).await.is_err().then_some(())
    })
    .await;

    let folder = tempfile::tempdir().unwrap();
    let nowhere = nowhere(folder.path());
    let settings = Settings {
        kubeconfig: &nowhere,
        namespace: "poison",
        folder: folder.path(),
        more: &[],
    };
    let away = Own::start(&settings);
    for event_id in [1, 666, 2] {
        assert_eq!(away.sender().post(&start(event_id)).await.unwrap().0, 200);
    }
    away.kill();
    let own = Own::start(&Settings {
        kubeconfig: &kubeconfig,
        ..settings
    });
    until("the spool to be empty", async || {
        (gauge(&own, "harbormaster_spooled_events").await == 0).then_some(())
    })
    .await;
    assert_eq!(gauge(&own, "harbormaster_set_aside_events").await, 1);
    // With the API server there, the sender is told; without any of the cluster's own words.
    let (status, body) = own.sender().post(&start(666)).await.unwrap();
    assert_eq!(status, 422, "{body}");
    assert!(!body.to_string().contains("not this one"), "{body}");
    assert_eq!(gauge(&own, "harbormaster_set_aside_events").await, 2);
    assert_eq!(own.sender().post(&start(3)).await.unwrap().0, 200);
    let all = reservations.list(&Default::default()).await.unwrap();
    let names: Vec<_> = all.iter().map(ResourceExt::name_any).collect();
    assert_eq!(names, ["portal-1", "portal-2", "portal-3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_event_at_two_replicas_at_once_is_one_reservation() {
    let (reservations, kubeconfig) = namespace("replicas").await;
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let replicas = folders.each_ref().map(|folder| {
        Own::start(&Settings {
            kubeconfig: &kubeconfig,
            namespace: "replicas",
            folder: folder.path(),
            more: &[],
        })
    });
    let senders = replicas.each_ref().map(Own::sender);
    for event_id in 0..EVENTS {
        let (one, other) = (start(event_id), start(event_id));
        let (one, other) = tokio::join!(senders[0].post(&one), senders[1].post(&other));
        let end = flat("EVENT_END", &event_id.to_string(), "nowhere");
        let (first_end, second_end) = tokio::join!(senders[0].post(&end), senders[1].post(&end));
        for answer in [one, other, first_end, second_end] {
            let (status, body) = answer.unwrap();
            assert_eq!(
                (status, &body["status"]),
                (200, &json!("success")),
                "{event_id}: {body}"
            );
        }
    }
    // On a busy machine some wait in a spool for a moment.
    for replica in &replicas {
        until("the spools to be empty", async || {
            (gauge(replica, "harbormaster_spooled_events").await == 0).then_some(())
        })
        .await;
    }
    let all = reservations.list(&Default::default()).await.unwrap();
    assert_eq!(all.items.len(), EVENTS as usize);
    for reservation in &all {
        assert_eq!(reservation.desired_state(), DesiredState::Released);
        assert_eq!(reservation.authorized_keys().len(), 1);
    }
}

const EVENTS: u32 = 25;
