//! THIRD-PARTY.txt: whose work is in the program, and the texts that have to go with it.
//!
//! It goes into the image, so it is kept beside the Dockerfile: a builder needs nothing but cargo.
//! Written by `cargo xtask notices`; CI compares.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use serde_json::Value;
use xtask::tool;

use super::{expression::Expression, metadata, text};

/// Writes the file, or only checks it.
pub(crate) fn run(check: bool) -> anyhow::Result<()> {
    let file = tool::root().join(FILE);
    let metadata = metadata()?;
    let packages = built_in(&metadata)?;
    let mut texts = Texts::default();
    let mut without = Vec::new();
    for package in &packages {
        if !texts.add_own(package)? {
            without.push(package);
        }
    }
    for package in without {
        texts.add_common(package)?;
    }
    let own = fs::read_to_string(tool::root().join("LICENSE")).context("LICENSE")?;
    texts.add_toolchain(&own, &metadata)?;
    let now = document(&packages, &texts);
    if !check {
        fs::write(&file, &now).with_context(|| FILE.to_owned())?;
    } else if fs::read_to_string(&file).ok().as_ref() != Some(&now) {
        bail!("{FILE} isn't what the dependencies ask for: run `cargo xtask notices`");
    }
    let (packages, texts) = (packages.len(), texts.0.len());
    tool::say(&format!(
        "notices: {packages} packages, {texts} different texts, in {FILE}"
    ));
    Ok(())
}

/// Somebody else's, of which something is in the program.
struct Package {
    title: String,
    licence: String,
    home: String,
    folder: PathBuf,
}

/// All that the program depends on, but for its tests and what is only at work while it is built.
fn built_in(metadata: &Value) -> anyhow::Result<Vec<Package>> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages = list(&metadata["packages"]);
    let packages: BTreeMap<_, _> = packages.iter().map(|one| (text(one, "id"), one)).collect();
    let nodes = list(&metadata["resolve"]["nodes"]);
    let nodes: BTreeMap<_, _> = nodes.iter().map(|one| (text(one, "id"), one)).collect();
    let own = packages.values().find(|one| one["name"] == PROGRAM);
    let mut ahead = vec![text(own.context("no package of the program")?, "id").to_owned()];
    let mut seen = BTreeSet::new();
    let mut found = BTreeMap::new();
    while let Some(id) = ahead.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        let (package, node) = (packages[&*id], nodes[&*id]);
        let targets = list(&package["targets"]);
        if targets.iter().any(|one| one["kind"][0] == "proc-macro") {
            continue;
        }
        for dependency in list(&node["deps"]) {
            let kinds = list(&dependency["dep_kinds"]);
            if kinds.iter().any(|kind| kind["kind"].is_null()) {
                ahead.push(text(&dependency, "pkg").to_owned());
            }
        }
        // Our own members come from nowhere.
        if !package["source"].is_null() {
            let title = format!("{} {}", text(package, "name"), text(package, "version"));
            let manifest = Path::new(text(package, "manifest_path"));
            let package = Package {
                title: title.clone(),
                licence: text(package, "license").to_owned(),
                home: text(package, "repository").to_owned(),
                folder: manifest.parent().unwrap_or(manifest).to_owned(),
            };
            found.insert(title, package);
        }
    }
    Ok(found.into_values().collect())
}

/// Each text once, in whatever way it is broken into lines, with all who ask for it.
#[derive(Default)]
struct Texts(Vec<Text>);

struct Text {
    /// What it is known by.
    words: String,
    lines: String,
    titles: Vec<String>,
}

