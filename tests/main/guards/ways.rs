//! All the ways by which an administrator with kubectl could image, delete or steal a host
//! that somebody has.

use std::process::Stdio;

use super::*;

#[tokio::test]
async fn no_way_of_kubectl_images_deletes_or_steals_a_held_host() {
    let stage = shared();
    held(stage, "coveted", "440").await;
    let hosts = hosts(stage);
    merge(
        &hosts,
        "coveted",
        json!({"metadata": {"labels": {"example.com/way": "coveted"}}}),
    )
    .await
    .unwrap();
    let before = hosts.get("coveted").await.unwrap();
    let mine = || {
        json!({
            "apiVersion": "metal3.io/v1alpha1",
            "kind": "BareMetalHost",
            "metadata": {"name": "coveted", "namespace": NAMESPACE},
            "spec": {"online": true, "image": {"url": "http://mine", "checksum": "x"}},
        })
    };
    let with = |pointer: &str, value: Value| {
        let mut whole = serde_json::to_value(&before).unwrap();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        let metadata = whole["metadata"].as_object_mut().unwrap();
        metadata.retain(|field, _| !["managedFields", "resourceVersion"].contains(&&**field));
        whole.pointer_mut(parent).unwrap()[field] = value;
        whole
    };
    let image = json!({"url": "http://mine", "checksum": "x"});
    let patch = |spec: Value| {
        vec!["patch", "bmh", "coveted", "--type=merge", "-p"]
            .into_iter()
            .map(str::to_owned)
            .chain([spec.to_string()])
            .collect::<Vec<_>>()
    };
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let collection = format!(
        "delete --raw /apis/metal3.io/v1alpha1/namespaces/{NAMESPACE}/baremetalhosts\
         ?labelSelector=example.com/way=coveted"
    );
    let json_patch = json!([
        {"op": "test", "path": "/spec/online", "value": true},
        {"op": "replace", "path": "/spec/image/url", "value": "http://mine"},
    ]);
    let ways: Vec<(Vec<String>, Option<Value>)> = vec![
        (patch(json!({"spec": {"image": image}})), None),
        (
            words(&format!("patch bmh coveted --type=json -p {json_patch}")),
            None,
        ),
        (words("apply -f -"), Some(mine())),
        (
            words("apply --server-side --force-conflicts -f -"),
            Some(mine()),
        ),
        (
            words("apply --server-side --force-conflicts --field-manager=kubectl -f -"),
            Some(with("/spec/consumerRef/name", json!("mine"))),
        ),
        (words("replace -f -"), Some(mine())),
        (
            words("replace -f -"),
            Some(with("/spec/image", image.clone())),
        ),
        (
            words("replace -f -"),
            Some(with("/spec/userData", json!(null))),
        ),
        (words("replace --force --grace-period=0 -f -"), Some(mine())),
        (words("delete bmh coveted --wait=false"), None),
        (words("delete bmh coveted --now --wait=false"), None),
        (
            words("delete bmh coveted --cascade=foreground --wait=false"),
            None,
        ),
        (
            words("delete bmh coveted --cascade=orphan --wait=false"),
            None,
        ),
        (
            words("delete bmh -l example.com/way=coveted --wait=false"),
            None,
        ),
        (words(&collection), None),
        // The claim, from all sides.
        (patch(json!({"spec": {"consumerRef": null}})), None),
        (
            patch(
                json!({"spec": {"consumerRef": {"uid": "00000000-0000-0000-0000-000000000000"}}}),
            ),
            None,
        ),
        (
            patch(json!({"spec": {"consumerRef": {"apiVersion": "harbormaster.dev"}}})),
            None,
        ),
        (
            patch(json!({"spec": {"consumerRef": {"kind": null}, "image": image}})),
            None,
        ),
        (
            patch(json!({"spec": {"consumerRef": {"apiVersion": null}, "image": image}})),
            None,
        ),
        // What could keep the API server from asking us.
        (
            patch(json!({
                "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"image": image},
            })),
            None,
        ),
        (
            patch(json!({
                "metadata": {"labels": {"control-plane": "true", "example.com/way": null}},
                "spec": {"image": image},
            })),
            None,
        ),
        (
            patch(json!({
                "metadata": {"annotations": {"harbormaster.dev/break-glass": ""}},
                "spec": {"image": image},
            })),
            None,
        ),
    ];
    for (way, input) in ways {
        let asked = way.contains(&"--raw".to_owned()) || way[0] == "delete";
        // A rehearsal is judged alike; kubectl has none for these.
        let rehearsals = if asked || way.contains(&"--force".to_owned()) {
            vec![None]
        } else {
            vec![Some("--dry-run=server"), None]
        };
        for rehearsal in rehearsals {
            let (succeeded, said) = kubectl(stage, &way, rehearsal, input.as_ref());
            assert!(!succeeded, "{way:?}: {said}");
            assert!(
                said.contains("held by Reservation portal-440")
                    || said.contains("metadata.deletionTimestamp")
                    || said.contains("field is immutable"),
                "{way:?}: {said}"
            );
        }
    }
    // A status carries no spec, and says of the host what its operator corrects.
    let status = [
        "patch",
        "bmh",
        "coveted",
        "--subresource=status",
        "--type=merge",
        "-p",
    ];
    let patch = json!({
        "metadata": {"finalizers": null},
        "spec": {"image": image, "consumerRef": null},
    });
    let mut way: Vec<_> = status.map(str::to_owned).into();
    way.push(patch.to_string());
    let (succeeded, said) = kubectl(stage, &way, None, None);
    assert!(succeeded, "{said}");

    let after = hosts.get("coveted").await.unwrap();
    assert_eq!(after.spec, before.spec);
    assert_eq!(after.metadata.uid, before.metadata.uid);
    assert_eq!(after.metadata.finalizers, before.metadata.finalizers);
    assert_eq!(after.metadata.deletion_timestamp, None);
}

fn kubectl(
    stage: &Stage,
    way: &[String],
    rehearsal: Option<&str>,
    input: Option<&Value>,
) -> (bool, String) {
    let mut command = stage.control_plane().kubectl();
    command
        .args(["--namespace", NAMESPACE])
        .args(way)
        .args(rehearsal)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let text = input.map(Value::to_string).unwrap_or_default();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}
