//! The API server.
//!
//! Owns kube-apiserver's files and command line, what it means for it to be ready,
//! and its stops and starts on the same port. Called by [`builder`](crate::builder)
//! and [`control_plane`](crate::control_plane).

use std::ffi::OsString;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::Request;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client, Config};
use tokio::sync::Mutex;

use crate::assets::{Assets, Tool};
use crate::audit;
use crate::authority::{self, Authority};
use crate::daemon::{Daemon, Folder, Wait, flag};
use crate::error::Error;
use crate::supervisor::Lifeline;

/// What a user can choose about an API server.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) advertise_address: IpAddr,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) startup_timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            advertise_address: ADVERTISED.into(),
            arguments: Vec::new(),
            startup_timeout: Duration::from_secs(60),
        }
    }
}

/// An API server, running or stopped.
#[derive(Debug)]
pub(crate) struct ApiServer {
    command: Vec<OsString>,
    log: PathBuf,
    admin: Config,
    startup_timeout: Duration,
    daemon: Mutex<Option<Daemon>>,
}

impl ApiServer {
    /// Writes the API server's files into `folder`. Starts nothing.
    pub(crate) fn prepare(
        assets: &Assets,
        folder: &Folder,
        authority: &Authority,
        etcd: &str,
        port: u16,
        options: &Options,
        admin: Config,
    ) -> Result<Self, Error> {
        let Options {
            advertise_address,
            arguments,
            startup_timeout,
        } = options;
        let path = |name| folder.path().join(name);
        let names = SERVED_AS.iter().map(ToString::to_string);
        let server = authority.server(names.chain([advertise_address.to_string()]).collect())?;
        let (token_key, token_public_key) = authority::token_key()?;
        write(&path(CA), &authority.pem())?;
        write(&path("apiserver.crt"), &server.certificate)?;
        write(&path("apiserver.key"), &server.key)?;
        write(&path(TOKEN_KEY), &token_key)?;
        write(&path("tokens.pub"), &token_public_key)?;
        write(&path("audit-policy.yaml"), audit::POLICY)?;

        let file = |name, file| flag(name, path(file).display());
        let mut command = vec![
            assets.path(Tool::KubeApiserver).into(),
            flag("etcd-servers", etcd),
            flag("bind-address", Ipv4Addr::LOCALHOST),
            flag("secure-port", port),
            flag("advertise-address", advertise_address),
            flag("service-cluster-ip-range", SERVICE_RANGE),
            flag("allow-privileged", true),
            flag("authorization-mode", "RBAC"),
            // Without kube-controller-manager no namespace gets a service account.
            flag("disable-admission-plugins", "ServiceAccount"),
            file("cert-dir", "certificates"),
            file("client-ca-file", CA),
            file("tls-cert-file", "apiserver.crt"),
            file("tls-private-key-file", "apiserver.key"),
            flag("service-account-issuer", "https://kubernetes.default.svc"),
            file("service-account-key-file", "tokens.pub"),
            file("service-account-signing-key-file", TOKEN_KEY),
            file("audit-policy-file", "audit-policy.yaml"),
            file("audit-log-path", audit::LOG),
            // In megabytes. One file has to hold all events, and 0 means 100.
            flag("audit-log-maxsize", 10_240),
        ];
        command.extend_from_slice(arguments);
        Ok(Self {
            command,
            log: path("kube-apiserver.log"),
            admin,
            startup_timeout: *startup_timeout,
            daemon: Mutex::new(None),
        })
    }

    /// Starts the API server and waits until it is ready.
    pub(crate) async fn start(&self, etcd: &Lifeline) -> Result<(), Error> {
        let mut running = self.daemon.lock().await;
        if running.is_some() {
            return Err(Error::AlreadyStarted);
        }
        let name = Tool::KubeApiserver.file_name();
        let wait = Wait::of(self.startup_timeout);
        let daemon = Daemon::start(name, &self.command, &self.log, etcd).await?;
        let client = Client::try_from(self.admin.clone()).map_err(|source| Error::Api {
            request: "credentials of its administrator",
            source: Box::new(source),
        })?;
        daemon.ready(wait, || is_ready(&client)).await?;
        *running = Some(daemon);
        Ok(())
    }

    /// Stops the API server, if it runs.
    pub(crate) async fn stop(&self) -> Result<(), Error> {
        match self.daemon.lock().await.take() {
            Some(daemon) => daemon.stop().await,
            None => Ok(()),
        }
    }
}

/// Whether all of the API server's own start is done, and the namespace `default`
/// made, which comes a moment later.
async fn is_ready(client: &Client) -> bool {
    let readyz = Request::get("/readyz")
        .body(Vec::new())
        .expect("a constant path makes a request");
    if client.request_text(readyz).await.is_err() {
        return false;
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces.get_metadata("default").await.is_ok()
}

/// Writes a file that only its owner can read.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), Error> {
    use std::io::Write;
    let mut options = fs::File::options();
    let file = options
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| Error::File {
            path: path.to_owned(),
            source,
        })
}

/// The CA's certificate.
pub(crate) const CA: &str = "ca.crt";

/// The key that signs the tokens of service accounts.
pub(crate) const TOKEN_KEY: &str = "tokens.key";

/// Where the API server tells the cluster that it is. With a loopback bind address
/// it would look for a default route, and not start on a machine without one. This
/// address (TEST-NET-1, RFC 5737) only appears in the endpoints of the Service
/// `kubernetes`, which nothing here connects to.
const ADVERTISED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The addresses of Services.
const SERVICE_RANGE: &str = "10.0.0.0/24";

/// What the serving certificate is good for, besides the advertised address: the
/// last is the first of [`SERVICE_RANGE`], that of the Service `kubernetes`.
const SERVED_AS: &[&str] = &[
    "localhost",
    "127.0.0.1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "10.0.0.1",
];
