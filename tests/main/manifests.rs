//! `manifests/` is what the program generates, and the API server accepts it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use control_plane::ControlPlane;
use k8s_openapi::{
    api::core::v1::{Pod, PodSecurityContext, PodSpec, SecurityContext},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

use crate::stage::{OWN_CONTROL_PLANE, program};

#[test]
fn the_manifests_are_as_the_program_generates_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut generate = generate(&[]);
    generate.arg("--out").arg(folder.path());
    assert!(generate.status().unwrap().success());
    let (generated, committed) = (listing(folder.path()), listing(&committed()));
    let names = |files: &[(PathBuf, String)]| -> Vec<PathBuf> {
        files.iter().map(|(name, _)| name.clone()).collect()
    };
    let mend = "run `cargo xtask manifests`";
    assert_eq!(names(&generated), names(&committed), "{mend}");
    for (generated, committed) in generated.iter().zip(&committed) {
        assert_eq!(generated, committed, "{mend}");
    }
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

    let pods: Api<Pod> = Api::namespaced(client, "harbormaster-system");
    for folder in installations() {
        for _ in 0..2 {
            let mut kubectl = control_plane.kubectl();
            kubectl.args(["apply", "-k"]).arg(&folder);
            let complaint = complaint(&run(&mut kubectl));
            assert!(
                !complaint.to_lowercase().contains("warning"),
                "{}: {complaint}",
                folder.display()
            );
        }
        let mut kubectl = control_plane.kubectl();
        let built = objects(&run(kubectl.arg("kustomize").arg(&folder)));
        let pod = pod_of(&built);
        pods.create(&PostParams::default(), &pod).await.unwrap();
        let delete = DeleteParams::default().grace_period(0);
        pods.delete(&pod.name_any(), &delete).await.unwrap();
        for (what, pod) in worse(&pod) {
            let refused = pods.create(&PostParams::default(), &pod).await;
            let refused = refused.expect_err(what).to_string();
            assert!(
                refused.contains("violates PodSecurity"),
                "{what}: {refused}"
            );
            assert!(refused.contains(what), "{what}: {refused}");
        }
    }
    established(&crds, "reservations.harbormaster.dev").await;
    what_is_printed_is_what_kustomize_makes(&control_plane);
    control_plane.stop().await.unwrap();
}

/// All that `kubectl apply -k` can be told.
fn installations() -> Vec<PathBuf> {
    let overlays = fs::read_dir(committed().join("overlays")).unwrap();
    let overlays = overlays.map(|entry| entry.unwrap().path());
    let mut all: Vec<_> = std::iter::once(committed()).chain(overlays).collect();
    all.sort();
    assert!(all.len() > 4, "{all:?}");
    all
}

/// `generate manifests` merges by itself what `kubectl apply -k` lets kustomize merge.
fn what_is_printed_is_what_kustomize_makes(control_plane: &ControlPlane) {
    for flags in choices() {
        let folder = tempfile::tempdir().unwrap();
        run(generate(&flags).arg("--out").arg(folder.path()));
        let mut kubectl = control_plane.kubectl();
        let made = run(kubectl.arg("kustomize").arg(folder.path()));
        let made = in_order(objects(&made));
        let printed = in_order(objects(&run(&mut generate(&flags))));
        assert_eq!(printed.len(), made.len(), "{flags:?}");
        for (printed, made) in printed.iter().zip(&made) {
            assert_eq!(printed, made, "{flags:?}");
        }
    }
}

#[test]
fn the_lint_finds_nothing_in_any_installation() {
    for flags in choices() {
        let output = run(generate(&flags).arg("--lint"));
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said, "", "{flags:?}");
    }
}

/// No extra, each, each two, and all.
fn choices() -> impl Iterator<Item = Vec<&'static str>> {
    let all = (1_u32 << EXTRAS.len()) - 1;
    let choices = (0..=all).filter(move |choice| choice.count_ones() < 3 || *choice == all);
    choices.map(|choice| {
        let chosen = EXTRAS.iter().enumerate();
        let chosen = chosen.filter(|(at, _)| choice & (1 << at) != 0);
        chosen.map(|(_, flag)| *flag).collect()
    })
}

