//! One build at a time, over all processes.
//!
//! Owns the lock file of a cache folder. The kernel releases the lock of a process
//! that dies, so a killed build blocks nobody.

use std::fs::{File, TryLockError};
use std::path::Path;

use super::AssetsError;
use super::progress::Progress;

/// The lock on a cache folder, held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock; `waiting` is told when another process has it.
    pub(super) fn take(path: &Path, waiting: impl FnOnce()) -> Result<Self, AssetsError> {
        let failed = |source| AssetsError::File {
            path: path.to_owned(),
            source,
        };
        let mut options = File::options();
        let file = options.create(true).truncate(false).write(true).open(path);
        let file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) => {
                waiting();
                let _progress = Progress::start(
                    &format!(
                        "another process builds the binaries of the control plane: waiting for it \
                         to release {}",
                        path.display()
                    ),
                    "still waiting for the build of another process".to_owned(),
                );
                file.lock().map_err(failed)?;
            }
        }
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn the_second_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = Lock::take(&path, || panic!("nobody has it")).unwrap();

        let (sender, events) = mpsc::channel();
        let second = thread::spawn(move || {
            let lock = Lock::take(&path, || sender.send("waiting").unwrap());
            sender.send("taken").unwrap();
            lock.map(drop)
        });
        assert_eq!(events.recv().unwrap(), "waiting");
        assert!(events.try_recv().is_err(), "the first still has it");

        drop(first);
        assert_eq!(events.recv().unwrap(), "taken");
        second.join().unwrap().unwrap();
    }
}
