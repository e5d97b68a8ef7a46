//! Data flows one way: a module imports only what stands above it in `lib.rs`.

use std::{fs, path::Path};

use anyhow::{Context as _, bail};

use xtask::tool;

/// Checks the program's and the framework's own modules.
pub(crate) fn check() -> anyhow::Result<()> {
    let root = tool::root();
    let mut faults = Vec::new();
    for source in [
        "src",
        "crates/kube-webhook/src",
        "crates/control-plane/src",
        "crates/metal3/src",
    ] {
        check_crate(&root.join(source), &mut faults)?;
    }
    if !faults.is_empty() {
        bail!(
            "imports against the order of lib.rs:\n  {}",
            faults.join("\n  ")
        );
    }
    tool::say("layers: every module imports only what stands above it");
    Ok(())
}

fn check_crate(source: &Path, faults: &mut Vec<String>) -> anyhow::Result<()> {
    let library = read(&source.join("lib.rs"))?;
    let order: Vec<_> = library.lines().filter_map(declared).collect();
    for (place, module) in order.iter().enumerate() {
        let below = &order[place + 1..];
        let mut files = vec![source.join(format!("{module}.rs"))];
        collect(&source.join(module), &mut files)?;
        for file in files.iter().filter(|file| !is_test(file)) {
            let text = read(file)?;
            // What a test imports is its own business.
            let code = text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or(&text);
            for other in below.iter().filter(|other| imports(code, other)) {
                faults.push(format!("{} imports {other}", file.display()));
            }
        }
    }
    Ok(())
}

fn declared(line: &str) -> Option<String> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    Some(line.strip_prefix("mod ")?.strip_suffix(';')?.to_owned())
}

/// `crate::other`, on its own or in the braces of a `use crate::{...}`.
fn imports(code: &str, module: &str) -> bool {
    let names = |text: &str| {
        text.match_indices(module).any(|(at, _)| {
            let before = text[..at].chars().next_back();
            let after = text[at + module.len()..].chars().next();
            let word = |c: char| c.is_alphanumeric() || c == '_';
            !before.is_some_and(|c| word(c) || c == ':' || c == '/') && !after.is_some_and(word)
        })
    };
    if code.contains(&format!("crate::{module}::")) || code.contains(&format!("crate::{module};")) {
        return true;
    }
    code.split("use crate::{")
        .skip(1)
        .filter_map(|group| group.split("};").next())
        .flat_map(top_level)
        .any(|path| names(path.split("::").next().unwrap_or_default()))
}

/// The paths of a group, without what stands in the braces inside them.
fn top_level(group: &str) -> Vec<String> {
    let mut depth = 0_u32;
    let mut paths = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => paths.push(String::new()),
            c if depth == 0 => paths
                .iter_mut()
                .last()
                .into_iter()
                .for_each(|path| path.push(c)),
            _ => {}
        }
    }
    paths
}

fn is_test(file: &Path) -> bool {
    file.components().any(|part| part.as_os_str() == "tests") || file.ends_with("tests.rs")
}

fn collect(folder: &Path, files: &mut Vec<std::path::PathBuf>) -> anyhow::Result<()> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(());
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| file.display().to_string())
}