#[test]
fn the_pods_run_the_image_that_was_named() {
    let image = "images.example.org/harbormaster@sha256:0123";
    let output = run(generate(&["--durable-spool", "--image"]).arg(image));
    let pod = pod_of(&objects(&output));
    assert_eq!(
        pod.spec.unwrap().containers[0].image.as_deref(),
        Some(image)
    );
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

/// What can be said of the image without building it, which `cargo xtask image` does.
#[test]
fn the_image_is_what_the_pods_expect() {
    let read = |file: &str| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        fs::read_to_string(root.join(file)).unwrap()
    };
    let spec = pod_of(&objects(&run(&mut generate(&[])))).spec.unwrap();
    let context = spec.security_context.unwrap();
    let (user, group) = (context.run_as_user.unwrap(), context.run_as_group.unwrap());
    let ports = spec.containers[0].ports.iter().flatten();
    let ports: Vec<_> = ports.map(|port| port.container_port.to_string()).collect();
    let recipe = read("Dockerfile");
    for line in [
        format!("USER {user}:{group}"),
        format!("EXPOSE {}", ports.join(" ")),
        format!("ARG BUILDER=rust:{}-alpine", env!("CARGO_PKG_RUST_VERSION")),
    ] {
        assert!(recipe.lines().any(|one| one == line), "no line {line}");
    }
    // What cargo reads of the workspace, whatever is built of it.
    let left_out = read(".dockerignore");
    for needed in [
        "Cargo.lock",
        "benches",
        "crates",
        "monitoring",
        "src",
        "templates",
    ] {
        assert!(!left_out.lines().any(|line| line == needed), "{needed}");
    }
}

/// What the controller of the Deployment or StatefulSet would make of it.
fn pod_of(built: &[Value]) -> Pod {
    let is_workload = |object: &&Value| {
        let kind = object["kind"].as_str();
        matches!(kind, Some("Deployment" | "StatefulSet"))
    };
    let workload = built.iter().find(is_workload).unwrap();
    let mut pod = workload["spec"]["template"].clone();
    pod["metadata"]["name"] = json!("harbormaster-0");
    let claims = workload["spec"]["volumeClaimTemplates"].as_array();
    for claim in claims.into_iter().flatten() {
        let name = &claim["metadata"]["name"];
        let volume = json!({"name": name, "persistentVolumeClaim": {"claimName": name}});
        match &mut pod["spec"]["volumes"] {
            Value::Array(volumes) => volumes.push(volume),
            none => *none = json!([volume]),
        }
    }
    serde_json::from_value(pod).unwrap()
}

/// The same pod with one thing less, and what Pod Security says of it.
fn worse(pod: &Pod) -> Vec<(&'static str, Pod)> {
    let changed = |change: &dyn Fn(&mut PodSpec)| {
        let mut pod = pod.clone();
        change(pod.spec.as_mut().unwrap());
        pod
    };
    let container = |change: fn(&mut SecurityContext)| {
        changed(&|spec: &mut PodSpec| {
            change(spec.containers[0].security_context.as_mut().unwrap());
        })
    };
    let whole = |change: fn(&mut PodSecurityContext)| {
        changed(&|spec: &mut PodSpec| change(spec.security_context.as_mut().unwrap()))
    };
    vec![
        (
            "allowPrivilegeEscalation != false",
            container(|context| context.allow_privilege_escalation = None),
        ),
        (
            "unrestricted capabilities",
            container(|context| context.capabilities = None),
        ),
        (
            "runAsNonRoot != true",
            whole(|context| context.run_as_non_root = None),
        ),
        (
            "seccompProfile",
            whole(|context| context.seccomp_profile = None),
        ),
        (
            "host namespaces",
            changed(&|spec: &mut PodSpec| spec.host_network = Some(true)),
        ),
    ]
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
pub(crate) fn neighbour(group: &str, version: &str, plural: &str, kind: &str) -> Value {
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

fn objects(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    serde_saphyr::from_multiple(text).unwrap()
}

/// In one order: kustomize puts what it merges into a list in front; and leaves an empty list
/// where it took the last element.
fn in_order(mut objects: Vec<Value>) -> Vec<Value> {
    objects.iter_mut().for_each(sort);
    objects.sort_by_key(|one| {
        let name = &one["metadata"]["name"];
        format!("{} {name} {}", one["kind"], one["metadata"]["namespace"])
    });
    objects
}

fn sort(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.as_array().is_some_and(Vec::is_empty));
            map.values_mut().for_each(sort);
        }
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
pub(crate) const NEIGHBOURS: [(&str, &str, &str, &str); 4] = [
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

/// The flags of `generate manifests`, one for each extra.
const EXTRAS: [&str; 7] = [
    "--cert-manager",
    "--client-ca",
    "--durable-spool",
    "--events-http-port=5081",
    "--events-tls",
    "--monitoring",
    "--register",
];

/// Of the framework's listener, in seconds.
const LONGEST_DRAIN: f64 = 45.0;
