//! The one thread that touches the spool's file.
//!
//! Takes what is asked of it in order, and writes all that is waiting in one commit: under
//! load, many events share an fsync. After a failed write the file is opened anew, since
//! redb trusts nothing that came after one.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    thread,
};

use tokio::sync::mpsc;
use tracing::{error, info};

use super::{
    Contents, Done, Entry, Held, NotSpooled, Waiting, host, lock,
    store::{Batch, SetAside, Store, encode},
};

/// What the writer is asked.
#[derive(Debug)]
pub(super) enum Command {
    Append {
        events: Vec<Waiting>,
        done: Done<()>,
    },
    Claim {
        cluster: String,
        done: Done<()>,
    },
    Close,
    KeepAside {
        event: Box<Waiting>,
        reason: String,
        done: Done<()>,
    },
    Read {
        after: Option<u64>,
        most: usize,
        done: Done<Vec<Entry>>,
    },
    Remove {
        places: Vec<u64>,
        done: Done<()>,
    },
    SetAside {
        place: u64,
        reason: String,
        done: Done<()>,
    },
}

/// The writer's thread. It ends when the spool is closed, or all its clones are gone.
#[derive(Debug)]
pub struct Writer(thread::JoinHandle<()>);

impl Writer {
    pub(super) fn spawn(
        path: PathBuf,
        store: Store,
        limit: u64,
        contents: Arc<Mutex<Contents>>,
        queue: mpsc::Receiver<Command>,
    ) -> Self {
        let desk = Desk {
            path,
            store: Some(store),
            limit,
            contents,
        };
        Self(thread::spawn(move || desk.work(queue)))
    }

    /// Waits until it has ended. Blocks.
    pub fn join(self) {
        if self.0.join().is_err() {
            error!("the spool's writer had come to grief");
        }
    }
}

struct Desk {
    path: PathBuf,
    /// None after a failed write, until it is opened anew.
    store: Option<Store>,
    limit: u64,
    contents: Arc<Mutex<Contents>>,
}

/// What one commit will change in what we know of the file.
#[derive(Default)]
struct Draft {
    batch: Batch,
    held: Vec<(u64, Held)>,
    bytes: u64,
    done: Vec<Done<()>>,
    reads: Vec<(Option<u64>, usize, Done<Vec<Entry>>)>,
}

impl Desk {
    fn work(mut self, mut queue: mpsc::Receiver<Command>) {
        let mut open = true;
        while open {
            let Some(first) = queue.blocking_recv() else {
                return;
            };
            let mut draft = Draft::default();
            let mut next = Some(first);
            while let Some(command) = next {
                open &= self.enter(command, &mut draft);
                next = (open && draft.done.len() < TOGETHER)
                    .then(|| queue.try_recv().ok())
                    .flatten();
            }
            self.carry_out(draft);
        }
    }

    /// Adds a command to the draft. `false`: it was the last.
    fn enter(&mut self, command: Command, draft: &mut Draft) -> bool {
        match command {
            Command::Close => return false,
            Command::Append { events, done } => match self.append(events, draft) {
                Ok(()) => draft.done.push(done),
                Err(refusal) => answer(done, Err(refusal)),
            },
            Command::Claim { cluster, done } => self.claim(cluster, done, draft),
            Command::KeepAside {
                event,
                reason,
                done,
            } => match self.keep_aside(*event, reason, draft) {
                Ok(()) => draft.done.push(done),
                Err(refusal) => answer(done, Err(refusal)),
            },
            Command::Read { after, most, done } => draft.reads.push((after, most, done)),
            Command::Remove { places, done } => {
                draft.batch.remove.extend(places);
                draft.done.push(done);
            }
            Command::SetAside {
                place,
                reason,
                done,
            } => {
                let event = self.event(place);
                let kept = encode(&SetAside { reason, event });
                draft.batch.aside.push((place, kept));
                draft.done.push(done);
            }
        }
        true
    }

    fn append(&mut self, events: Vec<Waiting>, draft: &mut Draft) -> Result<(), NotSpooled> {
        let encoded: Vec<_> = events.iter().map(encode).collect();
        let bytes: usize = encoded.iter().map(Vec::len).sum();
        self.admit(bytes, draft)?;
        let store = self.store()?;
        for (event, encoded) in events.into_iter().zip(encoded) {
            let place = store.place();
            let held = Held {
                host: host(&event.intent).to_owned(),
                bytes: encoded.len() as u64,
                received: event.received,
            };
            draft.held.push((place, held));
            draft.batch.append.push((place, encoded));
        }
        Ok(())
    }

