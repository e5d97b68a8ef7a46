//! Licences and origins of all that is built in, by the rules of `deny.toml`: the part of `cargo
//! deny check` that needs no other program, so that it runs wherever the tests do.

mod expression;
pub(crate) mod notices;

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, bail};
use serde_json::Value;

use xtask::tool;

use self::expression::Expression;

/// Checks every package that cargo resolves for the image's platforms.
pub(crate) fn check() -> anyhow::Result<()> {
    let rules = rules()?;
    let allowed: BTreeSet<_> = list(&rules, "allow").collect();
    let exceptions: BTreeSet<_> = rules.lines().filter_map(exception).collect();
    let metadata = metadata()?;
    let used = metadata["resolve"]["nodes"]
        .as_array()
        .into_iter()
        .flatten();
    let used: BTreeSet<_> = used.filter_map(|node| node["id"].as_str()).collect();

    let mut faults = Vec::new();
    let packages = metadata["packages"].as_array().into_iter().flatten();
    for package in packages.filter(|one| one["id"].as_str().is_some_and(|id| used.contains(id))) {
        let name = format!("{} {}", text(package, "name"), text(package, "version"));
        let licence = text(package, "license");
        let is_excepted = exceptions.contains(&(text(package, "name"), licence));
        if !is_excepted && !Expression::of(licence).holds(&allowed) {
            faults.push(format!(
                "{name}: the licence {licence:?} is not allowed by deny.toml"
            ));
        }
        let source = text(package, "source");
        // Our own members have none.
        if !source.is_empty() && source != CRATES_IO {
            faults.push(format!("{name} comes from {source}"));
        }
    }
    if !faults.is_empty() {
        bail!("what may not be built in:\n  {}", faults.join("\n  "));
    }
    tool::say(&format!(
        "licences: {} packages, all allowed by deny.toml",
        used.len()
    ));
    Ok(())
}

fn rules() -> anyhow::Result<String> {
    fs::read_to_string(tool::root().join("deny.toml")).context("deny.toml")
}

/// All packages, as cargo resolves them for the image's platforms.
fn metadata() -> anyhow::Result<Value> {
    let rules = rules()?;
    let platforms = list(&rules, "targets").flat_map(|target| ["--filter-platform", target]);
    let mut metadata = tool::cargo();
    metadata.args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--all-features",
    ]);
    Ok(serde_json::from_str(&tool::read(
        metadata.args(platforms),
    )?)?)
}

/// The texts of the first list of that name: all that is needed of TOML here.
fn list<'a>(toml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let start = toml
        .find(&format!("\n{name} = ["))
        .map_or(toml.len(), |at| at + 1);
    let list = toml[start..].split(']').next().unwrap_or_default();
    list.split('"').skip(1).step_by(2)
}

/// Crate and licence of a line such as `{ crate = "x", allow = ["y"] },`.
fn exception(line: &str) -> Option<(&str, &str)> {
    let mut texts = line
        .trim()
        .strip_prefix("{ crate = ")?
        .split('"')
        .skip(1)
        .step_by(2);
    let (name, licence) = (texts.next()?, texts.next()?);
    line.contains("allow = [").then_some((name, licence))
}

fn text<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field].as_str().unwrap_or_default()
}

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_from_its_own_name_on() {
        let toml = "[a]\ntargets = [\n  \"x\",\n]\n[b]\nallow = [\"y\", \"z\"]\n";
        assert_eq!(list(toml, "allow").collect::<Vec<_>>(), ["y", "z"]);
        assert_eq!(list(toml, "deny").count(), 0);
        let line = "    { crate = \"x\", allow = [\"y\"] },";
        assert_eq!(exception(line), Some(("x", "y")));
        assert_eq!(exception("    { crate = \"x@1\" },"), None);
    }
}
