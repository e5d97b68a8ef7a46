//! Which resources a hook is called for, where that doesn't follow from a kind. Given by programs,
//! read by `Validation` and `Mutation`.

use kube::Resource;

use super::served::Served;

/// The resources of a rule: for hooks whose objects are of another kind than the resource's own, as
/// on subresources, or of many kinds.
///
/// | subresource | the object of the review |
/// |---|---|
/// | `pods/attach`, `pods/exec`, `pods/portforward`, `pods/proxy` (CONNECT) | `PodAttachOptions`, `PodExecOptions`, ... |
/// | `*/scale` (UPDATE) | `autoscaling/v1` `Scale` |
/// | `pods/eviction`, `pods/binding`, `serviceaccounts/token` (CREATE) | `Eviction`, `Binding`, `TokenRequest` |
/// | `*/status` (UPDATE) | the resource's own kind |
///
/// ```
/// use kube_webhook::{Resources, Validation, admission::*};
/// # use kube_webhook::Fault;
///
/// /// As much of `PodAttachOptions` as this hook looks at.
/// #[derive(serde::Deserialize)]
/// struct Attach {
///     #[serde(default)]
///     stdin: bool,
/// }
///
/// struct NoStdin;
///
/// impl ValidationWebhook<Attach> for NoStdin {
///     type Operations = (Connect,);
/// }
///
/// impl ValidateConnect<Attach> for NoStdin {
///     async fn connect(
///         &self,
///         options: &Attach,
///         _: &AdmissionContext<'_>,
///     ) -> Result<ValidationResult, Fault> {
///         Ok(if options.stdin {
///             ValidationResult::fail("attach without stdin").with_code(403)
///         } else {
///             ValidationResult::success()
///         })
///     }
/// }
///
/// let pods = Resources::new("", "v1", "pods");
/// let hook = Validation::for_resources(pods.subresource("attach"), NoStdin);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Resources {
    pub(super) group: String,
    pub(super) version: String,
    pub(super) plural: String,
    pub(super) subresource: Option<String>,
}

impl Resources {
    /// The resource `plural` of a group, which is empty for the core group, in a version. Each may be
    /// `*`, which stands for all; `*` as `plural` leaves out subresources.
    pub fn new(
        group: impl Into<String>,
        version: impl Into<String>,
        plural: impl Into<String>,
    ) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            plural: plural.into(),
            subresource: None,
        }
    }

    /// The resource of a kind.
    pub fn of<K>() -> Self
    where
        K: Resource,
        K::DynamicType: Default,
    {
        let Served {
            group,
            version,
            plural,
            ..
        } = Served::of::<K>(&K::DynamicType::default());
        Self::new(group, version, plural)
    }

    /// Only this subresource, instead of the resource itself. `*` stands for the resource and all of
    /// its subresources.
    pub fn subresource(mut self, name: impl Into<String>) -> Self {
        self.subresource = Some(name.into());
        self
    }
}
