//! Starts a control plane, says how to reach it, and stops it at Ctrl-C.
#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "it speaks to a shell and to whoever sits before it"
)]

use std::process::ExitCode;

use control_plane::{ControlPlane, Error, Tool};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Error> {
    let control_plane = ControlPlane::start().await?;
    let kubectl = control_plane.assets().path(Tool::Kubectl);
    println!("export KUBECONFIG={}", control_plane.kubeconfig().display());
    println!("alias kubectl={}", kubectl.display());
    eprintln!("stop it with Ctrl-C");
    if let Err(error) = tokio::signal::ctrl_c().await {
        eprintln!("cannot wait for Ctrl-C: {error}");
    }
    control_plane.stop().await
}
