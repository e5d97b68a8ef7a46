//! The line between the program and its API server, which can fall silent: connections stand, new ones
//! are accepted, and no byte comes any more. It is how a network partition looks from inside.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Cut when it is dropped.
#[derive(Debug)]
pub(crate) struct Line {
    address: SocketAddr,
    state: watch::Sender<State>,
    _task: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    is_silent: bool,
    connections: usize,
}

impl Line {
    /// To the API server at this URL.
    pub(crate) async fn to(url: &str) -> Self {
        let server: SocketAddr = url.trim_start_matches("https://").parse().unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = watch::Sender::new(State::default());
        let mut task = JoinSet::new();
        task.spawn(pass(listener, server, state.clone()));
        Self {
            address,
            state,
            _task: task,
        }
    }

    pub(crate) fn fall_silent(&self) {
        self.state.send_modify(|state| state.is_silent = true);
    }

    /// Waits until somebody has called.
    pub(crate) async fn until_called(&self) {
        let mut state = self.state.subscribe();
        state.wait_for(|state| state.connections > 0).await.unwrap();
    }

    /// The kubeconfig, by this way.
    pub(crate) fn kubeconfig(&self, direct: &Path, url: &str) -> PathBuf {
        let text = fs::read_to_string(direct).unwrap();
        assert!(text.contains(url), "{url}");
        let file = direct.with_extension("line");
        fs::write(
            &file,
            text.replace(url, &format!("https://{}", self.address)),
        )
        .unwrap();
        file
    }
}

async fn pass(listener: TcpListener, server: SocketAddr, state: watch::Sender<State>) {
    let mut connections = JoinSet::new();
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        state.send_modify(|state| state.connections += 1);
        let mut seen = state.subscribe();
        connections.spawn(async move {
            let passed = async {
                let mut far = TcpStream::connect(server).await?;
                copy_bidirectional(&mut near, &mut far).await
            };
            tokio::select! {
                biased;
                _ = seen.wait_for(|state| state.is_silent) => {}
                _ = passed => return,
            }
            // Held open, and never read again.
            std::future::pending::<()>().await;
        });
    }
}
