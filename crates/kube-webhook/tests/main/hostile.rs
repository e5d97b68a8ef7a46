//! Bodies that nobody should send: the fuzz targets' corpus, and mutations of it, on any toolchain.

use std::{fs, path::Path};

use proptest::{prelude::*, sample::Index};

use crate::drive::{admission, conversion};

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 10);
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// One change to a body, as a fuzzer makes them.
#[derive(Clone, Debug)]
enum Edit {
    Replace(Index, u8),
    Remove(Index, usize),
    Repeat(Index, usize),
    Insert(Index, &'static str),
    Cut(Index),
}

impl Edit {
    fn apply(&self, body: &mut Vec<u8>) {
        if body.is_empty() {
            return;
        }
        match self {
            Self::Replace(at, byte) => {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            Self::Remove(at, length) => {
                let at = at.index(body.len());
                body.drain(at..(at + length).min(body.len()));
            }
            Self::Repeat(at, length) => {
                let at = at.index(body.len());
                let piece = body[at..(at + length).min(body.len())].to_vec();
                body.splice(at..at, piece);
            }
            Self::Insert(at, token) => {
                let at = at.index(body.len());
                body.splice(at..at, token.bytes());
            }
            Self::Cut(at) => body.truncate(at.index(body.len())),
        }
    }
}

fn edit() -> impl Strategy<Value = Edit> {
    let tokens = prop::sample::select(vec![
        "null",
        "{}",
        "[]",
        "1e999",
        "-0",
        "\"\"",
        "\\u0000",
        "\\ud800",
        "\u{feff}",
        "\"a\":",
        ",",
        "{\"a\":",
        "true",
        "0.1",
        "\"spec\":{},",
        "\"metadata\":null,",
        "\"kind\":\"x\",",
    ]);
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        2 => (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        2 => (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Edit::Repeat(at, length)),
        4 => (any::<Index>(), tokens).prop_map(|(at, token)| Edit::Insert(at, token)),
        1 => any::<Index>().prop_map(Edit::Cut),
    ]
}

fn mutated(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let edits = prop::collection::vec(edit(), 1..6);
    (prop::sample::select(corpus(target)), edits).prop_map(|(mut body, edits)| {
        for edit in edits {
            edit.apply(&mut body);
        }
        body
    })
}

#[test]
fn every_body_of_the_corpus_is_answered() {
    for body in corpus("admission") {
        admission(&body);
    }
    for body in corpus("conversion") {
        conversion(&body);
    }
}

#[test]
fn nesting_of_any_depth_is_answered() {
    for open in ["[", "{\"a\":"] {
        let deep = open.repeat(200_000);
        admission(deep.as_bytes());
        conversion(deep.as_bytes());
        for target in ["admission", "conversion"] {
            for body in corpus(target) {
                let body = String::from_utf8(body).unwrap();
                let body = body.replace("\"spec\":{", &format!("\"spec\":{{\"deep\":{deep}"));
                admission(body.as_bytes());
                conversion(body.as_bytes());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn mutated_admission_reviews_are_answered(body in mutated("admission")) {
        admission(&body);
    }

    #[test]
    fn mutated_conversion_reviews_are_answered(body in mutated("conversion")) {
        conversion(&body);
    }
}
