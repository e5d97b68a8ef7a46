//! An object taken apart at the top, its fields still unread. Used by `admission`'s patches.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::Text;

/// The fields of an object as JSON, sorted by key; an object with a field twice isn't read.
pub(crate) struct Fields<'a>(Vec<(Text<'a>, &'a str)>);

impl<'a> Fields<'a> {
    pub(crate) fn read(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    pub(crate) fn collect(fields: impl Iterator<Item = (&'a str, &'a str)>) -> Option<Self> {
        Self::sorted(fields.map(|(key, json)| (key.into(), json)).collect())
    }

    pub(crate) fn of(&self, key: &str) -> Option<&'a str> {
        let place = self.0.binary_search_by(|(own, _)| (**own).cmp(key)).ok()?;
        Some(self.0[place].1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(key, json)| (&**key, *json))
    }

    fn sorted(mut fields: Vec<(Text<'a>, &'a str)>) -> Option<Self> {
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        let twice = fields.windows(2).any(|pair| pair[0].0 == pair[1].0);
        (!twice).then_some(Self(fields))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields: Vec<(Text<'de>, &'de str)> = Vec::with_capacity(8);
        while let Some((key, value)) = map.next_entry::<_, &RawValue>()? {
            fields.push((key, value.get()));
        }
        Fields::sorted(fields).ok_or_else(|| A::Error::custom("a field twice"))
    }
}