impl Texts {
    /// Whether it has any with it.
    fn add_own(&mut self, package: &Package) -> anyhow::Result<bool> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&package.folder)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        let asked = asked(&package.licence, &names);
        for name in &asked {
            let file = package.folder.join(name);
            let bytes = fs::read(&file).with_context(|| file.display().to_string())?;
            self.put(&package.title, &String::from_utf8_lossy(&bytes));
        }
        Ok(!asked.is_empty())
    }

    /// The one licence that is the same for all, if it is that.
    fn add_common(&mut self, package: &Package) -> anyhow::Result<()> {
        let is_apache = Expression::of(&package.licence).holds(&BTreeSet::from(["Apache-2.0"]));
        let is_blank = |text: &&Text| {
            let title = "Apache License Version 2.0, January 2004";
            let nobody = "Copyright [yyyy] [name of copyright owner]";
            text.words.starts_with(title) && text.words.contains(nobody)
        };
        let text = self.0.iter().find(|text| is_apache && is_blank(text));
        let text = text.map(|text| text.lines.clone());
        let text = text.with_context(|| format!("no licence's text for {}", package.title))?;
        self.put(&package.title, &text);
        Ok(())
    }

    /// What no package stands for, and yet is in every static program.
    fn add_toolchain(&mut self, own: &str, metadata: &Value) -> anyhow::Result<()> {
        let (_, permission) = own
            .split_once("\n\nPermission is hereby granted")
            .context("LICENSE is not MIT's any more")?;
        for (title, owners) in [
            (STANDARD_LIBRARY, STANDARD_LIBRARY_OWNERS),
            ("musl", "Copyright © 2005-2020 Rich Felker, et al."),
        ] {
            let text = format!("{owners}\n\nPermission is hereby granted{permission}");
            self.put(title, &text);
        }
        // Its tables of characters; derive macros have the same.
        let packages = metadata["packages"].as_array().into_iter().flatten();
        let mut manifests = packages.map(|one| Path::new(text(one, "manifest_path")));
        let tables = manifests.find_map(|manifest| {
            fs::read_to_string(manifest.with_file_name("LICENSE-UNICODE")).ok()
        });
        let tables = tables.context("no package has Unicode's licence with it any more")?;
        self.put(STANDARD_LIBRARY, &tables);
        Ok(())
    }

    fn put(&mut self, title: &str, text: &str) {
        let words = words(text);
        if let Some(same) = self.0.iter_mut().find(|other| other.words == words) {
            same.titles.push(title.to_owned());
        } else {
            let lines: Vec<_> = text.trim_end().lines().map(str::trim_end).collect();
            self.0.push(Text {
                words,
                lines: lines.join("\n").trim_start_matches('\n').to_owned(),
                titles: vec![title.to_owned()],
            });
        }
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Which of a package's files go with the program: where there is a choice and MIT is one, MIT's.
fn asked<'a>(licence: &str, files: &'a [String]) -> Vec<&'a str> {
    let of_licences = files.iter().map(String::as_str).filter(|name| {
        let name = name.to_uppercase();
        NAMES.iter().any(|begin| name.starts_with(begin)) && !name.ends_with(".RS")
    });
    let all: Vec<_> = of_licences.collect();
    let is_notice = |name: &str| name.to_uppercase().starts_with("NOTICE");
    let is_mit = |name: &str| name.to_uppercase().contains("MIT");
    let may_choose = Expression::of(licence).holds(&BTreeSet::from(["MIT"]));
    if may_choose && all.iter().any(|name| is_mit(name)) {
        return all
            .into_iter()
            .filter(|name| is_mit(name) || is_notice(name))
            .collect();
    }
    all
}

fn document(packages: &[Package], texts: &Texts) -> String {
    let mut document = String::from(HEAD);
    for package in packages {
        let (title, licence, home) = (&package.title, &package.licence, &package.home);
        writeln!(document, "{title}\n    {licence}\n    {home}").expect("a String takes all");
    }
    document.push_str(TOOLCHAIN);
    for Text { lines, titles, .. } in &texts.0 {
        let line = "=".repeat(80);
        let titles = titles.join(", ");
        write!(document, "\n{line}\n{titles}\n{line}\n\n{lines}\n").expect("a String takes all");
    }
    document
}

const FILE: &str = "THIRD-PARTY.txt";

const PROGRAM: &str = "harbormaster";

/// How the names of files with licences begin.
const NAMES: [&str; 6] = [
    "COPYING",
    "COPYRIGHT",
    "LICENCE",
    "LICENSE",
    "NOTICE",
    "UNLICENSE",
];

const HEAD: &str = "\
What is in Harbormaster that others have written, and under which licences. The texts follow the list.
Where there is a choice that MIT is part of, it is MIT's. Written by `cargo xtask notices`.

";

const TOOLCHAIN: &str = "\
Rust's standard library
    (MIT OR Apache-2.0) AND Unicode-3.0
    https://github.com/rust-lang/rust
musl
    MIT
    https://musl.libc.org
";

const STANDARD_LIBRARY: &str = "Rust's standard library";

const STANDARD_LIBRARY_OWNERS: &str = "\
Copyright (c) The Rust Project Developers (see https://thanks.rust-lang.org)
Copyright (c) 2014 Alex Crichton
Copyright (c) 2019 The Crossbeam Project Developers";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_choice_mits_text_is_taken_and_a_notice_always() {
        let asked = |licence, files: &[&str]| {
            let files: Vec<_> = files.iter().map(|&file| file.to_owned()).collect();
            asked(licence, &files).join(" ")
        };
        let both = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "NOTICE"];
        assert_eq!(asked("MIT OR Apache-2.0", &both), "LICENSE-MIT NOTICE");
        let all = "LICENSE-APACHE LICENSE-MIT NOTICE";
        assert_eq!(asked("MIT AND Apache-2.0", &both), all);
        assert_eq!(asked("MIT", &["license.md", "README.md"]), "license.md");
        assert_eq!(asked("Apache-2.0", &["Cargo.toml"]), "");
    }

    #[test]
    fn a_text_stands_once_however_its_lines_are_broken() {
        let mut texts = Texts::default();
        texts.put("a 1", "\nFree to\nuse.\r\n");
        texts.put("b 1", "Free to  use.");
        texts.put("c 1", "Not free.");
        let texts = texts.0.iter().map(|it| (&*it.lines, it.titles.join(" ")));
        assert_eq!(
            texts.collect::<Vec<_>>(),
            [
                ("Free to\nuse.", "a 1 b 1".to_owned()),
                ("Not free.", "c 1".to_owned()),
            ]
        );
    }
}
