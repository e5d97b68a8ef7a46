//! `cargo +nightly fuzz run body`: whatever the bytes, the answer is one that the sender understands, and once is enough.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| harbormaster_fuzz::body(text));
