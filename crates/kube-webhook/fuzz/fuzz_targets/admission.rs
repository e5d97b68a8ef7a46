//! `cargo +nightly fuzz run admission`: whatever the bytes, there is an answer that the API server can read.

#![no_main]

libfuzzer_sys::fuzz_target!(|body: &[u8]| kube_webhook_fuzz::admission(body));
