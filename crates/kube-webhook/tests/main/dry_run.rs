//! What the lint says, held against what a real API server says of the same configurations.

use std::{
    env, io,
    process::{Command, ExitCode},
};

use control_plane::ControlPlane;
use kube_webhook::{
    Target, Validation, Webhooks,
    lint::{self, Finding, Severity},
};
use serde_json::{Value, json};

use crate::{
    conformance::stage::create_crd,
    webhook_operator::{self, TestValidationWebhook},
};

fn hook() -> Value {
    json!({
        "name": "guard.hooks.example.com",
        "clientConfig": {"service": {
            "namespace": "guard-system", "name": "guard", "path": "/validate/port", "port": 443,
        }},
        "rules": [{
            "apiGroups": ["dry-run.example.com"], "apiVersions": ["v1"],
            "resources": ["ports"], "operations": ["CREATE", "UPDATE"], "scope": "*",
        }],
        "failurePolicy": "Ignore",
        "matchPolicy": "Equivalent",
        "sideEffects": "None",
        "timeoutSeconds": 2,
        "admissionReviewVersions": ["v1"],
    })
}

fn with(pointer: &str, value: Value) -> Value {
    let mut hook = hook();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = hook.pointer_mut(parent).unwrap();
    match parent {
        Value::Object(fields) => _ = fields.insert(key.to_owned(), value),
        other => other[key.parse::<usize>().unwrap()] = value,
    }
    hook
}

fn configuration(kind: &str, name: &str, hooks: &[Value]) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "webhooks": hooks,
    })
}

/// Errors of the lint's own, and the API server's.
async fn both(object: Value) -> (Vec<Finding>, Vec<Finding>) {
    let objects = [object];
    let mut own = lint::manifests(&objects).unwrap();
    own.retain(|finding| finding.severity == Severity::Error);
    let client = ControlPlane::shared().await.client();
    (own, lint::dry_run(&client, &objects).await.unwrap())
}

