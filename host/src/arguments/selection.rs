//! Choices of tasks that a hook may honour or not.

use clap::ArgMatches;
use clap::parser::ValueSource;
use trace_hook_api::{HookInfo, Selection};

use super::every_hook::{EXACT, PARENT};
use crate::error::{Error, Result};

/// The option of a choice, and what a hook that does not declare the choice cannot do.
struct Choice {
    selection: Selection,
    option: &'static str,
    cannot: &'static str,
}

const CHOICES: [Choice; 2] = [
    Choice { selection: Selection::Exact, option: EXACT, cannot: "select exact processes" },
    Choice { selection: Selection::Parents, option: PARENT, cannot: "select by parent" },
];

/// Returns whether the option stands for a choice that the hook does not honour.
pub fn is_unsupported(hook: &HookInfo, option: &str) -> bool {
    CHOICES.iter().any(|choice| choice.option == option && !hook.selects.contains(&choice.selection))
}

/// Rejects choices that the hook does not declare: it would ignore them.
///
/// # Errors
///
/// The first such choice.
pub fn check(hook: &HookInfo, matches: &ArgMatches) -> Result<()> {
    let is_given = |choice: &&Choice| {
        matches.value_source(choice.option) == Some(ValueSource::CommandLine)
            && is_unsupported(hook, choice.option)
    };
    match CHOICES.iter().find(is_given) {
        Some(Choice { option, cannot, .. }) => {
            Err(Error::Usage(format!("{} cannot {cannot}; omit --{option}", hook.name)))
        }
        None => Ok(()),
    }
}
