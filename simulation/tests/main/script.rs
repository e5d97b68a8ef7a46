//! What is asked of both API servers: what the program and its neighbours ask, and the ways in
//! which that may go wrong.
//!
//! `$latest` and `$first` are an object's versions, `$uid` is its uid.

use serde_json::{Value, json};

/// One request, and what it is about.
pub(super) struct Step {
    pub(super) says: &'static str,
    pub(super) kind: &'static str,
    pub(super) name: &'static str,
    pub(super) what: Do,
}

/// A request.
pub(super) enum Do {
    Apply(Value),
    ApplyStatus(Value),
    Create(Value),
    Delete {
        uid: Option<&'static str>,
        version: Option<&'static str>,
    },
    Get,
    Json(Value),
    List,
    Merge(Value),
    MergeStatus(Value),
    Replace(Value),
    ReplaceStatus(Value),
}

/// All steps, in their order.
pub(super) fn script() -> Vec<Step> {
    let mut steps = Vec::new();
    for (kind, name, of_kind) in [
        ("BareMetalHost", "host", host()),
        ("HostCalendar", "calendar", calendar()),
        ("Reservation", "reservation", reservation()),
        ("Secret", "secret", secret()),
    ] {
        steps.extend(of_kind.into_iter().map(|(says, what)| Step {
            says,
            kind,
            name,
            what,
        }));
        steps.extend(endings().into_iter().map(|(says, what)| Step {
            says,
            kind,
            name,
            what,
        }));
    }
    steps
}

