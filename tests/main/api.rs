//! The Reservation's versions and rules, as the real API server applies them.

use harbormaster::api::{v1::Reservation, v1alpha1};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Resource,
    api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
    discovery::ApiResource,
};
use serde_json::{Value, json};
use xtask::stage::{NAMESPACE, Stage};

use crate::stage::{KEY, named, new_host, reservation_until, reservations, shared};

/// As somebody with all rights, who is not Harbormaster.
fn as_mario<K>(stage: &Stage) -> Api<K>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
{
    let client = stage
        .control_plane()
        .client_as("mario", &["system:masters"]);
    Api::namespaced(client.unwrap(), NAMESPACE)
}

/// As somebody who may do with Reservations what they like, and nothing else.
fn as_luigi(stage: &Stage) -> Api<Reservation> {
    let mut kubectl = stage.control_plane().kubectl();
    let manifest = stage.folder().join("luigi.yaml");
    std::fs::write(&manifest, RESERVER).unwrap();
    let applied = kubectl
        .args(["apply", "--server-side", "-f"])
        .arg(manifest)
        .output();
    assert!(applied.unwrap().status.success());
    let client = stage.control_plane().client_as("luigi", &[]);
    Api::namespaced(client.unwrap(), NAMESPACE)
}

fn kubectl(stage: &Stage, arguments: &[&str]) -> String {
    let mut kubectl = stage.control_plane().kubectl();
    let output = kubectl
        .args(["-n", NAMESPACE])
        .args(arguments)
        .output()
        .unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {told}");
    String::from_utf8(output.stdout).unwrap() + &told
}

/// A Reservation of a version, untyped.
fn untyped(stage: &Stage, version: &str) -> (Api<DynamicObject>, ApiResource) {
    let kind = ApiResource {
        version: version.to_owned(),
        api_version: format!("harbormaster.dev/{version}"),
        ..ApiResource::erase::<Reservation>(&())
    };
    let client = stage
        .control_plane()
        .client_as("mario", &["system:masters"]);
    (
        Api::namespaced_with(client.unwrap(), NAMESPACE, &kind),
        kind,
    )
}

async fn create(stage: &Stage, version: &str, name: &str, spec: Value) -> kube::Result<Value> {
    let (api, kind) = untyped(stage, version);
    let mut object = DynamicObject::new(name, &kind);
    object.data = json!({"spec": spec});
    let created = api.create(&PostParams::default(), &object).await?;
    Ok(created.data["spec"].clone())
}

