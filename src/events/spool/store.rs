//! The spool's file: three tables of one redb database, and nothing of the program's state.
//!
//! Everything here blocks. A commit is an fsync. Called by the writer alone, and by
//! [`inspect`] when no writer has the file.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use redb::{
    Database, DatabaseError, ReadOnlyDatabase, ReadableDatabase, ReadableTable,
    ReadableTableMetadata, TableDefinition,
};
use serde::{Deserialize, Serialize};

use super::{Contents, Counts, Entry, Held, Waiting, file, host};

/// The file, open.
#[derive(Debug)]
pub(super) struct Store {
    database: Database,
    next: u64,
}

/// What is to be written together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) append: Vec<(u64, Vec<u8>)>,
    pub(super) aside: Vec<(u64, Vec<u8>)>,
    pub(super) remove: Vec<u64>,
    pub(super) cluster: Option<String>,
}

/// An event that the API server will never take as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct SetAside {
    /// Why not.
    pub reason: String,
    /// The event; absent where it can't be read.
    pub event: Option<Waiting>,
}

/// What lies in a spool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inspection {
    /// How much.
    pub counts: Counts,
    /// The cluster that it belongs to: the UID of its `kube-system` namespace.
    pub cluster: Option<String>,
    /// What was set aside: when it was received, if that can be read, and why.
    pub set_aside: Vec<(Option<Timestamp>, String)>,
}

/// The file can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The folder.
    #[error("{}: can't be made", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process has it open.
    #[error("{}: in use by another process; each replica needs a SPOOL_DIR of its own", .0.display())]
    InUse(PathBuf),
    /// The database.
    #[error("{}: can't be opened", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<DatabaseError>,
    },
    /// A read or a write.
    #[error(transparent)]
    Redb(#[from] redb::Error),
}

impl Store {
    /// Opens the file, and says what lies in it.
    pub(super) fn open(path: &Path) -> Result<(Self, Contents), StoreError> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|source| StoreError::Folder {
                folder: folder.to_owned(),
                source,
            })?;
        }
        let database = Database::builder()
            .set_cache_size(CACHE)
            .create(path)
            .map_err(|error| opening(path, error))?;
        let mut store = Self { database, next: 1 };
        let (contents, unreadable) = store.survey()?;
        // Never in the way of what can be read, and never thrown away.
        if !unreadable.is_empty() {
            let aside = unreadable.into_iter().map(|place| {
                let kept = SetAside {
                    reason: "the entry can't be read".to_owned(),
                    event: None,
                };
                (place, encode(&kept))
            });
            let batch = Batch {
                aside: aside.collect(),
                ..Batch::default()
            };
            store.write(&batch)?;
        }
        Ok((store, contents))
    }

    /// The next free place.
    pub(super) fn place(&mut self) -> u64 {
        let place = self.next;
        self.next += 1;
        place
    }

    /// Writes all or nothing; durable when it returns.
    pub(super) fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        self.commit(batch).map_err(StoreError::Redb)
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut waiting = transaction.open_table(WAITING)?;
            for (place, event) in &batch.append {
                waiting.insert(place, event.as_slice())?;
            }
            for place in batch
                .remove
                .iter()
                .chain(batch.aside.iter().map(|(p, _)| p))
            {
                waiting.remove(place)?;
            }
            let mut aside = transaction.open_table(ASIDE)?;
            for (place, event) in &batch.aside {
                aside.insert(place, event.as_slice())?;
            }
            let mut meta = transaction.open_table(META)?;
            if let Some(cluster) = &batch.cluster {
                meta.insert(CLUSTER, cluster.as_str())?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Up to `most` events behind the place `after`.
    pub(super) fn read(&self, after: Option<u64>, most: usize) -> Result<Vec<Entry>, StoreError> {
        self.entries(after, most).map_err(StoreError::Redb)
    }

    fn entries(&self, after: Option<u64>, most: usize) -> Result<Vec<Entry>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let waiting = transaction.open_table(WAITING)?;
        let from = after.map_or(0, |place| place.saturating_add(1));
        let mut entries = Vec::new();
        for row in waiting.range(from..)?.take(most) {
            let (place, event) = row?;
            // What couldn't be read was set aside when the file was opened.
            if let Ok(waiting) = serde_json::from_slice(event.value()) {
                let place = place.value();
                entries.push(Entry { place, waiting });
            }
        }
        Ok(entries)
    }

    fn survey(&mut self) -> Result<(Contents, Vec<u64>), StoreError> {
        // So that the tables are there for every reader.
        self.write(&Batch::default())?;
        let transaction = self.database.begin_read().map_err(redb::Error::from)?;
        let surveyed = survey(&transaction)?;
        self.next = surveyed.last.saturating_add(1);
        Ok((surveyed.contents, surveyed.unreadable))
    }
}

/// Looks into the spool of a folder, without changing it. Blocks.
///
/// # Errors
///
/// If there is none, or a running program has it open.
pub fn inspect(folder: &Path) -> Result<Inspection, StoreError> {
    let path = file(folder);
    let database = ReadOnlyDatabase::open(&path).map_err(|error| opening(&path, error))?;
    let transaction = database.begin_read().map_err(redb::Error::from)?;
    let contents = survey(&transaction)?.contents;
    let mut set_aside = Vec::new();
    let table = transaction.open_table(ASIDE).map_err(redb::Error::from)?;
    for row in table.iter().map_err(redb::Error::from)? {
        let (_, event) = row.map_err(redb::Error::from)?;
        if let Ok(kept) = serde_json::from_slice::<SetAside>(event.value()) {
            set_aside.push((kept.event.map(|event| event.received), kept.reason));
        }
    }
    Ok(Inspection {
        counts: contents.counts(),
        cluster: contents.cluster,
        set_aside,
    })
}

pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("what an event says has string keys and finite numbers")
}

struct Surveyed {
    contents: Contents,
    unreadable: Vec<u64>,
    last: u64,
}

fn survey(transaction: &redb::ReadTransaction) -> Result<Surveyed, redb::Error> {
    let mut contents = Contents::default();
    let mut unreadable = Vec::new();
    let waiting = transaction.open_table(WAITING)?;
    let mut last = 0;
    for row in waiting.iter()? {
        let (place, event) = row?;
        let (place, bytes) = (place.value(), event.value());
        last = last.max(place);
        match serde_json::from_slice::<Waiting>(bytes) {
            Ok(waiting) => contents.hold(
                place,
                Held {
                    host: host(&waiting.intent).to_owned(),
                    bytes: bytes.len() as u64,
                    received: waiting.received,
                },
            ),
            Err(_) => unreadable.push(place),
        }
    }
    let aside = transaction.open_table(ASIDE)?;
    contents.set_aside = aside.len()? + unreadable.len() as u64;
    for row in aside.iter()? {
        let (place, kept) = row?;
        last = last.max(place.value());
        contents.set_aside_bytes += kept.value().len() as u64;
    }
    let meta = transaction.open_table(META)?;
    contents.cluster = meta.get(CLUSTER)?.map(|cluster| cluster.value().to_owned());
    Ok(Surveyed {
        contents,
        unreadable,
        last,
    })
}

fn opening(path: &Path, error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse(path.to_owned()),
        source => StoreError::Open {
            path: path.to_owned(),
            source: Box::new(source),
        },
    }
}

const WAITING: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("waiting");

const ASIDE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("set-aside");

const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");

const CLUSTER: &str = "cluster";

/// Events are written and soon removed: there is little to gain from more.
const CACHE: usize = 4 * 1024 * 1024;
