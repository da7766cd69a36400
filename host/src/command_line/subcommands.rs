//! The subcommands. A call is one if its first word is the name of one; all other calls have the form with options.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Command, CommandFactory, Parser, Subcommand};

use super::{Action, Call, CommonOptions, help_or_version};
use crate::arguments::usage;
use crate::error::Result;

#[derive(Parser)]
#[command(name = "manager", disable_help_subcommand = true)]
struct Words {
    #[command(subcommand)]
    subcommand: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Copy this manager and its plugins into a directory, with modes that pass the trust check
    ///
    /// The directory is made if it is missing. An older version there is replaced, each file at once, so that running
    /// sessions are not disturbed. Other files in the directory are kept.
    Install {
        /// The directory, such as trace-hooks/kernel of container-tracer
        #[arg(value_name = "DIR")]
        directory: PathBuf,

        #[command(flatten)]
        options: CommonOptions,
    },
}

/// Adds the subcommands to the definition of the form with options.
pub fn added_to(command: Command) -> Command {
    command.subcommands(Words::command().get_subcommands().cloned())
}

/// Returns whether the words after the name of the executable begin with a subcommand.
pub fn begin_with_one(words: &[OsString]) -> bool {
    let first = words.get(1).and_then(|word| word.to_str());
    first.is_some_and(|first| Words::command().find_subcommand(first).is_some())
}

/// Reads the words of a subcommand.
///
/// # Errors
///
/// A usage error.
pub fn parse(words: &[OsString]) -> Result<Call> {
    let words = match Words::try_parse_from(words) {
        Ok(words) => words,
        Err(error) => return help_or_version(&error).ok_or_else(|| usage(&error)),
    };
    let (action, options) = match words.subcommand {
        Subcommands::Install { directory, options } => (Action::Install { directory }, options),
    };
    Ok(options.call(action))
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
        assert!(begin_with_one(&words(&["install", "/opt"])));
        for other in
            [&[][..], &["--run", "install"], &["-v", "install"], &["instal"], &["help"], &["--plugins"]]
        {
            assert!(!begin_with_one(&words(other)), "{other:?}");
        }
    }
}
