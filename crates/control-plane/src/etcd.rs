//! The store of the API server.
//!
//! Owns etcd's command line and what it means for it to be ready. Called by
//! [`builder`](crate::builder).

use std::net::Ipv4Addr;

use tokio::net::TcpStream;

use crate::assets::{Assets, Tool};
use crate::daemon::{Daemon, Folder, Wait, flag};
use crate::error::Error;
use crate::ports;

/// Starts etcd, with its data in `folder`. Returns its URL with it.
pub(crate) async fn start(
    assets: &Assets,
    folder: &Folder,
    wait: Wait,
) -> Result<(Daemon, String), Error> {
    let [client, peer] = ports::free()?;
    let url = format!("http://127.0.0.1:{client}");
    let peer_url = format!("http://127.0.0.1:{peer}");
    let command = [
        assets.path(Tool::Etcd).into(),
        flag("data-dir", folder.path().join("etcd").display()),
        flag("listen-client-urls", &url),
        flag("advertise-client-urls", &url),
        flag("listen-peer-urls", &peer_url),
        // Named, as the default is port 2380, which may be another's.
        flag("initial-advertise-peer-urls", &peer_url),
        flag("initial-cluster", format_args!("default={peer_url}")),
        // No data here are worth the wait for a disk.
        "--unsafe-no-fsync".into(),
        flag("log-level", "warn"),
    ];
    let log = folder.path().join("etcd.log");
    let daemon = Daemon::start(Tool::Etcd.file_name(), &command, &log, folder.lifeline()).await?;
    daemon.ready(wait, || accepts(client)).await?;
    Ok((daemon, url))
}

/// The client port opens when there is a leader to serve.
async fn accepts(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    TcpStream::connect(address).await.is_ok()
}
