//! What a session does without, because of a traced process or its files.

use std::collections::HashSet;
use std::fmt;

/// How many are named.
const SHOWN: usize = 3;

/// Files and functions that are left out, and why. A hostile process can have any number of them.
#[derive(Debug, Default, Clone)]
pub struct LeftOut {
    first: Vec<String>,
    more: usize,
}

impl LeftOut {
    /// Adds one, with the reason, unless it is one of those that are named.
    pub fn add(&mut self, what: impl fmt::Display) {
        let what = what.to_string();
        if self.first.contains(&what) {
            return;
        }
        match self.first.len() < SHOWN {
            true => self.first.push(what),
            false => self.more += 1,
        }
    }

    /// Adds those of another list.
    pub fn extend(&mut self, other: &Self) {
        other.first.iter().for_each(|what| self.add(what));
        self.more += other.more;
    }

    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    /// Those among the named ones that are not in `known`, with the number of those that are not named. Adds them to `known`.
    pub fn not_in(&self, known: &mut HashSet<String>) -> Self {
        let new = self.first.iter().filter(|what| known.insert((*what).clone()));
        Self { first: new.cloned().collect(), more: self.more }
    }

    /// The only one, if it is one.
    pub fn only(&self) -> Option<&str> {
        match (self.first.as_slice(), self.more) {
            ([only], 0) => Some(only),
            _ => None,
        }
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.first.join("; "))?;
        match self.more {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_of_many_are_named() {
        let mut all = LeftOut::default();
        assert!(all.is_empty() && all.only().is_none());
        all.add("a");
        assert_eq!((all.only(), all.to_string().as_str()), (Some("a"), "a"));
        all.add("a");
        all.add("b");
        all.extend(&all.clone());
        assert_eq!((all.only(), all.to_string().as_str()), (None, "a; b"));
        ["c", "d"].into_iter().for_each(|what| all.add(what));
        assert_eq!(all.to_string(), "a; b; c; and 1 more");
    }

    #[test]
    fn what_is_known_is_not_new() {
        let (mut all, mut known) = (LeftOut::default(), HashSet::new());
        all.add("a");
        assert_eq!(all.not_in(&mut known).to_string(), "a");
        all.add("b");
        assert_eq!(all.not_in(&mut known).to_string(), "b");
        assert!(all.not_in(&mut known).is_empty());
    }
}
