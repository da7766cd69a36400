//! The man page and the shell completions that packages install, from the definition of the command line.
//!
//! The option that prints them is for the build of packages only, so it is in none of them, nor in `--help`.

use std::ffi::OsString;
use std::io;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::option_form::whole_command;
use crate::error::{Error, Result};

const OPTION: &str = "--generate";
const MAN_PAGE: &str = "man";
/// What packages call the executable in `PATH`.
const NAME: &str = "trace-hooks";
/// With a hyphen in the name, clap_complete 4.6 gives the commands of bash one label where it decides for one, and another where it
/// completes it.
const MISTAKEN_LABEL: (&str, &str) = ("trace__subcmd__hooks", "trace__hooks");
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
        shell => return completions_of(command, shell),
    }
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// The completions of the whole command line for a shell.
///
/// # Errors
///
/// There is no such shell.
pub fn completions(shell: &str) -> Result<String> {
    completions_of(whole_command(), shell)
}

fn completions_of(mut command: Command, shell: &str) -> Result<String> {
    let shell: Shell = shell.parse().map_err(|_| {
        Error::Usage(format!(
            "there are no completions for the shell '{shell}'; there are for bash, fish and zsh"
        ))
    })?;
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut command, NAME, &mut text);
    Ok(String::from_utf8_lossy(&text).replace(MISTAKEN_LABEL.0, MISTAKEN_LABEL.1))
}

fn man_page(command: Command, text: &mut Vec<u8>) -> io::Result<()> {
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let page = Man::new(command.name(NAME)).section(SECTION);
    page.render_title(text)?;
    page.render_name_section(text)?;
    page.render_synopsis_section(text)?;
    page.render_description_section(text)?;
    page.render_options_section(text)?;
    let mut sections = Roff::new();
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
        let command = Command::new("manager").arg(Arg::new("run").long("run")).after_help(notes);
        generate(what, command).unwrap()
    }

    #[test]
    fn the_man_page_has_a_section_for_each_note() {
        let page = generated("man");
        for line in [
            ".TH trace-hooks 8",
            ".SH EXAMPLES\n.nf\ntrace\\-hooks \\-\\-run h",
            ".SH \"EXIT STATUS\"\n.nf\n0 success",
        ] {
            assert!(page.contains(line), "no '{line}' in:\n{page}");
        }
    }

    #[test]
    fn bash_completes_the_options_of_subcommands() {
        let install = Command::new("install").arg(Arg::new("plugins").long("plugins"));
        let script = generate("bash", Command::new("manager").subcommand(install)).unwrap()
            + "\nCOMP_WORDS=(trace-hooks install --pl); COMP_CWORD=2; _trace__hooks trace-hooks --pl install; echo ${COMPREPLY[@]}";
        let completed = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&completed.stdout), "--plugins\n", "{completed:?}");
    }

    #[test]
    fn shells_complete_the_name_in_path() {
        for (shell, line) in [
            ("bash", "trace-hooks\n"),
            ("zsh", "#compdef trace-hooks\n"),
            ("fish", "complete -c trace-hooks -l run"),
        ] {
            assert!(generated(shell).contains(line), "{}", generated(shell));
        }
        assert!(matches!(generate("cmd", Command::new("manager")), Err(Error::Usage(_))));
    }
}
