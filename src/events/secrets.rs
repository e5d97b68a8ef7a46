//! A folder of senders' secrets, one in each file, such as a mounted Secret: read again
//! when it changes.
//!
//! Refuses all events while the folder is empty or missing and there is no other secret: a
//! mount that went wrong must not open the door. Skips hidden entries (the kubelet's own),
//! empty files (an HMAC key that everybody knows) and what can't be read. Read by
//! [`Secrets`](super::signature::Secrets); [`watch`](SecretsDir::watch) is a task of the app.

use std::{
    ffi::OsString,
    fmt,
    future::Future,
    io,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use tokio::io::AsyncReadExt as _;
use tracing::{info, warn};

use super::signature::Secret;

/// A folder of secrets, and what was last read of it.
#[derive(Clone, Debug)]
pub struct SecretsDir {
    folder: PathBuf,
    period: Duration,
    current: Current,
}

/// The secrets of a folder as they are now. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Current(Arc<RwLock<Vec<Named>>>);

/// A secret, and the file that it stands in.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) file: OsString,
    pub(super) secret: Secret,
}

impl SecretsDir {
    /// Reads the folder for the first time. One that is missing or can't be read counts as
    /// empty, and is looked for again.
    pub async fn open(folder: impl Into<PathBuf>) -> Self {
        let dir = Self {
            folder: folder.into(),
            period: POLL_PERIOD,
            current: Current::default(),
        };
        match read_folder(&dir.folder).await {
            Ok(secrets) if secrets.is_empty() => {
                warn!(folder = %dir.folder.display(), "WEBHOOK_SECRETS_DIR holds no secret");
            }
            Ok(secrets) => {
                dir.current.set(secrets);
            }
            Err(error) => {
                warn!(folder = %dir.folder.display(), "WEBHOOK_SECRETS_DIR can't be read: {error}");
            }
        }
        dir
    }

    /// Looks at another pace than every [`POLL_PERIOD`].
    #[must_use]
    pub fn every(mut self, period: Duration) -> Self {
        self.period = period;
        self
    }

    /// Reads the folder again and again, until `shutdown`: to be run as a task and joined.
    ///
    /// Looks at the content rather than asking to be notified: the kubelet exchanges the
    /// symbolic link `..data`, after which a watch on a file never fires again.
    pub async fn watch(self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut complaint = None;
        loop {
            tokio::select! {
                () = &mut shutdown => return,
                () = tokio::time::sleep(self.period) => {}
            }
            let failure = self.reload().await.err().map(|error| error.to_string());
            if let Some(failure) = &failure
                && complaint.as_ref() != Some(failure)
            {
                warn!(folder = %self.folder.display(), "WEBHOOK_SECRETS_DIR can't be read: {failure}");
            }
            complaint = failure;
        }
    }

    /// A folder that is gone holds no secrets; one that can't be read for another reason
    /// keeps those that it had.
    async fn reload(&self) -> io::Result<()> {
        let secrets = match read_folder(&self.folder).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let count = secrets.len();
        if self.current.set(secrets) {
            info!(count, folder = %self.folder.display(), "the senders' secrets have changed");
        }
        Ok(())
    }

    pub(super) fn current(&self) -> Current {
        self.current.clone()
    }
}

impl Current {
    pub(super) fn with<T>(&self, look: impl FnOnce(&[Named]) -> T) -> T {
        look(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether they are others than before.
    fn set(&self, secrets: Vec<Named>) -> bool {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let changed = *current != secrets;
        *current = secrets;
        changed
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.with(|secrets| write!(f, "Current({} of them)", secrets.len()))
    }
}

/// In the order of the files' names, so that the same files are the same secrets.
async fn read_folder(folder: &Path) -> io::Result<Vec<Named>> {
    let mut entries = tokio::fs::read_dir(folder).await?;
    let mut files = Vec::new();
    while let Some(entry) = entries.next_entry().await? {
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        files.push(entry.path());
        if files.len() > MOST_FILES {
            return Err(io::Error::other("it holds more than 1,000 files"));
        }
    }
    files.sort();
    let mut secrets = Vec::with_capacity(files.len());
    for file in files {
        match read_file(&file).await {
            Ok(text) => secrets.extend(Secret::from_bytes(&text).map(|secret| Named {
                file: file.file_name().unwrap_or_default().to_owned(),
                secret,
            })),
            // A link that hangs is a secret that was just taken away.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => warn!(file = %file.display(), "a secret can't be read: {error}"),
        }
    }
    Ok(secrets)
}

async fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    // Before it is opened: to open a pipe would wait for its writer.
    if !tokio::fs::metadata(path).await?.is_file() {
        return Ok(Vec::new());
    }
    let file = tokio::fs::File::open(path).await?;
    let mut text = Vec::new();
    file.take(LONGEST_SECRET + 1).read_to_end(&mut text).await?;
    if text.len() as u64 > LONGEST_SECRET {
        return Err(io::Error::other("it is larger than 64 KiB"));
    }
    Ok(text)
}

/// How often the folder is looked at.
pub const POLL_PERIOD: Duration = Duration::from_secs(5);

const MOST_FILES: usize = 1000;

const LONGEST_SECRET: u64 = 64 * 1024;

#[cfg(test)]
mod tests;
