//! The converters of one kind around its storage version. Called by `review`; `register` asks it to
//! check itself at start-up.

use std::fmt;

use kube::Resource;
use serde_json::{Value, value::RawValue};

use super::{
    ConversionError, Converters,
    check::check,
    object::Object,
    remainder::Remainder,
    spoke::{Spoke, Version},
};

/// Why converters don't fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertersError {
    /// There is no converter at all.
    #[error("there is none: a kind with a single version needs no conversion webhook")]
    None,
    /// Two converters for one version, or one for the storage version itself.
    #[error("there are two ways to convert {version}: keep one")]
    Duplicate {
        /// The version.
        version: String,
    },
    /// A converter for another kind.
    #[error("{version} {kind} is not a version of the stored kind: register it apart")]
    OtherKind {
        /// Group and version of the other kind.
        version: String,
        /// The other kind.
        kind: String,
    },
    /// The annotations' prefix isn't a DNS subdomain.
    #[error("the annotation prefix {prefix:?} is not a DNS subdomain, such as \"example.com\"")]
    Prefix {
        /// The prefix given.
        prefix: String,
    },
}

pub(crate) struct Star {
    storage: Version,
    spokes: Vec<Box<dyn Spoke>>,
    prefix: Option<String>,
    remainder: Option<Remainder>,
}

impl Star {
    pub(crate) fn new<S>(converters: Converters<S>, prefix: Option<String>) -> Self
    where
        S: Resource<DynamicType = ()>,
    {
        Self {
            storage: Version::of::<S>(),
            spokes: converters.spokes,
            remainder: prefix.as_deref().map(Remainder::new),
            prefix,
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConvertersError> {
        if self.spokes.is_empty() {
            return Err(ConvertersError::None);
        }
        if let Some(prefix) = self.prefix.as_ref()
            && !crate::names::is_subdomain(prefix)
        {
            return Err(ConvertersError::Prefix {
                prefix: prefix.clone(),
            });
        }
        let mut seen = vec![self.storage.api_version()];
        for spoke in &self.spokes {
            let Version { group, kind, .. } = spoke.version();
            let version = spoke.version().api_version();
            if (&group, &kind) != (&self.storage.group, &self.storage.kind) {
                return Err(ConvertersError::OtherKind { version, kind });
            }
            if seen.contains(&version) {
                return Err(ConvertersError::Duplicate { version });
            }
            seen.push(version);
        }
        Ok(())
    }

    /// Whether objects of this kind are converted here.
    pub(super) fn is_for(&self, api_version: &str, kind: &str) -> bool {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        self.storage.kind == kind && self.storage.group == group
    }

    /// The object at the version `to`, ready to be sent.
    pub(super) fn convert(
        &self,
        raw: &RawValue,
        from: &str,
        to: &str,
    ) -> Result<Value, ConversionError> {
        let source = self.spoke(from)?;
        let target = self.spoke(to)?;
        let original = Object::read(raw)?;
        let mut object = original.clone();
        if let Some(spoke) = source {
            object = match &self.remainder {
                Some(remainder) => remainder.convert(spoke, object)?,
                None => spoke.convert(&object)?,
            };
        }
        if let Some(spoke) = target {
            object = match &self.remainder {
                Some(remainder) => remainder.revert(spoke, object)?,
                None => spoke.revert(&object)?,
            };
        }
        check(&original, &object)?;
        Ok(object.assemble(to, &self.storage.kind))
    }

    /// The converter of a version; `None` for the storage version.
    fn spoke(&self, api_version: &str) -> Result<Option<&dyn Spoke>, ConversionError> {
        if self.storage.api_version() == api_version {
            return Ok(None);
        }
        self.spokes
            .iter()
            .find(|spoke| spoke.version().api_version() == api_version)
            .map(|spoke| Some(&**spoke))
            .ok_or_else(|| {
                ConversionError::new(format!(
                    "{api_version} is not a known version: known are {}",
                    self.versions().join(", ")
                ))
            })
    }

    fn versions(&self) -> Vec<String> {
        let spokes = self
            .spokes
            .iter()
            .map(|spoke| spoke.version().api_version());
        std::iter::once(self.storage.api_version())
            .chain(spokes)
            .collect()
    }
}

impl fmt::Debug for Star {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Star")
            .field("kind", &self.storage.kind)
            .field("versions", &self.versions())
            .finish_non_exhaustive()
    }
}
