//! The checks of a registration. Called by `Webhooks::build`.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Inner, Registered, Webhooks,
    entry::Entry,
    gate::Gate,
    webhook::{AdmissionHook, AnyHook, ConversionHook, Settings, Webhook},
};
use crate::{conversion::ConvertersError, metrics::Metrics, names::is_subdomain};

/// Why a registration was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistrationError {
    /// The name of the configurations is not a DNS subdomain.
    #[error(
        "the name of the webhook configurations, {name:?}, is not a DNS subdomain: use lower-case \
         letters, digits, '-' and '.'"
    )]
    Name {
        /// The name given.
        name: String,
    },
    /// The name of a webhook is not fully qualified.
    #[error(
        "the webhook name {name:?} is not a DNS subdomain of three labels or more: set a domain \
         such as \"hooks.example.com\" with `Webhooks::domain`, and lower-case names"
    )]
    WebhookName {
        /// The whole name.
        name: String,
    },
    /// Two webhooks of a configuration have the same name.
    #[error("two webhooks are called {name:?}: give each hook or entry its own `name`")]
    DuplicateName {
        /// The whole name.
        name: String,
    },
    /// Two hooks have the same route.
    #[error("two hooks are served at {route:?}: give one of them another `route`")]
    DuplicateRoute {
        /// The route.
        route: String,
    },
    /// A route that the API server would not accept in a service reference.
    #[error(
        "the route {route:?} can't be called: it must begin with '/', and each of its segments must \
         be a DNS subdomain (lower-case letters, digits, '-' and '.'); set another with `route`"
    )]
    Route {
        /// The route.
        route: String,
    },
    /// A timeout that the API server would not accept.
    #[error("the timeout of {name:?} is {seconds} s: the API server takes 1 to 30")]
    Timeout {
        /// The webhook's whole name.
        name: String,
        /// The timeout given.
        seconds: u16,
    },
    /// An entry with operations that its hook has no callback for, or with none.
    #[error("the operations of {name:?} are not some of those that its hook lists")]
    Operations {
        /// The webhook's whole name.
        name: String,
    },
    /// Settings were made both on a hook and in entries.
    #[error(
        "the hook at {route:?} has entries and settings of its own: move the settings into the \
         entries"
    )]
    SettingsBesideEntries {
        /// The route of the hook.
        route: String,
    },
    /// The converters of a kind don't fit together.
    #[error("the converters of {plural}.{group}: {source}")]
    Converters {
        /// The kind's plural.
        plural: String,
        /// The kind's group.
        group: String,
        /// What is wrong with them.
        source: ConvertersError,
    },
    /// Two conversion hooks for one kind.
    #[error("the versions of {plural}.{group} are converted by two hooks: register one")]
    DuplicateConversion {
        /// The kind's plural.
        plural: String,
        /// The kind's group.
        group: String,
    },
}

pub(super) fn build(webhooks: Webhooks) -> Result<Registered, RegistrationError> {
    let Webhooks {
        name,
        domain,
        webhooks,
        limits,
        metrics,
    } = webhooks;
    if !is_subdomain(&name) {
        return Err(RegistrationError::Name { name });
    }
    let mut inner = Inner {
        name,
        validations: Vec::new(),
        mutations: Vec::new(),
        conversions: Vec::new(),
        limits,
        gate: Gate::new(&limits, metrics.clone()),
        metrics,
    };
    for Webhook(hook) in webhooks {
        match hook {
            AnyHook::Validation(hook) => {
                let hook = checked(hook, "validate", domain.as_deref())?;
                inner.validations.push(hook);
            }
            AnyHook::Mutation(hook) => {
                let hook = checked(hook, "mutate", domain.as_deref())?;
                inner.mutations.push(hook);
            }
            AnyHook::Conversion(hook) => {
                let hook = checked_conversion(hook, &inner.metrics)?;
                inner.conversions.push(hook);
            }
        }
    }
    unique_names(&inner.validations)?;
    unique_names(&inner.mutations)?;
    unique_conversions(&inner.conversions)?;
    let registered = Registered {
        inner: inner.into(),
    };
    unique_routes(&registered)?;
    Ok(registered)
}

