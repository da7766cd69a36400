//! The words of the subcommand `run`, as far as they can be understood without the hook.
//!
//! Which other options there are is known once the plugin of the hook has described it. So the hook comes before them.

use std::ffi::OsString;

use super::subcommands::is_verbosity;
use super::{Action, Call};
use crate::arguments::{HostOptions, RunWords, run_command};
use crate::error::{Error, Result};
use crate::output::program_name;

const NAME: &str = "run";

/// Returns whether this is the name of the subcommand.
pub fn is_name(word: &str) -> bool {
    word == NAME
}

/// Returns whether the words after the name of the executable begin with the subcommand.
pub fn is_first_of(words: &[OsString]) -> bool {
    words.get(1).is_some_and(|word| word == NAME)
}

/// Returns whether the subcommand is omitted: the words after the name of the executable begin with one that can be that of a hook.
pub fn is_omitted_in(words: &[OsString]) -> bool {
    words.get(1).is_some_and(|word| !word.is_empty() && !word.as_encoded_bytes().starts_with(b"-"))
}

/// Reads the words after the subcommand, or those after the name of the executable if it is omitted.
///
/// # Errors
///
/// A usage error.
pub fn parse(words: &[OsString], omit_run: bool) -> Result<Call> {
    let (words, command) = split(words);
    let mut scan = Scan::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        scan.take(word, &mut words)?;
    }
    let Scan { hook, options, host, asks_for_help } = scan;
    let action = match hook {
        Some(hook) if asks_for_help => Action::Describe { hook, json: false },
        Some(hook) => Action::RunForPerson { hook, words: RunWords { options, command, omit_run } },
        None if asks_for_help => Action::Print(
            run_command().bin_name(format!("{} {NAME}", program_name())).render_help().to_string(),
        ),
        None => return Err(hook_comes_first()),
    };
    Ok(Call::of(action, host))
}

/// The words before and after `--`.
fn split(words: &[OsString]) -> (&[OsString], Option<Vec<OsString>>) {
    match words.iter().position(|word| word == "--") {
        Some(end) => (&words[..end], Some(words[end + 1..].to_vec())),
        None => (words, None),
    }
}

/// What the words before `--` are.
#[derive(Default)]
struct Scan {
    hook: Option<String>,
    /// Those that only the hook can explain.
    options: Vec<OsString>,
    host: HostOptions,
    asks_for_help: bool,
}

impl Scan {
    /// Takes a word, and the next one if that is its value.
    fn take<'a>(&mut self, word: &OsString, others: &mut impl Iterator<Item = &'a OsString>) -> Result<()> {
        match word.to_str() {
            Some("--plugins") => {
                let directory = others.next().ok_or_else(|| usage("--plugins requires a directory"))?;
                self.host.plugins.push(directory.into());
            }
            Some("--allow-untrusted") => self.host.allow_untrusted = true,
            Some("-h" | "--help") => self.asks_for_help = true,
            Some(text) if text.starts_with("--plugins=") => {
                self.host.plugins.push(text["--plugins=".len()..].into());
            }
            Some(text) if is_verbosity(text) => {
                self.host.verbosity = self.host.verbosity.saturating_add((text.len() - 1) as u8);
            }
            _ if self.hook.is_some() => self.options.push(word.clone()),
            Some(text) if text.starts_with('-') => return Err(hook_comes_first()),
            Some(hook) if hook.contains(',') => {
                return Err(usage(&format!("'{hook}': run takes one hook; run another one beside it")));
            }
            Some(hook) => self.hook = Some(hook.to_owned()),
            None => return Err(usage("the name of the hook is not UTF-8")),
        }
        Ok(())
    }
}

fn hook_comes_first() -> Error {
    usage(
        "the hook comes first: run HOOK [OPTIONS] [-- COMMAND]; list shows the hooks, and run HOOK --help the options",
    )
}

fn usage(message: &str) -> Error {
    Error::Usage(message.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::Trust;

    fn call(words: &[&str]) -> Result<Call> {
        parse(&words.iter().map(OsString::from).collect::<Vec<_>>(), false)
    }

    fn run(words: &[&str]) -> (String, RunWords) {
        match call(words).unwrap().action {
            Action::RunForPerson { hook, words } => (hook, words),
            _ => panic!("not a run: {words:?}"),
        }
    }

    #[test]
    fn the_command_is_what_follows_the_first_double_dash() {
        let (hook, words) = run(&["open", "-s", "x", "--", "make", "--", "-v"]);
        assert_eq!(hook, "open");
        assert_eq!(words.options, ["-s", "x"]);
        assert_eq!(words.command.unwrap(), ["make", "--", "-v"]);
        assert_eq!(run(&["open", "-p", "1"]).1.command, None);
        assert_eq!(run(&["open", "--"]).1.command.unwrap(), [""; 0]);
    }

    #[test]
    fn options_of_every_call_stand_anywhere_before_the_command() {
        let call =
            call(&["-v", "--plugins", "a", "open", "-p", "1", "--allow-untrusted", "-vv", "--plugins=b"])
                .unwrap();
        assert_eq!(call.plugins, ["a", "b"].map(std::path::PathBuf::from));
        assert_eq!((call.verbosity, call.trust), (3, Trust::Waived));
        let Action::RunForPerson { words, .. } = call.action else { panic!("not a run") };
        assert_eq!(words.options, ["-p", "1"]);
    }

    #[test]
    fn help_is_that_of_the_hook_if_one_is_given() {
        for words in [&["open", "--help"][..], &["-h", "open"], &["open", "-s", "x", "-h", "--", "make"]] {
            assert!(matches!(call(words).unwrap().action, Action::Describe { hook, .. } if hook == "open"));
        }
        assert!(
            matches!(call(&["--help"]).unwrap().action, Action::Print(help) if help.contains("--output"))
        );
        assert!(
            matches!(run(&["open", "--", "make", "--help"]).1.command, Some(command) if command.len() == 2)
        );
    }

    #[test]
    fn the_hook_comes_before_its_options() {
        for words in
            [&[][..], &["-p", "1", "open"], &["--", "make"], &["open,net", "-p", "1"], &["--plugins"]]
        {
            assert!(matches!(call(words), Err(Error::Usage(_))), "{words:?}");
        }
    }
}
