//! What a version can't express, carried in annotations, so that it comes back unchanged. Called by
//! `star` around each converter.
//!
//! Two annotations, under the prefix given at registration:
//!
//! - `conversion-data`, on a view of another version than the stored one: the stored content as it
//!   was when the view was made, whenever converting the view back would not give it. Storage never
//!   holds it.
//! - `spoke-data`, on the stored object: for each other version, the content as it was written there,
//!   whenever reverting the stored content would not give it.
//!
//! Both identities hold by construction: an unchanged view gives back the saved content itself. An
//! edited one gives the saved content with the edit made to it: what differs between the conversion
//! of the view as it was and as it is. (That is Cluster API's way, made symmetric, and without
//! per-field code.) An annotation that can't be read, or whose content can't be converted, counts as
//! absent: users may write what they like there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    ConversionError, delta,
    object::{ANNOTATIONS_LIMIT, Content, Object},
    spoke::Spoke,
};
use crate::metrics::{Metrics, RemainderOutcome};

pub(super) struct Remainder {
    conversion_data: String,
    spoke_data: String,
    metrics: Metrics,
}

impl Remainder {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            conversion_data: format!("{prefix}/conversion-data"),
            spoke_data: format!("{prefix}/spoke-data"),
            metrics: Metrics::default(),
        }
    }

    /// Counts what is dropped there.
    pub(super) fn count_into(&mut self, metrics: Metrics) {
        self.metrics = metrics;
    }

    /// The keys of both annotations.
    pub(super) fn keys(&self) -> [&str; 2] {
        [&self.conversion_data, &self.spoke_data]
    }

    /// To the storage version, with everything that the view's annotation saved.
    pub(super) fn convert(
        &self,
        spoke: &dyn Spoke,
        mut view: Object,
    ) -> Result<Object, ConversionError> {
        let snapshot: Option<Snapshot> = self.read(&view, &self.conversion_data);
        view.remove_annotation(&self.conversion_data);
        let spokes = self.take_spokes(&mut view);

        let plain = spoke.convert(&view)?;
        let (content, written) = match snapshot {
            Some(snapshot) => restore(spoke, &view, &plain, snapshot),
            None => {
                let written = Written::needed(spoke, &view, &plain, &plain.content);
                (plain.content.clone(), written)
            }
        };
        let mut stored = plain.with_content(content);
        self.put_spokes(&mut stored, spokes, spoke, written);
        Ok(stored)
    }

    /// To the spoke's version, with everything that could not be stored.
    pub(super) fn revert(
        &self,
        spoke: &dyn Spoke,
        mut stored: Object,
    ) -> Result<Object, ConversionError> {
        stored.remove_annotation(&self.conversion_data);
        let mut spokes = self.take_spokes(&mut stored);
        let written = spokes.remove(&spoke.version().version);

        let plain = spoke.revert(&stored)?;
        let view = plain.with_content(content_of_view(spoke, &stored, &plain, written.as_ref()));
        let comes_back = spoke.convert(&view).is_ok_and(|back| {
            back.content == stored.content
                && Written::needed(spoke, &view, &back, &back.content) == written
        });
        let mut view = view;
        self.put_spokes(&mut view, spokes, spoke, None);
        if !comes_back {
            let snapshot = Snapshot {
                hub: stored.content,
                written,
            };
            self.put(&mut view, &self.conversion_data, &snapshot);
        }
        Ok(view)
    }

    fn take_spokes(&self, object: &mut Object) -> BTreeMap<String, Written> {
        let spokes: Option<Spokes> = self.read(object, &self.spoke_data);
        if spokes.is_some() {
            object.remove_annotation(&self.spoke_data);
        }
        spokes.map(|spokes| spokes.spokes).unwrap_or_default()
    }

    fn put_spokes(
        &self,
        object: &mut Object,
        mut spokes: BTreeMap<String, Written>,
        spoke: &dyn Spoke,
        written: Option<Written>,
    ) {
        match written {
            Some(written) => spokes.insert(spoke.version().version, written),
            None => spokes.remove(&spoke.version().version),
        };
        if !spokes.is_empty() {
            self.put(object, &self.spoke_data, &Spokes { spokes });
        }
    }

    fn read<T: DeserializeOwned>(&self, object: &Object, key: &str) -> Option<T> {
        let text = object.annotation(key)?;
        match serde_json::from_str::<Versioned<T>>(text) {
            Ok(versioned) if versioned.version == FORMAT => Some(versioned.data),
            _ => {
                tracing::debug!(key, "annotation is not of this format: ignored");
                self.metrics.remainder_dropped(RemainderOutcome::Ignored);
                None
            }
        }
    }

    /// Adds the annotation, if the API server would still take all of them together.
    fn put<T: Serialize>(&self, object: &mut Object, key: &str, data: &T) {
        let versioned = Versioned {
            version: FORMAT,
            data,
        };
        let Ok(text) = serde_json::to_string(&versioned) else {
            return;
        };
        if object.annotations_size() + key.len() + text.len() > ANNOTATIONS_LIMIT {
            tracing::warn!(
                key,
                bytes = text.len(),
                "annotations would exceed 256 KiB: what this version can't express is lost"
            );
            self.metrics.remainder_dropped(RemainderOutcome::Oversized);
            return;
        }
        object.set_annotation(key, text);
    }
}

