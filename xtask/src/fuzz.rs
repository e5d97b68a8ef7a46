//! The fuzz crates, which no other build touches: workspaces of their own, since they are run with a
//! nightly toolchain. CI sees that they compile, with the versions that the program has.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use anyhow::{Context as _, bail};
use clap::Args;
use xtask::tool;

/// Feed the fuzz targets, each for a while. Needs a nightly toolchain, and `cargo install cargo-fuzz`
#[derive(Args)]
pub(crate) struct Fuzz {
    /// How long each is fed
    #[arg(long, default_value_t = 600)]
    seconds: u64,

    /// Only these
    targets: Vec<String>,
}

impl Fuzz {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        tool::require(&["cargo-fuzz", "rustup"])?;
        for (folder, target) in asked(&self.targets)? {
            feed(folder, &target, self.seconds)?;
        }
        Ok(())
    }
}

/// Those of these names, or all, with the folder of each.
fn asked(names: &[String]) -> anyhow::Result<Vec<(&'static str, String)>> {
    let mut known = Vec::new();
    for folder in FOLDERS {
        known.extend(targets(folder)?.into_iter().map(|target| (folder, target)));
    }
    let is_known = |name: &&String| known.iter().any(|(_, target)| target == *name);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let known: Vec<_> = known.iter().map(|(_, target)| target.as_str()).collect();
        bail!("no target is called {unknown}, but {}", known.join(", "));
    }
    known.retain(|(_, target)| names.is_empty() || names.contains(target));
    Ok(known)
}

/// What it finds on its way stays in the build's folder; what makes it fail, in `artifacts`.
fn feed(folder: &str, target: &str, seconds: u64) -> anyhow::Result<()> {
    tool::say(&format!("\n=== {folder}: {target}, for {seconds} s"));
    let found = tool::root().join("target/fuzz").join(target);
    fs::create_dir_all(&found).with_context(|| found.display().to_string())?;
    let committed = tool::root().join(folder).join("corpus").join(target);
    let mut fuzz = Command::new("rustup");
    fuzz.current_dir(tool::root());
    fuzz.args([
        "run",
        "nightly",
        "cargo",
        "fuzz",
        "run",
        "--fuzz-dir",
        folder,
    ]);
    fuzz.arg(target).arg(found).arg(committed);
    fuzz.args(["--", "-timeout=10", "-print_final_stats=1"]);
    tool::run(fuzz.arg(format!("-max_total_time={seconds}")))
}

/// Those that there are files of.
fn targets(folder: &str) -> anyhow::Result<BTreeSet<String>> {
    let folder = tool::root().join(folder).join("fuzz_targets");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .map(|stem| stem.to_string_lossy().into_owned()),
        );
    }
    Ok(names)
}

/// That they are the program's own versions, and compile, as far as can be told without nightly.
pub(crate) fn check() -> anyhow::Result<()> {
    let target_folder = target_folder()?;
    for folder in FOLDERS {
        has_the_programs_versions(folder)?;
        let mut check = tool::cargo();
        // Without the fuzzer's own code, which is C++.
        check.args(["check", "--quiet", "--locked", "--no-default-features"]);
        check
            .arg("--manifest-path")
            .arg(format!("{folder}/Cargo.toml"));
        tool::run(check.arg("--target-dir").arg(&target_folder))
            .context("if only its Cargo.lock is behind: run `cargo xtask locks`")?;
    }
    Ok(())
}

fn has_the_programs_versions(folder: &str) -> anyhow::Result<()> {
    let own = versions(&tool::root().join("Cargo.lock"))?;
    let theirs = versions(&tool::root().join(folder).join("Cargo.lock"))?;
    let names: BTreeSet<_> = own.iter().map(|(name, _)| name).collect();
    let others: Vec<_> = theirs
        .difference(&own)
        .filter(|(name, _)| names.contains(name))
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    if !others.is_empty() {
        bail!(
            "{folder}/Cargo.lock differs from Cargo.lock ({}): run `cargo xtask locks`",
            others.join(", ")
        );
    }
    Ok(())
}

/// Writes the fuzz crates' Cargo.lock, from the program's own.
pub(crate) fn write_locks() -> anyhow::Result<()> {
    for folder in FOLDERS {
        let folder = tool::root().join(folder);
        fs::copy(tool::root().join("Cargo.lock"), folder.join("Cargo.lock"))?;
        // Drops what they don't need, and adds what only they do.
        let mut metadata = tool::cargo();
        metadata.args(["metadata", "--format-version=1", "--manifest-path"]);
        tool::read(metadata.arg(folder.join("Cargo.toml")))?;
    }
    Ok(())
}

/// Names and versions.
fn versions(lock: &Path) -> anyhow::Result<BTreeSet<(String, String)>> {
    let lock = fs::read_to_string(lock).with_context(|| lock.display().to_string())?;
    let field = |line: &str, name: &str| {
        let value = line.strip_prefix(name)?.strip_prefix(" = \"")?;
        Some(value.strip_suffix('"')?.to_owned())
    };
    let lines: Vec<_> = lock.lines().collect();
    let packages = lines
        .windows(2)
        .filter_map(|pair| Some((field(pair[0], "name")?, field(pair[1], "version")?)));
    Ok(packages.collect())
}

/// The workspace's, so that what both have is built once.
fn target_folder() -> anyhow::Result<String> {
    let mut metadata = tool::cargo();
    metadata.args(["metadata", "--format-version=1", "--no-deps", "--locked"]);
    let metadata: serde_json::Value = serde_json::from_str(&tool::read(&mut metadata)?)?;
    let folder = metadata["target_directory"].as_str();
    Ok(folder.context("cargo names no target folder")?.to_owned())
}

const FOLDERS: [&str; 2] = ["fuzz", "crates/kube-webhook/fuzz"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fuzz_targets_are_built_with_the_programs_own_versions() {
        for folder in FOLDERS {
            has_the_programs_versions(folder).unwrap();
            let lock = tool::root().join(folder).join("Cargo.lock");
            assert!(versions(&lock).unwrap().len() > 100, "{folder}");
        }
    }

    #[test]
    fn a_target_that_is_not_there_is_told_with_those_that_are() {
        let all = asked(&[]).unwrap();
        let (_, one) = &all[0];
        assert_eq!(asked(std::slice::from_ref(one)).unwrap(), all[..1]);
        let names = [one.clone(), "no_such".to_owned()];
        let complaint = asked(&names).unwrap_err().to_string();
        assert!(complaint.contains("called no_such"), "{complaint}");
        assert!(all.iter().all(|(_, known)| complaint.contains(known)));
    }

    #[test]
    fn every_fuzz_target_has_a_corpus_that_is_committed() {
        for folder in FOLDERS {
            for target in targets(folder).unwrap() {
                let corpus = tool::root().join(folder).join("corpus").join(&target);
                assert!(fs::read_dir(&corpus).unwrap().count() > 0, "{target}");
            }
        }
    }
}
