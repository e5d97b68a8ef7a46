//! The accept loop: takes connections while there is room, steps back when the system has none left,
//! joins every task, and drains. Called by `Server::serve`.

use std::{future::Future, io, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
};

use super::connection::Connections;
use crate::metrics::HandshakeOutcome;

pub(super) async fn run(
    listener: TcpListener,
    connections: Connections,
    connection_limit: usize,
    drain: Duration,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let local_addr = listener.local_addr()?;
    let (stop, stopped) = watch::channel(false);
    let mut door = Door {
        connections: Arc::new(connections),
        room: Arc::new(Semaphore::new(connection_limit.min(Semaphore::MAX_PERMITS))),
        is_full: false,
        stopped,
        tasks: JoinSet::new(),
    };
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = door.tasks.join_next() => {}
            stream = accept(&listener) => door.enter(stream),
        }
    }
    drop(listener);
    tracing::info!(%local_addr, connections = door.tasks.len(), "draining");
    stop.send_replace(true);
    let drained = async { while door.tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(drain, drained).await.is_err() {
        tracing::warn!(%local_addr, connections = door.tasks.len(), "cut off at the drain's deadline");
        door.tasks.shutdown().await;
    }
    Ok(())
}

struct Door {
    connections: Arc<Connections>,
    room: Arc<Semaphore>,
    is_full: bool,
    stopped: watch::Receiver<bool>,
    tasks: JoinSet<()>,
}

impl Door {
    /// Closes the connection at once if there is no room. To let it wait instead would only eat up
    /// the API server's deadline, after which the call fails all the same.
    fn enter(&mut self, stream: TcpStream) {
        let room = Arc::clone(&self.room).try_acquire_owned();
        if self.is_full != room.is_err() {
            self.is_full = room.is_err();
            if self.is_full {
                tracing::warn!("too many connections: refused until others close");
            }
        }
        match room {
            Ok(room) => self.admit(stream, room),
            Err(_) => self
                .connections
                .metrics
                .handshake(HandshakeOutcome::Refused),
        }
    }

    fn admit(&mut self, stream: TcpStream, room: OwnedSemaphorePermit) {
        let connections = Arc::clone(&self.connections);
        let stopped = self.stopped.clone();
        self.tasks.spawn(async move {
            let _room = room;
            let _counted = connections.metrics.connection();
            connections.serve(stream, stopped).await;
        });
    }
}

/// The next connection. Errors of one connection are skipped; without file descriptors or memory,
/// to try again at once would only keep a core busy.
async fn accept(listener: &TcpListener) -> TcpStream {
    let mut pause = FIRST_PAUSE;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return stream,
            Err(error) if is_of_one_connection(&error) => {
                tracing::debug!(%error, "connection lost before it was accepted");
            }
            Err(error) => {
                tracing::warn!(%error, ?pause, "no connection can be accepted");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
