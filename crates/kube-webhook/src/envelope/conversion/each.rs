//! A ConversionReview whose objects are handed over one by one, each as soon as it has been read: of a
//! list of ten thousand, only its text is ever held. Used by `conversion`.
//!
//! The API server writes an answer's needs (version, uid, desired version) before the objects. From
//! whoever writes them later, the objects are left out at first, and read in a second pass.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{ConversionRequest, GROUP, KIND};
use crate::{
    Fault,
    envelope::{ReviewVersion, Text, reader::Reader},
};

/// What an answer needs, whatever the objects are.
pub(crate) struct ConversionHead<'a> {
    pub(crate) version: ReviewVersion,
    pub(crate) uid: Text<'a>,
    pub(crate) desired_api_version: Text<'a>,
}

/// To whom the objects are handed.
pub(crate) trait Objects<'a> {
    type Object: Deserialize<'a>;

    /// First of all, and once.
    fn begin(&mut self, head: ConversionHead<'a>) -> Result<(), Fault>;

    /// Nothing is read beyond a fault. What is handed over may still turn out to be part of a body
    /// that is no review.
    fn take(&mut self, object: Self::Object) -> Result<(), Fault>;
}

/// Reads a review; without a uid or a desired version it could not be answered.
pub(crate) fn read_each<'a>(body: &'a [u8], objects: &mut impl Objects<'a>) -> Result<(), Fault> {
    let Ok(text) = std::str::from_utf8(body) else {
        return Err(explain(body, "it is not UTF-8"));
    };
    let mut pass = Pass {
        head: Head::default(),
        objects,
        has_begun: false,
        fault: None,
    };
    for _ in 0..2 {
        let mut reader = Reader::new(text);
        let walk = Walk {
            pass: &mut pass,
            layer: Layer::Review,
        };
        let walked = walk.deserialize(&mut reader);
        if let Some(fault) = pass.fault {
            return Err(fault);
        }
        if walked.is_err() || !reader.is_at_end() {
            return Err(explain(body, "it is not JSON"));
        }
        if pass.has_begun {
            return Ok(());
        }
        if !pass.head.is_complete() {
            break;
        }
    }
    match pass.head.complete() {
        Some(head) => pass.objects.begin(head),
        None => Err(explain(body, "it is not complete")),
    }
}

/// Has serde_json tell what is wrong, layer by layer.
fn explain(body: &[u8], error: &str) -> Fault {
    ConversionRequest::<IgnoredAny>::read(body)
        .err()
        .unwrap_or_else(|| {
            Fault::bad_request(format!("the review's request can't be read: {error}"))
        })
}

struct Pass<'p, 'a, S> {
    head: Head<'a>,
    objects: &'p mut S,
    has_begun: bool,
    fault: Option<Fault>,
}

#[derive(Default)]
struct Head<'a> {
    api_version: Text<'a>,
    kind: Text<'a>,
    uid: Text<'a>,
    desired_api_version: Text<'a>,
}

impl<'a> Head<'a> {
    fn is_complete(&self) -> bool {
        *self.kind == *KIND
            && !self.uid.trim().is_empty()
            && !self.desired_api_version.trim().is_empty()
            && ReviewVersion::of(&self.api_version, GROUP).is_some()
    }

    fn complete(&self) -> Option<ConversionHead<'a>> {
        let version = ReviewVersion::of(&self.api_version, GROUP)?;
        self.is_complete().then(|| ConversionHead {
            version,
            uid: self.uid.clone(),
            desired_api_version: self.desired_api_version.clone(),
        })
    }
}

impl<'a, S: Objects<'a>> Pass<'_, 'a, S> {
    fn begin<E: Error>(&mut self, head: ConversionHead<'a>) -> Result<(), E> {
        self.has_begun = true;
        let begun = self.objects.begin(head);
        self.unless_given_up(begun)
    }

    fn take<E: Error>(&mut self, object: S::Object) -> Result<(), E> {
        let taken = self.objects.take(object);
        self.unless_given_up(taken)
    }

    fn unless_given_up<E: Error>(&mut self, result: Result<(), Fault>) -> Result<(), E> {
        result.map_err(|fault| {
            self.fault = Some(fault);
            E::custom("given up")
        })
    }
}

#[derive(Clone, Copy)]
enum Layer {
    Review,
    Request,
    Objects,
}

struct Walk<'w, 'p, 'a, S> {
    pass: &'w mut Pass<'p, 'a, S>,
    layer: Layer,
}

impl<'a, S: Objects<'a>> DeserializeSeed<'a> for Walk<'_, '_, 'a, S> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.layer {
            // Go writes an empty list as null.
            Layer::Objects => deserializer.deserialize_any(self),
            _ => deserializer.deserialize_map(self),
        }
    }
}

impl<'a, S: Objects<'a>> Visitor<'a> for Walk<'_, '_, 'a, S> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.layer {
            Layer::Objects => "a list of objects",
            _ => "an object",
        })
    }

    fn visit_map<A: MapAccess<'a>>(self, map: A) -> Result<(), A::Error> {
        match self.layer {
            Layer::Review => self.pass.review(map),
            Layer::Request => self.pass.request(map),
            Layer::Objects => Err(A::Error::custom("the objects are no list")),
        }
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(object) = list.next_element()? {
            self.pass.take(object)?;
        }
        Ok(())
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }
}