    fn keep_aside(
        &mut self,
        event: Waiting,
        reason: String,
        draft: &mut Draft,
    ) -> Result<(), NotSpooled> {
        let event = Some(event);
        let kept = encode(&SetAside { reason, event });
        self.admit(kept.len(), draft)?;
        let place = self.store()?.place();
        draft.batch.aside.push((place, kept));
        Ok(())
    }

    /// Whether there is room for so much more.
    fn admit(&self, bytes: usize, draft: &mut Draft) -> Result<(), NotSpooled> {
        let contents = lock(&self.contents);
        if contents.is_foreign {
            return Err(NotSpooled::Foreign);
        }
        let drafted = draft.bytes.saturating_add(bytes as u64);
        let used = contents.bytes + contents.set_aside_bytes;
        if used.saturating_add(drafted) > self.limit {
            return Err(NotSpooled::Full);
        }
        draft.bytes = drafted;
        Ok(())
    }

    fn claim(&mut self, cluster: String, done: Done<()>, draft: &mut Draft) {
        let mut contents = lock(&self.contents);
        let is_ours = contents.cluster.as_ref() == Some(&cluster);
        let is_free = contents.cluster.is_none()
            || (contents.waiting.is_empty() && contents.set_aside == 0 && draft.held.is_empty());
        contents.is_foreign = !is_ours && !is_free;
        if is_ours {
            answer(done, Ok(()));
        } else if is_free {
            contents.cluster = Some(cluster.clone());
            draft.batch.cluster = Some(cluster);
            draft.done.push(done);
        } else {
            answer(done, Err(NotSpooled::Foreign));
        }
    }

    fn carry_out(&mut self, draft: Draft) {
        let Draft {
            batch, held, done, ..
        } = draft;
        if !done.is_empty() {
            let written = self.store().and_then(|store| {
                let written = store.write(&batch);
                written.map_err(|error| NotSpooled::Store(Arc::new(error)))
            });
            match written {
                Ok(()) => {
                    self.note(&batch, held);
                    for done in done {
                        answer(done, Ok(()));
                    }
                }
                Err(refusal) => self.fail(&refusal, done),
            }
        }
        for (after, most, done) in draft.reads {
            let read = self.store().and_then(|store| {
                let read = store.read(after, most);
                read.map_err(|error| NotSpooled::Store(Arc::new(error)))
            });
            answer(done, read);
        }
    }

    /// Before anybody hears that it is done: the next event of that host looks here.
    fn note(&self, batch: &Batch, held: Vec<(u64, Held)>) {
        let mut contents = lock(&self.contents);
        for (place, held) in held {
            contents.hold(place, held);
        }
        for place in batch
            .remove
            .iter()
            .chain(batch.aside.iter().map(|(p, _)| p))
        {
            contents.let_go(*place);
        }
        contents.set_aside += batch.aside.len() as u64;
        let aside = batch.aside.iter().map(|(_, kept)| kept.len() as u64);
        contents.set_aside_bytes += aside.sum::<u64>();
    }

    fn fail(&mut self, refusal: &NotSpooled, done: Vec<Done<()>>) {
        error!("the spool could not be written and is opened anew: {refusal}");
        self.store = None;
        for done in done {
            answer(done, Err(refusal.clone()));
        }
    }

    fn event(&mut self, place: u64) -> Option<Waiting> {
        let read = self.store().ok()?.read(place.checked_sub(1), 1).ok()?;
        let entry = read.into_iter().find(|entry| entry.place == place)?;
        Some(entry.waiting)
    }

    fn store(&mut self) -> Result<&mut Store, NotSpooled> {
        if self.store.is_none() {
            let opened = Store::open(&self.path);
            let (store, read) = opened.map_err(|error| NotSpooled::Store(Arc::new(error)))?;
            info!("the spool is open again");
            let mut contents = lock(&self.contents);
            // Not what is in the file, but about us.
            let is_foreign = contents.is_foreign;
            *contents = Contents { is_foreign, ..read };
            drop(contents);
            return Ok(self.store.insert(store));
        }
        Ok(self.store.as_mut().expect("it was looked at above"))
    }
}

fn answer<T>(done: Done<T>, result: Result<T, NotSpooled>) {
    // An error means that whoever asked has given up waiting.
    let _ = done.send(result);
}

/// More would make the first of them wait for too long.
const TOGETHER: usize = 512;
