//! The command line: one file a verb, and the exit codes that scripts rely on.
//!
//! `serve` is the default verb, so that a container needs no arguments. Errors go to
//! stderr with all their causes on one line, and without a backtrace.

mod check;
mod convert;
mod generate;
mod offline;
mod replay;
mod send_event;
mod serve;

use std::{
    ffi::{OsStr, OsString},
    process::ExitCode,
};

use clap::{
    CommandFactory, FromArgMatches as _, Parser, Subcommand,
    error::{ContextKind, ContextValue},
};

use crate::config::BadSetting;

/// Reservations of bare-metal hosts: signed events in, provisioned and wiped hosts out.
#[derive(Debug, Parser)]
#[command(
    name = "harbormaster",
    version,
    after_help = "Without a verb, `serve` is meant: `harbormaster --port 8443` serves.\n\
                  Exit codes: 0 done, 1 failed, 2 `check` or `--lint` found something, 64 bad usage or configuration."
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Take events, guard hosts and run reservations (the default)
    Serve(Box<serve::Serve>),
    /// Ask a live cluster why a webhook would not be called, or would fail
    Check(Box<check::Check>),
    /// Print the manifests that belong to this program
    Generate(generate::Generate),
    /// Convert Reservation manifests between versions, offline
    Convert(convert::Convert),
    /// Run a saved review through this program's hooks
    Replay(replay::Replay),
    /// Build, sign and post an event, as the event processor does
    SendEvent(send_event::SendEvent),
}

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All was done.
    Done = 0,
    /// It failed; stderr says why.
    Failed = 1,
    /// `check` or `--lint` found something to mend.
    Findings = 2,
    /// It was called or configured wrongly (`EX_USAGE` of sysexits.h).
    Usage = 64,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Runs the program as it was called.
pub fn run() -> Exit {
    let cli = match parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers, and errors in name only.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            let printed = error.print();
            if let Some(variable) = variable(&error) {
                complain(&format!("The setting is also the variable {variable}."));
            }
            return match printed {
                Ok(()) => exit,
                Err(_) => Exit::Failed,
            };
        }
    };
    let done = match cli.verb {
        Verb::Serve(serve) => serve.run().map(|()| Exit::Done),
        Verb::Check(check) => check.run(),
        Verb::Generate(generate) => generate.run(),
        Verb::Convert(convert) => convert.run().map(|()| Exit::Done),
        Verb::Replay(replay) => replay.run().map(|()| Exit::Done),
        Verb::SendEvent(event) => event.run().map(|()| Exit::Done),
    };
    match done {
        Ok(exit) => exit,
        Err(error) => {
            complain(&format!("harbormaster: {error:#}"));
            if error.is::<BadSetting>() {
                Exit::Usage
            } else {
                Exit::Failed
            }
        }
    }
}

/// The command line's own definition, which the documentation is held against.
pub fn command() -> clap::Command {
    Cli::command()
}

/// An empty variable is one that isn't set, as in the manifests that spell it out.
fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, clap::Error> {
    let mut arguments: Vec<_> = arguments.into_iter().collect();
    let says_more = |argument: &OsString| {
        let text = argument.to_string_lossy();
        !text.starts_with('-') || ["-h", "--help", "-V", "--version"].contains(&&*text)
    };
    if !arguments.get(1).is_some_and(says_more) {
        arguments.insert(1.min(arguments.len()), OsString::from("serve"));
    }
    let is_empty = |name: &OsStr| std::env::var_os(name).is_some_and(|value| value.is_empty());
    let command = without(Cli::command(), &|name| {
        is_empty(name) && !MEANT_WHEN_EMPTY.iter().any(|meant| name == *meant)
    });
    let mut matches = command.try_get_matches_from(arguments)?;
    Cli::from_arg_matches_mut(&mut matches)
}

/// The command, blind to some variables.
fn without(command: clap::Command, is_unset: &dyn Fn(&OsStr) -> bool) -> clap::Command {
    let command = command.mut_args(|argument| match argument.get_env() {
        Some(name) if is_unset(name) => argument.env(None::<&'static str>),
        _ => argument,
    });
    command.mut_subcommands(|verb| without(verb, is_unset))
}

/// The environment variable of the setting that is at fault: in a pod, the flag that clap names
/// is nowhere to be seen.
fn variable(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(fault)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let mut command = command();
    // An argument knows how it is shown once its command is built.
    command.build();
    let mut settings = command
        .get_subcommands()
        .flat_map(clap::Command::get_arguments);
    let setting = settings.find(|setting| setting.to_string() == *fault)?;
    Some(setting.get_env()?.to_string_lossy().into_owned())
}

#[expect(clippy::print_stderr, reason = "the command line's own voice")]
fn complain(text: &str) {
    eprintln!("{text}");
}

/// Without client CAs, anybody's reviews would be taken, without a folder of secrets, events perhaps
/// unsigned, and without an image, hosts be given none: what was begun there and not ended stops the
/// start.
const MEANT_WHEN_EMPTY: [&str; 3] = ["CLIENT_CA_FILE", "PROVISION_IMAGE", "WEBHOOK_SECRETS_DIR"];

#[cfg(test)]
mod tests {
    use super::*;

    fn verb(arguments: &[&str]) -> Verb {
        let arguments = ["harbormaster"].iter().chain(arguments).map(OsString::from);
        parse(arguments).unwrap().verb
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn without_a_verb_it_serves() {
        assert!(matches!(verb(&[]), Verb::Serve(_)));
        assert!(matches!(verb(&["--port", "8443"]), Verb::Serve(_)));
        assert!(matches!(verb(&["serve"]), Verb::Serve(_)));
        assert!(matches!(verb(&["generate", "crds"]), Verb::Generate(_)));
    }
}