#[tokio::test]
async fn the_lint_refuses_what_the_api_server_refuses() {
    let (own, theirs) = both(configuration(
        "ValidatingWebhookConfiguration",
        "dry",
        &[hook()],
    ))
    .await;
    assert_eq!((own, theirs), (vec![], vec![]));

    let rules = |field: &str, value: Value| with(&format!("/rules/0/{field}"), value);
    let url = |url: &str| with("/clientConfig", json!({"url": url}));
    let expression = json!({"key": "a", "operator": "In"});
    let mut surprises = Vec::new();
    for (rule, hooks) in [
        ("A2", vec![with("/name", json!("guard.example"))]),
        ("A2", vec![with("/name", json!("Guard.hooks.example.com"))]),
        (
            "A4",
            vec![with("/clientConfig/url", json!("https://a.b/c"))],
        ),
        ("A4", vec![with("/clientConfig", json!({}))]),
        ("A5", vec![url("http://a.b/c")]),
        ("A5", vec![url("https://u@a.b/c")]),
        ("A5", vec![url("https://a.b/c?d=e")]),
        ("A5", vec![url("https://a.b/c#d")]),
        (
            "A6",
            vec![with("/clientConfig/service/namespace", json!(""))],
        ),
        ("A6", vec![with("/clientConfig/service/name", json!(""))]),
        (
            "A6",
            vec![with("/clientConfig/service/port", json!(70_000))],
        ),
        ("A6", vec![with("/clientConfig/service/port", json!(0))]),
        (
            "A7",
            vec![with("/clientConfig/service/path", json!("validate"))],
        ),
        (
            "A7",
            vec![with("/clientConfig/service/path", json!("/Validate"))],
        ),
        (
            "A7",
            vec![with("/clientConfig/service/path", json!("/a_b"))],
        ),
        (
            "A7",
            vec![with("/clientConfig/service/path", json!("/a//b"))],
        ),
        ("A8", vec![with("/sideEffects", json!("Some"))]),
        ("A9", vec![with("/admissionReviewVersions", json!([]))]),
        ("A9", vec![with("/admissionReviewVersions", json!(["v2"]))]),
        (
            "A9",
            vec![with("/admissionReviewVersions", json!(["v1", "v1"]))],
        ),
        (
            "A9",
            vec![with("/admissionReviewVersions", json!(["v1", "V2"]))],
        ),
        ("A10", vec![with("/timeoutSeconds", json!(0))]),
        ("A10", vec![with("/timeoutSeconds", json!(31))]),
        ("A11", vec![rules("operations", json!([]))]),
        ("A11", vec![rules("operations", json!(["PATCH"]))]),
        ("A11", vec![rules("operations", json!(["*", "CREATE"]))]),
        ("A11", vec![rules("apiGroups", json!([]))]),
        ("A11", vec![rules("apiGroups", json!(["*", "a"]))]),
        ("A11", vec![rules("apiVersions", json!([]))]),
        ("A11", vec![rules("apiVersions", json!(["*", "v1"]))]),
        ("A11", vec![rules("apiVersions", json!([""]))]),
        ("A11", vec![rules("resources", json!([]))]),
        ("A11", vec![rules("resources", json!([""]))]),
        ("A11", vec![rules("resources", json!(["*/*", "ports"]))]),
        ("A11", vec![rules("resources", json!(["*", "ports"]))]),
        (
            "A11",
            vec![rules("resources", json!(["ports/*", "ports/status"]))],
        ),
        (
            "A11",
            vec![rules("resources", json!(["*/status", "ports/status"]))],
        ),
        (
            "A12",
            vec![with(
                "/objectSelector",
                json!({"matchLabels": {"a b": "c"}}),
            )],
        ),
        (
            "A12",
            vec![with(
                "/namespaceSelector",
                json!({"matchExpressions": [expression]}),
            )],
        ),
        ("A14", vec![rules("scope", json!("Global"))]),
        ("A14", vec![with("/failurePolicy", json!("Sometimes"))]),
        ("A14", vec![with("/matchPolicy", json!("Sometimes"))]),
    ] {
        let object = configuration("ValidatingWebhookConfiguration", "dry", &hooks);
        let (own, theirs) = both(object).await;
        if !own.iter().any(|one| one.rule.id() == rule) || theirs.len() != 1 {
            let hooks = serde_json::to_string(&hooks).unwrap();
            surprises.push(format!("{rule} of {hooks}: {own:?}, but {theirs:?}"));
        }
    }
    assert!(surprises.is_empty(), "{surprises:#?}");
    let reinvoked = with("/reinvocationPolicy", json!("Always"));
    let (own, theirs) = both(configuration(
        "MutatingWebhookConfiguration",
        "dry",
        &[reinvoked],
    ))
    .await;
    assert_eq!((own[0].rule.id(), theirs.len()), ("A14", 1));
}

#[tokio::test]
async fn the_lint_refuses_nothing_that_the_api_server_takes() {
    let rules = |field: &str, value: Value| with(&format!("/rules/0/{field}"), value);
    let path = |path: &str| with("/clientConfig/service/path", json!(path));
    let url = |url: &str| with("/clientConfig", json!({"url": url}));
    let exists = json!({"matchExpressions": [{"key": "a.b/c", "operator": "Exists"}]});
    let mut surprises = Vec::new();
    for hook in [
        with("/clientConfig/service/port", Value::Null),
        with("/timeoutSeconds", Value::Null),
        with("/rules", json!([])),
        with("/admissionReviewVersions", json!(["v2", "v1beta1"])),
        with("/objectSelector", exists),
        with("/name", json!("a.b.c")),
        path("/"),
        path("/a/"),
        path("/a.b/c-d/1"),
        url("https://a"),
        url("https://a:8443/B_c/"),
        url("https://127.0.0.1:1"),
        url("https://[::1]:8443/a%20b"),
        rules("operations", json!(["*"])),
        rules("apiGroups", json!([""])),
        rules("resources", json!(["*/*"])),
        rules("resources", json!(["*", "ports/status"])),
        rules("resources", json!(["*", "*/scale"])),
        rules("resources", json!(["ports", "ports/*"])),
        // The API server looks at what follows the wildcard alone.
        rules("resources", json!(["ports/status", "ports/*"])),
        rules("scope", Value::Null),
    ] {
        let text = serde_json::to_string(&hook).unwrap();
        let (own, theirs) = both(configuration(
            "ValidatingWebhookConfiguration",
            "dry",
            &[hook],
        ))
        .await;
        if !own.is_empty() || !theirs.is_empty() {
            surprises.push(format!("{text}: {own:?}, but {theirs:?}"));
        }
    }
    assert!(surprises.is_empty(), "{surprises:#?}");
}

