//! `cargo +nightly fuzz run time`: no text is guessed to be a time.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| harbormaster_fuzz::time(text));
