//! What the fuzz targets run: see `drive`.

#![allow(
    clippy::unwrap_used,
    reason = "a fuzz target fails by panicking"
)]

mod drive;
mod objects;

/// A delivery, signed.
pub fn body(body: &[u8]) {
    drive::body(body);
}

/// A signature's header, and behind the first newline the body that it is for.
pub fn signature(text: &[u8]) {
    drive::signature(text);
}

/// A time, as JSON or as its bare text.
pub fn time(text: &[u8]) {
    drive::time(text);
}