type Steps = Vec<(&'static str, Do)>;

fn version(version: &str) -> Value {
    json!({"resourceVersion": version})
}

fn host() -> Steps {
    let consumer = json!({"kind": "Reservation", "name": "a", "uid": "1"});
    vec![
        ("none is there", Do::Get),
        (
            "a patch of none",
            Do::Merge(json!({"spec": {"online": true}})),
        ),
        ("a status of none", Do::MergeStatus(json!({"status": {}}))),
        (
            "a host is made, and a status that comes with it is dropped",
            Do::Create(json!({
                "metadata": {"labels": {"script": "yes"}},
                "spec": {"online": false, "image": null},
                "status": {"errorCount": 3},
            })),
        ),
        ("made twice", Do::Create(json!({"spec": {"online": false}}))),
        (
            "a merge with the version that is stored",
            Do::Merge(json!({"metadata": version("$latest"), "spec": {"consumerRef": consumer}})),
        ),
        (
            "a merge with an older version",
            Do::Merge(json!({"metadata": version("$first"), "spec": {"online": true}})),
        ),
        (
            "a merge without one",
            Do::Merge(json!({"spec": {"online": true, "image": {"url": "http://i"}}})),
        ),
        (
            "a merge that changes nothing",
            Do::Merge(json!({"spec": {"online": true}})),
        ),
        (
            "labels are no new generation",
            Do::Merge(json!({"metadata": {"labels": {"a": "b"}}})),
        ),
        (
            "a null takes a field away",
            Do::Merge(json!({"spec": {"image": null}, "metadata": {"labels": {"a": null}}})),
        ),
        (
            "what a null takes away twice is gone once",
            Do::Merge(json!({"spec": {"image": null}})),
        ),
        (
            "a status through the front door",
            Do::Merge(json!({"status": {"errorCount": 1}})),
        ),
        (
            "a status through its own",
            Do::MergeStatus(json!({
                "spec": {"online": false},
                "status": {
                    "operationalStatus": "OK", "errorMessage": "", "errorCount": 0,
                    "poweredOn": false, "provisioning": {"ID": "", "state": "available"},
                },
            })),
        ),
        (
            "a status with an older version",
            Do::MergeStatus(json!({"metadata": version("$first"), "status": {"errorCount": 1}})),
        ),
        (
            "a claim is dropped by a test of whose it is",
            Do::Json(json!([
                {"op": "test", "path": "/spec/consumerRef/uid", "value": "1"},
                {"op": "remove", "path": "/spec/consumerRef"},
                {"op": "add", "path": "/spec/image", "value": {"url": "http://idle"}},
            ])),
        ),
        (
            "another's claim",
            Do::Json(json!([
                {"op": "test", "path": "/spec/consumerRef/uid", "value": "1"},
                {"op": "remove", "path": "/spec/consumerRef"},
            ])),
        ),
        (
            "a test of another value",
            Do::Json(json!([
                {"op": "test", "path": "/spec/online", "value": false},
                {"op": "remove", "path": "/spec/online"},
            ])),
        ),
        (
            "what isn't there is removed",
            Do::Json(json!([{"op": "remove", "path": "/spec/customDeploy"}])),
        ),
        (
            "a host is replaced without a version",
            Do::Replace(json!({"spec": {"online": false}})),
        ),
        (
            "a host is replaced by an older one",
            Do::Replace(json!({"metadata": version("$first"), "spec": {"online": false}})),
        ),
        (
            "a host is replaced",
            Do::Replace(json!({"metadata": version("$latest"), "spec": {"online": false}})),
        ),
        (
            "its status is replaced, and nothing else",
            Do::ReplaceStatus(json!({
                "metadata": {"resourceVersion": "$latest", "labels": {"other": "label"}},
                "spec": {"online": true},
                "status": {
                    "operationalStatus": "error", "errorMessage": "broken", "errorCount": 1,
                    "poweredOn": true, "provisioning": {"ID": "", "state": "provisioned"},
                },
            })),
        ),
        (
            "its status is replaced by an older one",
            Do::ReplaceStatus(json!({"metadata": version("$first"), "spec": {"online": true}})),
        ),
        (
            "a patch changes neither name nor uid nor generation",
            Do::Merge(json!({"metadata": {"generation": 99, "labels": {"script": "yes"}}})),
        ),
        ("hosts with a label", Do::List),
    ]
}

fn calendar() -> Steps {
    let booking = |uid: &str, start: &str| json!({"uid": uid, "name": uid, "start": start});
    let one = booking("1", "2026-01-01T00:00:00Z");
    let two = booking("2", "2026-01-02T00:00:00Z");
    vec![
        (
            "a calendar is made, and its status is not",
            Do::Create(json!({
                "metadata": {"ownerReferences": [{
                    "apiVersion": "metal3.io/v1alpha1", "kind": "BareMetalHost",
                    "name": "host", "uid": "00000000-0000-4000-8000-000000000001",
                }]},
                "spec": {},
                "status": {"current": "x"},
            })),
        ),
        (
            "it is booked",
            Do::ReplaceStatus(json!({
                "metadata": version("$latest"), "spec": {}, "status": {"bookings": [one]},
            })),
        ),
        (
            "it is booked by who read the one before",
            Do::ReplaceStatus(json!({
                "metadata": version("$first"), "spec": {}, "status": {"bookings": [two]},
            })),
        ),
        (
            "it is booked again",
            Do::ReplaceStatus(json!({
                "metadata": version("$latest"), "spec": {},
                "status": {"bookings": [one, two], "current": "1"},
            })),
        ),
        (
            "it is booked as it was",
            Do::ReplaceStatus(json!({
                "metadata": version("$latest"), "spec": {},
                "status": {"bookings": [one, two], "current": "1"},
            })),
        ),
        (
            "it is emptied",
            Do::ReplaceStatus(json!({
                "metadata": version("$latest"), "spec": {}, "status": {"freeFrom": "now"},
            })),
        ),
    ]
}

fn reservation() -> Steps {
    let window = json!({"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z"});
    let condition = |kind: &str, status: &str| {
        json!({
            "type": kind, "status": status, "reason": "Some", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        })
    };
    vec![
        (
            "a status is applied to none",
            Do::ApplyStatus(json!({"status": {"phase": "Pending"}})),
        ),
        (
            "a change is applied to none",
            Do::Apply(json!({"metadata": version("1"), "spec": {"window": window}})),
        ),
        (
            "a reservation is applied where none is",
            Do::Apply(json!({
                "metadata": {"labels": {"a": "b", "script": "yes"}},
                "spec": {"window": window, "resource": {"name": "srv", "type": "Server"}},
            })),
        ),
        (
            "a status is applied",
            Do::ApplyStatus(json!({
                "metadata": version("$latest"),
                "status": {"phase": "Pending", "conditions": [condition("Accepted", "False")]},
            })),
        ),
        (
            "the same again",
            Do::ApplyStatus(json!({
                "metadata": version("$latest"),
                "status": {"phase": "Pending", "conditions": [condition("Accepted", "False")]},
            })),
        ),
        (
            "a status is applied to an older one",
            Do::ApplyStatus(json!({"metadata": version("$first"), "status": {"phase": "Active"}})),
        ),
        (
            "what is applied no more is gone",
            Do::ApplyStatus(json!({
                "metadata": version("$latest"),
                "status": {"conditions": [condition("Ready", "True")]},
            })),
        ),
        (
            "a change is applied, which drops a label and a field",
            Do::Apply(json!({
                "metadata": {"labels": {"script": "yes"}},
                "spec": {"window": window, "resource": {"name": "srv"}},
            })),
        ),
        (
            "a finalizer is put on it",
            Do::Merge(json!({"metadata": {
                "resourceVersion": "$latest", "finalizers": ["harbormaster.dev/release"],
            }})),
        ),
        (
            "another's change of the same reading",
            Do::Merge(json!({"metadata": {"resourceVersion": "$first", "finalizers": []}})),
        ),
        (
            "it is replaced, as the recorder does",
            Do::Replace(json!({
                "metadata": {
                    "resourceVersion": "$latest", "labels": {"script": "yes"},
                    "finalizers": ["harbormaster.dev/release"],
                },
                "spec": {
                    "window": window, "resource": {"name": "srv"},
                    "lifecycle": {"desiredState": "Released"},
                },
            })),
        ),
        ("reservations with a label", Do::List),
    ]
}

fn secret() -> Steps {
    let owner = json!([{
        "apiVersion": "harbormaster.dev/v1", "kind": "Reservation", "name": "reservation",
        "uid": "00000000-0000-4000-8000-000000000001",
    }]);
    let test = json!({
        "op": "test", "path": "/metadata/ownerReferences/0/uid",
        "value": "00000000-0000-4000-8000-000000000001",
    });
    let by_uid = |uid: &str| json!({"op": "test", "path": "/metadata/uid", "value": uid});
    let filled = json!({"op": "add", "path": "/data", "value": {"userData": "YQ=="}});
    vec![
        (
            "a Secret is made, with nothing in it",
            Do::Create(json!({"metadata": {"ownerReferences": owner}})),
        ),
        (
            "whoever finds it learns which it is",
            Do::Json(json!([test])),
        ),
        (
            "that very one is filled",
            Do::Json(json!([by_uid("$uid"), filled])),
        ),
        (
            "another of its name is filled",
            Do::Json(json!([
                by_uid("00000000-0000-4000-8000-00000000000f"),
                filled
            ])),
        ),
        (
            "made twice",
            Do::Create(json!({"data": {"userData": "Yg=="}})),
        ),
        (
            "its owner writes over it",
            Do::Json(json!([test, {"op": "add", "path": "/data", "value": {"userData": "Yg=="}}])),
        ),
        (
            "the operator puts a label on it",
            Do::Merge(json!({"metadata": {"labels": {"environment.metal3.io": "baremetal"}}})),
        ),
        (
            "somebody else takes its owner away",
            Do::Merge(json!({"metadata": {"ownerReferences": null}})),
        ),
        (
            "who is not its owner writes over it",
            Do::Json(json!([test, {"op": "add", "path": "/data", "value": {}}])),
        ),
    ]
}

/// How an object goes, of whichever kind it is.
fn endings() -> Steps {
    let gone = |uid, version| Do::Delete { uid, version };
    let other = Some("00000000-0000-4000-8000-00000000000f");
    vec![
        ("another is to be deleted", gone(other, None)),
        ("an older one is to be deleted", gone(None, Some("$first"))),
        (
            "something holds it",
            Do::Merge(json!({"metadata": {"finalizers": ["example.com/a", "example.com/b"]}})),
        ),
        ("it is deleted", gone(Some("$uid"), Some("$latest"))),
        ("it is deleted twice", gone(Some("$uid"), None)),
        (
            "it can't be held anew",
            Do::Merge(json!({"metadata": {
                "finalizers": ["example.com/a", "example.com/b", "example.com/c"],
            }})),
        ),
        (
            "it can be edited while it goes",
            Do::Merge(json!({"metadata": {"annotations": {"a": "b"}}})),
        ),
        (
            "one of two lets go",
            Do::Merge(json!({"metadata": {"finalizers": ["example.com/b"]}})),
        ),
        (
            "the last lets go",
            Do::Merge(json!({"metadata": {"finalizers": null}})),
        ),
        ("it is gone", Do::Get),
        ("what is gone is deleted", gone(None, None)),
    ]
}

/// By which lists are asked for.
pub(super) const SCRIPT_LABEL: &str = "script=yes";
