//! Licences and origins of all that is built in, by the rules of `deny.toml`: the part of `cargo
//! deny check` that needs no other program, so that it runs wherever the tests do.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, bail};
use serde_json::Value;

use xtask::tool;

/// Checks every package that cargo resolves for the image's platforms.
pub(crate) fn check() -> anyhow::Result<()> {
    let rules = fs::read_to_string(tool::root().join("deny.toml")).context("deny.toml")?;
    let allowed: BTreeSet<_> = list(&rules, "allow").collect();
    let exceptions: BTreeSet<_> = rules.lines().filter_map(exception).collect();
    let platforms = list(&rules, "targets").flat_map(|target| ["--filter-platform", target]);
    let mut metadata = tool::cargo();
    metadata.args([
        "metadata",
        "--format-version=1",
        "--locked",
        "--all-features",
    ]);
    let metadata: Value = serde_json::from_str(&tool::read(metadata.args(platforms))?)?;
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

/// An SPDX expression, read from left to right: AND binds closer than OR.
struct Expression<'a> {
    words: std::vec::IntoIter<&'a str>,
}

impl<'a> Expression<'a> {
    fn of(text: &'a str) -> Self {
        let mut words = Vec::new();
        for word in text.split([' ', '/']) {
            let inner = word.trim_start_matches('(');
            words.extend(
                word[..word.len() - inner.len()]
                    .split("")
                    .filter(|one| !one.is_empty()),
            );
            let name = inner.trim_end_matches(')');
            // The older way of saying OR.
            if text.contains('/') && words.last().is_some_and(|last| !is_operator(last)) {
                words.push("OR");
            }
            words.push(name);
            words.extend(inner[name.len()..].split("").filter(|one| !one.is_empty()));
        }
        Self {
            words: words.into_iter(),
        }
    }

    fn holds(mut self, allowed: &BTreeSet<&str>) -> bool {
        self.any(allowed)
    }

    fn any(&mut self, allowed: &BTreeSet<&str>) -> bool {
        let mut holds = self.all(allowed);
        while self.next_is("OR") {
            holds |= self.all(allowed);
        }
        holds
    }

    fn all(&mut self, allowed: &BTreeSet<&str>) -> bool {
        let mut holds = self.one(allowed);
        while self.next_is("AND") {
            holds &= self.one(allowed);
        }
        holds
    }

    fn one(&mut self, allowed: &BTreeSet<&str>) -> bool {
        match self.words.next() {
            Some("(") => {
                let holds = self.any(allowed);
                holds & self.next_is(")")
            }
            Some(name) if self.next_is("WITH") => {
                let exception = self.words.next().unwrap_or_default();
                allowed.contains(&*format!("{name} WITH {exception}"))
            }
            Some(name) => allowed.contains(name),
            None => false,
        }
    }

    fn next_is(&mut self, word: &str) -> bool {
        let is = self.words.as_slice().first() == Some(&word);
        if is {
            self.words.next();
        }
        is
    }
}

fn is_operator(word: &str) -> bool {
    matches!(word, "AND" | "OR" | "WITH" | "(")
}

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_holds_if_its_expression_does() {
        let allowed = BTreeSet::from(["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]);
        for (licence, holds) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("", false),
            ("MIT OR GPL-3.0", true),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("MIT AND ISC", true),
            ("(MIT OR GPL-3.0) AND ISC", true),
            ("(MIT OR GPL-3.0) AND BSL-1.0", false),
            ("GPL-3.0 OR MIT AND BSL-1.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("GPL-2.0 WITH LLVM-exception OR MIT", true),
        ] {
            assert_eq!(Expression::of(licence).holds(&allowed), holds, "{licence}");
        }
    }

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