fn refusal<T: std::fmt::Debug>(result: kube::Result<T>) -> String {
    result.unwrap_err().to_string()
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
    let hub: Api<Reservation> = as_mario(stage);
    let created = hub
        .create(&PostParams::default(), &reservation)
        .await
        .unwrap();
    assert_eq!(created.spec, reservation.spec);

    // Through the old version: flat, and without what it can't say.
    let spokes: Api<v1alpha1::Reservation> = as_mario(stage);
    let spoke = spokes.get("two-versions").await.unwrap();
    assert_eq!(spoke.spec.username.as_deref(), Some("mario"));
    assert_eq!(spoke.spec.ssh_public_key.as_deref(), Some(KEY));
    assert_eq!(
        spoke.spec.start_time.as_deref(),
        Some("2030-01-02T10:00:00Z")
    );

    // An edit there changes what it names, and keeps what it can't show.
    let patch = json!({"spec": {"email": "mario@example.com"}});
    let params = PatchParams::default();
    spokes
        .patch("two-versions", &params, &Patch::Merge(&patch))
        .await
        .unwrap();
    let edited = hub.get("two-versions").await.unwrap();
    let mut expected = reservation.spec.clone();
    expected.requester.as_mut().unwrap().email = Some("mario@example.com".to_owned());
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
    let spokes: Api<v1alpha1::Reservation> = as_mario(stage);
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
    let spoke: v1alpha1::Reservation = spoke;
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
async fn what_is_made_at_each_version_is_read_at_each() {
    let stage = shared();
    for (version, spec) in [
        (
            "v1",
            json!({
                "target": {"hostRef": {"name": "nowhere"}},
                "window": {"start": "2030-01-02T10:00:00Z"},
                "requester": {"username": "mario", "groups": ["lab"]},
            }),
        ),
        (
            "v1beta1",
            json!({
                "hostRef": {"name": "nowhere", "namespace": "elsewhere"},
                "startTime": "2030-01-02T10:00:00Z", "user": {"name": "mario"},
                "gracePeriodSeconds": 900,
            }),
        ),
        (
            "v1alpha1",
            json!({
                "bmhName": "nowhere", "startTime": "2030-01-02T12:00:00.5+02:00",
                "username": "mario", "customParameters": "not json",
            }),
        ),
    ] {
        let name = format!("made-at-{version}");
        let created = create(stage, version, &name, spec.clone()).await.unwrap();
        assert_eq!(created, spec, "{version}");
        for (other, start) in [
            ("v1", "/spec/window/start"),
            ("v1beta1", "/spec/startTime"),
            ("v1alpha1", "/spec/startTime"),
        ] {
            let read = untyped(stage, other).0.get(&name).await.unwrap();
            let start = read.data.pointer(start).unwrap();
            let start: jiff::Timestamp = start.as_str().unwrap().parse().unwrap();
            assert_eq!(start.as_second(), 1_893_578_400, "{version} as {other}");
        }
        let again = untyped(stage, version).0.get(&name).await.unwrap();
        assert_eq!(again.data["spec"], spec, "{version}");
    }
    for version in ["v1", "v1beta1", "v1alpha1"] {
        untyped(stage, version)
            .0
            .list(&Default::default())
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn each_version_can_be_applied_patched_and_given_a_status() {
    let stage = shared();
    for (version, spec, change, status) in [
        (
            "v1",
            json!({"target": {"hostRef": {"name": "nowhere"}},
                   "window": {"start": "2030-01-02T10:00:00Z"}}),
            json!({"parameters": {"os": "noble"}}),
            json!({"attempts": 3}),
        ),
        (
            "v1beta1",
            json!({"hostRef": {"name": "nowhere"}, "startTime": "2030-01-02T10:00:00Z"}),
            json!({"parameters": {"os": "noble"}}),
            json!({"host": "h"}),
        ),
        (
            "v1alpha1",
            json!({"bmhName": "nowhere", "startTime": "2030-01-02T10:00:00Z"}),
            json!({"customParameters": "{\"os\":\"noble\"}"}),
            json!({"message": "m"}),
        ),
    ] {
        let (api, kind) = untyped(stage, version);
        let name = format!("applied-at-{version}");
        let apply = PatchParams::apply("somebody").force();
        let mut applied = DynamicObject::new(&name, &kind);
        applied.data = json!({"spec": spec});
        // Twice: the second is merged with what is stored, by way of partial objects.
        for _ in 0..2 {
            api.patch(&name, &apply, &Patch::Apply(&applied))
                .await
                .unwrap();
        }
        let params = PatchParams::default();
        let patch = json!({"spec": change});
        api.patch(&name, &params, &Patch::Merge(&patch))
            .await
            .unwrap();
        let patch = json!({"status": status});
        api.patch_status(&name, &params, &Patch::Merge(&patch))
            .await
            .unwrap();
        let stored = reservations(stage).get(&name).await.unwrap();
        assert_eq!(stored.spec.parameters.unwrap()["os"], "noble", "{version}");
        let annotations = stored.metadata.annotations.unwrap_or_default();
        assert!(!annotations.contains_key("harbormaster.dev/conversion-data"));
    }
}

#[tokio::test]
async fn what_people_leave_out_is_filled_in() {
    let stage = shared();
    let spec = json!({
        "target": {"hostRef": {"name": "nowhere"}},
        "window": {"start": "2030-01-02T12:00:00.75+02:00"},
    });
    let created = create(stage, "v1", "filled-in", spec).await.unwrap();
    assert_eq!(created["requester"]["username"], "mario");
    assert_eq!(created["window"]["start"], "2030-01-02T10:00:00Z");
    let stored = reservations(stage).get("filled-in").await.unwrap();
    assert_eq!(
        stored.metadata.labels.unwrap()["harbormaster.dev/host"],
        "nowhere"
    );
    assert_eq!(
        stored.metadata.finalizers.unwrap(),
        ["harbormaster.dev/release"]
    );
}

#[tokio::test]
async fn forged_bookings_and_acting_for_others_are_refused_through_every_version() {
    let stage = shared();
    for (version, spec, told) in [
        (
            "v1",
            json!({"source": {"eventId": "1"}, "target": {"hostRef": {"name": "nowhere"}},
                   "window": {"start": "2030-01-02T10:00:00Z"}}),
            "spec.source",
        ),
        (
            "v1beta1",
            json!({"eventRef": {"id": "1"}, "hostRef": {"name": "nowhere"},
                   "startTime": "2030-01-02T10:00:00Z"}),
            "spec.source",
        ),
        (
            "v1alpha1",
            json!({"username": "luigi", "bmhName": "nowhere",
                   "startTime": "2030-01-02T10:00:00Z", "sshPublicKey": "no key"}),
            "spec.requester.username",
        ),
        (
            "v1alpha1",
            json!({"startTime": "2030-01-02T10:00:00Z", "bmhName": "nowhere",
                   "sshPublicKey": "no key"}),
            "authorizedKeys[0].key",
        ),
    ] {
        let refused = refusal(create(stage, version, "forged", spec).await);
        assert!(refused.contains(told), "{version}: {refused}");
    }
}

#[tokio::test]
async fn the_glass_is_broken_by_those_who_may_and_by_nobody_else() {
    let stage = shared();
    let mut reservation = Reservation {
        metadata: named("for-another"),
        ..Reservation::default()
    };
    reservation.spec = serde_json::from_value(json!({
        "requester": {"username": "peach"},
        "target": {"hostRef": {"name": "nowhere"}},
        "window": {"start": "2030-01-02T10:00:00Z"},
    }))
    .unwrap();
    reservation.metadata.annotations = Some(
        [(
            "harbormaster.dev/break-glass".to_owned(),
            "she is on the road today".to_owned(),
        )]
        .into(),
    );
    let params = PostParams::default();
    let refused = refusal(as_luigi(stage).create(&params, &reservation).await);
    assert!(refused.contains("is peach, but you are luigi"), "{refused}");
    let mario: Api<Reservation> = as_mario(stage);
    mario.create(&params, &reservation).await.unwrap();
    let logged = stage.control_plane().audit_log();
    let entry = logged
        .wait_for(|event| {
            event.verb == "create"
                && event.user.username == "mario"
                && event.is_about("reservations", "for-another")
        })
        .await
        .unwrap();
    let webhook = "rules.reservation.harbormaster.dev";
    for (key, value) in [
        ("user", "mario"),
        ("reason", "she is on the road today"),
        ("rule", "spec.requester.username"),
    ] {
        let annotated = entry
            .annotations
            .get(&format!("{webhook}/break-glass-{key}"));
        assert_eq!(annotated.map(String::as_str), Some(value), "{entry:?}");
    }
    // It counted once: the annotation that stays opens nothing any more.
    let patch = json!({"spec": {"requester": {"username": "daisy"}}});
    let (params, patch) = (PatchParams::default(), Patch::Merge(&patch));
    let refused = refusal(mario.patch("for-another", &params, &patch).await);
    assert!(refused.contains("spec.requester"), "{refused}");
}

#[tokio::test]
async fn only_a_secret_that_its_namer_may_read_goes_on_a_host() {
    let stage = shared();
    let mut reservation = Reservation {
        metadata: named("with-secret"),
        ..Reservation::default()
    };
    reservation.spec = serde_json::from_value(json!({
        "target": {"hostRef": {"name": "nowhere"}},
        "window": {"start": "2030-01-02T10:00:00Z"},
        "access": {"userDataSecretRef": {"name": "somebodys"}},
    }))
    .unwrap();
    let params = PostParams::default();
    let refused = refusal(as_luigi(stage).create(&params, &reservation).await);
    assert!(
        refused.contains("luigi may not read Secret somebodys"),
        "{refused}"
    );
    let mario: Api<Reservation> = as_mario(stage);
    mario.create(&params, &reservation).await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_taken_is_refused_and_a_deletion_is_not() {
    let stage = shared();
    new_host(stage, "wanted-twice").await;
    let spec = json!({
        "target": {"hostRef": {"name": "wanted-twice"}},
        "window": {"start": "2030-01-02T10:00:00Z", "end": "2030-01-02T12:00:00Z"},
    });
    create(stage, "v1", "first-come", spec.clone())
        .await
        .unwrap();
    reservation_until(stage, "first-come", "to be accepted", |reservation| {
        let conditions = reservation
            .status
            .iter()
            .flat_map(|status| &status.conditions);
        conditions
            .into_iter()
            .any(|c| c.type_ == "Accepted" && c.status == "True")
    })
    .await;
    let refused = crate::stage::until("the calendar to be known", async || {
        let (api, kind) = untyped(stage, "v1");
        let mut object = DynamicObject::new("second-come", &kind);
        object.data = json!({"spec": spec});
        let dry_run = PostParams {
            dry_run: true,
            ..PostParams::default()
        };
        api.create(&dry_run, &object).await.err()
    })
    .await;
    let refused = refused.to_string();
    assert!(
        refused.contains("wanted-twice is reserved by first-come"),
        "{refused}"
    );
    let mario: Api<Reservation> = as_mario(stage);
    mario
        .delete("first-come", &DeleteParams::default())
        .await
        .unwrap();
}

#[tokio::test]
async fn kubectl_shows_and_explains_each_version() {
    let stage = shared();
    let spec = json!({
        "target": {"hostRef": {"name": "nowhere"}},
        "window": {"start": "2030-01-02T10:00:00Z", "end": "2030-01-02T12:00:00Z"},
    });
    create(stage, "v1", "shown", spec).await.unwrap();
    for (version, header) in [
        (
            "v1",
            ["HOST", "USER", "START", "END", "PHASE", "READY", "AGE"],
        ),
        (
            "v1beta1",
            ["HOST", "USER", "START", "END", "PHASE", "READY", "AGE"],
        ),
        (
            "v1alpha1",
            ["HOST", "USER", "START", "END", "STATE", "AGE", ""],
        ),
    ] {
        let kind = format!("reservations.{version}.harbormaster.dev");
        let shown = kubectl(stage, &["get", &kind, "shown"]);
        let mut lines = shown.lines().filter(|line| !line.starts_with("Warning"));
        let columns: Vec<_> = lines.next().unwrap().split_whitespace().skip(1).collect();
        let expected: Vec<_> = header.into_iter().filter(|name| !name.is_empty()).collect();
        assert_eq!(columns, expected, "{version}");
        assert!(
            lines.next().unwrap().contains("2030-01-02T10:00:00Z"),
            "{shown}"
        );
        assert_eq!(
            shown.contains("deprecated"),
            version == "v1alpha1",
            "{shown}"
        );
    }
    let wide = kubectl(stage, &["get", "rsv", "shown", "-o", "wide"]);
    assert!(wide.contains("EVENT") && wide.contains("IMAGE"), "{wide}");
    let described = kubectl(stage, &["describe", "rsv", "shown"]);
    assert!(described.contains("2030-01-02T12:00:00Z"), "{described}");
    let explained = kubectl(stage, &["explain", "reservation.spec.window"]);
    for told in [
        "time for which the host is lent",
        "When the host is wanted",
        "after `start`",
    ] {
        assert!(explained.contains(told), "{explained}");
    }
}

#[test]
fn every_field_of_every_version_is_described() {
    let mut generate = std::process::Command::new(crate::stage::program());
    let output = generate.args(["generate", "crds"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut bare = Vec::new();
    for crd in serde_saphyr::from_multiple::<Value>(&text).unwrap() {
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let schema = &version["schema"]["openAPIV3Schema"];
            for part in ["spec", "status"] {
                let path = format!(
                    "{} {} {part}",
                    crd["spec"]["names"]["kind"], version["name"]
                );
                undescribed(&schema["properties"][part], &path, &mut bare);
            }
        }
    }
    assert!(bare.is_empty(), "{bare:#?}");
}

fn undescribed(schema: &Value, path: &str, bare: &mut Vec<String>) {
    if schema["description"].as_str().is_none_or(str::is_empty) {
        bare.push(path.to_owned());
    }
    let nested = [&schema["properties"], &schema["items"]["properties"]];
    for (name, field) in nested.into_iter().filter_map(Value::as_object).flatten() {
        undescribed(field, &format!("{path}.{name}"), bare);
    }
}

const RESERVER: &str = "apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reserver}
rules:
- apiGroups: [harbormaster.dev]
  resources: [reservations]
  verbs: [create, get, list, patch, update, delete]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reserver}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reserver}
subjects:
- {apiGroup: rbac.authorization.k8s.io, kind: User, name: luigi}
";
