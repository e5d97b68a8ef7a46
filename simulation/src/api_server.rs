//! A small API server: the objects of one namespace in memory, with the semantics of the few
//! verbs that the program uses.
//!
//! What it must get right is what safety hangs on: versions and conflicts, uids,
//! generations, finalizers, the status subresource, preconditions, and how the three kinds
//! of patch change an object. It refuses what no caller asks for: schemas, watches, several
//! namespaces.

mod apply;
mod request;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Map, Value, json};

pub use self::request::{Request, Verb};

/// A kind of object that is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `baremetalhosts.metal3.io`
    Host,
    /// `hostcalendars.harbormaster.dev`
    Calendar,
    /// `reservations.harbormaster.dev`
    Reservation,
    /// `secrets`
    Secret,
}

/// An answer: a code and a document.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The HTTP status code.
    pub code: u16,
    /// The object, the list, or a `metav1.Status`.
    pub body: Value,
}

/// One write: what stood there, and what stands there now.
#[derive(Clone, Debug)]
pub struct Change {
    /// Of which kind it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// `None`: it was made.
    pub before: Option<Value>,
    /// `None`: it is gone.
    pub after: Option<Value>,
}

/// The objects.
#[derive(Clone, Debug, Default)]
pub struct ApiServer {
    objects: BTreeMap<(Kind, String), Value>,
    applied: BTreeMap<(Kind, String, bool), Value>,
    version: u64,
    made: u64,
}

impl ApiServer {
    /// Every object of a kind, by name.
    pub fn all(&self, kind: Kind) -> impl Iterator<Item = (&str, &Value)> {
        self.objects
            .range((kind, String::new())..)
            .take_while(move |((other, _), _)| *other == kind)
            .map(|((_, name), object)| (name.as_str(), object))
    }

