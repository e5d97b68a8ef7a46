//! The build of the binaries with Go.
//!
//! Owns the embedded module (`tools/go.mod`, `tools/go.sum`), its version and the
//! flags. Refuses to leave a half-written binary: each is built into a folder of
//! this process alone and then renamed.
//!
//! Called by [`assets`](super), under no runtime.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::lock::Lock;
use super::progress::{Progress, say};
use super::{Assets, AssetsError, Tool};
use crate::supervisor::{self, Word};

/// The oldest Go that can build the module.
pub(super) const GO: &str = "1.26";

/// The name of the cache folder: the version of Kubernetes, and what distinguishes
/// it from the same version with other dependencies.
pub(super) fn version() -> String {
    let hash = Sha256::new()
        .chain_update(GO_MOD)
        .chain_update(GO_SUM)
        .finalize();
    let hash: String = hash
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("{KUBERNETES}-{hash}")
}

/// Builds those of `tools` that `assets` lacks.
pub(super) fn build(
    go: &Path,
    cache: &Path,
    assets: &Assets,
    tools: &[Tool],
) -> Result<(), AssetsError> {
    let module = cache.join("module");
    for folder in [&module, assets.folder()] {
        fs::create_dir_all(folder).map_err(file_error(folder))?;
    }
    let _lock = Lock::take(&cache.join("lock"), || {})?;
    let missing = assets.missing(tools);
    if missing.is_empty() {
        return Ok(());
    }
    for (name, text) in [("go.mod", GO_MOD), ("go.sum", GO_SUM)] {
        let path = module.join(name);
        fs::write(&path, text).map_err(file_error(&path))?;
    }
    check_version(go, &module)?;
    remove_leftovers(cache);
    for step in STEPS {
        if step.builds.iter().any(|(tool, ..)| missing.contains(tool)) {
            step.run(go, &module, cache, assets)?;
        }
    }
    Ok(())
}

/// What is built by one `go build`, and so reported as one.
struct Step {
    tools: &'static str,
    typical: &'static str,
    builds: &'static [(Tool, &'static str, &'static str)],
}

impl Step {
    fn run(
        &self,
        go: &Path,
        module: &Path,
        cache: &Path,
        assets: &Assets,
    ) -> Result<(), AssetsError> {
        let Self {
            tools,
            typical,
            builds,
        } = self;
        let start = Instant::now();
        let progress = Progress::start(
            &format!(
                "building {tools} {KUBERNETES}, once, into {} (typically {typical} on two cores, \
                 seconds if Go has them in its build cache; KUBEBUILDER_ASSETS can name a folder \
                 with ready binaries instead)",
                assets.folder().display()
            ),
            format!("still building {tools}"),
        );
        let partial = cache.join(format!("{PARTIAL}{}", process::id()));
        fs::create_dir_all(&partial).map_err(file_error(&partial))?;
        let log = partial.join("log");
        let mut arguments: Vec<OsString> =
            vec![go.into(), "build".into(), "-buildvcs=false".into()];
        arguments.extend(["-trimpath", "-ldflags", LDFLAGS, "-o"].map(Into::into));
        arguments.push(partial.clone().into());
        arguments.extend(builds.iter().map(|(_, package, _)| package.into()));
        // Go would else go on for minutes when we are killed.
        let mut script = supervisor::run(&log, GRACE, &arguments);
        in_module(&mut script, module);
        // What it leaves when it is stopped goes with what is left of the build.
        script.env("GOTMPDIR", &partial);
        let (_lifeline, words) = supervisor::start(script, None).map_err(AssetsError::Shell)?;
        if words.last() != Some(Word::Exited(0)) {
            let output = fs::read_to_string(&log).map_err(file_error(&log))?;
            let lines: Vec<&str> = output.lines().collect();
            let output = lines[lines.len().saturating_sub(TAIL)..].join("\n");
            return Err(AssetsError::Build { tools, output });
        }
        for (tool, _, built) in *builds {
            let path = assets.path(*tool);
            fs::rename(partial.join(built), &path).map_err(file_error(&path))?;
        }
        fs::remove_dir_all(&partial).map_err(file_error(&partial))?;
        drop(progress);
        say(&format!("built {tools} in {} s", start.elapsed().as_secs()));
        Ok(())
    }
}

fn check_version(go: &Path, module: &Path) -> Result<(), AssetsError> {
    let mut command = Command::new(go);
    command.args(["env", "GOVERSION"]).stdin(Stdio::null());
    in_module(&mut command, module);
    let output = command.output().map_err(AssetsError::NoGo)?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() {
        let found = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(AssetsError::OldGo { found });
    }
    if is_recent(&version) {
        return Ok(());
    }
    Err(AssetsError::OldGo { found: version })
}

