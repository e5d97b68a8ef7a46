//! The unit cases of Kubernetes' own suites: K45 to K55 for admission, K73 and K74 for conversion.

use serde_json::json;

use super::*;

const UID: &str = "12345";
const INVALID: &str = "received invalid webhook response: ";

fn admission(response: &Value) -> Vec<u8> {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response,
    });
    review.to_string().into_bytes()
}

fn base64(text: &str) -> String {
    STANDARD.encode(text)
}

fn validated(body: &[u8]) -> Result<Verdict, String> {
    check_validation(ReviewVersion::V1, UID, body).map_err(|error| error.to_string())
}

fn mutated(body: &[u8]) -> Result<Verdict, String> {
    let object = json!({"metadata": {}});
    check_mutation(ReviewVersion::V1, UID, &object, body).map_err(|error| error.to_string())
}

#[test]
fn an_allowed_answer_passes() {
    // K45, K46, K47, K48
    let plain = admission(&json!({"uid": UID, "allowed": true}));
    assert!(validated(&plain).unwrap().is_allowed());
    assert!(mutated(&plain).unwrap().is_allowed());

    let full = admission(&json!({
        "uid": UID,
        "allowed": true,
        "auditAnnotations": {"foo": "bar"},
        "warnings": ["careful"],
        "patchType": "JSONPatch",
        "patch": base64(r#"[{"op": "add", "path": "/a", "value": 1}]"#),
    }));
    let verdict = mutated(&full).unwrap();
    assert_eq!(verdict.audit_annotations()["foo"], "bar");
    assert_eq!(verdict.warnings(), ["careful"]);
    assert_eq!(verdict.object(), Some(&json!({"metadata": {}, "a": 1})));

    let denied = admission(&json!({"uid": UID, "allowed": false, "status": {
        "code": 401, "message": "no", "status": "Failure", "reason": "Unauthorized",
    }}));
    let refusal = validated(&denied).unwrap().refusal("hook").unwrap();
    assert_eq!((refusal.code, &*refusal.reason), (401, "Unauthorized"));
}

#[test]
fn a_refusal_says_why_as_far_as_it_is_known() {
    // K56
    for (status, code, message) in [
        (json!(null), 400, " without explanation"),
        (
            json!({"reason": "you shall not pass"}),
            400,
            ": you shall not pass",
        ),
        (json!({"code": 200, "message": "no"}), 400, ": no"),
        (
            json!({"code": 403, "message": "no", "reason": "r"}),
            403,
            ": no",
        ),
    ] {
        let body = admission(&json!({"uid": UID, "allowed": false, "status": status}));
        let refusal = validated(&body).unwrap().refusal("a.b.c").unwrap();
        assert_eq!(refusal.code, code);
        let prefix = r#"admission webhook "a.b.c" denied the request"#;
        assert_eq!(refusal.message, format!("{prefix}{message}"));
    }
}

#[test]
fn an_answer_that_is_none_is_refused_in_the_api_servers_words() {
    // K49, K50, K51
    let types = |api_version: &str, kind: &str| {
        let review = json!({
            "apiVersion": api_version, "kind": kind, "response": {"uid": UID, "allowed": true},
        });
        review.to_string().into_bytes()
    };
    let expected = "received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got ";
    for (body, message) in [
        (b"{}".to_vec(), format!("{INVALID}webhook response was absent")),
        (
            admission(&Value::Null),
            format!("{INVALID}webhook response was absent"),
        ),
        (
            types("admission.k8s.io/v2", "AdmissionReview"),
            r#"failed to call webhook: no kind "AdmissionReview" is registered for version "admission.k8s.io/v2""#.to_owned(),
        ),
        (
            types("other.k8s.io/v1", "AdmissionReview"),
            r#"failed to call webhook: no kind "AdmissionReview" is registered for version "other.k8s.io/v1""#.to_owned(),
        ),
        (
            types("admission.k8s.io/v1", "Review"),
            r#"failed to call webhook: no kind "Review" is registered for version "admission.k8s.io/v1""#.to_owned(),
        ),
        (types("", ""), format!("{expected}/, Kind=")),
        (
            admission(&json!({"uid": "other", "allowed": true})),
            format!(r#"{INVALID}expected response.uid="12345", got "other""#),
        ),
    ] {
        assert_eq!(validated(&body).unwrap_err(), message);
        assert_eq!(mutated(&body).unwrap_err(), message);
    }
    let error = check_validation(ReviewVersion::V1, UID, b"{\"a\":").unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to call webhook: couldn't get version/kind; json parse error: unexpected end of JSON input"
    );
}

#[test]
fn a_patch_and_its_type_come_together_or_not_at_all() {
    // K52, K53, K54, K55, K66
    let patch = base64("[]");
    for (response, mutating, validating) in [
        (
            json!({"patch": patch}),
            "received invalid webhook response: webhook returned response.patch but not response.patchType",
            "received invalid webhook response: validating webhook may not return response.patch",
        ),
        (
            json!({"patchType": "JSONPatch"}),
            "received invalid webhook response: webhook returned response.patchType but not response.patch",
            "received invalid webhook response: validating webhook may not return response.patchType",
        ),
        (
            json!({"patch": patch, "patchType": ""}),
            r#"received invalid webhook response: webhook returned invalid response.patchType of """#,
            "received invalid webhook response: validating webhook may not return response.patch",
        ),
        (
            json!({"patch": base64(r#"[{"op": "add", "path": "/a", "value": 1}]"#), "patchType": "MergePatch"}),
            r#"unsupported patch type "MergePatch""#,
            "received invalid webhook response: validating webhook may not return response.patch",
        ),
        (
            json!({"patch": base64("["), "patchType": "JSONPatch"}),
            "received undecodable patch in webhook response: unexpected end of JSON input",
            "received invalid webhook response: validating webhook may not return response.patch",
        ),
    ] {
        let mut response = response;
        response["uid"] = UID.into();
        response["allowed"] = true.into();
        let body = admission(&response);
        assert_eq!(mutated(&body).unwrap_err(), mutating);
        assert_eq!(validated(&body).unwrap_err(), validating);
    }
}

#[test]
fn a_patch_that_cannot_be_made_is_no_ones_fault_but_the_webhooks() {
    let patch = base64(r#"[{"op": "remove", "path": "/metadata/labels"}]"#);
    let body = admission(&json!({
        "uid": UID, "allowed": true, "patchType": "JSONPatch", "patch": patch,
    }));
    for object in [json!({"metadata": {}}), Value::Null] {
        let error = check_mutation(ReviewVersion::V1, UID, &object, &body).unwrap_err();
        assert!(!error.is_ignorable(), "{error}");
    }
    let empty = admission(&json!({
        "uid": UID, "allowed": true, "patchType": "JSONPatch", "patch": base64("[]"),
    }));
    assert!(mutated(&empty).unwrap().patch().is_none());
}

#[test]
fn of_a_v1beta1_answer_only_the_response_counts() {
    let body = json!({"response": {"allowed": true, "patch": base64("[]")}}).to_string();
    for uid in [UID, "other"] {
        check_mutation(ReviewVersion::V1beta1, uid, &json!({}), body.as_bytes()).unwrap();
        check_validation(ReviewVersion::V1beta1, uid, body.as_bytes()).unwrap();
    }
    check_validation(ReviewVersion::V1beta1, UID, b"{}").unwrap_err();
    let other = admission(&json!({"uid": UID, "allowed": true}));
    check_validation(ReviewVersion::V1beta1, UID, &other).unwrap_err();
}

fn original() -> Value {
    json!({
        "apiVersion": "example.com/v1",
        "kind": "Port",
        "metadata": {
            "name": "one", "namespace": "default", "uid": "u", "generation": 3,
            "labels": {"a": "b"}, "finalizers": ["f"],
        },
    })
}

fn converted(change: impl FnOnce(&mut Value)) -> Result<Vec<Value>, String> {
    let mut object = original();
    object["apiVersion"] = "example.com/v2".into();
    let mut review = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "ConversionReview",
        "response": {"uid": UID, "result": {"status": "Success"}, "convertedObjects": [object]},
    });
    change(&mut review);
    check_conversion(
        ReviewVersion::V1,
        UID,
        "example.com/v2",
        &[original()],
        review.to_string().as_bytes(),
    )
    .map_err(|error| error.to_string())
}

#[test]
fn a_conversion_is_refused_in_the_api_servers_words() {
    // K40, K74
    let expected =
        "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got ";
    let object = "/response/convertedObjects/0";
    let cases: [(&str, Value, String); 14] = [
        ("/apiVersion", json!(""), format!("{expected}/, Kind=ConversionReview")),
        ("/apiVersion", json!("apiextensions.k8s.io/v2"), format!("{expected}apiextensions.k8s.io/v2, Kind=ConversionReview")),
        ("/kind", json!("Review"), format!("{expected}apiextensions.k8s.io/v1, Kind=Review")),
        ("/response", json!(null), "no response provided".to_owned()),
        ("/response/uid", json!(""), r#"expected response.uid="12345", got """#.to_owned()),
        ("/response/uid", json!("x"), r#"expected response.uid="12345", got "x""#.to_owned()),
        ("/response/result/status", json!(""), "response.result.status was '', not 'Success'".to_owned()),
        ("/response/result", json!({"status": "Failure", "message": "no such luck"}), "no such luck".to_owned()),
        ("/response/result/status", json!("success"), "response.result.status was 'success', not 'Success'".to_owned()),
        ("/response/convertedObjects", json!([]), "returned 0 objects, expected 1".to_owned()),
        ("apiVersion", json!("example.com/v3"), "returned invalid converted object at index 0: invalid groupVersion (expected example.com/v2, received example.com/v3)".to_owned()),
        ("kind", json!("Other"), "returned invalid converted object at index 0: invalid kind (expected Port, received Other)".to_owned()),
        ("metadata/uid", json!("v"), "must have the same UID: u != v".to_owned()),
        ("metadata/name", json!("two"), "must have the same name: one != two".to_owned()),
    ];
    for (path, value, message) in cases {
        let pointer = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("{object}/{path}")
        };
        let refused = converted(|review| *review.pointer_mut(&pointer).unwrap() = value);
        assert_eq!(refused.unwrap_err(), message);
    }
}

#[test]
fn of_converted_metadata_only_labels_and_annotations_are_kept() {
    let object = converted(|review| {
        review["response"]["convertedObjects"][0]["metadata"] = json!({
            "name": "one", "namespace": "default", "uid": "u", "generation": 9,
            "annotations": {"c": "d"},
        });
    })
    .unwrap()
    .remove(0);
    assert_eq!(
        object["metadata"],
        json!({
            "name": "one", "namespace": "default", "uid": "u", "generation": 3,
            "finalizers": ["f"], "annotations": {"c": "d"},
        })
    );
    let lost = converted(|review| {
        review["response"]["convertedObjects"][0]["metadata"]["labels"] = json!({"a": 1});
    });
    assert!(lost.unwrap_err().contains("metadata.labels"));
}
