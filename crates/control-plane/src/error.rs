//! What can go wrong with a control plane, and what its user can do about it.
//!
//! Owns the error of every operation on a running or starting control plane.
//! Finding and building the binaries has its own, [`AssetsError`], which is one
//! of the causes here.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::assets::AssetsError;

/// An operation on a control plane that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The binaries are neither there nor can they be built.
    #[error(transparent)]
    Assets(#[from] AssetsError),

    /// The API server refused a request, or could not be reached.
    #[error("the API server did not accept the {request}")]
    Api {
        /// What was asked of it.
        request: &'static str,
        /// The API server's answer.
        source: Box<kube::Error>,
    },

    /// A line of the audit log is not an audit event.
    #[error("the audit log {} holds a line that is no audit.k8s.io/v1 event", path.display())]
    AuditEvent {
        /// The audit log.
        path: PathBuf,
        /// Why the line could not be read.
        source: serde_json::Error,
    },

    /// No audit event of the kind waited for was written in time.
    #[error("no such audit event within {waited:?}: {seen} others were seen")]
    AuditTimeout {
        /// How long it was waited for.
        waited: Duration,
        /// The number of events in the log.
        seen: usize,
    },

    /// A key or certificate could not be made.
    #[error("a certificate for {subject} could not be made")]
    Certificate {
        /// Whose certificate.
        subject: String,
        /// What rcgen says.
        source: rcgen::Error,
    },

    /// A daemon ended by itself.
    #[error("{daemon} ended with status {status}; the end of its log:\n{log}")]
    Exited {
        /// `etcd`, `kube-apiserver` or `kube-controller-manager`.
        daemon: &'static str,
        /// As the shell gives it: above 128, it is 128 and the signal's number.
        status: i32,
        /// The last lines that it wrote.
        log: String,
    },

    /// A file or folder of the control plane could not be written or read.
    #[error("cannot use {}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },

    /// A daemon was not ready before the deadline.
    #[error(
        "{daemon} was not ready within {waited:?} (a slow machine can wait longer with \
         `Builder::startup_timeout`); the end of its log:\n{log}"
    )]
    NotReady {
        /// `etcd`, `kube-apiserver` or `kube-controller-manager`.
        daemon: &'static str,
        /// How long it was waited for.
        waited: Duration,
        /// The last lines that it wrote.
        log: String,
    },

    /// A daemon, or the folder of the control plane, was still there after the deadline.
    #[error("{what} was not gone within {waited:?} after it was told to stop")]
    NotStopped {
        /// The name of the daemon, or the folder.
        what: String,
        /// How long it was waited for.
        waited: Duration,
    },

    /// No free TCP port could be had on the loopback address.
    #[error("no free TCP port on 127.0.0.1")]
    Port(#[source] io::Error),

    /// `/bin/sh`, which supervises the daemons, could not be started.
    #[error("cannot start /bin/sh, which a control plane needs to leave nothing behind")]
    Shell(#[source] io::Error),

    /// The API server is running already.
    #[error("the API server is running already: stop it before you start it again")]
    AlreadyStarted,
}

impl Error {
    /// Whether another process took one of the ports between our choice and the
    /// daemon's use of it.
    pub(crate) fn is_port_clash(&self) -> bool {
        matches!(self, Self::Exited { log, .. } if log.contains("address already in use"))
    }
}
