//! Bodies that nobody should send: the fuzz targets' corpus, and mutations of it, on any toolchain.

use std::path::Path;

use proptest::prelude::*;

use crate::{
    drive::{admission, conversion},
    mutation,
};

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    mutation::corpus(&folder.join(target))
}

fn mutated(target: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    mutation::mutated(corpus(target), &TOKENS)
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

const TOKENS: [&str; 17] = [
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
];
