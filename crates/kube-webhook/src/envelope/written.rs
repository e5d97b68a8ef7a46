//! An object as its type writes it, and where in the text its fields are. Used by `admission`'s
//! patches and `conversion`.

use std::{borrow::Cow, ops::Range};

use serde::Serialize;
use serde_json::Error;

use super::walk::{Level, Sink, walk};

/// A text, and where in it the fields of the object and of its metadata are.
#[derive(Debug)]
pub(crate) struct Written {
    text: String,
    fields: Places,
    metadata: Places,
}

impl Written {
    /// What `object` writes, which is about as long as `expected`; `None` if that isn't plain.
    pub(crate) fn of<T: Serialize>(object: &T, expected: usize) -> Option<Self> {
        let mut writer = Writer {
            text: Vec::with_capacity(expected),
            fields: Vec::with_capacity(8),
            metadata: Vec::with_capacity(16),
            start: 0,
        };
        walk(object, &mut writer).ok()?;
        Some(Self {
            text: String::from_utf8(writer.text).ok()?,
            fields: writer.fields,
            metadata: writer.metadata,
        })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The fields of the object, in the order of its type.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.at(&self.fields)
    }

    /// The fields of its metadata.
    pub(crate) fn metadata(&self) -> impl Iterator<Item = (&str, &str)> {
        self.at(&self.metadata)
    }

    fn at<'w>(&'w self, places: &'w Places) -> impl Iterator<Item = (&'w str, &'w str)> {
        places
            .iter()
            .map(|(key, place)| (&**key, &self.text[place.clone()]))
    }
}

type Places = Vec<(Cow<'static, str>, Range<usize>)>;

struct Writer {
    text: Vec<u8>,
    fields: Places,
    metadata: Places,
    /// Of the metadata.
    start: usize,
}

impl Writer {
    fn key(&mut self, key: &str) -> Result<(), Error> {
        if self.text.last() != Some(&b'{') {
            self.text.push(b',');
        }
        serde_json::to_writer(&mut self.text, key)?;
        self.text.push(b':');
        Ok(())
    }
}

impl Sink for Writer {
    fn begin(&mut self, level: Level) {
        if level == Level::Metadata {
            let comma: &[u8] = if self.text.len() > 1 { b"," } else { b"" };
            self.text.extend_from_slice(comma);
            self.text.extend_from_slice(b"\"metadata\":");
            self.start = self.text.len();
        }
        self.text.push(b'{');
    }

    fn field<T: Serialize + ?Sized>(
        &mut self,
        level: Level,
        key: Cow<'static, str>,
        value: &T,
    ) -> Result<(), Error> {
        self.key(&key)?;
        let start = self.text.len();
        serde_json::to_writer(&mut self.text, value)?;
        let places = match level {
            Level::Object => &mut self.fields,
            Level::Metadata => &mut self.metadata,
        };
        places.push((key, start..self.text.len()));
        Ok(())
    }

    fn end(&mut self, level: Level) {
        self.text.push(b'}');
        if level == Level::Metadata {
            let place = self.start..self.text.len();
            self.fields.push((Cow::Borrowed("metadata"), place));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;

    #[derive(Serialize)]
    struct Flat {
        kind: &'static str,
        metadata: Option<BTreeMap<String, u8>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        absent: Option<u8>,
        #[serde(flatten)]
        rest: BTreeMap<String, serde_json::Value>,
    }

    #[test]
    fn the_pieces_are_those_of_the_text_that_serde_json_writes() {
        let object = Flat {
            kind: "a",
            metadata: Some(BTreeMap::from([("b\n".to_owned(), 1), ("c".to_owned(), 2)])),
            absent: None,
            rest: BTreeMap::from([("{\"".to_owned(), json!({"d": [1, "}"]}))]),
        };
        let written = Written::of(&object, 0).unwrap();
        assert_eq!(written.text(), serde_json::to_string(&object).unwrap());
        let fields: Vec<_> = written.fields().collect();
        assert_eq!(
            fields,
            [
                ("kind", "\"a\""),
                ("metadata", "{\"b\\n\":1,\"c\":2}"),
                ("{\"", "{\"d\":[1,\"}\"]}"),
            ]
        );
        let metadata: Vec<_> = written.metadata().collect();
        assert_eq!(metadata, [("b\n", "1"), ("c", "2")]);
    }

    #[test]
    fn what_is_no_object_is_not_taken_apart() {
        assert!(Written::of(&[1, 2], 0).is_none());
        assert!(Written::of(&json!({"metadata": "a"}), 0).is_none());
        assert!(Written::of(&BTreeMap::from([(1, 2)]), 0).is_none());
    }
}