/// What the lint, and what the API server says of an expression.
async fn compiled(expression: &str) -> (Vec<Finding>, Vec<Finding>) {
    let condition = json!({"name": "it", "expression": expression});
    let hook = with("/matchConditions", json!([condition]));
    let object = configuration("ValidatingWebhookConfiguration", "dry", &[hook]);
    let client = ControlPlane::shared().await.client();
    let mut own = lint::manifests(std::slice::from_ref(&object)).unwrap();
    own.retain(|finding| finding.rule.id() == "A13");
    (own, lint::dry_run(&client, &[object]).await.unwrap())
}

#[tokio::test]
async fn what_does_not_compile_is_refused_by_both() {
    let mut surprises = Vec::new();
    for expression in [
        "",
        " ",
        "// nothing",
        "object.a == 'b",
        "object.a == 'b\n'",
        "(object.a",
        "object.a)",
        "[true",
        "object.a = 'b'",
        "true & false",
        "true and false",
        "not true",
        "self.a == 'b'",
        "variables.a",
        "params.a == 1",
        "... [] bad expression",
        "object.a ==",
        "== 1",
        "object.a == 1 ||",
        "object..a == 1",
        "object.a[ == 1",
        "true ? false",
        "true : false",
        "true ? false :",
        "has(object.a,) ",
        "object.a in",
        "object.a == 'a\\q'",
        "object.a == '\\u12'",
        "object.a.matches('^\\d')",
        "if == 1",
        "request.nam == 'a'",
        "request.userInfo.user == 'a'",
        "request.object.a == 'a'",
        "request.kind == 'Pod'",
        "request.resource.plural == 'pods'",
        "request.name == 7",
        "request.name",
        "request.name + 'a'",
        "'a'",
        "1",
        "[true]",
        "{'a': true}",
        "!request.name",
        "request.dryRun && 'a'",
        "request.name || true",
        "request.dryRun == 'true'",
        "request.userInfo.groups == 'a'",
        "1 + 'a' == 2",
        "true + true == true",
        "'a' - 'b' == ''",
        "1 < 'a'",
        "request.name ? true : false",
        "object.a + 1",
        "size(object.a)",
        "object.a == 1 object.b == 2",
        "object.a # b",
        "object.'a' == 1",
        "5 % 2.0 == 1",
        "-true",
    ] {
        let (own, theirs) = compiled(expression).await;
        if !own.iter().any(|one| one.severity == Severity::Error) || theirs.len() != 1 {
            surprises.push(format!("{expression:?}: {own:?}, but {theirs:?}"));
        }
    }
    assert!(surprises.is_empty(), "{surprises:#?}");
}

#[tokio::test]
async fn what_compiles_is_refused_by_neither() {
    let mut surprises = Vec::new();
    for expression in [
        "true",
        "!!true && !(false)",
        "object.metadata.name != 'skip-me' // why",
        "!has(request.name) || !request.name.startsWith(\"a'\\\"\")",
        "request.userInfo.groups.exists(group, group == 'a')",
        "request.userInfo.extra['a'][0] == 'b'",
        "request.kind.kind == 'Pod' && request.resource.resource in ['pods', \"services\",]",
        "request.requestSubResource == '' && request.requestKind.version == 'v1'",
        "object.spec.containers.all(c, c.image.matches(r'^a\\.b$'))",
        "object.spec.a == 1.5 && object.spec.b in ['a', '''b'c''']",
        "authorizer.group('').resource('pods').check('get').allowed()",
        "authorizer.requestResource.check('get').allowed()",
        "object.metadata.labels.all(k, v, k != v)",
        "{'a': 1}['a'] >= int('1') ? true : false",
        "object.?spec.?replicas.orValue(1) > 0",
        "object[?'spec'].hasValue()",
        "[.5, 1e3, 1.5E-3].size() == 3 && 2u == 0x2u && 0x1F == 31",
        "1 < 2.0 && 2u >= 1",
        "object.a + 1 == object.b - 2 * -3",
        "quantity('1Gi').isGreaterThan(quantity('1Mi'))",
        "object.a == b'\\x00\\377' || object.a == '\\U0001F600\\n'",
        "size(object.metadata.name) < 10 && object.metadata.name.size() > 0",
        "object.metadata.name == 'a' ? request.dryRun : request.operation == 'CREATE'",
        "['a'] + ['b'] == ['a', 'b']",
        "object == null || oldObject == null",
        "timestamp('2026-01-01T00:00:00Z') < timestamp('2026-01-02T00:00:00Z')",
        "request.options.dryRun == ['All']",
        "type(object) == map",
        "dyn(1) == 'a'",
        ".object.a == 1",
        "[object, oldObject].exists(one, one != null && has(one.spec))",
    ] {
        let (own, theirs) = compiled(expression).await;
        let is_refused = own.iter().any(|one| one.severity == Severity::Error);
        if is_refused || !theirs.is_empty() {
            surprises.push(format!("{expression:?}: {own:?}, but {theirs:?}"));
        }
    }
    assert!(surprises.is_empty(), "{surprises:#?}");
}

