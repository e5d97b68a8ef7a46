//! What a callback knows about the request beside the objects. Made by `handler` for each review,
//! and by the tests of hooks.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{GroupVersionKind, GroupVersionResource, Operation, UserInfo};
use crate::{
    Fault,
    envelope::{AdmissionRequest, Deadline, Json, Text, read_part},
};

/// The request around the objects under review.
///
/// Borrowed from the request's body. Its `uid` is new for every call, on reinvocation too, and so
/// is no key to recognise a request by.
#[derive(Debug)]
pub struct AdmissionContext<'a> {
    request: AdmissionRequest<'a>,
    operation: Operation,
    name_of_old: Text<'a>,
    deadline: Deadline,
}

impl<'a> AdmissionContext<'a> {
    /// A context for the test of a hook: no user, no names, ten seconds of time.
    #[must_use]
    pub fn new(operation: Operation) -> Self {
        Self {
            request: AdmissionRequest::default(),
            operation,
            name_of_old: Text::default(),
            deadline: Deadline::after(Duration::from_secs(10)),
        }
    }

    /// The context of a review; only the four operations of the API are known.
    pub(crate) fn of(request: AdmissionRequest<'a>, deadline: Deadline) -> Result<Self, Fault> {
        let operation = Operation::parse(&request.operation).ok_or_else(|| {
            Fault::invalid_object(format!(
                "Operation {} is not supported.",
                &*request.operation
            ))
        })?;
        let name_of_old = match request.old_object {
            Some(old) if request.name.is_empty() => name_of(old),
            _ => Text::default(),
        };
        Ok(Self {
            request,
            operation,
            name_of_old,
            deadline,
        })
    }

    /// The same, made by `username`, who is in `groups`.
    #[must_use]
    pub fn with_user(mut self, username: &'a str, groups: &[&'a str]) -> Self {
        self.request.user_info = Some(UserInfo {
            username: username.into(),
            groups: Some(groups.iter().map(|group| Text::from(*group)).collect()),
            ..UserInfo::default()
        });
        self
    }

    /// The same, for the object `namespace`/`name`.
    #[must_use]
    pub fn with_object(mut self, namespace: &'a str, name: &'a str) -> Self {
        self.request.namespace = namespace.into();
        self.request.name = name.into();
        self
    }

    /// The same, as a dry run or not.
    #[must_use]
    pub fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.request.dry_run = Some(dry_run);
        self
    }

    /// The same, on a subresource such as `status`.
    #[must_use]
    pub fn with_subresource(mut self, subresource: &'a str) -> Self {
        self.request.sub_resource = subresource.into();
        self
    }

    /// The id of this call, which the answer repeats.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.request.uid
    }

    /// What is done to the object.
    #[must_use]
    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// Whether nothing will be stored; a hook with side effects must then leave them out.
    #[must_use]
    pub fn dry_run(&self) -> bool {
        self.request.dry_run.unwrap_or_default()
    }

    /// The object's name, if it has one by now.
    ///
    /// The API server leaves it out on every object of a deletecollection, where it is taken from
    /// the stored object, and on a mutating call for a `generateName` create, where there is none.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        non_empty(&self.request.name).or_else(|| non_empty(&self.name_of_old))
    }

    /// The object's namespace; `None` for cluster-scoped objects. A Namespace's is its own name.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        non_empty(&self.request.namespace)
    }

    /// Who makes the API request.
    #[must_use]
    pub fn user(&self) -> &UserInfo<'a> {
        static NOBODY: UserInfo<'static> = UserInfo::nobody();
        self.request.user_info.as_ref().unwrap_or(&NOBODY)
    }

    /// The kind of the object as it was sent to this hook.
    #[must_use]
    pub fn kind(&self) -> Option<&GroupVersionKind<'a>> {
        self.request.kind.as_ref()
    }

    /// The resource as it was sent to this hook.
    #[must_use]
    pub fn resource(&self) -> Option<&GroupVersionResource<'a>> {
        self.request.resource.as_ref()
    }

    /// The subresource, such as `status` or `scale`.
    #[must_use]
    pub fn subresource(&self) -> Option<&str> {
        non_empty(&self.request.sub_resource)
    }

    /// The kind that the user asked for, before `matchPolicy: Equivalent` converted it.
    #[must_use]
    pub fn request_kind(&self) -> Option<&GroupVersionKind<'a>> {
        self.request.request_kind.as_ref()
    }

    /// The resource that the user asked for.
    #[must_use]
    pub fn request_resource(&self) -> Option<&GroupVersionResource<'a>> {
        self.request.request_resource.as_ref()
    }

    /// The subresource that the user asked for.
    #[must_use]
    pub fn request_subresource(&self) -> Option<&str> {
        non_empty(&self.request.request_sub_resource)
    }

    /// The options of the API request, e.g. `DeleteOptions`, as they were sent.
    #[must_use]
    pub fn options(&self) -> Option<&'a RawValue> {
        self.request.options.map(Json::raw)
    }

    /// When the answer must be ready: the API server's deadline less a margin. The callback is
    /// dropped then, and the call fails with 504.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.deadline.instant()
    }
}

fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn name_of(object: Json<'_>) -> Text<'_> {
    #[derive(Default, Deserialize)]
    struct Named<'a> {
        #[serde(borrow, default)]
        metadata: Metadata<'a>,
    }
    #[derive(Default, Deserialize)]
    struct Metadata<'a> {
        #[serde(borrow, default)]
        name: Text<'a>,
    }
    read_part::<Named<'_>>(object.get())
        .unwrap_or_default()
        .metadata
        .name
}
