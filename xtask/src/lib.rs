//! What `cargo demo` and the integration tests share: a stage on which the main job is
//! played for real. The rest of the project's tasks are the binary's own.
#![expect(missing_docs, reason = "for this workspace alone")]
#![expect(missing_debug_implementations, reason = "for this workspace alone")]

pub mod tool;

mod certificates;

pub mod stage;