    /// One object.
    pub fn one(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned()))
    }

    /// Does what is asked, and tells what it changed.
    pub fn handle(&mut self, request: &Request, now: Timestamp) -> (Answer, Option<Change>) {
        match self.answer(request, now) {
            Ok((body, change)) => {
                let code = if matches!(request.verb, Verb::Create(_)) {
                    201
                } else {
                    200
                };
                (Answer { code, body }, change)
            }
            Err(refusal) => (refusal.into(), None),
        }
    }

    fn answer(
        &mut self,
        request: &Request,
        now: Timestamp,
    ) -> Result<(Value, Option<Change>), Refusal> {
        let kind = request.kind;
        match &request.verb {
            Verb::List { label } => Ok((self.list(kind, label.as_ref()), None)),
            Verb::Get => Ok((self.found(request)?.clone(), None)),
            Verb::Create(object) => self.create(kind, object, now),
            Verb::Replace(object) => {
                let stored = self.found(request)?;
                if version_of(object).is_none() {
                    return Err(Refusal::Invalid("resourceVersion must be specified"));
                }
                let changed = if request.status {
                    with_status_of(stored, object)
                } else {
                    object.clone()
                };
                self.update(request, version_of(object), changed, now)
            }
            Verb::Merge(patch) => {
                let mut changed = self.found(request)?.clone();
                json_patch::merge(&mut changed, patch);
                self.update(request, version_of(patch), changed, now)
            }
            Verb::Json(patch) => {
                let mut changed = self.found(request)?.clone();
                json_patch::patch(&mut changed, patch)
                    .map_err(|_| Refusal::Invalid("the patch does not apply"))?;
                self.update(request, None, changed, now)
            }
            Verb::Apply(configuration) => self.apply(request, configuration, now),
            Verb::Delete { uid, version } => self.delete(request, uid.as_deref(), version, now),
        }
    }

    fn list(&self, kind: Kind, label: Option<&(String, String)>) -> Value {
        let is_asked_for = |object: &Value| {
            label.is_none_or(|(key, value)| object["metadata"]["labels"][key] == json!(value))
        };
        let items: Vec<_> = self
            .all(kind)
            .map(|(_, object)| object.clone())
            .filter(is_asked_for)
            .collect();
        let (api_version, name) = kind.names();
        json!({
            "apiVersion": api_version,
            "kind": format!("{name}List"),
            "metadata": {"resourceVersion": self.version.to_string()},
            "items": items,
        })
    }

    fn found(&self, request: &Request) -> Result<&Value, Refusal> {
        self.one(request.kind, &request.name)
            .ok_or(Refusal::NotFound)
    }

    fn create(
        &mut self,
        kind: Kind,
        object: &Value,
        now: Timestamp,
    ) -> Result<(Value, Option<Change>), Refusal> {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        if self.one(kind, name).is_some() {
            return Err(Refusal::AlreadyExists);
        }
        self.made += 1;
        let mut object = object.clone();
        prune_nulls(&mut object);
        let (api_version, kind_name) = kind.names();
        object["apiVersion"] = json!(api_version);
        object["kind"] = json!(kind_name);
        if kind.has_status() {
            fields(&mut object).remove("status");
        }
        let metadata = fields(&mut object["metadata"]);
        metadata.insert("uid".to_owned(), json!(format!("uid-{}", self.made)));
        metadata.insert("namespace".to_owned(), json!(NAMESPACE));
        metadata.insert("creationTimestamp".to_owned(), json!(Time(now)));
        if kind.has_status() {
            metadata.insert("generation".to_owned(), json!(1));
        }
        let name = name.to_owned();
        Ok(self.store(kind, &name, None, object))
    }

    fn update(
        &mut self,
        request: &Request,
        version: Option<&str>,
        mut changed: Value,
        now: Timestamp,
    ) -> Result<(Value, Option<Change>), Refusal> {
        let stored = self.found(request)?.clone();
        if version.is_some_and(|version| Some(version) != version_of(&stored)) {
            return Err(Refusal::Conflict);
        }
        changed = if request.status {
            with_status_of(&stored, &changed)
        } else if request.kind.has_status() {
            with_status_of(&changed, &stored)
        } else {
            changed
        };
        self.settle(request.kind, &request.name, &stored, changed, now)
    }

    /// What holds whoever writes: the identity stays, a new spec is a new generation, and
    /// what is being deleted goes with its last finalizer.
    fn settle(
        &mut self,
        kind: Kind,
        name: &str,
        stored: &Value,
        mut changed: Value,
        _now: Timestamp,
    ) -> Result<(Value, Option<Change>), Refusal> {
        prune_nulls(&mut changed);
        let metadata = fields(&mut changed["metadata"]);
        for kept in [
            "uid",
            "name",
            "namespace",
            "creationTimestamp",
            "generation",
            "deletionTimestamp",
            "resourceVersion",
        ] {
            match stored["metadata"].get(kept) {
                Some(value) => metadata.insert(kept.to_owned(), value.clone()),
                None => metadata.remove(kept),
            };
        }
        if changed == *stored {
            return Ok((changed, None));
        }
        let is_going = !changed["metadata"]["deletionTimestamp"].is_null();
        if is_going && finalizers(&changed).any(|it| !finalizers(stored).any(|was| was == it)) {
            return Err(Refusal::Invalid("what is being deleted can't be held anew"));
        }
        if is_going && !has_finalizers(&changed) {
            self.objects.remove(&(kind, name.to_owned()));
            self.applied
                .retain(|(k, n, _), _| (*k, &**n) != (kind, name));
            let change = Change {
                kind,
                name: name.to_owned(),
                before: Some(stored.clone()),
                after: None,
            };
            return Ok((changed, Some(change)));
        }
        if kind.has_status() && changed["spec"] != stored["spec"] {
            let generation = stored["metadata"]["generation"].as_i64().unwrap_or(1);
            changed["metadata"]["generation"] = json!(generation + 1);
        }
        Ok(self.store(kind, name, Some(stored.clone()), changed))
    }

    fn store(
        &mut self,
        kind: Kind,
        name: &str,
        before: Option<Value>,
        mut object: Value,
    ) -> (Value, Option<Change>) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.objects.insert((kind, name.to_owned()), object.clone());
        let change = Change {
            kind,
            name: name.to_owned(),
            before,
            after: Some(object.clone()),
        };
        (object, Some(change))
    }

    fn delete(
        &mut self,
        request: &Request,
        uid: Option<&str>,
        version: &Option<String>,
        now: Timestamp,
    ) -> Result<(Value, Option<Change>), Refusal> {
        let stored = self.found(request)?.clone();
        let is_other = uid.is_some_and(|uid| stored["metadata"]["uid"] != json!(uid));
        let is_changed = version
            .as_deref()
            .is_some_and(|version| Some(version) != version_of(&stored));
        if is_other || is_changed {
            return Err(Refusal::Conflict);
        }
        if !has_finalizers(&stored) {
            let key = (request.kind, request.name.clone());
            self.objects.remove(&key);
            self.applied
                .retain(|(kind, name, _), _| (*kind, name) != (key.0, &key.1));
            self.version += 1;
            let change = Change {
                kind: request.kind,
                name: request.name.clone(),
                before: Some(stored),
                after: None,
            };
            let done = json!({"kind": "Status", "apiVersion": "v1", "metadata": {},
                "status": "Success"});
            return Ok((done, Some(change)));
        }
        if !stored["metadata"]["deletionTimestamp"].is_null() {
            return Ok((stored, None));
        }
        let mut marked = stored.clone();
        marked["metadata"]["deletionTimestamp"] = json!(Time(now));
        // A request to delete is a change of what is wanted.
        if request.kind.has_status() {
            let generation = stored["metadata"]["generation"].as_i64().unwrap_or(1);
            marked["metadata"]["generation"] = json!(generation + 1);
        }
        Ok(self.store(request.kind, &request.name, Some(stored), marked))
    }
}