#[tokio::test]
async fn a_function_that_nobody_has_is_told() {
    let mut surprises = Vec::new();
    for function in FUNCTIONS.split_whitespace() {
        // Of no function that there is.
        let (own, theirs) = compiled(&format!("dyn({function}(1, 2, 3, 4, 5, 6, 7)) == 1")).await;
        let is_unknown = theirs[0].message.contains("undeclared reference");
        if own.is_empty() == is_unknown {
            surprises.push(format!("{function}: {own:?}, but {theirs:?}"));
        }
    }
    assert!(surprises.is_empty(), "{surprises:#?}");
}

#[tokio::test]
async fn a_name_that_is_none_or_twice_is_refused() {
    let twice = [hook(), hook()];
    let object = configuration("ValidatingWebhookConfiguration", "dry", &twice);
    let (own, theirs) = both(object).await;
    assert_eq!((own[0].rule.id(), theirs.len()), ("A3", 1), "{theirs:?}");
    let (own, theirs) = both(configuration("ValidatingWebhookConfiguration", "Dry", &[])).await;
    assert_eq!((own[0].rule.id(), theirs.len()), ("A1", 0), "{theirs:?}");
}

#[tokio::test]
async fn a_dry_run_of_what_is_registered_stores_nothing() {
    let control_plane = ControlPlane::shared().await;
    let target = Target::Service {
        namespace: "dry-run".to_owned(),
        name: "guard".to_owned(),
        port: 443,
        ca_bundle: None,
    };
    let registered = webhook_operator::webhooks().unwrap();
    let mut configuration = json!(registered.validating_configuration(&target));
    configuration["metadata"]["name"] = "stores-nothing".into();
    let client = control_plane.client();
    let findings = lint::dry_run(&client, &[configuration]).await.unwrap();
    assert_eq!(findings, []);
    let path =
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/stores-nothing";
    let request = http::Request::get(path).body(Vec::new()).unwrap();
    let answer = client.request::<Value>(request).await;
    assert!(matches!(answer, Err(kube::Error::Api(status)) if status.code == 404));
}

#[tokio::test]
async fn a_stanza_is_tried_on_the_crd_that_is_there() {
    let client = ControlPlane::shared().await.client();
    let name = "tries.dry-run.example.com";
    let stanza = |path: &str| {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
            "spec": {"conversion": {"strategy": "Webhook", "webhook": {
                "clientConfig": {"service": {"namespace": "a", "name": "b", "path": path}},
                "conversionReviewVersions": ["v1"],
            }}},
        })
    };
    let findings = lint::dry_run(&client, &[stanza("/convert")]).await.unwrap();
    assert_eq!(
        findings[0].to_string(),
        format!(
            "advice S1 {name}: the CRD is not there, and so its conversion stanza was not tried: apply the \
         CRD first"
        )
    );
    let schema = json!({"openAPIV3Schema": {"type": "object"}});
    let version = json!({"name": "v1", "served": true, "storage": true, "schema": schema});
    let names = json!({"plural": "tries", "kind": "Try"});
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name},
        "spec": {
            "group": "dry-run.example.com", "scope": "Namespaced", "names": names,
            "versions": [version],
        },
    });
    create_crd(&client, &crd).await;
    assert_eq!(
        lint::dry_run(&client, &[stanza("/convert")]).await.unwrap(),
        []
    );
    let findings = lint::dry_run(&client, &[stanza("/Convert")]).await.unwrap();
    assert_eq!(findings[0].severity, Severity::Error);
    assert!(
        findings[0].message.contains("spec.conversion"),
        "{findings:?}"
    );
}

