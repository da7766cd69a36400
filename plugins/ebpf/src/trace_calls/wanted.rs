//! The calls that `--syscall` chooses.

use std::collections::BTreeSet;

use trace_hook_api::{HookError, Result, did_you_mean};
use trace_syscalls::{Abi, CLASSES, class, prototype};

/// The chosen calls; all of them if none is named.
pub struct Wanted(BTreeSet<&'static str>);

impl Wanted {
    /// The calls of these names and classes: `openat`, `%file`.
    ///
    /// # Errors
    ///
    /// There is no such call or class; the message has the most similar name.
    pub fn new(names: &[String]) -> Result<Self> {
        let all = names_of_all();
        let mut wanted = BTreeSet::new();
        for name in names {
            match name.starts_with('%') {
                true => wanted.extend(of_class(name)?.iter().filter(|call| all.contains(*call))),
                false => _ = wanted.insert(named(name, &all)?),
            }
        }
        Ok(Self(wanted))
    }

    /// Whether a call is chosen. A variant for other sizes is chosen with the call: `fcntl64` with `fcntl`.
    pub fn includes(&self, call: Option<&str>) -> bool {
        let is_chosen = |call: &str| {
            self.0.contains(call) || prototype(call).is_some_and(|prototype| self.0.contains(prototype.base))
        };
        self.0.is_empty() || call.is_some_and(is_chosen)
    }
}

fn names_of_all() -> BTreeSet<&'static str> {
    let names = |abi: Abi| (0..super::plan::MOST_CALLS as u32).filter_map(move |number| abi.name(number));
    names(Abi::Native).chain(names(Abi::Compat)).collect()
}

fn named(name: &str, all: &BTreeSet<&'static str>) -> Result<&'static str> {
    all.get(name).copied().ok_or_else(|| {
        let names: Vec<&str> = all.iter().copied().collect();
        HookError::usage(format!("unknown system call '{name}'{}", did_you_mean(name, &names)))
    })
}

fn of_class(name: &str) -> Result<&'static [&'static str]> {
    class(name).map(|class| class.calls).ok_or_else(|| {
        let names: Vec<String> = CLASSES.iter().map(|class| format!("%{}", class.name)).collect();
        HookError::usage(format!(
            "unknown class of system calls '{name}'; the classes are {}",
            names.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(names: &[&str]) -> Result<Wanted> {
        Wanted::new(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_and_classes_choose_calls() {
        let some = wanted(&["fcntl", "%network"]).unwrap();
        for call in ["fcntl", "fcntl64", "connect"] {
            assert!(some.includes(Some(call)), "{call}");
        }
        assert!(!some.includes(Some("read")) && !some.includes(None));
        let all = wanted(&[]).unwrap();
        assert!(all.includes(Some("read")) && all.includes(None));
    }

    #[test]
    fn unknown_names_are_refused() {
        assert!(wanted(&["opnat"]).err().unwrap().message().contains("'open"));
        assert!(wanted(&["%files"]).err().unwrap().message().contains("%file"));
    }
}
