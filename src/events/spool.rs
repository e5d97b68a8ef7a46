//! Where accepted events wait while the API server is away.
//!
//! Owns a redb file in one folder: what [`Spool::append`] says yes to survives `kill -9` and
//! a lost machine's power (one fsync for all that is waiting to be written, before any of
//! them is answered). Bounded in bytes. Refuses events while another cluster's still lie in
//! it, and when the disk does; the recorder then tells the sender so. Filled by the
//! recorder, emptied by the drain, looked into by operators while the program is down.

mod gauges;
mod store;
mod writer;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc, oneshot};

use self::writer::Command;
pub use self::{
    store::{Inspection, StoreError, inspect},
    writer::Writer,
};
use super::intent::Intent;

/// A spool that is open. Clones share it.
#[derive(Clone, Debug)]
pub struct Spool {
    commands: mpsc::Sender<Command>,
    contents: Arc<Mutex<Contents>>,
    arrival: Arc<Notify>,
}

/// An event that waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    /// When it was received.
    pub received: Timestamp,
    /// What it asks for.
    pub intent: Intent,
}

/// An event that waits, and its place in the line.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its place: later ones are larger.
    pub place: u64,
    /// The event.
    pub waiting: Waiting,
}

/// How much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that wait for the API server.
    pub waiting: u64,
    /// Their size.
    pub bytes: u64,
    /// Events that the API server will never take as they are.
    pub set_aside: u64,
    /// When the first of those that wait was received.
    pub oldest: Option<Timestamp>,
}

/// The events were not stored.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotSpooled {
    /// The program is ending.
    #[error("the spool is closed")]
    Closed,
    /// The spool belongs to another cluster.
    #[error("the spool holds events of another cluster: move its folder away")]
    Foreign,
    /// The limit is reached.
    #[error("the spool has reached its limit; raise SPOOL_LIMIT or bring the API server back")]
    Full,
    /// The disk refused them.
    #[error("the spool could not be written: {0}")]
    Store(Arc<StoreError>),
    /// The disk took too long, and may yet take them.
    #[error("the spool was not written within {} ms", .0.as_millis())]
    Timeout(Duration),
}

impl Spool {
    /// Opens the spool in `folder`, which is made if need be, for up to `limit` bytes of
    /// events. Blocks.
    ///
    /// # Errors
    ///
    /// If the folder can't be written, or another process has it open.
    pub fn open(folder: &Path, limit: u64) -> Result<(Self, Writer), StoreError> {
        let path = file(folder);
        let (store, contents) = store::Store::open(&path)?;
        let contents = Arc::new(Mutex::new(contents));
        let (commands, queue) = mpsc::channel(QUEUE);
        let writer = Writer::spawn(path, store, limit, Arc::clone(&contents), queue);
        let spool = Self {
            commands,
            contents,
            arrival: Arc::default(),
        };
        Ok((spool, writer))
    }

    /// Stores events, in their order. They are durable when it returns.
    ///
    /// # Errors
    ///
    /// If they are not, or not for certain.
    pub async fn append(&self, events: Vec<Waiting>) -> Result<(), NotSpooled> {
        self.ask(APPEND_DEADLINE, |done| Command::Append { events, done })
            .await?;
        self.arrival.notify_one();
        Ok(())
    }

    /// Stores events that the API server will never take as they are, for people to look at.
    ///
    /// # Errors
    ///
    /// As [`append`](Self::append).
    pub async fn keep_aside(&self, event: Waiting, reason: String) -> Result<(), NotSpooled> {
        self.ask(APPEND_DEADLINE, |done| Command::KeepAside {
            event: Box::new(event),
            reason,
            done,
        })
        .await
    }

    /// Whether events of this host wait: later ones must queue behind them.
    pub fn holds(&self, host: &str) -> bool {
        self.contents().hosts.contains_key(host)
    }

    /// How much there is.
    pub fn counts(&self) -> Counts {
        self.contents().counts()
    }

