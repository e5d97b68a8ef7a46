//! `manifests/` is what the program generates, and the API server accepts it.

use std::{fs, path::Path, process::Command};

use control_plane::ControlPlane;
use kube::{Api, api::DynamicObject, discovery::ApiResource};

use crate::stage::{OWN_CONTROL_PLANE, program};

#[test]
fn the_manifests_are_as_the_program_generates_them() {
    let folder = tempfile::tempdir().unwrap();
    let mut generate = Command::new(program());
    generate
        .args(["generate", "manifests", "--out"])
        .arg(folder.path());
    assert!(generate.status().unwrap().success());
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    assert_eq!(
        listing(folder.path()),
        listing(&committed),
        "run `cargo xtask manifests`"
    );
}

/// File by file, with its text.
fn listing(folder: &Path) -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// On a control plane of its own: the installation registers webhooks for the whole cluster.
#[tokio::test]
async fn kubectl_apply_k_is_accepted_and_again() {
    let _turn = OWN_CONTROL_PLANE.lock().await;
    crate::stage::install_crypto();
    let control_plane = ControlPlane::start().await.unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests");
    for _ in 0..2 {
        let mut kubectl = control_plane.kubectl();
        let output = kubectl.args(["apply", "-k"]).arg(&folder).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}");
        assert!(!complaint.to_lowercase().contains("warning"), "{complaint}");
    }
    let kind = ApiResource {
        group: "apiextensions.k8s.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "apiextensions.k8s.io/v1".to_owned(),
        kind: "CustomResourceDefinition".to_owned(),
        plural: "customresourcedefinitions".to_owned(),
    };
    let crds: Api<DynamicObject> = Api::all_with(control_plane.client(), &kind);
    crate::stage::until("the CRD to be established", async || {
        let crd = crds.get("reservations.harbormaster.dev").await.unwrap();
        let conditions = crd.data["status"]["conditions"].as_array()?.clone();
        let held = |condition: &serde_json::Value, kind: &str| {
            condition["type"] == kind && condition["status"] == "True"
        };
        assert!(
            !conditions
                .iter()
                .any(|condition| held(condition, "NonStructuralSchema"))
        );
        conditions
            .iter()
            .any(|condition| held(condition, "Established"))
            .then_some(())
    })
    .await;
    control_plane.stop().await.unwrap();
}

#[test]
fn a_cert_manager_installation_asks_for_certificate_and_injection() {
    let mut generate = Command::new(program());
    generate.args(["generate", "manifests", "--cert-manager"]);
    let output = generate.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text.matches("cert-manager.io/inject-ca-from:").count(),
        3,
        "{text}"
    );
    assert!(text.contains("kind: Certificate\n") && text.contains("kind: Issuer\n"));
    assert!(!text.contains("kustomize.config.k8s.io"));
}
