//! The arguments of a hook as lines of its description.

use clap::{Arg, Command};
use trace_hook_api::HookInfo;

/// The widest name and value beside which the help still begins in a column.
const WIDEST_COLUMN: usize = 30;

/// The arguments, a line each. A line makes sense without its indentation, which some callers remove.
pub struct Listing {
    /// Those that the hook declares.
    pub own: String,
    /// Those of every hook, as far as this one supports them.
    pub common: String,
}

/// Lists the arguments of a hook.
pub fn listing(hook: &HookInfo) -> Listing {
    let mut command = super::command(hook);
    command.build();
    Listing { own: lines(&command, super::OWN), common: lines(&command, super::COMMON) }
}

fn lines(command: &Command, heading: &str) -> String {
    let args = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let args = args.filter(|arg| arg.get_help_heading() == Some(heading));
    let rows: Vec<(String, String)> = args.map(|arg| (name(arg), help(arg))).collect();
    let widths = rows.iter().map(|(name, _)| name.len());
    let width = widths.filter(|width| *width <= WIDEST_COLUMN).max().unwrap_or_default();
    rows.iter().map(|(name, help)| format!("  {name:width$}  {help}\n")).collect()
}

/// Such as `-s, --syscall NAME...`.
fn name(arg: &Arg) -> String {
    let short = arg.get_short().map_or("    ".to_owned(), |letter| format!("-{letter}, "));
    let mut name = format!("{short}--{}", arg.get_long().unwrap_or_default());
    if arg.get_action().takes_values() {
        for value in arg.get_value_names().unwrap_or_default() {
            name += &format!(" {value}");
        }
        if arg.get_num_args().is_some_and(|count| count.max_values() > 1) {
            name += "...";
        }
    }
    name
}

fn help(arg: &Arg) -> String {
    let mut help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let values: Vec<String> =
        arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect();
    if arg.get_action().takes_values() && !values.is_empty() {
        help += &format!(" [{}]", values.join(", "));
    }
    for default in arg.get_default_values().iter().filter(|_| arg.get_action().takes_values()) {
        help += &format!(" [default: {}]", default.to_string_lossy());
    }
    help
}
