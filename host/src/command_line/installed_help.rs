//! The man page and the shell completions that packages install, from the definition of the command line.
//!
//! The option that prints them is for the build of packages only, so it is in none of them, nor in `--help`.

use std::ffi::OsString;
use std::{env, io};

use clap::Command;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use crate::error::{Error, Result};
use crate::output::{LINK_NAME as NAME, SHORT_LINK_NAME as SHORT_NAME};

const OPTION: &str = "--generate";
const MAN_PAGE: &str = "man";
/// The variable by which a shell asks for completions.
const COMPLETE: &str = "TRACE_HOOKS_COMPLETE";
/// The section of the manual for system administration commands.
const SECTION: &str = "8";

/// What is to be generated: `man`, or the name of a shell. `None` if the command line is about something else.
pub fn asked_for(words: &[OsString]) -> Option<&str> {
    match words {
        [_, option, what] if option == OPTION => what.to_str(),
        _ => None,
    }
}

/// Generates the man page, or the completions for a shell.
///
/// # Errors
///
/// There is no such shell.
pub fn generate(what: &str, command: Command) -> Result<String> {
    let mut text = Vec::new();
    match what {
        MAN_PAGE => man_page(command, &mut text).map_err(|error| Error::Output(error.to_string()))?,
        shell => return completions(shell),
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The script with which a shell asks this executable for completions.
///
/// # Errors
///
/// There is no such shell.
pub fn completions(shell: &str) -> Result<String> {
    let Some(completer) = completer(shell) else {
        let problem =
            format!("there are no completions for the shell '{shell}'; there are for bash, fish and zsh");
        return Err(Error::Usage(problem));
    };
    let mut text = Vec::new();
    for name in [NAME, SHORT_NAME] {
        let written = completer.write_registration(COMPLETE, NAME, name, NAME, &mut text);
        written.map_err(|error| Error::Output(error.to_string()))?;
    }
    // From its first line, zsh learns for which commands it is to load the file.
    let first = format!("#compdef {NAME}\n");
    let both = format!("#compdef {NAME} {SHORT_NAME}\n");
    Ok(String::from_utf8_lossy(&text).replacen(&first, &both, 1))
}

/// What a shell asks for: its name, and the words of the command line so far, the last of which is to be completed.
pub fn asked_by_shell(words: &[OsString]) -> Option<(String, Vec<OsString>)> {
    let shell = env::var(COMPLETE).ok().filter(|shell| completer(shell).is_some())?;
    let begin = words.iter().position(|word| word == "--")? + 1;
    Some((shell, words[begin..].to_vec()))
}

/// The candidates for the last word, as the shell wants them.
///
/// # Errors
///
/// They cannot be found.
pub fn candidates(shell: &str, mut command: Command, words: Vec<OsString>) -> Result<String> {
    let mut text = Vec::new();
    if let Some(completer) = completer(shell) {
        let directory = env::current_dir().ok();
        let written = completer.write_complete(&mut command, words, directory.as_deref(), &mut text);
        written.map_err(|error| Error::Output(error.to_string()))?;
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn completer(shell: &str) -> Option<&'static dyn EnvCompleter> {
    [&Bash as &dyn EnvCompleter, &Fish, &Zsh].into_iter().find(|completer| completer.name() == shell)
}

fn man_page(command: Command, text: &mut Vec<u8>) -> io::Result<()> {
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let subcommands: Vec<Command> = command.get_subcommands().cloned().collect();
    let page = Man::new(command.name(NAME)).section(SECTION);
    page.render_title(text)?;
    page.render_name_section(text)?;
    page.render_synopsis_section(text)?;
    page.render_description_section(text)?;
    page.render_options_section(text)?;
    let mut sections = Roff::new();
    for subcommand in subcommands {
        let name = subcommand.get_name().to_owned();
        let help = subcommand.bin_name(format!("{NAME} {name}")).render_long_help().to_string();
        section(&mut sections, &name, &help);
    }
    for (title, lines) in notes.split("\n\n").filter_map(|note| note.split_once(':')) {
        section(&mut sections, title, lines);
    }
    sections.to_writer(text)
}

/// A section with these lines as they are.
fn section(page: &mut Roff, title: &str, lines: &str) {
    page.control("SH", [title.to_uppercase().as_str()]).control("nf", []);
    for line in lines.trim_matches('\n').lines() {
        page.text([roman(line.trim_start().replacen("manager ", &format!("{NAME} "), 1))]);
    }
    page.control("fi", []);
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    fn generated(what: &str) -> String {
        let notes = "Examples:\n  manager --run h\n\nExit status: 0 success";
        let list = Command::new("list").arg(Arg::new("json").long("json"));
        let command =
            Command::new("manager").arg(Arg::new("run").long("run")).after_help(notes).subcommand(list);
        generate(what, command).unwrap()
    }

    #[test]
    fn the_man_page_has_a_section_for_each_note() {
        let page = generated("man");
        for line in [
            ".TH trace-hooks 8",
            ".SH EXAMPLES\n.nf\ntrace\\-hooks \\-\\-run h",
            ".SH \"EXIT STATUS\"\n.nf\n0 success",
            ".SH LIST\n.nf\nUsage: trace\\-hooks list [OPTIONS]",
        ] {
            assert!(page.contains(line), "no '{line}' in:\n{page}");
        }
    }

    #[test]
    fn shells_complete_the_name_in_path() {
        for (shell, line) in [
            ("bash", "-F _clap_complete_trace_hooks trace-hooks\n"),
            ("zsh", "#compdef trace-hooks th\n"),
            ("fish", "complete --keep-order --exclusive --command trace-hooks"),
        ] {
            let script = completions(shell).unwrap();
            assert!(script.contains(line) && script.contains(COMPLETE), "{script}");
        }
        assert!(matches!(completions("cmd"), Err(Error::Usage(_))));
    }
}
