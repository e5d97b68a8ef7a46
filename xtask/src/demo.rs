//! `cargo demo`: the main job on a real etcd and kube-apiserver, as a story.
//!
//! Everything is done by the commands that a user would type, and every step waits for what
//! it promises to show, so that `--once` is a test: it ends with 0 only if all was seen.

use std::path::PathBuf;

use clap::Args;
use xtask::{
    stage::{Cast, Stage, Way},
    tool::{self, say},
};

use crate::story;

/// Show the main job on a real etcd and kube-apiserver
#[derive(Args)]
pub(crate) struct Demo {
    /// End after the story, with 0 if all of it was seen
    #[arg(long)]
    once: bool,

    /// A real baremetal-operator, instead of the simulator
    #[arg(long, value_name = "PATH", requires = "operator_crds")]
    operator: Option<PathBuf>,

    /// The folder with the real operator's CustomResourceDefinitions
    #[arg(long, value_name = "DIR", requires = "operator")]
    operator_crds: Option<PathBuf>,
}

impl Demo {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        // An error means that one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            tokio::select! {
                shown = self.show() => shown,
                _ = tokio::signal::ctrl_c() => {
                    say("\nInterrupted; nothing is left behind.");
                    Ok(())
                }
            }
        })
    }

    async fn show(self) -> anyhow::Result<()> {
        let cast = match (self.operator, self.operator_crds) {
            (Some(program), Some(crds)) => Cast::Operator { program, crds },
            _ => Cast::Simulator,
        };
        say("Building harbormaster ...");
        let program = tool::build_program()?;
        let stage = Stage::set(&program, cast, Way::Url).await?;
        story::tell(&stage).await?;
        if self.once {
            say("\nAll of it was seen.");
        } else {
            stage.invite();
            stage.wait().await?;
        }
        stage.strike().await
    }
}