impl<'p, 'a, S: Objects<'a>> Pass<'p, 'a, S> {
    fn review<A: MapAccess<'a>>(&mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen = [false; 3];
        while let Some(key) = map.next_key::<Text<'a>>()? {
            match &*key {
                "apiVersion" => {
                    once(&mut seen[0])?;
                    self.head.api_version = map.next_value()?;
                }
                "kind" => {
                    once(&mut seen[1])?;
                    self.head.kind = map.next_value()?;
                }
                "request" => {
                    once(&mut seen[2])?;
                    map.next_value_seed(self.walk(Layer::Request))?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn request<A: MapAccess<'a>>(&mut self, mut map: A) -> Result<(), A::Error> {
        let mut seen = [false; 3];
        while let Some(key) = map.next_key::<Text<'a>>()? {
            match &*key {
                "uid" => {
                    once(&mut seen[0])?;
                    self.head.uid = map.next_value()?;
                }
                "desiredAPIVersion" => {
                    once(&mut seen[1])?;
                    self.head.desired_api_version = map.next_value()?;
                }
                "objects" => {
                    once(&mut seen[2])?;
                    match self.head.complete() {
                        Some(head) => {
                            self.begin(head)?;
                            map.next_value_seed(self.walk(Layer::Objects))?;
                        }
                        None => {
                            map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn walk(&mut self, layer: Layer) -> Walk<'_, 'p, 'a, S> {
        Walk { pass: self, layer }
    }
}

/// Whoever writes a field twice means neither.
fn once<E: Error>(seen: &mut bool) -> Result<(), E> {
    if std::mem::replace(seen, true) {
        return Err(E::custom("a field twice"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope::Json;

    #[derive(Default)]
    struct Seen {
        heads: Vec<(String, String)>,
        objects: Vec<String>,
        enough: usize,
    }

    impl<'a> Objects<'a> for Seen {
        type Object = Json<'a>;

        fn begin(&mut self, head: ConversionHead<'a>) -> Result<(), Fault> {
            assert_eq!(self.objects.len(), 0);
            self.heads
                .push((head.uid.to_string(), head.desired_api_version.to_string()));
            Ok(())
        }

        fn take(&mut self, object: Json<'a>) -> Result<(), Fault> {
            if self.objects.len() == self.enough {
                return Err(Fault::timeout("enough"));
            }
            self.objects.push(object.get().to_owned());
            Ok(())
        }
    }

    fn read(body: &str, enough: usize) -> Result<Seen, Fault> {
        let mut seen = Seen {
            enough,
            ..Seen::default()
        };
        read_each(body.as_bytes(), &mut seen).map(|()| seen)
    }

    const REVIEW: [&str; 2] = [
        r#""kind":"ConversionReview""#,
        r#""apiVersion":"apiextensions.k8s.io/v1""#,
    ];
    const REQUEST: [&str; 3] = [
        r#""uid":"a""#,
        r#""desiredAPIVersion":"b/v1""#,
        r#""objects":[1,{"c":[]},null]"#,
    ];

    #[test]
    fn the_objects_come_after_the_head_in_whatever_order_they_were_sent() {
        let [kind, version] = REVIEW;
        let [uid, desired, objects] = REQUEST;
        for fields in [
            [uid, desired, objects],
            [uid, objects, desired],
            [objects, desired, uid],
        ] {
            let request = format!(r#""request":{{{}}}"#, fields.join(","));
            for body in [
                format!("{{{kind},{version},{request}}}"),
                format!("{{{kind},{request},{version}}}"),
                format!("{{{request},{version},\"response\":[{{}}],{kind}}}"),
            ] {
                let seen = read(&body, 3).unwrap();
                assert_eq!(seen.heads, [("a".to_owned(), "b/v1".to_owned())], "{body}");
                assert_eq!(seen.objects, ["1", r#"{"c":[]}"#, "null"], "{body}");
                assert_eq!(read(&body, 2).err().unwrap().code(), 504, "{body}");
            }
        }
    }

    #[test]
    fn a_review_without_objects_has_a_head() {
        let [kind, version] = REVIEW;
        let [uid, desired, _] = REQUEST;
        for objects in ["", r#","objects":null"#, r#","objects":[]"#] {
            let body = format!(r#"{{{kind},{version},"request":{{{uid},{desired}{objects}}}}}"#);
            let seen = read(&body, 0).unwrap();
            assert_eq!((seen.heads.len(), seen.objects.len()), (1, 0), "{body}");
        }
    }

    #[test]
    fn whatever_is_no_whole_review_is_a_fault() {
        let [kind, version] = REVIEW;
        let [uid, desired, objects] = REQUEST;
        let head = format!("{kind},{version}");
        for (body, code) in [
            (
                format!(r#"{{{head},"request":{{{uid},{desired},{objects}}}"#),
                400,
            ),
            (
                format!(r#"{{{head},"request":{{{uid},{desired},{objects},{objects}}}}}"#),
                400,
            ),
            (
                format!(r#"{{{head},"request":{{{uid},{desired},{objects},{uid}}}}}"#),
                400,
            ),
            (
                format!(r#"{{{head},"request":{{{uid},{desired},"objects":{{}}}}}}"#),
                400,
            ),
            (format!(r#"{{{head},"request":{{{uid},{objects}}}}}"#), 400),
            (
                format!(r#"{{{head},"request":{{{desired},"uid":" ",{objects}}}}}"#),
                400,
            ),
            (format!(r#"{{{head},"request":null}}"#), 400),
            (format!("{{{head}}}"), 400),
            (format!("[{{{head}}}]"), 400),
            (
                format!(r#"{{{kind},"request":{{{uid},{desired},{objects}}}}}"#),
                422,
            ),
            (
                format!(r#"{{{version},"kind":"Pod","request":{{{uid},{desired},{objects}}}}}"#),
                422,
            ),
        ] {
            assert_eq!(read(&body, 9).err().unwrap().code(), code, "{body}");
        }
    }
}