/// Why something isn't done.
#[derive(Clone, Copy, Debug)]
enum Refusal {
    AlreadyExists,
    Conflict,
    Invalid(&'static str),
    NotFound,
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        let (code, reason, message) = match refusal {
            Refusal::AlreadyExists => (409, "AlreadyExists", "it exists already"),
            Refusal::Conflict => (409, "Conflict", "the object has been modified"),
            Refusal::Invalid(message) => (422, "Invalid", message),
            Refusal::NotFound => (404, "NotFound", "there is none"),
        };
        Self {
            code,
            body: json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": message, "reason": reason, "code": code,
            }),
        }
    }
}

impl Kind {
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Host => ("metal3.io/v1alpha1", "BareMetalHost"),
            Self::Calendar => ("harbormaster.dev/v1", "HostCalendar"),
            Self::Reservation => ("harbormaster.dev/v1", "Reservation"),
            Self::Secret => ("v1", "Secret"),
        }
    }

    fn has_status(self) -> bool {
        self != Self::Secret
    }
}

fn version_of(object: &Value) -> Option<&str> {
    object["metadata"]["resourceVersion"].as_str()
}

fn has_finalizers(object: &Value) -> bool {
    finalizers(object).next().is_some()
}

fn finalizers(object: &Value) -> impl Iterator<Item = &Value> {
    let finalizers = object["metadata"]["finalizers"].as_array();
    finalizers.into_iter().flatten()
}

/// The first object with the status of the second.
fn with_status_of(object: &Value, other: &Value) -> Value {
    let mut object = object.clone();
    match other.get("status") {
        Some(status) => object["status"] = status.clone(),
        None => drop(fields(&mut object).remove("status")),
    }
    object
}

/// The API server drops a null before it stores, wherever the schema knows no null.
fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(prune_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}

fn fields(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = json!({});
    }
    value.as_object_mut().expect("it was just made one")
}

/// The namespace that everything is in.
pub const NAMESPACE: &str = "metal3";
