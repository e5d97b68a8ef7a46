//! The converters of one kind as a tree whose root is the storage version. Called by `review`;
//! `register` asks it to check itself at start-up.
//!
//! Most trees are stars, with a converter for each other version. Where a chain is shorter to write
//! (v1 to v2, v2 to v3), the way from a version to the root is walked as a single converter, so that
//! what is said about a converter, the remainder included, holds for the whole way.

use std::{collections::BTreeMap, fmt, sync::Arc};

use kube::Resource;
use serde_json::Value;

use super::{
    ConversionError, Converters,
    check::check,
    object::Object,
    parts::Parts,
    quick::{self, Direction},
    remainder::Remainder,
    spoke::{Path, Reversed, Spoke, Version},
};
use crate::{envelope::Json, metrics::Metrics};

/// Why converters don't fit together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertersError {
    /// There is no converter at all.
    #[error("there is none: a kind with a single version needs no conversion webhook")]
    None,
    /// Two converters between the same versions, or one from a version to itself.
    #[error("there are two ways to convert {version}: keep one")]
    Duplicate {
        /// The version.
        version: String,
    },
    /// Converters that form a circle: which way an object would take, and so what it would look
    /// like, would be chance.
    #[error(
        "there is a second way from {from} to {to}, by other versions: drop the converter between \
         them, or one of those on the other way"
    )]
    SecondWay {
        /// One end of the converter that closes the circle.
        from: String,
        /// The other end.
        to: String,
    },
    /// A version that no converters lead to the stored one from.
    #[error("there is no way from {version} to the stored version {storage}: add a converter")]
    Gap {
        /// The version.
        version: String,
        /// The version that is stored.
        storage: String,
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

/// A converter and the versions that it is between.
pub(super) struct Edge {
    pub(super) from: Version,
    pub(super) to: Version,
    pub(super) spoke: Arc<dyn Spoke>,
}

pub(crate) struct Star {
    storage: Version,
    any_kind: bool,
    /// By `apiVersion`, the whole way to the storage version.
    ways: BTreeMap<String, Arc<dyn Spoke>>,
    prefix: Option<String>,
    remainder: Option<Remainder>,
    flaw: Option<ConvertersError>,
}

impl Star {
    pub(crate) fn new<S>(converters: &Converters<S>, prefix: Option<String>, any_kind: bool) -> Self
    where
        S: Resource<DynamicType = ()>,
    {
        let storage = Version::of::<S>();
        let (ways, flaw) = match ways(&storage, &converters.edges) {
            Ok(ways) => (ways, None),
            Err(flaw) => (BTreeMap::new(), Some(flaw)),
        };
        Self {
            storage,
            any_kind,
            ways,
            remainder: prefix.as_deref().map(Remainder::new),
            prefix,
            flaw,
        }
    }

    /// Counts there what a version can't express and no annotation carries.
    pub(crate) fn count_into(&mut self, metrics: Metrics) {
        if let Some(remainder) = &mut self.remainder {
            remainder.count_into(metrics);
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConvertersError> {
        if let Some(flaw) = &self.flaw {
            return Err(flaw.clone());
        }
        match &self.prefix {
            Some(prefix) if !crate::names::is_subdomain(prefix) => Err(ConvertersError::Prefix {
                prefix: prefix.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether objects of this kind are converted here.
    pub(super) fn is_for(&self, api_version: &str, kind: &str) -> bool {
        let group = api_version.rsplit_once('/').map_or("", |(group, _)| group);
        (self.any_kind || self.storage.kind == kind) && self.storage.group == group
    }

    /// Whether it is one of this kind's versions.
    pub(crate) fn knows(&self, api_version: &str) -> bool {
        self.storage.is(api_version) || self.ways.contains_key(api_version)
    }

    /// Writes the object at the version `to`.
    ///
    /// `raw` finds its text, which is seldom needed.
    pub(super) fn convert<'a>(
        &self,
        raw: impl FnOnce() -> Result<Json<'a>, ConversionError>,
        parts: &Parts<'_>,
        to: &str,
        out: &mut Vec<u8>,
    ) -> Result<(), ConversionError> {
        let source = self.way(&parts.api_version)?;
        let target = self.way(to)?;
        if self
            .convert_quickly(parts, source, target, to, out)
            .is_some()
        {
            return Ok(());
        }
        let object = self.convert_thoroughly(raw()?, &parts.kind, source, target, to)?;
        Ok(serde_json::to_writer(out, &object)?)
    }

    pub(super) fn convert_quickly(
        &self,
        object: &Parts<'_>,
        source: Option<&dyn Spoke>,
        target: Option<&dyn Spoke>,
        to: &str,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let step = |way, direction, object: &Parts<'_>, to: &str, out: &mut Vec<u8>| match &self
            .remainder
        {
            Some(remainder) => {
                quick::convert_lossless(way, direction, object, to, remainder.keys(), out)
            }
            None => quick::convert(way, direction, object, to, out),
        };
        match (source, target) {
            (Some(source), None) => step(source, Direction::In, object, to, out),
            (None, Some(target)) => step(target, Direction::Out, object, to, out),
            (Some(source), Some(target)) => {
                let mut stored = Vec::new();
                let storage = self.storage.api_version();
                step(source, Direction::In, object, &storage, &mut stored)?;
                let stored = std::str::from_utf8(&stored).ok()?;
                step(target, Direction::Out, &Parts::read(stored)?, to, out)
            }
            (None, None) => None,
        }
    }

    pub(super) fn convert_thoroughly(
        &self,
        raw: Json<'_>,
        kind: &str,
        source: Option<&dyn Spoke>,
        target: Option<&dyn Spoke>,
        to: &str,
    ) -> Result<Value, ConversionError> {
        let original = Object::read(raw)?;
        let mut object = original.clone();
        if let Some(way) = source {
            object = match &self.remainder {
                Some(remainder) => remainder.convert(way, object)?,
                None => way.convert(&object)?,
            };
        }
        if let Some(way) = target {
            object = match &self.remainder {
                Some(remainder) => remainder.revert(way, object)?,
                None => way.revert(&object)?,
            };
        }
        check(&original, &object)?;
        Ok(object.assemble(to, kind))
    }

    /// The way from a version to the stored one; `None` for the storage version itself.
    pub(super) fn way(&self, api_version: &str) -> Result<Option<&dyn Spoke>, ConversionError> {
        if self.storage.is(api_version) {
            return Ok(None);
        }
        let way = self.ways.get(api_version);
        way.map(|way| Some(&**way)).ok_or_else(|| {
            ConversionError::new(format!(
                "{api_version} is not a known version: known are {}",
                self.versions().join(", ")
            ))
        })
    }

    fn versions(&self) -> Vec<String> {
        std::iter::once(self.storage.api_version())
            .chain(self.ways.keys().cloned())
            .collect()
    }
}

/// The way from each version to `storage`, found outwards from it.
fn ways(
    storage: &Version,
    edges: &[Edge],
) -> Result<BTreeMap<String, Arc<dyn Spoke>>, ConvertersError> {
    check_edges(storage, edges)?;
    let mut ways: BTreeMap<String, Vec<Arc<dyn Spoke>>> = BTreeMap::new();
    let root = storage.api_version();
    let mut left: Vec<&Edge> = edges.iter().collect();
    let mut reached = vec![root.clone()];
    while let Some(near) = reached.pop() {
        let (here, elsewhere) = left
            .into_iter()
            .partition(|edge| edge.ends().contains(&near));
        left = elsewhere;
        for edge in here {
            let [from, to] = edge.ends();
            let inwards = to == near;
            let far = if inwards { from } else { to };
            if far == root || ways.contains_key(&far) {
                return Err(ConvertersError::SecondWay {
                    from: far,
                    to: near,
                });
            }
            let step: Arc<dyn Spoke> = if inwards {
                Arc::clone(&edge.spoke)
            } else {
                Arc::new(Reversed {
                    version: edge.to.clone(),
                    spoke: Arc::clone(&edge.spoke),
                })
            };
            let mut way = vec![step];
            way.extend(ways.get(&near).into_iter().flatten().cloned());
            ways.insert(far.clone(), way);
            reached.push(far);
        }
    }
    if let Some(edge) = left.first() {
        return Err(ConvertersError::Gap {
            version: edge.from.api_version(),
            storage: root,
        });
    }
    let whole = ways
        .into_iter()
        .map(|(version, steps)| (version, Path::of(steps)));
    Ok(whole.collect())
}

fn check_edges(storage: &Version, edges: &[Edge]) -> Result<(), ConvertersError> {
    if edges.is_empty() {
        return Err(ConvertersError::None);
    }
    let mut seen: Vec<[String; 2]> = Vec::new();
    for edge in edges {
        for end in [&edge.from, &edge.to] {
            if (&end.group, &end.kind) != (&storage.group, &storage.kind) {
                return Err(ConvertersError::OtherKind {
                    version: end.api_version(),
                    kind: end.kind.clone(),
                });
            }
        }
        let [from, to] = edge.ends();
        let again = |ends: &[String; 2]| ends.contains(&from) && ends.contains(&to);
        if from == to || seen.iter().any(again) {
            let version = if from == storage.api_version() {
                to
            } else {
                from
            };
            return Err(ConvertersError::Duplicate { version });
        }
        seen.push([from, to]);
    }
    Ok(())
}

impl Edge {
    fn ends(&self) -> [String; 2] {
        [self.from.api_version(), self.to.api_version()]
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

#[cfg(test)]
mod tests;
