//! What an instance is set to, to notice when another process changes it.

use std::fmt;
use std::sync::Arc;

use crate::dir::Dir;
use crate::error::Result;
use crate::instance::Instance;

/// The file with all options, each a word, with "no" before it if the option is off.
const OPTIONS: &str = "trace_options";
/// The file with the clocks, of which the chosen one is in brackets.
const CLOCK: &str = "trace_clock";
/// These, and files that hold one value.
const ALL: [&str; 7] = [
    "tracing_on",
    "tracing_cpumask",
    "current_tracer",
    "buffer_size_kb",
    "buffer_subbuf_size_kb",
    CLOCK,
    OPTIONS,
];

/// What an instance of ours that records is set to, whatever the first look finds.
const KNOWN: [(&str, &str); 2] = [("tracing_on", "1"), ("current_tracer", "nop")];

/// How much of a file is read, in bytes: all of them are shorter.
const LONGEST: u64 = 1 << 14;

/// The settings of an instance that records, at the first look, except those of its events ([`EventSettings`](crate::EventSettings)) and its tasks
/// ([`PidFilter`](crate::PidFilter)). Reading them does not prevent the removal of the instance.
#[derive(Debug)]
pub struct Settings {
    instance: Arc<Dir>,
    /// `None` before the first look.
    set: Option<Vec<(&'static str, String)>>,
}

/// A setting that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedSetting {
    /// The file of the instance.
    pub file: &'static str,
    /// What it was set to.
    pub set: String,
    /// What it is now.
    pub found: String,
}

impl Instance {
    /// Its settings, which the first look remembers.
    pub fn settings(&self) -> Settings {
        Settings { instance: Arc::clone(&self.dir), set: None }
    }
}

impl Settings {
    /// The settings that differ since the first look.
    ///
    /// # Errors
    /// A file of the kernel cannot be read.
    pub fn changed(&mut self, goes_on: impl Fn() -> bool) -> Result<Vec<ChangedSetting>> {
        let mut changed = Vec::new();
        let Some(all) = &self.set else {
            // Older kernels lack some of the files.
            let present = ALL.into_iter().filter_map(|file| Some((file, self.set_to(file)?)));
            self.set = Some(present.collect());
            return Ok(changed);
        };
        for (file, set) in all.iter().take_while(|_| goes_on()) {
            let found = self.read(file)?;
            if found != *set {
                let (set, found) = differing(file, set, &found);
                changed.push(ChangedSetting { file, set, found });
            }
        }
        Ok(changed)
    }

    /// Sets a file back.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn restore(&self, changed: &ChangedSetting) -> Result<()> {
        // The kernel takes one option in a write.
        let values: Vec<&str> = match changed.file {
            OPTIONS => changed.set.split_whitespace().collect(),
            _ => vec![&changed.set],
        };
        values.into_iter().try_for_each(|value| self.instance.write(changed.file, value))
    }

    /// What a file is set to, at the first look.
    fn set_to(&self, file: &str) -> Option<String> {
        let known = KNOWN.into_iter().find(|(known, _)| *known == file);
        known.map_or_else(|| self.read(file).ok(), |(_, value)| Some(value.to_owned()))
    }

    fn read(&self, file: &str) -> Result<String> {
        Ok(value(file, &self.instance.read_at_most(file, LONGEST)?))
    }
}

/// What the other process did.
impl fmt::Display for ChangedSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "changed {} from '{}' to '{}'", self.file, self.set, self.found)
    }
}

/// The value in the text of a file.
fn value(file: &str, text: &str) -> String {
    let text = text.trim();
    let chosen = || text.split_once('[')?.1.split_once(']').map(|(chosen, _)| chosen);
    match file {
        CLOCK => chosen().unwrap_or(text).to_owned(),
        _ => text.to_owned(),
    }
}

/// The parts of two values that differ.
fn differing(file: &str, set: &str, found: &str) -> (String, String) {
    if file != OPTIONS {
        return (set.to_owned(), found.to_owned());
    }
    let without = |options: &str, others: &str| {
        let is_new = |option: &&str| !others.split_whitespace().any(|other| other == *option);
        options.split_whitespace().filter(is_new).collect::<Vec<_>>().join(" ")
    };
    (without(set, found), without(found, set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_the_one_in_brackets() {
        assert_eq!(value(CLOCK, "local [global] counter\n"), "global");
        assert_eq!(value("tracing_on", "1\n"), "1");
    }

    #[test]
    fn only_changed_options_differ() {
        let (set, found) =
            differing(OPTIONS, "event-fork\nnoraw\noverwrite", "noevent-fork\nnoraw\nnooverwrite");
        assert_eq!((set.as_str(), found.as_str()), ("event-fork overwrite", "noevent-fork nooverwrite"));
    }
}
