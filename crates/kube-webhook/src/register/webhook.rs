//! Hooks with their settings, as programs add them. Read by `build`.

use std::{fmt, marker::PhantomData, sync::Arc};

use k8s_openapi::api::rbac::v1::PolicyRule;
use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};

use super::{
    entry::{Entry, Reinvocation, entry_setters},
    rbac,
    resources::Resources,
    served::Served,
};
use crate::{
    admission::{
        AdmissionHandler, MutationCallbacks, MutationHandler, MutationWebhook, Operation,
        OperationSet, ValidationCallbacks, ValidationHandler, ValidationWebhook,
    },
    conversion::{ConversionWebhook, Star},
};

/// A webhook of any sort: what [`Webhooks::add_webhook`](super::Webhooks::add_webhook) takes.
#[derive(Debug)]
pub struct Webhook(pub(super) AnyHook);

#[derive(Debug)]
pub(super) enum AnyHook {
    Validation(AdmissionHook),
    Mutation(AdmissionHook),
    Conversion(ConversionHook),
}

/// The two builders, which differ in what they take, and in their words for it.
macro_rules! admission_webhooks {
    ($(
        $(#[$doc:meta])*
        $webhook:ident: $verb:literal, $trait:ident, $callbacks:ident, $handler:ident, [$($object:tt)*];
    )+) => {
        $(
        $(#[$doc])*
        #[must_use]
        pub struct $webhook<H, K> {
            hook: H,
            served: Served,
            route: Option<String>,
            reinvocation: Reinvocation,
            entry: Entry,
            entries: Vec<Entry>,
            needs: Vec<PolicyRule>,
            object: PhantomData<fn() -> K>,
        }

        impl<H, K> $webhook<H, K>
        where
            H: $trait<K>,
            H::Operations: $callbacks<H, K>,
            K: Resource,
        {
            /// Registers `hook` for the kind that its type says.
            pub fn new(hook: H) -> Self
            where
                K::DynamicType: Default,
            {
                Self::with_kind(&K::DynamicType::default(), hook)
            }

            /// Registers `hook` for a kind known at run time only, such as a `kube::discovery::ApiResource`.
            pub fn with_kind(kind: &K::DynamicType, hook: H) -> Self {
                Self::serving(Served::of::<K>(kind), hook)
            }
        }

        impl<H, K> $webhook<H, K>
        where
            H: $trait<K>,
            H::Operations: $callbacks<H, K>,
        {
            /// Registers `hook` for the resources of a rule, of whose objects `K` is what it looks at: for
            /// subresources with objects of their own, such as `pods/exec` and `deployments/scale`, and for a
            /// narrow view of a kind, which costs less than the whole object.
            pub fn for_resources(resources: Resources, hook: H) -> Self {
                Self::serving(Served::resources(resources), hook)
            }

            /// Registers `hook` for every kind there is, of which `K` is what it looks at: a
            /// `kube::core::DynamicObject`, or a type with a few fields. Narrow it by selectors and match
            /// conditions; without a [`domain`](super::Webhooks::domain) it has no name.
            pub fn any_kind(hook: H) -> Self {
                Self::serving(Served::any(), hook)
            }
        }

        impl<H, K> $webhook<H, K> {
            fn serving(served: Served, hook: H) -> Self {
                Self {
                    hook,
                    served,
                    route: None,
                    reinvocation: Reinvocation::Never,
                    entry: Entry::unnamed(),
                    entries: Vec::new(),
                    needs: Vec::new(),
                    object: PhantomData,
                }
            }

            #[doc = concat!("The first label of the webhook's name, instead of `", $verb, "`.")]
            pub fn name(mut self, name: impl Into<String>) -> Self {
                self.entry.name = Some(name.into());
                self
            }

            #[doc = concat!("The route, instead of `/", $verb, "/KIND`. Its segments are DNS-1123 subdomains.")]
            pub fn route(mut self, route: impl Into<String>) -> Self {
                self.route = Some(route.into());
                self
            }

            /// What the hook asks the API server for while it judges, so that
            /// [`Registered::rbac`](super::Registered::rbac) grants it: here, to read objects of kind `R`.
            pub fn reads<R>(mut self) -> Self
            where
                R: Resource,
                R::DynamicType: Default,
            {
                self.needs.push(rbac::reading::<R>());
                self
            }

            /// Like [`reads`](Self::reads), for whatever else the hook does with the API server.
            pub fn needs(mut self, rule: PolicyRule) -> Self {
                self.needs.push(rule);
                self
            }

            /// One of several webhooks that call this hook; the settings made here directly are then not
            /// used, and making any is refused.
            pub fn entry(mut self, entry: Entry) -> Self {
                self.entries.push(entry);
                self
            }
        }

        impl<H, K> From<$webhook<H, K>> for Webhook
        where
            H: $trait<K>,
            H::Operations: $callbacks<H, K>,
            K: $($object)* 'static,
        {
            fn from(webhook: $webhook<H, K>) -> Self {
                let $webhook {
                    hook,
                    served,
                    route,
                    needs,
                    reinvocation,
                    entry,
                    entries,
                    object: _,
                } = webhook;
                Self(AnyHook::$webhook(AdmissionHook {
                    route: route.unwrap_or_else(|| format!(concat!("/", $verb, "/{}"), served.path())),
                    served,
                    operations: H::Operations::OPERATIONS,
                    settings: Settings { entry, entries },
                    needs,
                    reinvocation,
                    handler: Arc::new($handler::<H, K>::new(hook)),
                }))
            }
        }

        impl<H, K> fmt::Debug for $webhook<H, K> {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .debug_struct(stringify!($webhook))
                    .field("served", &self.served)
                    .finish_non_exhaustive()
            }
        }
        )+
    };
}

admission_webhooks! {
    /// A validating hook and how it is registered.
    Validation: "validate", ValidationWebhook, ValidationCallbacks, ValidationHandler, [];
    /// A mutating hook and how it is registered.
    Mutation: "mutate", MutationWebhook, MutationCallbacks, MutationHandler,
        [Serialize + DeserializeOwned + Send +];
}

impl<H, K> Mutation<H, K> {
    /// Whether the hook is called again when a later one changed the object: by default
    /// [`Reinvocation::Never`].
    pub fn reinvocation(mut self, reinvocation: Reinvocation) -> Self {
        self.reinvocation = reinvocation;
        self
    }
}

entry_setters! {
    [H, K] Validation<H, K>, entry;
    [H, K] Mutation<H, K>, entry;
}

/// A conversion hook and how it is registered.
#[must_use]
pub struct Conversion<W> {
    hook: W,
    route: Option<String>,
    annotation_prefix: Option<String>,
    any_kind: bool,
}

impl<W: ConversionWebhook> Conversion<W> {
    /// Registers `hook` for the kind of its storage version.
    pub fn new(hook: W) -> Self {
        Self {
            hook,
            route: None,
            annotation_prefix: None,
            any_kind: false,
        }
    }

    /// Converts every kind of the storage version's group, whose versions must then all be alike:
    /// for a server that doesn't know the names of its kinds beforehand.
    pub fn any_kind(mut self) -> Self {
        self.any_kind = true;
        self
    }

    /// The route, instead of `/convert/GROUP/PLURAL`. Its segments are DNS-1123 subdomains.
    pub fn route(mut self, route: impl Into<String>) -> Self {
        self.route = Some(route.into());
        self
    }

    /// Carries what a version can't express in the annotations `PREFIX/conversion-data` and
    /// `PREFIX/spoke-data`, so that it comes back unchanged. Without a prefix, it is lost.
    pub fn annotation_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.annotation_prefix = Some(prefix.into());
        self
    }
}

