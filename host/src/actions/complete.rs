//! Completions of the command line, which a shell asks for.

use std::ffi::OsString;

use clap::Command;
use clap::builder::PossibleValuesParser;

use super::Context;
use crate::arguments::run_command_of;
use crate::command_line::{candidates, whole_command};
use crate::error::Result;
use crate::output;
use crate::plugins::{Catalog, without_prefix};

/// What takes the name of a hook.
const SUBCOMMANDS: [&str; 2] = ["run", "describe"];
const HOOK: &str = "hook";

/// Prints the candidates for the last of these words: also names of hooks, and after one its options.
///
/// # Errors
///
/// They cannot be printed.
pub fn complete(context: &Context<'_>, shell: &str, words: Vec<OsString>) -> Result<()> {
    let catalog = context.catalog()?;
    let command = definition(&catalog, &words);
    output::print(&candidates(shell, command, words)?)
}

fn definition(catalog: &Catalog, words: &[OsString]) -> Command {
    let names: Vec<String> =
        catalog.hooks().iter().map(|hook| without_prefix(&hook.info.name).to_owned()).collect();
    let mut command = whole_command();
    for subcommand in SUBCOMMANDS {
        let names = PossibleValuesParser::new(names.clone());
        command = command
            .mut_subcommand(subcommand, |command| command.mut_arg(HOOK, |arg| arg.value_parser(names)));
    }
    let is_run = words.get(1).is_some_and(|word| word == SUBCOMMANDS[0]);
    // The last word is the one to complete.
    let others = words.len().saturating_sub(1);
    let given = words[..others].iter().skip(2).filter_map(|word| word.to_str());
    let hook = given.filter(|_| is_run).find_map(|word| catalog.hook(word).ok());
    match hook {
        Some(hook) => command.mut_subcommand(SUBCOMMANDS[0], |_| run_command_of(hook.info)),
        None => command,
    }
}
