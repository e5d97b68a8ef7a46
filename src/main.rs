//! The start, and the exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    harbormaster::cli::run().into()
}
