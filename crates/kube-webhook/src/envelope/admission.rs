//! `AdmissionReview`: the request as the API server writes it, and the answer as it checks it.
//!
//! kube's own type writes `patch` as an array of numbers and insists on decoding the objects, so
//! this one is ours. Used by `admission` alone.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};

use super::{Json, ReviewVersion, Text, read, read_part};
use crate::Fault;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AdmissionRequest<'a> {
    #[serde(borrow, default)]
    pub(crate) uid: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) kind: Option<GroupVersionKind<'a>>,
    #[serde(borrow, default)]
    pub(crate) resource: Option<GroupVersionResource<'a>>,
    #[serde(borrow, default)]
    pub(crate) sub_resource: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) request_kind: Option<GroupVersionKind<'a>>,
    #[serde(borrow, default)]
    pub(crate) request_resource: Option<GroupVersionResource<'a>>,
    #[serde(borrow, default)]
    pub(crate) request_sub_resource: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) name: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) namespace: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) operation: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) user_info: Option<UserInfo<'a>>,
    #[serde(borrow, default)]
    pub(crate) object: Option<Json<'a>>,
    #[serde(borrow, default)]
    pub(crate) old_object: Option<Json<'a>>,
    #[serde(default)]
    pub(crate) dry_run: Option<bool>,
    #[serde(borrow, default)]
    pub(crate) options: Option<Json<'a>>,
}

impl<'a> AdmissionRequest<'a> {
    /// Reads a review; without a uid it could not be answered, so that is refused.
    pub(crate) fn read(body: &'a [u8]) -> Result<(ReviewVersion, Self), Fault> {
        let (version, request): (_, Self) = read(body, GROUP, KIND)?;
        if request.uid.trim().is_empty() {
            return Err(Fault::bad_request("the review's request has no uid"));
        }
        Ok((version, request))
    }
}

/// Group, version and kind of an object under review.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct GroupVersionKind<'a> {
    #[serde(borrow, default)]
    group: Text<'a>,
    #[serde(borrow, default)]
    version: Text<'a>,
    #[serde(borrow, default)]
    kind: Text<'a>,
}

impl GroupVersionKind<'_> {
    /// The API group, empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The version within the group.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.kind.is_empty()
    }

    /// From an object's own `apiVersion` and `kind`.
    pub(crate) fn of_object(object: Json<'_>) -> Option<GroupVersionKind<'_>> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Types<'a> {
            #[serde(borrow, default)]
            api_version: Text<'a>,
            #[serde(borrow)]
            kind: Text<'a>,
        }
        let types: Types<'_> = read_part(object.get())?;
        let (group, version) = types
            .api_version
            .split_once('/')
            .unwrap_or(("", &types.api_version));
        Some(GroupVersionKind {
            group: group.to_owned().into(),
            version: version.to_owned().into(),
            kind: types.kind,
        })
    }
}

/// Group, version and resource (the plural name) of an object under review.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct GroupVersionResource<'a> {
    #[serde(borrow, default)]
    group: Text<'a>,
    #[serde(borrow, default)]
    version: Text<'a>,
    #[serde(borrow, default)]
    resource: Text<'a>,
}

impl GroupVersionResource<'_> {
    /// The API group, empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        &self.group
    }

    /// The version within the group.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The resource: the plural name.
    #[must_use]
    pub fn resource(&self) -> &str {
        &self.resource
    }
}

/// The user who makes the API request, as the API server authenticated them.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct UserInfo<'a> {
    #[serde(borrow, default)]
    pub(crate) username: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) uid: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) groups: Option<Vec<Text<'a>>>,
    #[serde(borrow, default)]
    pub(crate) extra: Option<BTreeMap<Text<'a>, Option<Vec<Text<'a>>>>>,
}

impl UserInfo<'static> {
    pub(crate) const fn nobody() -> Self {
        Self {
            username: Text::empty(),
            uid: Text::empty(),
            groups: None,
            extra: None,
        }
    }
}

impl UserInfo<'_> {
    /// The user's name; a service account's is `system:serviceaccount:NAMESPACE:NAME`.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// The identity that survives a rename; empty for most authenticators.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// The groups that the user is in.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().flatten().map(|group| &**group)
    }

    /// Whether the user is in `group`.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups().any(|own| own == group)
    }

    /// What the authenticator added, by key.
    pub fn extra(&self, key: &str) -> impl Iterator<Item = &str> {
        self.extra
            .as_ref()
            .and_then(|extra| extra.get(&Text::from(key.to_owned())))
            .into_iter()
            .flatten()
            .flatten()
            .map(|value| &**value)
    }

    /// The keys of what the authenticator added: all of it has to go into a SubjectAccessReview.
    pub fn extra_keys(&self) -> impl Iterator<Item = &str> {
        self.extra.iter().flatten().map(|(key, _)| &**key)
    }
}

/// The answer's body, but for the envelope around it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AdmissionResponse<'a> {
    pub(crate) uid: &'a str,
    pub(crate) allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<Rejection<'a>>,
    // Neither without the other: v1 refuses a type without a patch, and a patch without a type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) audit_annotations: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<&'a str>,
}

impl AdmissionResponse<'_> {
    pub(crate) fn set_patch(&mut self, patch: &[u8]) {
        self.patch = Some(STANDARD.encode(patch));
        self.patch_type = Some("JSONPatch");
    }
}

/// The part of `metav1.Status` that a denial carries to the user.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rejection<'a> {
    pub(crate) status: &'static str,
    pub(crate) message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) details: Option<RejectionDetails<'a>>,
    pub(crate) code: u16,
}

#[derive(Debug, Serialize)]
pub(crate) struct RejectionDetails<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) kind: &'a str,
    pub(crate) causes: &'a [Cause],
}

/// One field's fault: `metav1.StatusCause`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Cause {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    pub(crate) field: String,
}

/// The whole answer. `request` is never echoed: it only costs bytes.
pub(crate) fn admission_review(
    version: ReviewVersion,
    response: &AdmissionResponse<'_>,
) -> Result<Vec<u8>, Fault> {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Review<'a> {
        api_version: &'a str,
        kind: &'a str,
        response: &'a AdmissionResponse<'a>,
    }
    Ok(serde_json::to_vec(&Review {
        api_version: match version {
            ReviewVersion::V1 => "admission.k8s.io/v1",
            ReviewVersion::V1beta1 => "admission.k8s.io/v1beta1",
        },
        kind: KIND,
        response,
    })?)
}

const GROUP: &str = "admission.k8s.io";
const KIND: &str = "AdmissionReview";
