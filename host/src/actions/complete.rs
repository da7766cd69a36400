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

/// The whole command line, with what the words before the last one, which is to be completed, have in it.
fn definition(catalog: &Catalog, words: &[OsString]) -> Command {
    let hooks = catalog.hooks();
    let names: Vec<String> = hooks.iter().map(|hook| without_prefix(&hook.info.name).to_owned()).collect();
    let mut command = whole_command();
    for subcommand in SUBCOMMANDS {
        let names = PossibleValuesParser::new(names.clone());
        command = command
            .mut_subcommand(subcommand, |command| command.mut_arg(HOOK, |arg| arg.value_parser(names)));
    }
    let given: Vec<&str> =
        words[..words.len().saturating_sub(1)].iter().skip(1).filter_map(|word| word.to_str()).collect();
    let find = |words: &[&str]| words.iter().find_map(|word| catalog.hook(word).ok());
    match given.as_slice() {
        // `run` may be omitted.
        [] => command.subcommands(
            hooks.iter().zip(names).map(|(hook, name)| Command::new(name).about(hook.info.summary.clone())),
        ),
        ["run", words @ ..] => match find(words) {
            Some(hook) => command.mut_subcommand("run", |_| run_command_of(hook.info)),
            None => command,
        },
        [first, ..] if command.find_subcommand(first).is_none() => match find(&[first]) {
            Some(hook) => command.subcommand(without_run(run_command_of(hook.info), first)),
            None => command,
        },
        _ => command,
    }
}

/// The definition of `run` for a hook with the name of the hook in its place.
fn without_run(run: Command, hook: &str) -> Command {
    let arguments = run.get_arguments().filter(|arg| arg.get_id() != HOOK);
    let arguments = arguments.map(|arg| if arg.is_positional() { arg.clone().index(1) } else { arg.clone() });
    Command::new(hook.to_owned()).args(arguments.collect::<Vec<_>>())
}
