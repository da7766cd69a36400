//! What guests report, and the table of it.

use std::collections::BTreeMap;

/// What precedes each report on a guest's console.
const MARK: &str = "@@ ";

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Outcome {
    Works,
    Unavailable(String),
    Fails(String),
}

/// The outcomes of one guest.
#[derive(Debug)]
pub struct Outcomes {
    guest: String,
    /// Its kernel's full version.
    release: String,
    tests: BTreeMap<String, Outcome>,
    has_ended: bool,
}

/// The outcomes of all guests.
#[derive(Default)]
pub struct Results(Vec<Outcomes>);

impl Outcomes {
    pub fn new(guest: String) -> Self {
        Self { guest, release: String::new(), tests: BTreeMap::new(), has_ended: false }
    }

    /// Takes a line of the console: `@@ RESULT WHAT: WHY`, or anything else.
    pub fn read(&mut self, line: &str) {
        let Some((_, report)) = line.split_once(MARK) else { return };
        let (head, why) = report.split_once(':').unwrap_or((report, ""));
        let (result, what) = head.split_once(' ').unwrap_or((head, ""));
        let why = why.trim().to_owned();
        let outcome = match result {
            "works" => Outcome::Works,
            "unavailable" => Outcome::Unavailable(why),
            "fails" => Outcome::Fails(why),
            "kernel" => return what.clone_into(&mut self.release),
            "end" => return self.has_ended = true,
            _ => return,
        };
        self.tests.insert(what.to_owned(), outcome);
    }

    pub fn fail(&mut self, what: &str, why: &str) {
        self.tests.insert(what.to_owned(), Outcome::Fails(why.to_owned()));
    }

    /// A guest that ended early has failed.
    pub fn check_end(&mut self) {
        if !self.has_ended {
            self.fail("guest", "the guest ended before its tests did");
        }
    }

    fn cell(&self, test: &str) -> &str {
        match self.tests.get(test) {
            None => "–",
            Some(Outcome::Works) => "works",
            Some(Outcome::Unavailable(_)) => "not available",
            Some(Outcome::Fails(_)) => "FAILS",
        }
    }
}

impl Results {
    pub fn add(&mut self, outcomes: Outcomes) {
        self.0.push(outcomes);
    }

    pub fn has_failures(&self) -> bool {
        let mut outcomes = self.0.iter().flat_map(|guest| guest.tests.values());
        outcomes.any(|outcome| matches!(outcome, Outcome::Fails(_)))
    }

    /// Prints a row for each test, a column for each guest, and the reasons below.
    pub fn print(&self) {
        let mut tests: Vec<&String> = self.0.iter().flat_map(|guest| guest.tests.keys()).collect();
        tests.sort_unstable();
        tests.dedup();
        let first = tests.iter().map(|test| test.len()).max().unwrap_or(0);
        let widths: Vec<usize> =
            self.0.iter().map(|guest| guest.guest.len().max("not available".len())).collect();
        let row = |name: &str, cells: Vec<&str>| {
            let cells: Vec<String> =
                cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            println!("{}", format!("{name:first$}  {}", cells.join("  ")).trim_end());
        };
        row("", self.0.iter().map(|guest| guest.guest.as_str()).collect());
        for test in tests {
            row(test, self.0.iter().map(|guest| guest.cell(test)).collect());
        }
        self.print_reasons();
    }

    fn print_reasons(&self) {
        for guest in &self.0 {
            println!("\n{}: Linux {}", guest.guest, guest.release);
            for (test, outcome) in &guest.tests {
                match outcome {
                    Outcome::Works => {}
                    Outcome::Unavailable(why) => println!("  {test} is not available: {why}"),
                    Outcome::Fails(why) => println!("  {test} FAILS: {why}"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Outcomes};

    #[test]
    fn reports_are_found_among_other_lines() {
        let mut outcomes = Outcomes::new("6.1".to_owned());
        outcomes.read("[    0.1] a message of the kernel");
        outcomes.read("@@ works trace_net: (1.0 s)");
        outcomes.read("[    0.2] cut@@ fails text: 'a: b' where the kernel prints 'c'");
        outcomes.check_end();
        assert_eq!(outcomes.tests["trace_net"], Outcome::Works);
        assert_eq!(outcomes.tests["text"], Outcome::Fails("'a: b' where the kernel prints 'c'".to_owned()));
        assert!(matches!(outcomes.tests["guest"], Outcome::Fails(_)), "it has not ended");
    }
}