/// Whether `version`, such as `go1.26.8`, is at least [`GO`]. A development version
/// has no number, and whoever has one knows why.
fn is_recent(version: &str) -> bool {
    let number = |version: &str| {
        let mut parts = version.split(|character: char| !character.is_ascii_digit());
        Some((
            parts.next()?.parse::<u32>().ok()?,
            parts.next()?.parse::<u32>().ok()?,
        ))
    };
    let version = version.strip_prefix("go").and_then(number);
    version.is_none_or(|version| Some(version) >= number(GO))
}

fn in_module(go: &mut Command, module: &Path) {
    go.current_dir(module)
        // The module stands for itself, whatever workspace the cache lies in.
        .env("GOWORK", "off")
        // The binaries are to run here, whatever else is built for elsewhere.
        .env_remove("GOOS")
        .env_remove("GOARCH");
}

/// Removes what killed builds left. The lock is ours, so there are no live ones.
fn remove_leftovers(cache: &Path) {
    let Ok(entries) = fs::read_dir(cache) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            // The worst that follows is a full disk, and that is reported.
            fs::remove_dir_all(entry.path()).ok();
        }
    }
}

fn file_error(path: &Path) -> impl FnOnce(io::Error) -> AssetsError {
    let path = PathBuf::from(path);
    move |source| AssetsError::File { path, source }
}

const GO_MOD: &str = include_str!("../../tools/go.mod");
const GO_SUM: &str = include_str!("../../tools/go.sum");

/// The version of `k8s.io/kubernetes` in `go.mod`.
const KUBERNETES: &str = "v1.36.3";

/// Without the version a server calls itself v0.0.0-master, and feature gates go
/// by what it calls itself.
const LDFLAGS: &str = "-s -w \
    -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 \
    -X k8s.io/component-base/version.gitMinor=36";

/// Package and name of the binary that `go build` makes of it, for each tool.
const STEPS: &[Step] = &[
    Step {
        tools: "etcd for Kubernetes",
        typical: "1 minute",
        builds: &[(Tool::Etcd, "go.etcd.io/etcd/server/v3", "server")],
    },
    Step {
        tools: "kube-apiserver and kubectl",
        typical: "4 minutes",
        builds: &[
            (
                Tool::KubeApiserver,
                "k8s.io/kubernetes/cmd/kube-apiserver",
                "kube-apiserver",
            ),
            (Tool::Kubectl, "k8s.io/kubernetes/cmd/kubectl", "kubectl"),
        ],
    },
    Step {
        tools: "kube-controller-manager",
        typical: "2 minutes",
        builds: &[(
            Tool::KubeControllerManager,
            "k8s.io/kubernetes/cmd/kube-controller-manager",
            "kube-controller-manager",
        )],
    },
];

/// The folder of an unfinished build, before the process that builds.
const PARTIAL: &str = "partial-";

/// What Go has between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(1);

/// The lines of output that an error shows.
const TAIL: usize = 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_embedded_module() {
        let requirement = format!("k8s.io/kubernetes {KUBERNETES}");
        assert!(GO_MOD.contains(&requirement), "go.mod has another version");
        assert!(LDFLAGS.contains(&format!("gitVersion={KUBERNETES} ")));
        assert!(
            GO_MOD.contains(&format!("\ngo {GO}")),
            "go.mod needs another Go"
        );
        assert!(version().starts_with("v1.36.3-"));
    }

    #[test]
    fn an_old_go_is_told_from_a_recent_one() {
        for recent in [
            "go1.26",
            "go1.26.8",
            "go1.27rc1",
            "go2.0",
            "devel go1.30-abc",
        ] {
            assert!(is_recent(recent), "{recent}");
        }
        for old in [
            "go1.25.9",
            "go1.9",
            "go1.26rc0".replace("26", "25").as_str(),
        ] {
            assert!(!is_recent(old), "{old}");
        }
    }

    #[test]
    fn what_a_killed_build_left_is_removed() {
        let cache = tempfile::tempdir().unwrap();
        let left = cache.path().join("partial-1");
        let kept = cache.path().join("bin");
        for folder in [&left, &kept] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("etcd"), "half").unwrap();
        }
        remove_leftovers(cache.path());
        assert!(!left.exists());
        assert!(kept.join("etcd").exists());
    }
}
