//! Changes to a body, as a fuzzer makes them, on any toolchain: what the tests send beside the fuzz
//! targets' corpus.

use std::{fs, path::Path};

use proptest::{prelude::*, sample::Index};

/// The files of a target's corpus.
pub(crate) fn corpus(folder: &Path) -> Vec<Vec<u8>> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    assert!(files.len() >= 10);
    files.iter().map(|file| fs::read(file).unwrap()).collect()
}

/// One of the bodies, changed in up to five places; `tokens` are what is put in.
pub(crate) fn mutated(
    corpus: Vec<Vec<u8>>,
    tokens: &[&'static str],
) -> impl Strategy<Value = Vec<u8>> + use<> {
    let edits = prop::collection::vec(edit(tokens), 1..6);
    (prop::sample::select(corpus), edits).prop_map(|(mut body, edits)| {
        for edit in edits {
            edit.apply(&mut body);
        }
        body
    })
}

/// One change.
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

fn edit(tokens: &[&'static str]) -> impl Strategy<Value = Edit> + use<> {
    let tokens = prop::sample::select(tokens.to_vec());
    prop_oneof![
        4 => (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Edit::Replace(at, byte)),
        2 => (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Edit::Remove(at, length)),
        2 => (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Edit::Repeat(at, length)),
        4 => (any::<Index>(), tokens).prop_map(|(at, token)| Edit::Insert(at, token)),
        1 => any::<Index>().prop_map(Edit::Cut),
    ]
}