fn checked(
    mut hook: AdmissionHook,
    default_name: &str,
    domain: Option<&str>,
) -> Result<AdmissionHook, RegistrationError> {
    check_route(&hook.route)?;
    let Settings { entry, entries } = &hook.settings;
    if !entries.is_empty() && *entry != Entry::unnamed() {
        return Err(RegistrationError::SettingsBesideEntries { route: hook.route });
    }
    let domain = domain.unwrap_or(&hook.served.group);
    let kind = hook.served.kind.to_lowercase();
    let mut entries = hook.settings.effective().to_vec();
    for entry in &mut entries {
        let first = entry.name.as_deref().unwrap_or(default_name);
        let name = format!("{first}.{kind}.{domain}");
        check_entry(&name, entry, &hook)?;
        entry.name = Some(name);
    }
    hook.settings.entries = entries;
    Ok(hook)
}

fn check_entry(name: &str, entry: &Entry, hook: &AdmissionHook) -> Result<(), RegistrationError> {
    let name = name.to_owned();
    if !is_subdomain(&name) || name.split('.').count() < 3 {
        return Err(RegistrationError::WebhookName { name });
    }
    if !(1..=30).contains(&entry.timeout_seconds) {
        return Err(RegistrationError::Timeout {
            name,
            seconds: entry.timeout_seconds,
        });
    }
    if let Some(operations) = &entry.operations
        && (operations.is_empty() || !operations.iter().all(|one| hook.operations.contains(one)))
    {
        return Err(RegistrationError::Operations { name });
    }
    Ok(())
}

fn checked_conversion(
    mut hook: ConversionHook,
    metrics: &Metrics,
) -> Result<ConversionHook, RegistrationError> {
    check_route(&hook.route)?;
    Arc::get_mut(&mut hook.star)
        .expect("nobody has the star before its registration is built")
        .count_into(metrics.clone());
    match hook.star.check() {
        Ok(()) => Ok(hook),
        Err(source) => Err(RegistrationError::Converters {
            plural: hook.served.plural,
            group: hook.served.group,
            source,
        }),
    }
}

fn unique_names(hooks: &[AdmissionHook]) -> Result<(), RegistrationError> {
    let mut seen = BTreeSet::new();
    let entries = hooks.iter().flat_map(|hook| hook.settings.effective());
    for name in entries.filter_map(|entry| entry.name.as_deref()) {
        if !seen.insert(name) {
            return Err(RegistrationError::DuplicateName {
                name: name.to_owned(),
            });
        }
    }
    Ok(())
}

fn unique_conversions(hooks: &[ConversionHook]) -> Result<(), RegistrationError> {
    let mut seen = BTreeSet::new();
    for hook in hooks {
        let (group, plural) = (&hook.served.group, &hook.served.plural);
        if !seen.insert((group, plural)) {
            return Err(RegistrationError::DuplicateConversion {
                plural: plural.clone(),
                group: group.clone(),
            });
        }
    }
    Ok(())
}

fn unique_routes(registered: &Registered) -> Result<(), RegistrationError> {
    let mut seen = BTreeSet::from(["/validate", "/mutate", "/convert"]);
    for route in registered.routes() {
        if !seen.insert(route) {
            return Err(RegistrationError::DuplicateRoute {
                route: route.to_owned(),
            });
        }
    }
    Ok(())
}

/// What the API server asks of `service.path`; it also drops a slash at the end.
fn check_route(route: &str) -> Result<(), RegistrationError> {
    let segments = route.strip_prefix('/');
    if segments.is_some_and(|segments| segments.split('/').all(is_subdomain)) {
        Ok(())
    } else {
        Err(RegistrationError::Route {
            route: route.to_owned(),
        })
    }
}
