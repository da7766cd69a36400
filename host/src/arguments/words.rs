//! The words after `--args`.

use std::ffi::OsString;

use crate::error::{Error, Result};

/// The words that follow `--args`.
#[derive(Debug, PartialEq, Eq)]
pub struct HookArguments(pub Vec<String>);

impl HookArguments {
    /// Returns whether one of the words asks for the description of the hook. No hook has a parameter of that name.
    pub fn ask_for_help(&self) -> bool {
        self.0.iter().any(|word| word == "--help" || word == "-h")
    }

    /// Splits a single word by the rules of a shell. Several words are used as they are.
    ///
    /// # Errors
    ///
    /// A word is not UTF-8, a quote is not closed, or something follows the one string.
    pub fn from_words(words: Vec<OsString>) -> Result<Self> {
        let words: Vec<String> = words
            .into_iter()
            .map(|word| word.into_string().map_err(|_| Error::Usage("--args: not UTF-8".to_owned())))
            .collect::<Result<_>>()?;
        match words.as_slice() {
            [first, _, ..] if first.starts_with('-') && first.contains(char::is_whitespace) => {
                Err(Error::Usage(format!(
                    "--args: unexpected argument after the string '{first}'; give the options of manager before --args"
                )))
            }
            [one] => match shlex::split(one) {
                Some(words) => Ok(Self(words)),
                None => Err(Error::Usage(format!("--args: a quote is not closed in: {one}"))),
            },
            _ => Ok(Self(words)),
        }
    }
}
