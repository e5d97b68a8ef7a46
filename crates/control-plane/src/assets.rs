//! The binaries of a control plane: where they are, or how they come to be.
//!
//! Owns the choice between the two sources. `KUBEBUILDER_ASSETS`, the convention
//! of the whole ecosystem, names a folder that holds them; without it they are
//! built, once per version, from a Go module that this crate embeds, into a cache
//! folder outside any source tree. Refuses to download binaries: what Go fetches
//! is source, checked against the embedded `go.sum`.
//!
//! Called by [`builder`](crate::builder), and by programs that want the binaries
//! in place before anything is timed.

use std::env;
use std::io;
use std::path::{Path, PathBuf};

use tokio::task::{self, JoinError};

mod build;
mod lock;
mod progress;

/// One of the binaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tool {
    /// The store of the API server.
    Etcd,
    /// The API server.
    KubeApiserver,
    /// Needed where garbage collection, the deletion of namespaces or the tokens
    /// of service accounts matter.
    KubeControllerManager,
    /// The command-line client.
    Kubectl,
}

impl Tool {
    /// The binaries that each control plane needs.
    pub const REQUIRED: &[Self] = &[Self::Etcd, Self::KubeApiserver, Self::Kubectl];

    /// The name of the file, the same in both sources.
    #[must_use]
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
        }
    }
}

/// A folder that holds the binaries.
#[derive(Clone, Debug)]
pub struct Assets {
    folder: PathBuf,
}

impl Assets {
    /// Finds `tools` in the folder that `KUBEBUILDER_ASSETS` names or, when it is
    /// not set, in the cache, into which they are built if they aren't there.
    ///
    /// The first build takes some minutes, of which it tells on stderr; processes
    /// that need the same binaries at the same time wait for it. The cache is
    /// `control-plane` in the user's cache folder (`XDG_CACHE_HOME`, else
    /// `~/.cache`, on macOS `~/Library/Caches`), or `CONTROL_PLANE_CACHE`.
    ///
    /// # Errors
    ///
    /// When `KUBEBUILDER_ASSETS` names a folder without one of the files, or when
    /// it is not set and Go cannot build them.
    pub async fn find_or_build(tools: &[Tool]) -> Result<Self, AssetsError> {
        Sources::from_environment().find_or_build(tools).await
    }

    /// The path of a tool, which is there if it was asked for.
    #[must_use]
    pub fn path(&self, tool: Tool) -> PathBuf {
        self.folder.join(tool.file_name())
    }

    /// The folder that holds all tools.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn missing(&self, tools: &[Tool]) -> Vec<Tool> {
        let tools = tools.iter().copied();
        tools.filter(|tool| !self.path(*tool).is_file()).collect()
    }
}

/// The binaries are neither there nor can they be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssetsError {
    /// `go build` failed.
    #[error("`go build` of {tools} failed; the end of its output:\n{output}")]
    Build {
        /// What was to be built.
        tools: &'static str,
        /// The last lines of what it wrote.
        output: String,
    },

    /// A file or folder of the cache cannot be used.
    #[error("cannot use {} (another cache folder can be set as CONTROL_PLANE_CACHE)", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },

    /// The runtime was shut down during the build.
    #[error("the build was interrupted")]
    Interrupted(#[source] JoinError),

    /// `KUBEBUILDER_ASSETS` names a folder that lacks a binary.
    #[error(
        "no file `{file}` in {}, the folder that KUBEBUILDER_ASSETS names: put it there, or unset \
         KUBEBUILDER_ASSETS to have it built with Go",
        folder.display()
    )]
    Missing {
        /// The name of the file.
        file: &'static str,
        /// The folder that lacks it.
        folder: PathBuf,
    },

    /// Neither a home folder nor another place for the cache is known.
    #[error(
        "no place for the binaries of the control plane: none of CONTROL_PLANE_CACHE, \
         XDG_CACHE_HOME and HOME is set"
    )]
    NoCacheFolder,

    /// There is no Go to build with.
    #[error(
        "etcd, kube-apiserver and kubectl are needed: install Go {} or newer (https://go.dev/dl), \
         with which they are built once, or set KUBEBUILDER_ASSETS to a folder that holds them \
         (found neither `go` nor KUBEBUILDER_ASSETS)",
        build::GO
    )]
    NoGo(#[source] io::Error),

    /// The Go that is there cannot build these versions.
    #[error(
        "etcd, kube-apiserver and kubectl are needed: install Go {} or newer (https://go.dev/dl), \
         with which they are built once, or set KUBEBUILDER_ASSETS to a folder that holds them \
         (found {found}, which is too old)",
        build::GO
    )]
    OldGo {
        /// The version, or what `go` says instead.
        found: String,
    },

    /// `/bin/sh`, which supervises the build, could not be started.
    #[error("cannot start /bin/sh, under which Go builds the control plane")]
    Shell(#[source] io::Error),
}

/// Where binaries may come from: the environment, read once.
#[derive(Clone, Debug)]
struct Sources {
    assets: Option<PathBuf>,
    cache: Option<PathBuf>,
    go: PathBuf,
}

impl Sources {
    fn from_environment() -> Self {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        let folder = |name| variable(name).map(PathBuf::from);
        let home = || {
            let caches = if cfg!(target_os = "macos") {
                "Library/Caches"
            } else {
                ".cache"
            };
            folder("HOME").map(|home| home.join(caches))
        };
        let user = || folder("XDG_CACHE_HOME").or_else(home);
        Self {
            assets: folder("KUBEBUILDER_ASSETS"),
            cache: folder("CONTROL_PLANE_CACHE")
                .or_else(|| user().map(|cache| cache.join("control-plane"))),
            go: PathBuf::from("go"),
        }
    }

    async fn find_or_build(self, tools: &[Tool]) -> Result<Assets, AssetsError> {
        if let Some(folder) = self.assets {
            // Daemons have the root folder as theirs.
            let folder = absolute(folder)?;
            let assets = Assets { folder };
            return match assets.missing(tools).first() {
                None => Ok(assets),
                Some(tool) => Err(AssetsError::Missing {
                    file: tool.file_name(),
                    folder: assets.folder,
                }),
            };
        }
        let cache = absolute(self.cache.ok_or(AssetsError::NoCacheFolder)?)?;
        let cache = cache.join(build::version());
        let assets = Assets {
            folder: cache.join("bin"),
        };
        if assets.missing(tools).is_empty() {
            return Ok(assets);
        }
        let tools = tools.to_vec();
        let build = move || build::build(&self.go, &cache, &assets, &tools).map(|()| assets);
        task::spawn_blocking(build)
            .await
            .map_err(AssetsError::Interrupted)?
    }
}

fn absolute(path: PathBuf) -> Result<PathBuf, AssetsError> {
    std::path::absolute(&path).map_err(|source| AssetsError::File { path, source })
}

#[cfg(test)]
mod tests;
