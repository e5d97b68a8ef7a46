//! `manifests/` is what the program generates, and the API server accepts it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use control_plane::ControlPlane;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{Pod, PodSpec, PodTemplateSpec},
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use crate::stage::{OWN_CONTROL_PLANE, program};

#[test]
fn the_manifests_are_as_the_program_generates_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut generate = generate(&[]);
    generate.arg("--out").arg(folder.path());
    assert!(generate.status().unwrap().success());
    assert_eq!(
        listing(folder.path()),
        listing(&committed()),
        "run `cargo xtask manifests`"
    );
}

/// On a control plane of its own: the installation registers webhooks for the whole cluster.
#[tokio::test]
async fn the_api_server_takes_the_manifests_and_its_pods_are_restricted() {
    let _turn = OWN_CONTROL_PLANE.lock().await;
    crate::stage::install_crypto();
    let control_plane = ControlPlane::start().await.unwrap();
    let client = control_plane.client();
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for (group, version, plural, kind) in NEIGHBOURS {
        let crd = serde_json::from_value(neighbour(group, version, plural, kind)).unwrap();
        crds.create(&PostParams::default(), &crd).await.unwrap();
    }
    let names = NEIGHBOURS.map(|(group, _, plural, _)| format!("{plural}.{group}"));
    for name in &names {
        established(&crds, name).await;
    }

    let overlays = ["cert-manager", "durable-spool", "events-http", "monitoring"];
    let overlays = overlays.map(|name| committed().join("overlays").join(name));
    for folder in [committed()].iter().chain(&overlays) {
        for _ in 0..2 {
            let mut kubectl = control_plane.kubectl();
            kubectl.args(["apply", "-k"]).arg(folder);
            let complaint = complaint(&run(&mut kubectl));
            assert!(
                !complaint.to_lowercase().contains("warning"),
                "{}: {complaint}",
                folder.display()
            );
        }
    }
    established(&crds, "reservations.harbormaster.dev").await;

    // What the ReplicaSet's controller would make of it, and what must not be let in.
    let namespace = "harbormaster-system";
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), namespace);
    let deployment = deployments.get("harbormaster").await.unwrap();
    let sets: Api<StatefulSet> = Api::namespaced(client.clone(), namespace);
    let set = sets.get("harbormaster").await.unwrap();
    let pods: Api<Pod> = Api::namespaced(client, namespace);
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let mut stateful = set.spec.unwrap().template;
    // The StatefulSet's controller does that.
    let volumes = &mut stateful.spec.as_mut().unwrap().volumes;
    let claimed = json!({"name": "spool", "persistentVolumeClaim": {"claimName": "spool-0"}});
    volumes
        .get_or_insert_default()
        .push(serde_json::from_value(claimed).unwrap());
    for mut template in [deployment.spec.unwrap().template, stateful] {
        let pod = pod_of(&template);
        pods.create(&params, &pod).await.unwrap();
        let spec = template.spec.as_mut().unwrap();
        spec.containers[0].security_context = None;
        let refused = pods.create(&params, &pod_of(&template)).await.unwrap_err();
        let refused = refused.to_string();
        assert!(refused.contains("violates PodSecurity"), "{refused}");
    }
    what_is_printed_is_what_kustomize_makes(&control_plane);
    control_plane.stop().await.unwrap();
}

/// `generate manifests` merges by itself what `kubectl apply -k` lets kustomize merge.
fn what_is_printed_is_what_kustomize_makes(control_plane: &ControlPlane) {
    let extras: [&[&str]; 4] = [
        &["--cert-manager"],
        &["--durable-spool"],
        &["--events-http-port=5081"],
        &["--monitoring"],
    ];
    for choice in 0..1 << extras.len() {
        let chosen = extras.iter().enumerate();
        let chosen = chosen.filter(|(at, _)| choice & (1 << at) != 0);
        let flags: Vec<_> = chosen
            .flat_map(|(_, flags)| flags.iter().copied())
            .collect();
        let folder = tempfile::tempdir().unwrap();
        run(generate(&flags).arg("--out").arg(folder.path()));
        let mut kubectl = control_plane.kubectl();
        let made = objects(&run(kubectl.arg("kustomize").arg(folder.path())));
        let printed = objects(&run(&mut generate(&flags)));
        assert_eq!(printed.len(), made.len(), "{flags:?}");
        for (printed, made) in printed.iter().zip(&made) {
            assert_eq!(printed, made, "{flags:?}");
        }
    }
}

