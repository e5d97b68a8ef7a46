//! A running control plane.
//!
//! Owns the daemons, and what a test or demo does with them: clients, kubeconfigs,
//! kubectl, the audit log, outages. Refuses to depend on the runtime that started
//! it: each `#[tokio::test]` has its own, and they share one control plane.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use kube::{Client, Config};

use crate::access::Access;
use crate::api_server::{self, ApiServer};
use crate::assets::{Assets, Tool};
use crate::audit::{self, AuditLog};
use crate::authority::Authority;
use crate::daemon::{Daemon, Folder};
use crate::error::Error;
use crate::supervisor::Lifeline;

/// A running etcd and kube-apiserver, gone when this value is dropped or the
/// process ends, however it ends.
#[derive(Debug)]
pub struct ControlPlane {
    parts: Parts,
    files: AtomicU32,
}

/// What a control plane consists of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) controller_manager: Option<Daemon>,
    pub(crate) api_server: ApiServer,
    pub(crate) etcd: Daemon,
    pub(crate) folder: Folder,
    pub(crate) authority: Authority,
    pub(crate) access: Access,
    pub(crate) admin: Config,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) assets: Assets,
}

impl ControlPlane {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            parts,
            files: AtomicU32::new(0),
        }
    }

    /// A new client of the administrator, who may do everything (`system:masters`).
    ///
    /// It belongs to the runtime it is made in; clones of it share connections.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::try_from(self.parts.admin.clone())
            .expect("the start of the API server made a client of the same configuration")
    }

    /// A new client of `user`, who has a certificate that says so: authorization,
    /// audit and the `userInfo` of admission reviews see this user, in `groups` and
    /// in `system:authenticated`.
    ///
    /// A service account is named `system:serviceaccount:NAMESPACE:NAME`; its groups
    /// `system:serviceaccounts` and `system:serviceaccounts:NAMESPACE` have to be
    /// given. The user may do nothing that RBAC does not allow.
    ///
    /// # Errors
    ///
    /// When no certificate can be made.
    ///
    /// # Panics
    ///
    /// Outside of a Tokio runtime.
    pub fn client_as(&self, user: &str, groups: &[&str]) -> Result<Client, Error> {
        let identity = self.parts.authority.user(user, groups)?;
        let config = self.parts.access.config(&identity);
        Client::try_from(config).map_err(|source| Error::Api {
            request: "credentials of the user",
            source: Box::new(source),
        })
    }

    /// The administrator's kubeconfig, which stays as long as the control plane.
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.parts.kubeconfig
    }

    /// Writes a kubeconfig of `user`, as [`client_as`](Self::client_as) has it. It
    /// stays as long as the control plane, and needs no other file.
    ///
    /// # Errors
    ///
    /// When no certificate can be made or the file not be written.
    pub fn kubeconfig_for(&self, user: &str, groups: &[&str]) -> Result<PathBuf, Error> {
        let identity = self.parts.authority.user(user, groups)?;
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        let path = self
            .parts
            .folder
            .path()
            .join(format!("kubeconfig-{number}"));
        api_server::write(&path, &self.parts.access.kubeconfig(user, &identity))?;
        Ok(path)
    }

    /// `kubectl` as the administrator, free of the user's own configuration and cache.
    #[must_use]
    pub fn kubectl(&self) -> Command {
        let mut kubectl = Command::new(self.parts.assets.path(Tool::Kubectl));
        kubectl
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", self.parts.folder.path())
            .env_remove("KUBECACHEDIR")
            .env_remove("KUBERC");
        kubectl
    }

    /// The URL of the API server, `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> &str {
        self.parts.access.url()
    }

    /// The binaries that this control plane runs.
    #[must_use]
    pub fn assets(&self) -> &Assets {
        &self.parts.assets
    }

    /// The temporary folder with data, keys and logs, removed at the end.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.parts.folder.path()
    }

    /// Where a program that runs beside us logs; each has a log of its own.
    pub(crate) fn log_of(&self, name: &str) -> PathBuf {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        self.folder().join(format!("{name}-{number}.log"))
    }

    /// What a program that runs beside us is outlived by.
    pub(crate) fn lifeline(&self) -> &Lifeline {
        self.parts.etcd.lifeline()
    }

    /// What the API server did, by its own account.
    #[must_use]
    pub fn audit_log(&self) -> AuditLog {
        AuditLog::new(self.parts.folder.path().join(audit::LOG))
    }

    /// Stops the API server, for a test of its outage. Its data and port stay.
    ///
    /// # Errors
    ///
    /// When it is still there ten seconds later.
    pub async fn stop_api_server(&self) -> Result<(), Error> {
        self.parts.api_server.stop().await
    }

    /// Starts the API server again, on the same port and with the same data, and
    /// waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it runs already, ends, or is not ready in time.
    pub async fn start_api_server(&self) -> Result<(), Error> {
        let Parts {
            api_server, etcd, ..
        } = &self.parts;
        let mut attempt = 1;
        loop {
            match api_server.start(etcd.lifeline()).await {
                // An outgoing connection can have been given the free port.
                Err(error) if error.is_port_clash() && attempt < ATTEMPTS => attempt += 1,
                result => return result,
            }
        }
    }

    /// Stops all daemons, last the store, and removes the folder; a daemon that does
    /// not stop is killed. When the control plane is dropped instead, the same
    /// happens without anyone waiting for it.
    ///
    /// # Errors
    ///
    /// When something is still there ten seconds after it was told to go.
    pub async fn stop(self) -> Result<(), Error> {
        let Parts {
            controller_manager,
            api_server,
            etcd,
            folder,
            ..
        } = self.parts;
        if let Some(controller_manager) = controller_manager {
            controller_manager.stop().await?;
        }
        api_server.stop().await?;
        etcd.stop().await?;
        folder.remove().await
    }
}

/// How often a start is tried when other processes take the ports.
pub(crate) const ATTEMPTS: u32 = 5;
