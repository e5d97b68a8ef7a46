//! The commands, from their arguments to what they print.

use clap::Parser;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::Value;

use super::*;
use crate::{
    Fault, Validation, Webhooks,
    admission::{AdmissionContext, Create, ValidateCreate, ValidationResult, ValidationWebhook},
};

struct Guard;

impl ValidationWebhook<ConfigMap> for Guard {
    type Operations = (Create,);
}

impl ValidateCreate<ConfigMap> for Guard {
    async fn create(
        &self,
        _: &ConfigMap,
        _: &AdmissionContext<'_>,
    ) -> Result<ValidationResult, Fault> {
        Ok(ValidationResult::success())
    }
}

fn registered() -> Registered {
    Webhooks::new("guard")
        .domain("guard.example.com")
        .add_webhook(Validation::new(Guard).reads::<Secret>())
        .build()
        .unwrap()
}

#[derive(Parser)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

fn run(arguments: &[&str]) -> (String, ExitCode) {
    let arguments = std::iter::once("guard").chain(arguments.iter().copied());
    let program = Program::try_parse_from(arguments).unwrap();
    let mut out = Vec::new();
    let code = program.command.run(&registered(), &[], &mut out).unwrap();
    (String::from_utf8(out).unwrap(), code)
}

fn manifests(arguments: &[&str]) -> Vec<Value> {
    let (yaml, _) = run(arguments);
    let documents = yaml.split("---\n").filter(|document| !document.is_empty());
    documents
        .map(|document| serde_saphyr::from_str(document).unwrap())
        .collect()
}

#[test]
fn everything_is_generated_for_a_service() {
    let manifests = manifests(&["generate"]);
    let kinds: Vec<_> = manifests.iter().map(|one| one["kind"].as_str()).collect();
    assert_eq!(
        kinds,
        [
            Some("ClusterRole"),
            Some("ClusterRoleBinding"),
            Some("ValidatingWebhookConfiguration"),
        ]
    );
    assert_eq!(
        manifests[0]["rules"],
        serde_json::json!([{
            "apiGroups": [""], "resources": ["secrets"], "verbs": ["get", "list", "watch"],
        }])
    );
    assert_eq!(manifests[1]["subjects"][0]["namespace"], "guard-system");
    let service = &manifests[2]["webhooks"][0]["clientConfig"]["service"];
    assert_eq!(
        service,
        &serde_json::json!({
            "namespace": "guard-system", "name": "guard", "port": 443,
            "path": "/validate/configmap",
        })
    );
}

#[test]
fn a_part_is_generated_for_a_url_into_files() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, "PEM").unwrap();
    let out = folder.path().join("out");
    let (printed, _) = run(&[
        "generate",
        "webhooks",
        "--url=https://127.0.0.1:8443",
        &format!("--ca-file={}", ca.display()),
        &format!("--out={}", out.display()),
    ]);
    assert_eq!(printed, "");
    let yaml = fs::read_to_string(out.join("validating-webhook-configuration.yaml")).unwrap();
    let manifest: Value = serde_saphyr::from_str(&yaml).unwrap();
    let client = &manifest["webhooks"][0]["clientConfig"];
    assert_eq!(client["url"], "https://127.0.0.1:8443/validate/configmap");
    assert_eq!(client["caBundle"], "UEVN");
    assert_eq!(fs::read_dir(out).unwrap().count(), 1);
}

#[test]
fn the_rights_to_keep_ca_bundles_are_for_its_own_objects() {
    let role = manifests(&["generate", "rbac", "--keep-ca-bundles"]).remove(0);
    let rules = role["rules"].as_array().unwrap();
    let own = rules
        .iter()
        .find(|rule| rule["verbs"][3] == "patch")
        .unwrap();
    assert_eq!(own["resourceNames"], serde_json::json!(["guard"]));
    assert_eq!(
        own["resources"],
        serde_json::json!(["validatingwebhookconfigurations"])
    );
}

#[test]
fn lint_fails_on_errors_and_strictly_on_warnings() {
    let (printed, code) = run(&["lint"]);
    assert!(
        printed.contains("warning G8 validate.configmap.guard.example.com"),
        "{printed}"
    );
    assert_eq!(code, ExitCode::SUCCESS);
    assert_eq!(run(&["lint", "--strict"]).1, ExitCode::from(2));
    let (printed, code) = run(&["lint", "--url=http://a"]);
    assert!(printed.starts_with("error A5"), "{printed}");
    assert_eq!(code, ExitCode::from(2));
}

#[test]
fn lint_looks_at_the_rest_of_an_installation() {
    let folder = tempfile::tempdir().unwrap();
    let write = |file: &str, yaml: &str| fs::write(folder.path().join(file), yaml).unwrap();
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: guard, namespace: a}\n\
        spec:\n  selector: {matchLabels: {app: guard}}\n  template:\n    metadata: {labels: {app: guard}}\n\
        \x20   spec: {containers: []}\n";
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: wide}\nrules:\n\
        - {apiGroups: [admissionregistration.k8s.io], resources: ['*'], verbs: [patch]}\n";
    write("installation.yaml", &format!("{deployment}---\n{role}"));
    write("notes.txt", "- not: [a manifest");
    let path = folder.path().display().to_string();
    let (printed, code) = run(&["lint", &path]);
    assert!(
        printed.contains("warning G6 guard: it has 1 replica"),
        "{printed}"
    );
    assert!(printed.contains("no PodDisruptionBudget"), "{printed}");
    assert!(printed.contains("warning G28 wide"), "{printed}");
    assert_eq!(code, ExitCode::SUCCESS);

    // The budget of another namespace is no help; that of its own, in another file, is.
    let budget = |namespace: &str| {
        format!(
            "apiVersion: v1\nkind: List\nitems:\n- apiVersion: policy/v1\n  kind: PodDisruptionBudget\n\
             \x20 metadata: {{name: guard, namespace: {namespace}}}\n\
             \x20 spec: {{selector: {{matchLabels: {{app: guard}}}}}}\n"
        )
    };
    write("budget.yml", &budget("b"));
    assert!(run(&["lint", &path]).0.contains("no PodDisruptionBudget"));
    write("budget.yml", &budget("a"));
    assert!(!run(&["lint", &path]).0.contains("no PodDisruptionBudget"));
}

#[test]
fn lint_says_which_file_or_object_it_cannot_read() {
    let folder = tempfile::tempdir().unwrap();
    let lint = |yaml: &str| {
        let file = folder.path().join("one.yaml");
        fs::write(&file, yaml).unwrap();
        let path = file.display().to_string();
        let program = Program::try_parse_from(["guard", "lint", &path]).unwrap();
        let error = program.command.run(&registered(), &[], &mut Vec::new());
        crate::fault::chain(&error.unwrap_err())
    };
    assert!(lint("a: [").contains("one.yaml is not YAML"));
    let text = lint("kind: Deployment\nmetadata: {name: guard}\nspec: 1\n");
    assert!(text.starts_with("Deployment guard can't be read"), "{text}");
}

#[test]
fn lint_explains_itself() {
    let usage = Program::try_parse_from(["guard", "lint", "--help"])
        .err()
        .unwrap();
    let usage = usage.to_string();
    for text in [
        "[FILE]...",
        "PodDisruptionBudgets",
        "nothing is stored",
        "--strict",
    ] {
        assert!(usage.contains(text), "{usage}");
    }
}
