//! The controllers, for those who ask for them.
//!
//! Owns kube-controller-manager's command line and what it means for it to be
//! ready. Called by [`builder`](crate::builder).

use std::path::Path;

use k8s_openapi::api::core::v1::ServiceAccount;
use kube::{Api, Client};

use crate::api_server::{CA, TOKEN_KEY};
use crate::assets::{Assets, Tool};
use crate::daemon::{Daemon, Folder, Wait, flag};
use crate::error::Error;
use crate::supervisor::Lifeline;

/// Starts the controllers and waits until one of them has done its work.
pub(crate) async fn start(
    assets: &Assets,
    folder: &Folder,
    kubeconfig: &Path,
    client: &Client,
    etcd: &Lifeline,
    wait: Wait,
) -> Result<Daemon, Error> {
    let file = |name, file| flag(name, folder.path().join(file).display());
    let command = [
        assets.path(Tool::KubeControllerManager).into(),
        flag("kubeconfig", kubeconfig.display()),
        file("service-account-private-key-file", TOKEN_KEY),
        file("root-ca-file", CA),
        // It is alone, and nobody asks it anything.
        flag("leader-elect", false),
        flag("secure-port", 0),
    ];
    let name = Tool::KubeControllerManager.file_name();
    let log = folder.path().join("kube-controller-manager.log");
    let daemon = Daemon::start(name, &command, &log, etcd).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    daemon.ready(wait, || has_default(&accounts)).await?;
    Ok(daemon)
}

async fn has_default(accounts: &Api<ServiceAccount>) -> bool {
    accounts.get_metadata("default").await.is_ok()
}