#[test]
fn the_lint_finds_nothing() {
    let output = run(&mut generate(&["--lint"]));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
}

#[test]
fn the_kubelet_waits_until_the_drain_is_over() {
    let serve = harbormaster::cli::command();
    let serve = serve.find_subcommand("serve").unwrap();
    let delay = serve
        .get_arguments()
        .find(|one| one.get_id() == "drain_delay");
    let delay = delay.unwrap().get_default_values()[0].to_str().unwrap();
    let delay = harbormaster::api::span::parse(delay).unwrap().as_secs_f64();
    let printed = objects(&run(&mut generate(&[])));
    let deployment = printed
        .iter()
        .find(|one| one["kind"] == "Deployment")
        .unwrap();
    let grace = &deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"];
    let needed = delay + LONGEST_DRAIN;
    assert!(grace.as_f64().unwrap() >= needed, "{grace}");
}

fn pod_of(template: &PodTemplateSpec) -> Pod {
    let mut metadata = template.metadata.clone().unwrap();
    metadata.name = Some("harbormaster-0".to_owned());
    let spec: PodSpec = template.spec.clone().unwrap();
    Pod {
        metadata,
        spec: Some(spec),
        status: None,
    }
}

async fn established(crds: &Api<CustomResourceDefinition>, name: &str) {
    crate::stage::until("the CRD to be established", async || {
        let crd = crds.get(name).await.unwrap();
        let conditions = crd.status?.conditions?;
        let held = |kind: &str| {
            let mut all = conditions.iter();
            all.any(|condition| condition.type_ == kind && condition.status == "True")
        };
        assert!(!held("NonStructuralSchema"), "{name}");
        held("Established").then_some(())
    })
    .await;
}

/// A kind of somebody else's that takes anything.
fn neighbour(group: &str, version: &str, plural: &str, kind: &str) -> Value {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "metadata": {"name": format!("{plural}.{group}")},
        "spec": {
            "group": group,
            "names": {"kind": kind, "plural": plural},
            "scope": "Namespaced",
            "versions": [{
                "name": version, "served": true, "storage": true,
                "schema": {"openAPIV3Schema": anything},
            }],
        },
    })
}

/// In one order: kustomize puts what it merges into a list in front.
fn objects(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let mut objects: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    objects.iter_mut().for_each(sort);
    objects.sort_by_key(|one| {
        let name = &one["metadata"]["name"];
        format!("{} {name} {}", one["kind"], one["metadata"]["namespace"])
    });
    objects
}

fn sort(value: &mut Value) {
    match value {
        Value::Object(map) => map.values_mut().for_each(sort),
        Value::Array(list) => {
            list.iter_mut().for_each(sort);
            list.sort_by_key(|one| one["name"].to_string());
        }
        // Kustomize writes 0 for 0.0.
        Value::Number(number) => *value = json!(number.as_f64()),
        _ => {}
    }
}

fn generate(flags: &[&str]) -> Command {
    let mut generate = Command::new(program());
    generate.args(["generate", "manifests"]).args(flags);
    generate
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", complaint(&output));
    output
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn committed() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests")
}

/// File by file, with its text.
fn listing(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path.strip_prefix(folder).unwrap().to_owned(), text));
            }
        }
    }
    files.sort();
    files
}

/// The kinds of others that the components have objects of.
const NEIGHBOURS: [(&str, &str, &str, &str); 4] = [
    ("cert-manager.io", "v1", "certificates", "Certificate"),
    ("cert-manager.io", "v1", "issuers", "Issuer"),
    (
        "monitoring.coreos.com",
        "v1",
        "prometheusrules",
        "PrometheusRule",
    ),
    (
        "monitoring.coreos.com",
        "v1",
        "servicemonitors",
        "ServiceMonitor",
    ),
];

/// Of the framework's listener, in seconds.
const LONGEST_DRAIN: f64 = 45.0;
