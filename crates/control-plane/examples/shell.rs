//! Starts a control plane, says how to reach it, and stops it at Ctrl-C.

use control_plane::{ControlPlane, Tool};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let control_plane = ControlPlane::start().await?;
    println!("export KUBECONFIG={}", control_plane.kubeconfig().display());
    println!(
        "alias kubectl={}",
        control_plane.assets().path(Tool::Kubectl).display()
    );
    eprintln!("stop it with Ctrl-C");
    tokio::signal::ctrl_c().await?;
    control_plane.stop().await?;
    Ok(())
}
