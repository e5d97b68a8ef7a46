//! Kubernetes' unit cases of what is made of an answer, K45 to K56 and K66, asked of a real API server;
//! and that the testing kit makes the same of it, in the same words.

use axum::response::{IntoResponse, Response};
use control_plane::ControlPlane;
use http::{StatusCode, header};
use kube_webhook::testing::{ApiServer, Review};
use serde_json::{Value, json};

use super::{
    broken::{Call, answering, body, patching, review},
    stage::{Served, Stage, config_map, rule},
};

type Answer = fn(&Call) -> Response;

/// Called by a validating, or a mutating webhook; the answers to both are checked alike but for patches.
fn cases() -> Vec<(&'static str, Answer)> {
    let mut cases: Vec<(&str, Answer)> = Vec::new();
    for sort in ["validating", "mutating"] {
        let both: [(&str, Answer); 19] = [
            // K45 to K48
            (sort, |call| review(call, json!({"allowed": true}))),
            (sort, |call| {
                review(
                    call,
                    json!({"allowed": true, "warnings": ["careful"], "unknown": 1}),
                )
            }),
            // K56
            (sort, |call| review(call, json!({"allowed": false}))),
            (sort, |call| {
                denying(call, &json!({"message": "so it is", "code": 409}))
            }),
            (sort, |call| denying(call, &json!({"reason": "Conflict"}))),
            (sort, |call| {
                denying(
                    call,
                    &json!({"message": "m", "code": 200, "status": "Success"}),
                )
            }),
            (sort, |call| {
                let causes =
                    json!([{"field": "a.b", "message": "c", "reason": "FieldValueInvalid"}]);
                let details = json!({"causes": causes});
                denying(
                    call,
                    &json!({"message": "m", "code": 422, "details": details}),
                )
            }),
            // K49
            (sort, |_| body(StatusCode::OK, &json!({}))),
            (sort, |call| review(call, Value::Null)),
            // K50
            (sort, |call| {
                typed(call, "admission.k8s.io/v2", "AdmissionReview")
            }),
            (sort, |call| {
                typed(call, "other.k8s.io/v1", "AdmissionReview")
            }),
            (sort, |call| typed(call, "admission.k8s.io/v1", "Review")),
            (sort, |call| typed(call, "", "")),
            (sort, |call| {
                typed(call, "admission.k8s.io/v1beta1", "AdmissionReview")
            }),
            // K51
            (sort, |call| {
                review(call, json!({"uid": "other", "allowed": true}))
            }),
            // What HTTP says.
            (sort, |_| json_text(StatusCode::OK, "{\"a\":")),
            (sort, |_| json_text(StatusCode::OK, "")),
            (sort, |_| {
                let status = json!({
                    "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no",
                });
                body(StatusCode::INTERNAL_SERVER_ERROR, &status)
            }),
            (sort, |_| {
                (StatusCode::BAD_REQUEST, "in text").into_response()
            }),
        ];
        cases.extend(both);
    }
    // K52 to K55
    let patches: [(&str, Answer); 4] = [
        ("validating", |call| review(call, patching("[]"))),
        ("validating", |call| {
            patched(call, &json!({"patch": "W10="}))
        }),
        ("validating", |call| {
            patched(call, &json!({"patchType": "JSONPatch"}))
        }),
        ("mutating", |call| patched(call, &json!({"patch": "W10="}))),
    ];
    cases.extend(patches);
    // K54, K66, and patches that are fine
    let mutations: [(&str, Answer); 9] = [
        ("mutating", |call| {
            patched(call, &json!({"patchType": "JSONPatch"}))
        }),
        ("mutating", |call| {
            patched(call, &json!({"patch": "W10=", "patchType": ""}))
        }),
        ("mutating", |call| {
            patched(call, &json!({"patch": "W10=", "patchType": "Merge"}))
        }),
        ("mutating", |call| {
            let patch =
                patching(r#"[{"op": "add", "path": "/data", "value": {}}]"#)["patch"].clone();
            patched(call, &json!({"patch": patch, "patchType": "Merge"}))
        }),
        ("mutating", |call| review(call, patching("[]"))),
        ("mutating", |call| review(call, patching("not JSON"))),
        ("mutating", |call| review(call, patching("[{"))),
        ("mutating", |call| {
            review(
                call,
                patching(r#"[{"op": "remove", "path": "/data/absent"}]"#),
            )
        }),
        ("mutating", |call| {
            review(
                call,
                patching(r#"[{"op": "add", "path": "/absent/a", "value": 1}]"#),
            )
        }),
    ];
    cases.extend(mutations);
    cases
}

fn denying(call: &Call, status: &Value) -> Response {
    review(call, json!({"allowed": false, "status": status}))
}

fn typed(call: &Call, api_version: &str, kind: &str) -> Response {
    let uid = &call.review["request"]["uid"];
    let review = json!({
        "apiVersion": api_version, "kind": kind, "response": {"uid": uid, "allowed": true},
    });
    body(StatusCode::OK, &review)
}

fn json_text(status: StatusCode, text: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn patched(call: &Call, fields: &Value) -> Response {
    let mut response = fields.clone();
    response["allowed"] = true.into();
    review(call, response)
}

#[tokio::test]
async fn the_testing_kit_says_what_the_api_server_says() {
    let stage = Stage::start("k45").await;
    let (router, _) = answering(async |call: Call| {
        let index: usize = call.path.trim_start_matches('/').parse().unwrap();
        cases()[index].1(&call)
    });
    let served = Served::start(router);
    let created = rule("", "v1", "configmaps", &["CREATE"]);
    let hooks = |wanted: &str| {
        let cases = cases().into_iter().enumerate();
        let cases = cases.filter(|(_, (sort, _))| *sort == wanted);
        let hooks = cases.map(|(index, _)| {
            stage
                .hook_at(served.client_config(&format!("/{index}")), created.clone())
                .named(&format!("case-{index}"))
                .condition("of-this-case", &format!("request.name == 'case-{index}'"))
        });
        hooks.collect()
    };
    stage.validating(hooks("validating")).await;
    stage.mutating(hooks("mutating")).await;

    let kit = ApiServer::at(&served.base, &served.ca).unwrap();
    let uri = "/api/v1/namespaces/k45/configmaps?dryRun=All";
    let mut surprises = Vec::new();
    for (index, (sort, _)) in cases().into_iter().enumerate() {
        let name = format!("case-{index}");
        let mut object = config_map(&name, &json!({}));
        object.metadata.namespace = Some("k45".to_owned());
        let answer = stage.raw("POST", uri, Some(&json!(object))).await;
        let theirs = if answer.status().is_success() {
            "allowed".to_owned()
        } else {
            let status = answer.body();
            let causes = match &status["code"] {
                // Of a failed call they only repeat the message.
                code if *code == 500 => &Value::Null,
                _ => &status["details"]["causes"],
            };
            let message = status["message"].as_str().unwrap_or_default();
            format!("{} {message} {causes}", status["code"])
        };

        let calling = format!(
            "500 Internal error occurred: failed calling webhook \"{name}.k8s.example.com\": "
        );
        let review = Review::create(&object);
        let path = format!("/{index}");
        let verdict = match sort {
            "mutating" => kit.mutate(&path, &review).await,
            _ => kit.validate(&path, &review).await,
        };
        let ours = match verdict {
            Err(error) if !error.is_ignorable() => {
                format!("500 Internal error occurred: {error} null")
            }
            Err(error) => format!("{calling}{error} null"),
            Ok(verdict) => match verdict.refusal(&format!("{name}.k8s.example.com")) {
                None => "allowed".to_owned(),
                Some(refusal) => {
                    let causes = refusal.details.unwrap_or_default()["causes"].clone();
                    format!("{} {} {causes}", refusal.code, refusal.message)
                }
            },
        };
        if !agree(&without_uid(&theirs), &without_uid(&ours)) {
            surprises.push(format!(
                "{sort} {index}:\n the API server: {theirs}\n the kit:        {ours}"
            ));
        }
    }
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

/// Word by word, but for what a decoder or a patch library says in its own words.
fn agree(theirs: &str, ours: &str) -> bool {
    let free = [
        "received undecodable patch in webhook response: ",
        "operation does not apply: ",
        " is registered for version ",
    ];
    let fixed = |text: &str| {
        let mut ends = free
            .iter()
            .filter_map(|part| Some(text.find(part)? + part.len()));
        text[..ends.next().unwrap_or(text.len())].to_owned()
    };
    fixed(theirs) == fixed(ours)
}

/// Each call has its own.
fn without_uid(text: &str) -> String {
    match text.split_once("response.uid=\"") {
        Some((before, rest)) => {
            let (_, after) = rest.split_once('"').unwrap();
            format!("{before}response.uid=\"\"{after}")
        }
        None => text.to_owned(),
    }
}

#[tokio::test]
async fn audit_annotations_reach_the_audit_log_under_the_webhooks_name() {
    // K46
    let stage = Stage::start("k46").await;
    let (router, _) = answering(async |call: Call| {
        let annotations = json!({"why": "since", "not/legal": "dropped"});
        review(
            &call,
            json!({"allowed": true, "auditAnnotations": annotations}),
        )
    });
    let served = Served::start(router);
    let created = rule("", "v1", "configmaps", &["CREATE"]);
    stage
        .validating(vec![
            stage
                .hook_at(served.client_config("/"), created)
                .named("told"),
        ])
        .await;
    let uri = "/api/v1/namespaces/k46/configmaps?dryRun=All";
    let object = json!({"metadata": {"name": "audited"}});
    let answer = stage.raw("POST", uri, Some(&object)).await;
    assert_eq!(answer.status(), StatusCode::CREATED, "{}", answer.body());
    let log = ControlPlane::shared().await.audit_log();
    let event = log.wait_for(|event| {
        let is_audited = |object: &Value| object["metadata"]["name"] == "audited";
        event.request_object.as_ref().is_some_and(is_audited) && event.request_uri.contains("/k46/")
    });
    let annotations = event.await.unwrap().annotations;
    assert_eq!(annotations["told.k8s.example.com/why"], "since");
    assert!(
        annotations.keys().all(|key| !key.contains("legal")),
        "{annotations:?}"
    );
}
