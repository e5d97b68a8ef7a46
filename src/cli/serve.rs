//! `serve`: the server, until a signal.
//!
//! In order: arguments checked, logging, crypto provider, runtime, API server, ports.

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;
use tracing_subscriber::EnvFilter;

use crate::{app::App, config::ServeArgs};

/// The settings of `serve`.
#[derive(Args, Debug)]
pub(super) struct Serve {
    #[command(flatten)]
    settings: ServeArgs,

    /// error, warn, info, debug or trace, or a filter as of tracing-subscriber
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    log_level: String,

    /// How a log line looks [default: text on a terminal, else json]
    #[arg(long, env = "LOG_FORMAT", value_enum)]
    log_format: Option<LogFormat>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Json,
    Text,
}

impl Serve {
    pub(super) fn run(self) -> anyhow::Result<()> {
        self.log()?;
        let in_cluster = std::env::var_os("KUBERNETES_SERVICE_HOST").is_some();
        let config = self.settings.check(in_cluster)?;
        install_crypto();
        runtime()?.block_on(async {
            info!(version = env!("CARGO_PKG_VERSION"), "harbormaster starts");
            // Listened for before anything else, so that a signal during the start counts.
            let mut terminate = signal(SignalKind::terminate()).context("can't await SIGTERM")?;
            let app = tokio::select! {
                app = App::start(config) => app?,
                _ = terminate.recv() => return Ok(()),
                _ = tokio::signal::ctrl_c() => return Ok(()),
            };
            Box::pin(app.run(async move {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                }
            }))
            .await
        })
    }

    fn log(&self) -> anyhow::Result<()> {
        let filter = EnvFilter::try_new(self.log_level.to_lowercase()).context("LOG_LEVEL")?;
        let filter = filter.add_directive(WITHOUT_OBJECTS.parse().context("LOG_LEVEL")?);
        let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
        let format = self.log_format.unwrap_or(if is_terminal {
            LogFormat::Text
        } else {
            LogFormat::Json
        });
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        match format {
            LogFormat::Json => log.json().flatten_event(true).init(),
            LogFormat::Text => log.with_ansi(is_terminal).init(),
        }
        Ok(())
    }
}

/// What it can't read, kube's client logs as a warning, all of it: people's names and keys, too. Whoever
/// asked for the object tells of it.
const WITHOUT_OBJECTS: &str = "kube_client::client=error";

/// The process's crypto provider is a program's choice, never a library's.
pub(super) fn install_crypto() {
    // An error means that one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")
}