/// The stored content of a view with a snapshot, and what of the view storage can't express.
fn restore(
    spoke: &dyn Spoke,
    view: &Object,
    plain: &Object,
    snapshot: Snapshot,
) -> (Content, Option<Written>) {
    let saved = plain.with_content(snapshot.hub);
    let as_made = spoke.revert(&saved).ok().map(|reverted| {
        let content = content_of_view(spoke, &saved, &reverted, snapshot.written.as_ref());
        view.with_content(content)
    });
    let Some(as_made) = as_made else {
        let written = Written::needed(spoke, view, plain, &plain.content);
        return (plain.content.clone(), written);
    };
    if as_made.content == view.content {
        return (saved.content, snapshot.written);
    }
    let before = spoke
        .convert(&as_made)
        .map_or_else(|_| plain.content.clone(), |converted| converted.content);
    let edited = delta::apply(&before, &plain.content, &saved.content);
    let readable = spoke.revert(&plain.with_content(edited.clone())).is_ok();
    let content = if readable {
        edited
    } else {
        plain.content.clone()
    };
    let written = Written::needed(spoke, view, plain, &content);
    (content, written)
}

/// The view of stored content: what reverting gives, unless more of it was written there.
fn content_of_view(
    spoke: &dyn Spoke,
    stored: &Object,
    reverted: &Object,
    written: Option<&Written>,
) -> Content {
    let with_written = || -> Option<Content> {
        let written = written?;
        let base = match &written.base {
            Some(base) => base.clone(),
            None => written.there_and_back(spoke, reverted)?,
        };
        let content = delta::apply(&base, &reverted.content, &written.content);
        spoke
            .convert(&stored.with_content(content.clone()))
            .is_ok()
            .then_some(content)
    };
    with_written().unwrap_or_else(|| reverted.content.clone())
}

/// Content as it was written in a version other than the stored one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Written {
    content: Content,
    /// What reverting the stored content gave then; absent if it is what converting and reverting
    /// `content` gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    base: Option<Content>,
}

impl Written {
    /// Of `view`, now to be stored as `content`: `None` if reverting that gives the view anyway.
    fn needed(spoke: &dyn Spoke, view: &Object, plain: &Object, content: &Content) -> Option<Self> {
        let reverted = spoke.revert(&plain.with_content(content.clone()));
        let base = reverted.map_or_else(|_| Content::new(), |reverted| reverted.content);
        if base == view.content {
            return None;
        }
        let mut written = Self {
            content: view.content.clone(),
            base: None,
        };
        if written.there_and_back(spoke, view).as_ref() != Some(&base) {
            written.base = Some(base);
        }
        Some(written)
    }

    fn there_and_back(&self, spoke: &dyn Spoke, view: &Object) -> Option<Content> {
        let there = spoke
            .convert(&view.with_content(self.content.clone()))
            .ok()?;
        Some(spoke.revert(&there).ok()?.content)
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    hub: Content,
    #[serde(skip_serializing_if = "Option::is_none")]
    written: Option<Written>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Spokes {
    spokes: BTreeMap<String, Written>,
}

/// The annotations' format, so that a later one is told apart.
#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    data: T,
}

const FORMAT: u32 = 1;

#[cfg(test)]
mod tests;
