//! A server with the subcommands, flags and handlers of agnhost, the image that Kubernetes' own
//! end-to-end tests call as their webhook, so that they can run against this framework unchanged.
//!
//! `cargo run -p kube-webhook --example conformance -- webhook --tls-cert-file tls.crt
//! --tls-private-key-file tls.key`; `crd-conversion-webhook` is the other subcommand. Where agnhost
//! answers 200 to what it can't read, this server answers as the framework does: with a failed call.

mod convert;
mod data;
mod kinds;
mod pods;

use std::{
    ffi::OsString,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::ExitCode,
};

use axum::{Router, routing::get};
use clap::{Args, Parser, Subcommand};
use kube_webhook::{RegistrationError, Server, TlsError, TlsIdentity, Webhooks, not_found};
use tokio::signal::unix::{SignalKind, signal};

/// The webhooks that Kubernetes' end-to-end tests call.
#[derive(Debug, Parser)]
#[command(name = "conformance")]
struct Arguments {
    /// How much to log: accepted and ignored.
    #[arg(short = 'v', long = "v", global = true, value_name = "N")]
    verbosity: Option<u8>,
    /// Accepted and ignored: there is nothing that isn't logged to stderr.
    #[arg(long, global = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    alsologtostderr: Option<bool>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Admission: validates and mutates.
    Webhook {
        #[command(flatten)]
        listener: Listener,
        /// The image of the container that /mutating-pods-sidecar adds; without it, that denies.
        #[arg(long, default_value = "")]
        sidecar_image: String,
    },
    /// Conversion of stable.example.com/v1 and v2.
    CrdConversionWebhook {
        #[command(flatten)]
        listener: Listener,
    },
}

#[derive(Args, Debug)]
struct Listener {
    /// The certificate chain in PEM, leaf first.
    #[arg(long)]
    tls_cert_file: PathBuf,
    /// Its key in PEM.
    #[arg(long)]
    tls_private_key_file: PathBuf,
    /// Where to listen, on all addresses.
    #[arg(long, default_value_t = 443)]
    port: u16,
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("the server can't listen or go on")]
    Listen(#[from] io::Error),
}

#[allow(dead_code, reason = "the tests include this file for the rest of it")]
#[tokio::main]
async fn main() -> ExitCode {
    run(std::env::args_os()).await
}

/// The whole program.
#[allow(
    clippy::print_stderr,
    reason = "that's where a program's last words go"
)]
pub(crate) async fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(usage) => {
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(2));
        }
    };
    match serve(arguments.command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(command: Command) -> Result<(), Error> {
    let (router, listener) = match command {
        Command::Webhook {
            listener,
            sidecar_image,
        } => (admission(sidecar_image)?, listener),
        Command::CrdConversionWebhook { listener } => (conversion()?, listener),
    };
    let identity =
        TlsIdentity::from_files(listener.tls_cert_file, listener.tls_private_key_file).await?;
    let server = bind(listener.port, &identity, &router)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    server
        .serve(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
        .await?;
    Ok(())
}

/// All of the admission handlers.
///
/// # Errors
///
/// If they don't fit together.
pub(crate) fn admission(sidecar_image: String) -> Result<Router, RegistrationError> {
    let registered = Webhooks::new("conformance")
        .domain("conformance.example.com")
        .add_webhook(kinds::always_deny())
        .add_webhook(kinds::always_allow_delay())
        .add_webhook(kinds::add_label())
        .add_webhook(kinds::crds())
        .add_webhook(pods::pods())
        .add_webhook(pods::attach())
        .add_webhook(pods::init_container())
        .add_webhook(pods::sidecar(sidecar_image))
        .add_webhook(data::config_maps())
        .add_webhook(data::custom_resources())
        .add_webhook(data::mutated_config_maps())
        .add_webhook(data::mutated_custom_resources())
        .build()?;
    let router = registered.router();
    Ok(ready(kinds::with_unknown_kinds_as_bad_requests(router)))
}

/// The conversion handler.
///
/// # Errors
///
/// If its converters don't fit together.
pub(crate) fn conversion() -> Result<Router, RegistrationError> {
    let registered = Webhooks::new("conformance")
        .add_webhook(convert::hook())
        .build()?;
    Ok(ready(convert::negotiating(&registered.router())))
}

fn ready(router: Router) -> Router {
    router
        .route("/readyz", get(async || "ok"))
        .fallback(not_found)
}

/// Go's wildcard address takes both IPv4 and IPv6, as `[::]` does here, where there is IPv6.
fn bind(port: u16, identity: &TlsIdentity, router: &Router) -> io::Result<Server> {
    let listen = |address| Server::bind(address, identity.clone(), router.clone());
    listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
        .or_else(|_| listen(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))))
}
