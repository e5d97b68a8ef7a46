//! The kind that a hook serves, known at registration. Used throughout `register`.

use kube::Resource;

use crate::admission::GroupVersionKind;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) plural: String,
}

impl Served {
    pub(crate) fn of<K: Resource>(kind: &K::DynamicType) -> Self {
        Self {
            group: K::group(kind).into_owned(),
            version: K::version(kind).into_owned(),
            kind: K::kind(kind).into_owned(),
            plural: K::plural(kind).into_owned(),
        }
    }

    /// Whatever kind there is. Its name stands in the webhook's name and the default route.
    pub(crate) fn any() -> Self {
        Self {
            group: ANY.to_owned(),
            version: ANY.to_owned(),
            kind: "any".to_owned(),
            plural: ANY.to_owned(),
        }
    }

    pub(crate) fn is_any(&self) -> bool {
        self.group == ANY
    }

    pub(crate) fn is(&self, kind: &GroupVersionKind<'_>) -> bool {
        self.is_any()
            || self.group == kind.group()
                && self.version == kind.version()
                && self.kind == kind.kind()
    }

    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

const ANY: &str = "*";
