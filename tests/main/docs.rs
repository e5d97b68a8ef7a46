//! What the documentation says is there: commands, settings, log lines, reasons, pages.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use harbormaster::cli;

#[test]
fn every_command_of_ours_is_one() {
    let mut seen = 0;
    for (page, text) in pages() {
        for line in commands(&text) {
            seen += 1;
            let parsed = cli::command().try_get_matches_from(words(&line));
            if let Err(error) = parsed {
                assert!(!error.use_stderr(), "{page}: {line}\n{error}");
            }
        }
    }
    assert!(seen > 20, "only {seen} commands were found");
}

#[test]
fn every_setting_is_one() {
    let mut known: BTreeSet<String> = NOT_OURS.iter().map(|&name| name.to_owned()).collect();
    for verb in cli::command().get_subcommands() {
        let names = verb
            .get_arguments()
            .filter_map(|argument| argument.get_env());
        known.extend(names.map(|name| name.to_string_lossy().into_owned()));
    }
    for (page, text) in pages() {
        for code in inline_code(&text) {
            let name = code.split('=').next().unwrap();
            let is_setting = name.len() > 1
                && name.starts_with(|c: char| c.is_ascii_uppercase())
                && name
                    .chars()
                    .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
            assert!(
                !is_setting || known.contains(name),
                "{page}: no setting is called {name}"
            );
        }
        for name in text
            .match_indices('=')
            .filter_map(|(at, _)| set_env(&text[..at]))
        {
            assert!(known.contains(name), "{page}: no setting is called {name}");
        }
    }
}

/// The name before a `=` of `kubectl set env` or `--from-literal`.
fn set_env(before: &str) -> Option<&str> {
    let name = before.rsplit([' ', '=']).next()?;
    let is_name = name.contains('_') && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    is_name.then_some(name)
}

#[test]
fn every_page_that_is_linked_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (page, text) in pages() {
        for link in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.starts_with("http") {
                continue;
            }
            let file = root.join("docs").join(link.split('#').next().unwrap());
            assert!(file.exists(), "{page} links to {link}");
        }
    }
    let index = fs::read_to_string(root.join("docs/README.md")).unwrap();
    for (page, _) in pages() {
        let listed = page == "README.md" || index.contains(&format!("({page})"));
        assert!(listed, "{page} is not in the index");
    }
}

#[test]
fn every_log_line_and_reason_is_one() {
    let sources = sources();
    let (_, page) = pages()
        .into_iter()
        .find(|(page, _)| page == "monitoring.md")
        .unwrap();
    let table = page.split("## Log lines").nth(1).unwrap();
    let mut lines = 0;
    for cell in table.lines().filter_map(|line| line.split('|').nth(1)) {
        for line in cell.split('`').skip(1).step_by(2) {
            lines += 1;
            for part in line
                .split("...")
                .map(str::trim)
                .filter(|part| part.len() > 3)
            {
                assert!(sources.contains(part), "nothing logs {part:?}");
            }
        }
    }
    assert!(lines > 15, "only {lines} log lines were found");
    for (page, text) in pages() {
        for code in inline_code(&text).filter(|code| code.starts_with("Host") && code.len() > 8) {
            assert!(
                sources.contains(&format!("\"{code}\"")) || sources.contains(code),
                "{page}: {code}"
            );
        }
    }
}

/// What an operator finds in a log at three in the morning can be looked up.
#[test]
fn every_warning_is_explained() {
    let page = pages()
        .into_iter()
        .find(|(page, _)| page == "monitoring.md");
    let (_, page) = page.unwrap();
    let sources = sources();
    let mut seen = 0;
    for macro_name in ["warn!(", "error!("] {
        for call in sources.split(macro_name).skip(1) {
            let Some(line) = logged(call) else { continue };
            let is_known = inline_code(&page).any(|known| {
                let mut parts = known.split("...").map(str::trim);
                let first = parts.next().unwrap_or_default();
                known.len() > 12 && line.starts_with(first) && parts.all(|part| line.contains(part))
            });
            seen += 1;
            assert!(is_known, "monitoring.md doesn't explain {line:?}");
        }
    }
    assert!(seen > 25, "only {seen} warnings were found");
}

/// The text of a call of a logging macro: the last literal among its arguments.
fn logged(call: &str) -> Option<String> {
    let mut text = None;
    let mut depth = 1;
    let mut rest = call.chars();
    while let Some(c) = rest.next() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            '"' => {
                let mut literal = String::new();
                while let Some(inner) = rest.next() {
                    match inner {
                        '"' => break,
                        '\\' => literal.extend(rest.next()),
                        inner => literal.push(inner),
                    }
                }
                if depth == 1 {
                    text = Some(literal);
                }
            }
            _ => {}
        }
        if depth == 0 {
            return text;
        }
    }
    None
}

/// The program's and the framework's own code, without line ends in the midst of a text.
fn sources() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "crates/kube-webhook/src"] {
        collect(&root.join(folder), &mut files);
    }
    let mut all = String::new();
    for file in files {
        let text = fs::read_to_string(file).unwrap();
        let mut parts = text.split("\\\n");
        all.push_str(parts.next().unwrap());
        for part in parts {
            all.push_str(part.trim_start());
        }
    }
    all
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, files);
        } else {
            files.push(path);
        }
    }
}

fn pages() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let markdown = entries.filter(|path| path.extension().is_some_and(|kind| kind == "md"));
    let pages = markdown.map(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, fs::read_to_string(path).unwrap())
    });
    pages.collect()
}

/// What stands in backticks outside of fences.
fn inline_code(text: &str) -> impl Iterator<Item = &str> {
    let outside = text.split("```").step_by(2);
    outside.flat_map(|text| text.split('`').skip(1).step_by(2))
}

/// Each call of the program, in a fence or in a sentence, without what it is piped to.
fn commands(text: &str) -> Vec<String> {
    let fences = text.split("```").skip(1).step_by(2);
    let lines = fences.flat_map(|fence| {
        let joined = fence.replace("\\\n", " ").replace("|\n", "| ");
        joined.lines().map(str::to_owned).collect::<Vec<_>>()
    });
    let all = lines.chain(inline_code(text).map(str::to_owned));
    all.filter_map(|line| {
        let code = line.split(" #").next()?.trim().to_owned();
        let call = code.strip_prefix("harbormaster ")?;
        let end = call.find(['|', ';', '&']).unwrap_or(call.len());
        Some(format!(
            "harbormaster {}",
            call[..end].replace("...", "").trim()
        ))
    })
    .collect()
}

/// As a shell splits a line that has no more than single quotes.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for c in line.chars() {
        match c {
            '\'' => is_quoted = !is_quoted,
            c if c.is_whitespace() && !is_quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The earlier receiver's, Kubernetes', and words that are no settings.
const NOT_OURS: &[&str] = &[
    "ALL",
    "DISABLE_HEALTHZ_LOGS",
    "INFO",
    "KUBECONFIG",
    "MAX_RETRIES",
    "NETWORK_CONFIG_ENABLED",
    "OLD",
    "PORTAL",
    "REQUEST_TIMEOUT",
    "RETRY_BACKOFF",
    "SIGNATURE_HEADER",
    "SSL_CERT_FILE",
    "SWITCH_HOST",
    "SWITCH_PASSWORD",
    "SWITCH_USERNAME",
    "USER_DATA_SECRET_PREFIX",
];