impl<W: ConversionWebhook> From<Conversion<W>> for Webhook {
    fn from(conversion: Conversion<W>) -> Self {
        let Conversion {
            hook,
            route,
            annotation_prefix,
            any_kind,
        } = conversion;
        let served = Served::of::<W::Storage>(&());
        Self(AnyHook::Conversion(ConversionHook {
            route: route.unwrap_or_else(|| format!("/convert/{}/{}", served.group, served.plural)),
            served,
            star: Arc::new(Star::new(&hook.converters(), annotation_prefix, any_kind)),
        }))
    }
}

impl<W> fmt::Debug for Conversion<W> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Conversion")
            .field("annotation_prefix", &self.annotation_prefix)
            .finish_non_exhaustive()
    }
}

/// An admission hook whose types have been forgotten.
pub(super) struct AdmissionHook {
    pub(super) route: String,
    pub(super) served: Served,
    pub(super) operations: &'static [Operation],
    pub(super) settings: Settings,
    pub(super) needs: Vec<PolicyRule>,
    pub(super) reinvocation: Reinvocation,
    pub(super) handler: Arc<dyn AdmissionHandler>,
}

impl fmt::Debug for AdmissionHook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("AdmissionHook")
            .field("route", &self.route)
            .field("served", &self.served)
            .field("operations", &self.operations)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// The settings made on a hook directly, and its entries; only one of the two may be there.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) entry: Entry,
    pub(super) entries: Vec<Entry>,
}

impl Settings {
    /// The entries that count.
    pub(super) fn effective(&self) -> &[Entry] {
        if self.entries.is_empty() {
            std::slice::from_ref(&self.entry)
        } else {
            &self.entries
        }
    }
}

/// A conversion hook whose types have been forgotten.
#[derive(Debug)]
pub(super) struct ConversionHook {
    pub(super) route: String,
    pub(super) served: Served,
    pub(super) star: Arc<Star>,
}
