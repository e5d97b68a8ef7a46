//! `cargo +nightly fuzz run signature`: what is let through is what the secret's holder wrote, in a form that is documented.

#![no_main]

libfuzzer_sys::fuzz_target!(|text: &[u8]| harbormaster_fuzz::signature(text));
