//! Fields of an object, their values unread or laid out. Used by `admission`'s patches.

use super::{Json, Text, reader};

/// Sorted by name, and none of them twice.
pub(crate) struct Fields<'a, V>(Vec<(Text<'a>, V)>);

impl<'a> Fields<'a, Json<'a>> {
    /// Those of `object` that have one of the names; what follows the last of them isn't read.
    pub(crate) fn named(names: &[&str], object: Json<'a>) -> Option<Self> {
        let mut sorted = names.to_vec();
        sorted.sort_unstable();
        let mut fields = Vec::with_capacity(names.len());
        reader::fields(object, |name, value| {
            if sorted.binary_search(&&*name).is_ok() {
                fields.push((name.into(), value));
            }
            fields.len() == names.len()
        })?;
        Self::sorted(fields)
    }
}

impl<'a, V: Copy> Fields<'a, V> {
    pub(crate) fn collect(fields: impl Iterator<Item = (&'a str, V)>) -> Option<Self> {
        Self::sorted(fields.map(|(name, value)| (name.into(), value)).collect())
    }

    pub(crate) fn of(&self, name: &str) -> Option<V> {
        let place = self.0.binary_search_by(|(own, _)| (**own).cmp(name)).ok()?;
        Some(self.0[place].1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, V)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }

    fn sorted(mut fields: Vec<(Text<'a>, V)>) -> Option<Self> {
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        let twice = fields.windows(2).any(|pair| pair[0].0 == pair[1].0);
        (!twice).then_some(Self(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str], object: &str) -> Option<Vec<(String, String)>> {
        let raw: &serde_json::value::RawValue = serde_json::from_str(object).unwrap();
        let fields = Fields::named(names, raw.into())?;
        let owned = |(name, value): (&str, Json<'_>)| (name.to_owned(), value.get().to_owned());
        Some(fields.iter().map(owned).collect())
    }

    #[test]
    fn fields_are_found_wherever_they_are() {
        let object = r#"{ "b" : [1, {"a": 2}] , "\u0061":"x","c":null }"#;
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let b = || field("b", r#"[1, {"a": 2}]"#);
        assert_eq!(named(&["b"], object), Some(vec![b()]));
        assert_eq!(
            named(&["c", "b", "a", "d"], object),
            Some(vec![field("a", "\"x\""), b(), field("c", "null")])
        );
        assert_eq!(named(&[], object), Some(Vec::new()));
        assert_eq!(named(&["a"], "{}"), Some(Vec::new()));
        assert_eq!(named(&["a"], "[]"), None);
        assert_eq!(named(&["a", "b"], r#"{"a":1,"a":2}"#), None);
    }
}