    /// Up to `most` of the events behind the place `after`, the oldest first.
    pub(super) async fn read(
        &self,
        after: Option<u64>,
        most: usize,
    ) -> Result<Vec<Entry>, NotSpooled> {
        self.ask(DRAIN_DEADLINE, |done| Command::Read { after, most, done })
            .await
    }

    /// Returns once events have come since it last returned.
    pub(super) async fn arrival(&self) {
        self.arrival.notified().await;
    }

    /// Forgets events that are stored elsewhere now.
    pub(super) async fn remove(&self, places: Vec<u64>) -> Result<(), NotSpooled> {
        self.ask(DRAIN_DEADLINE, |done| Command::Remove { places, done })
            .await
    }

    /// Takes an event out of the line, and keeps it for people to look at.
    pub(super) async fn set_aside(&self, place: u64, reason: String) -> Result<(), NotSpooled> {
        self.ask(DRAIN_DEADLINE, |done| Command::SetAside {
            place,
            reason,
            done,
        })
        .await
    }

    /// Says which cluster is ours. An empty spool becomes its; else it must have been.
    pub(super) async fn claim(&self, cluster: String) -> Result<(), NotSpooled> {
        self.ask(DRAIN_DEADLINE, |done| Command::Claim { cluster, done })
            .await
    }

    /// Ends the writer once it has done what it was asked before.
    pub async fn close(&self) {
        // An error means that it has ended already.
        let _ = self.commands.send(Command::Close).await;
    }

    async fn ask<T>(
        &self,
        deadline: Duration,
        command: impl FnOnce(Done<T>) -> Command,
    ) -> Result<T, NotSpooled> {
        let (done, answer) = oneshot::channel();
        let asked = async {
            let sent = self.commands.send(command(done)).await;
            sent.map_err(|_| NotSpooled::Closed)?;
            answer.await.map_err(|_| NotSpooled::Closed)?
        };
        tokio::time::timeout(deadline, asked)
            .await
            .map_err(|_| NotSpooled::Timeout(deadline))?
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        lock(&self.contents)
    }
}

/// Where the answer to a command goes.
type Done<T> = oneshot::Sender<Result<T, NotSpooled>>;

/// What lies in the file, as far as decisions need it: kept in step by the writer.
#[derive(Debug, Default)]
struct Contents {
    waiting: BTreeMap<u64, Held>,
    hosts: HashMap<String, usize>,
    bytes: u64,
    set_aside: u64,
    set_aside_bytes: u64,
    cluster: Option<String>,
    is_foreign: bool,
}

#[derive(Debug)]
struct Held {
    host: String,
    bytes: u64,
    received: Timestamp,
}

impl Contents {
    fn hold(&mut self, place: u64, held: Held) {
        *self.hosts.entry(held.host.clone()).or_default() += 1;
        self.bytes += held.bytes;
        self.waiting.insert(place, held);
    }

    fn let_go(&mut self, place: u64) {
        let Some(held) = self.waiting.remove(&place) else {
            return;
        };
        self.bytes -= held.bytes;
        if let Some(events) = self.hosts.get_mut(&held.host) {
            *events -= 1;
            if *events == 0 {
                self.hosts.remove(&held.host);
            }
        }
    }

    fn counts(&self) -> Counts {
        Counts {
            waiting: self.waiting.len() as u64,
            bytes: self.bytes,
            set_aside: self.set_aside,
            oldest: self.waiting.values().next().map(|held| held.received),
        }
    }
}

/// The contents are changed in one go, so a panic elsewhere leaves them whole.
fn lock(contents: &Mutex<Contents>) -> MutexGuard<'_, Contents> {
    contents.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The machine that an event is about, as the sender names it.
fn host(intent: &Intent) -> &str {
    intent
        .booking()
        .map_or("", |booking| booking.resource_name.as_str())
}

fn file(folder: &Path) -> PathBuf {
    folder.join("events.redb")
}

/// More wait in the listeners' connections.
const QUEUE: usize = 1024;

/// With the time that the API server was given, less than the second that a sender waits.
const APPEND_DEADLINE: Duration = Duration::from_millis(400);

const DRAIN_DEADLINE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
