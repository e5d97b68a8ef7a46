//! Reviews as the API server writes them. Made by tests, sent by `api_server`.

use std::sync::atomic::{AtomicU64, Ordering};

use kube::{Resource, core::TypeMeta};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::admission::Operation;

/// The version of a review, as `admissionReviewVersions` and `conversionReviewVersions` choose it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReviewVersion {
    /// `v1`.
    #[default]
    V1,
    /// `v1beta1`, of whose answers less is checked.
    V1beta1,
}

impl ReviewVersion {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1beta1 => "v1beta1",
        }
    }
}

/// An AdmissionReview to be sent, by a user called `alice` who is only `system:authenticated`.
///
/// What the API server leaves out or sets to `null` is so here, too; each call has another uid.
#[derive(Clone, Debug)]
#[must_use]
pub struct Review {
    version: ReviewVersion,
    operation: Operation,
    request: Map<String, Value>,
}

impl Review {
    /// The creation of `object`.
    ///
    /// # Panics
    ///
    /// If `object` isn't serialised as a JSON object, here and in all that follow.
    pub fn create<K>(object: &K) -> Self
    where
        K: Resource + Serialize,
        K::DynamicType: Default,
    {
        let kind = K::DynamicType::default();
        Self::of_kind(&kind, Operation::Create, Some(object), None)
    }

    /// The update of what is stored as `old` to `new`.
    pub fn update<K>(old: &K, new: &K) -> Self
    where
        K: Resource + Serialize,
        K::DynamicType: Default,
    {
        let kind = K::DynamicType::default();
        Self::of_kind(&kind, Operation::Update, Some(new), Some(old))
    }

    /// The deletion of what is stored as `old`.
    pub fn delete<K>(old: &K) -> Self
    where
        K: Resource + Serialize,
        K::DynamicType: Default,
    {
        let kind = K::DynamicType::default();
        Self::of_kind(&kind, Operation::Delete, None, Some(old))
    }

    /// A connection to the subresource of the `K` called `name`: `options` is its whole object, such
    /// as one of `apiVersion: v1`, `kind: PodExecOptions`.
    pub fn connect<K>(name: &str, subresource: &str, options: &Value) -> Self
    where
        K: Resource,
        K::DynamicType: Default,
    {
        let mut review = Self::of(
            Operation::Connect,
            &type_of(options),
            &resource::<K>(&K::DynamicType::default()),
            options,
            &Value::Null,
        );
        review.set("options", Value::Null);
        review.name(name).subresource(subresource)
    }

    /// For a kind known at run time only.
    pub fn of_kind<K>(
        kind: &K::DynamicType,
        operation: Operation,
        object: Option<&K>,
        old_object: Option<&K>,
    ) -> Self
    where
        K: Resource + Serialize,
    {
        let json = |object: Option<&K>| {
            object.map_or(Value::Null, |object| {
                let mut json = serde_json::to_value(object).unwrap_or_default();
                // Typed objects may not hold their own types.
                json["apiVersion"] = K::api_version(kind).into();
                json["kind"] = K::kind(kind).into();
                json
            })
        };
        let gvk = json!({
            "group": K::group(kind), "version": K::version(kind), "kind": K::kind(kind),
        });
        let meta = object.or(old_object).map(Resource::meta);
        let name = meta.and_then(|meta| meta.name.clone());
        let namespace = meta.and_then(|meta| meta.namespace.clone());
        Self::of(
            operation,
            &gvk,
            &resource::<K>(kind),
            &json(object),
            &json(old_object),
        )
        .name(name.unwrap_or_default())
        .namespace(namespace.unwrap_or_default())
    }

    fn of(
        operation: Operation,
        kind: &Value,
        resource: &Value,
        object: &Value,
        old_object: &Value,
    ) -> Self {
        let options = match operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => "DeleteOptions",
            Operation::Connect => "",
        };
        let request = json!({
            "uid": "",
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "operation": operation.as_str(),
            "userInfo": {"username": "alice", "groups": ["system:authenticated"]},
            "object": object,
            "oldObject": old_object,
            "dryRun": false,
            "options": {"kind": options, "apiVersion": "meta.k8s.io/v1"},
        });
        let Value::Object(request) = request else {
            unreachable!("it was written as an object")
        };
        Self {
            version: ReviewVersion::V1,
            operation,
            request,
        }
    }

    /// Made by `username`, who is in `groups`.
    pub fn user(mut self, username: &str, groups: &[&str]) -> Self {
        self.set("userInfo", json!({"username": username, "groups": groups}));
        self
    }

    /// A dry run.
    pub fn dry_run(mut self) -> Self {
        self.set("dryRun", true.into());
        self
    }

    /// The name in the request: empty for `generateName` and deletecollection.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.set_text("name", name.into());
        self
    }

    /// The namespace in the request.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.set_text("namespace", namespace.into());
        self
    }

    /// On a subresource such as `status`.
    pub fn subresource(mut self, name: impl Into<String>) -> Self {
        let name = name.into();
        self.set_text("subResource", name.clone());
        self.set_text("requestSubResource", name);
        self
    }

    /// The options of the API request: the whole object.
    pub fn options(mut self, options: Value) -> Self {
        self.set("options", options);
        self
    }

    /// Asked for at another version, and converted by `matchPolicy: Equivalent`.
    pub fn requested_at(mut self, version: &str) -> Self {
        for field in ["requestKind", "requestResource"] {
            if let Some(value) = self.request.get_mut(field) {
                value["version"] = version.into();
            }
        }
        self
    }

    /// In this version of the review.
    pub fn version(mut self, version: ReviewVersion) -> Self {
        self.version = version;
        self
    }

    /// The same request, about another object: what a mutation made of it.
    pub fn with_object(mut self, object: Value) -> Self {
        self.set("object", object);
        self
    }

    /// The review as JSON, with a uid that no other has.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut request = self.request.clone();
        request.insert("uid".to_owned(), fresh_uid().into());
        json!({
            "kind": "AdmissionReview",
            "apiVersion": format!("admission.k8s.io/{}", self.version.as_str()),
            "request": request,
        })
    }

    pub(super) fn review_version(&self) -> ReviewVersion {
        self.version
    }

    pub(super) fn object(&self) -> &Value {
        &self.request["object"]
    }

    pub(super) fn is_delete(&self) -> bool {
        self.operation == Operation::Delete
    }

    fn set(&mut self, field: &str, value: Value) {
        self.request.insert(field.to_owned(), value);
    }

    fn set_text(&mut self, field: &str, text: String) {
        if text.is_empty() {
            self.request.remove(field);
        } else {
            self.set(field, text.into());
        }
    }
}

pub(super) fn fresh_uid() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(1);
    let call = CALLS.fetch_add(1, Ordering::Relaxed);
    format!("705ab4f5-6393-11e8-b7cc-{call:012x}")
}

fn resource<K: Resource>(kind: &K::DynamicType) -> Value {
    json!({
        "group": K::group(kind), "version": K::version(kind), "resource": K::plural(kind),
    })
}

fn type_of(object: &Value) -> Value {
    let types: TypeMeta = serde_json::from_value(object.clone()).unwrap_or_default();
    let (group, version) = types
        .api_version
        .rsplit_once('/')
        .unwrap_or(("", &types.api_version));
    json!({"group": group, "version": version, "kind": types.kind})
}
