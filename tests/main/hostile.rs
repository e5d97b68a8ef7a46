//! Deliveries that nobody should send: the fuzz targets' corpus, and mutations of it, on any
//! toolchain.

use std::path::Path;

use proptest::prelude::*;

use crate::{
    drive::{body, signature, time},
    mutation,
};

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    mutation::corpus(&folder.join(target))
}

/// Those of the corpus, and what the real senders sent.
fn bodies() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/events");
    let captured = std::fs::read_dir(folder).unwrap();
    let captured = captured.map(|file| file.unwrap().path());
    let captured = captured.filter(|file| file.extension().is_some_and(|it| it == "body"));
    let captured = captured.map(|file| std::fs::read(file).unwrap());
    corpus("body").into_iter().chain(captured).collect()
}

#[test]
fn the_whole_corpus_is_answered_as_it_should_be() {
    let recorded: usize = bodies().iter().map(|text| body(text)).sum();
    assert!(recorded > 20, "only {recorded} of the corpus were recorded");
    corpus("signature").iter().for_each(|text| signature(text));
    corpus("time").iter().for_each(|text| time(text));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn mutated_bodies_are_answered_and_sent_again_they_change_nothing(
        text in mutation::mutated(bodies(), &TOKENS)
    ) {
        body(&text);
    }

    #[test]
    fn mutated_signatures_pass_in_the_documented_forms_alone(
        text in mutation::mutated(corpus("signature"), &["=", "sha256=", "HEX", "BASE64", " ", "-", "_"])
    ) {
        signature(&text);
    }

    #[test]
    fn mutated_times_are_not_guessed(
        text in mutation::mutated(corpus("time"), &["Z", "-", "+02:00", "[UTC]", "T", ".5", "e9", "0"])
    ) {
        time(&text);
    }
}

const TOKENS: [&str; 18] = [
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
    "101",
    "0.1",
    "\"events\":[],",
    "\"eventId\":1,",
    "\"eventStart\":0,",
    "EVENT_END",
];