#[tokio::test]
async fn no_verdict_is_no_finding() {
    let control_plane = ControlPlane::shared().await;
    let nobody = control_plane.client_as("nobody", &[]).unwrap();
    let object = configuration("ValidatingWebhookConfiguration", "dry", &[hook()]);
    let error = lint::dry_run(&nobody, &[object]).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "a dry run of ValidatingWebhookConfiguration dry came to no verdict"
    );
}

#[derive(clap::Parser)]
struct Program {
    #[command(subcommand)]
    command: kube_webhook::cli::Command,
}

/// In a child of the test it is an operator's command line, with the arguments that the parent gave.
#[tokio::test]
async fn the_command_line_itself() {
    let Ok(arguments) = env::var(ARGUMENTS) else {
        return;
    };
    let program: Program = clap::Parser::parse_from(arguments.split(' '));
    let no_number = Validation::new(TestValidationWebhook)
        .match_condition("not-seven", "request.name.startsWith(7)");
    let registered = Webhooks::new("dry-run")
        .add_webhook(no_number)
        .build()
        .unwrap();
    let code = program.command.run(&registered, &[], &mut io::stdout());
    std::process::exit(i32::from(code.unwrap() != ExitCode::SUCCESS));
}

#[tokio::test]
async fn the_command_line_asks_the_api_server_of_the_kubeconfig() {
    let control_plane = ControlPlane::shared().await;
    let lint = |arguments: &str| {
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", "dry_run::the_command_line_itself"])
            .env(ARGUMENTS, arguments)
            .env("KUBECONFIG", control_plane.kubeconfig())
            .output()
            .unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        (output.status.code(), printed)
    };
    let (code, printed) = lint("guard lint");
    assert_eq!(code, Some(0), "{printed}");
    assert!(!printed.contains("error"), "{printed}");
    let (code, printed) = lint("guard lint --server");
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("error S1 dry-run"), "{printed}");
    assert!(printed.contains("compilation failed"), "{printed}");
}

const ARGUMENTS: &str = "KUBE_WEBHOOK_TEST_COMMAND_LINE";
/// Each with its namespace; the macros aren't functions to the API server.
const FUNCTIONS: &str = "\
add allowed asApproximateFloat asInteger bool format.byte bytes charAt check cidr \
compareTo contains containsCIDR containsIP format.date format.datetime distinct \
format.dns1035Label format.dns1035LabelPrefix format.dns1123Label \
format.dns1123LabelPrefix format.dns1123Subdomain format.dns1123SubdomainPrefix double \
duration dyn endsWith sets.equivalent error errored family fieldSelector find findAll \
first flatten format getDate getDayOfMonth getDayOfWeek getDayOfYear getEscapedPath \
getFullYear getHost getHostname getHours getMilliseconds getMinutes getMonth getPort \
getQuery getScheme getSeconds group hasValue indexOf int sets.intersects ip \
ip.isCanonical isCIDR isGlobalUnicast isGreaterThan isInteger isIP isLessThan \
isLinkLocalMulticast isLinkLocalUnicast isLoopback isQuantity isSemver isSorted \
isUnspecified isURL join labelSelector format.labelValue last lastIndexOf lowerAscii \
major masked matches max min minor name format.named namespace optional.none optional.of \
optional.ofNonZeroValue or orValue patch path prefixLength format.qualifiedName quantity \
strings.quote lists.range reason replace resource reverse semver serviceAccount sign \
size slice sort split startsWith string sub subresource substring sum timestamp trim \
type uint unwrap unwrapOpt upperAscii format.uri url format.uuid validate value lower \
contain len startswith math.abs base64.encode regex.replace lists.nothing toUpper";
