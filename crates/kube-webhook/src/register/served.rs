//! What a hook serves, known at registration: a kind, or the resources of a rule. Used throughout
//! `register`.

use std::fmt;

use kube::Resource;

use super::resources::Resources;
use crate::admission::{GroupVersionKind, Review};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) group: String,
    pub(crate) version: String,
    /// For a rule's resources, what stands in its place in the webhook's name.
    pub(crate) kind: String,
    pub(crate) plural: String,
    pub(crate) subresource: Option<String>,
    is_by_resource: bool,
}

impl Served {
    pub(crate) fn of<K: Resource>(kind: &K::DynamicType) -> Self {
        Self {
            group: K::group(kind).into_owned(),
            version: K::version(kind).into_owned(),
            kind: K::kind(kind).into_owned(),
            plural: K::plural(kind).into_owned(),
            subresource: None,
            is_by_resource: false,
        }
    }

    /// Whatever kind there is. Its name stands in the webhook's name and the default route.
    pub(crate) fn any() -> Self {
        Self {
            group: ANY.to_owned(),
            version: ANY.to_owned(),
            kind: "any".to_owned(),
            plural: ANY.to_owned(),
            subresource: None,
            is_by_resource: false,
        }
    }

    pub(crate) fn resources(resources: Resources) -> Self {
        let Resources {
            group,
            version,
            plural,
            subresource,
        } = resources;
        let kind = match &subresource {
            Some(subresource) => format!("{}.{}", named(subresource), named(&plural)),
            None => named(&plural).to_owned(),
        };
        Self {
            group,
            version,
            kind,
            plural,
            subresource,
            is_by_resource: true,
        }
    }

    pub(crate) fn is_any(&self) -> bool {
        self.group == ANY && !self.is_by_resource
    }

    /// What follows the first segment of the default route.
    pub(crate) fn path(&self) -> String {
        match &self.subresource {
            Some(subresource) => format!("{}/{}", named(&self.plural), named(subresource)),
            None => self.kind.to_lowercase(),
        }
    }

    /// As a rule names it.
    pub(crate) fn resource(&self) -> String {
        match &self.subresource {
            Some(subresource) => format!("{}/{subresource}", self.plural),
            None => self.plural.clone(),
        }
    }

    /// Whether a review is about it; `None` if the review doesn't say what it is about.
    pub(crate) fn is_about(&self, review: &Review<'_>) -> Option<bool> {
        if self.is_any() {
            return Some(true);
        }
        if !self.is_by_resource {
            return review.kind().map(|kind| self.is(&kind));
        }
        let (resource, subresource) = review.resource()?;
        let is_subresource = match self.subresource.as_deref() {
            Some(ANY) => true,
            Some(own) => own == subresource,
            None => subresource.is_empty(),
        };
        Some(
            is_subresource
                && fits(&self.group, resource.group())
                && fits(&self.version, resource.version())
                && fits(&self.plural, resource.resource()),
        )
    }

    fn is(&self, kind: &GroupVersionKind<'_>) -> bool {
        self.group == kind.group() && self.version == kind.version() && self.kind == kind.kind()
    }

    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

impl fmt::Display for Served {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_by_resource {
            self.resource()
        } else {
            self.kind.clone()
        };
        write!(formatter, "{} {what}", self.api_version())
    }
}

fn fits(own: &str, other: &str) -> bool {
    own == ANY || own == other
}

/// What stands for `*` where only DNS labels can.
fn named(name: &str) -> &str {
    if name == ANY { "any" } else { name }
}

const ANY: &str = "*";
