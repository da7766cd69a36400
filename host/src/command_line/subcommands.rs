//! The other subcommands. A call is one if its first word is the name of one; all other calls have the form with options.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Command, CommandFactory, Parser, Subcommand};
use trace_hook_api::did_you_mean;

use super::{Action, Call, Listing, installed_help, run, whole_command};
use crate::arguments::{HostOptions, run_command, usage};
use crate::error::Result;
use crate::output::program_name;

#[derive(Parser)]
#[command(name = "manager")]
struct Words {
    #[command(subcommand)]
    subcommand: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Print a table of all hooks and what they record; for those that cannot run, with the reason
    List {
        #[command(flatten)]
        output: Output,
    },
    /// Print what a hook does, its options, and the fields of its lines
    Describe {
        /// The hook; trace_ can be omitted
        hook: String,
        #[command(flatten)]
        output: Output,
    },
    /// Check that plugins keep the rules of the plugin interface; runs their hooks briefly
    Check {
        /// The plugins
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// End all sessions, remove what dead ones left, and reset the kernel's tracing to its defaults
    Clear {
        #[command(flatten)]
        host: HostOptions,
    },
    /// Print the completions for a shell
    Completions {
        /// bash, fish or zsh
        #[arg(value_name = "SHELL")]
        shell: String,
        #[command(flatten)]
        host: HostOptions,
    },
    /// Copy this manager and its plugins into a directory, with modes that pass the trust check
    ///
    /// The directory is made if it is missing. An older version there is replaced, each file at once, so that running
    /// sessions are not disturbed. Other files in the directory are kept.
    Install {
        /// The directory, such as trace-hooks/kernel of container-tracer
        #[arg(value_name = "DIR")]
        directory: PathBuf,
        #[command(flatten)]
        host: HostOptions,
    },
}

/// The options of subcommands that print for people or for programs.
#[derive(Args)]
struct Output {
    /// JSON instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    host: HostOptions,
}

/// Adds the subcommands to the definition of the form with options.
pub fn added_to(command: Command) -> Command {
    command
        .subcommand(run_command().display_order(0))
        .subcommands(Words::command().get_subcommands().cloned())
}

/// The same words with the subcommand before the options of every call, if it follows them.
pub fn brought_forward(words: &[OsString]) -> Vec<OsString> {
    let mut end = 1;
    while let Some(length) = words.get(end).and_then(host_option) {
        end += length;
    }
    let mut words = words.to_vec();
    if words.get(end).is_some_and(|word| !word.as_encoded_bytes().starts_with(b"-")) {
        words[1..=end].rotate_right(1);
    }
    words
}

/// How many words an option of every call takes.
fn host_option(word: &OsString) -> Option<usize> {
    match word.to_str()? {
        "--plugins" => Some(2),
        "--allow-untrusted" => Some(1),
        word if word.starts_with("--plugins=") || is_verbosity(word) => Some(1),
        _ => None,
    }
}

/// Returns whether a word is `-v`, `-vv` and so on.
pub fn is_verbosity(word: &str) -> bool {
    let letters = word.strip_prefix('-').unwrap_or_default();
    !letters.is_empty() && letters.bytes().all(|letter| letter == b'v')
}

/// Returns whether the words after the name of the executable begin with a subcommand.
pub fn begin_with_one(words: &[OsString]) -> bool {
    words.get(1).is_some_and(|word| is_one(word))
}

fn is_one(word: &OsStr) -> bool {
    let is_known =
        |name: &str| run::is_name(name) || name == "help" || Words::command().find_subcommand(name).is_some();
    // The definition need not be built for an option, with which most calls begin.
    word.to_str().is_some_and(|word| !word.starts_with('-') && is_known(word))
}

/// "; did you mean" and the subcommands of a similar name. Empty if there is none.
pub fn similar_subcommand(word: &str) -> String {
    let command = whole_command();
    let names: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
    did_you_mean(word, &names)
}

/// Reads the words of a subcommand.
///
/// # Errors
///
/// A usage error.
pub fn parse(words: &[OsString]) -> Result<Call> {
    let words = match Words::command()
        .bin_name(program_name())
        .subcommand(run_command())
        .try_get_matches_from(words)
    {
        Err(error) if error.kind() == ErrorKind::DisplayHelp => return Ok(Call::print(error.to_string())),
        Err(error) => return Err(usage(&error)),
        Ok(_) => Words::try_parse_from(words).map_err(|error| usage(&error))?,
    };
    let (action, host) = match words.subcommand {
        Subcommands::List { output } => {
            let listing = if output.json { Listing::Json } else { Listing::Summaries };
            (Action::List(listing), output.host)
        }
        Subcommands::Describe { hook, output } => (Action::Describe { hook, json: output.json }, output.host),
        Subcommands::Check { files, output } => (Action::Check { files, json: output.json }, output.host),
        Subcommands::Clear { host } => (Action::Clear, host),
        Subcommands::Completions { shell, .. } => {
            return installed_help::completions(&shell).map(Call::print);
        }
        Subcommands::Install { directory, host } => (Action::Install { directory }, host),
    };
    Ok(Call::of(action, host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        ["manager"].iter().chain(words).map(OsString::from).collect()
    }

    #[test]
    fn clap_accepts_the_definition() {
        Words::command().debug_assert();
    }

    #[test]
    fn only_the_first_word_makes_a_subcommand() {
        for one in ["list", "describe", "check", "clear", "completions", "install", "help"] {
            assert!(begin_with_one(&words(&[one])), "{one}");
        }
        for other in
            [&[][..], &["--run", "install"], &["-v", "install"], &["instal"], &["--help"], &["--plugins"]]
        {
            assert!(!begin_with_one(&words(other)), "{other:?}");
        }
    }

    #[test]
    fn options_of_every_call_may_come_first() {
        let forward = |given: &[&str]| brought_forward(&words(given));
        assert_eq!(
            forward(&["--plugins", "d", "-vv", "run", "open", "--", "x"]),
            words(&["run", "--plugins", "d", "-vv", "open", "--", "x"])
        );
        assert_eq!(forward(&["--plugins=d", "list"]), words(&["list", "--plugins=d"]));
        for unchanged in
            [&["list", "-v"][..], &["-v", "--list"], &["--plugins", "run"], &["-v"], &[], &["--run", "list"]]
        {
            assert_eq!(forward(unchanged), words(unchanged), "{unchanged:?}");
        }
    }

    #[test]
    fn subcommands_are_actions() {
        let action = |given: &[&str]| parse(&words(given)).unwrap().action;
        assert!(matches!(action(&["list", "--json"]), Action::List(Listing::Json)));
        assert!(matches!(action(&["describe", "open"]), Action::Describe { json: false, .. }));
        assert!(
            matches!(action(&["check", "a.so", "b.so"]), Action::Check { files, .. } if files.len() == 2)
        );
        assert!(matches!(action(&["clear", "-v"]), Action::Clear));
        assert!(matches!(action(&["help", "run"]), Action::Print(help) if help.contains("--until-exit")));
        assert!(matches!(action(&["completions", "fish"]), Action::Print(_)));
        assert!(parse(&words(&["completions", "cmd"])).is_err());
        assert!(parse(&words(&["describe"])).is_err());
    }
}
