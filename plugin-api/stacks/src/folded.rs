//! Folded stacks for flame graphs: equal stacks, counted.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use trace_hook_api::{LineBuffer, Origin, boot_time};

use crate::symbolizer::Frame;

/// With this many different stacks, lines are written before they are due.
const MAX_STACKS: usize = 50_000;
/// The same, with this many functions in all different stacks together.
const MAX_FUNCTIONS: usize = 500_000;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FoldedUnit {
    /// How often there was a stack.
    Samples,
    /// For how many nanoseconds there was one.
    Nanoseconds,
}

/// Counts stacks, and writes lines at intervals.
#[derive(Debug)]
pub struct Folded {
    unit: FoldedUnit,
    every: Duration,
    next: Instant,
    counts: HashMap<Stack, u64>,
    functions: usize,
    /// Stacks whose lines are due, the last one first, and since when they are.
    due: Vec<(Stack, u64)>,
    due_since: u64,
}

/// The name of a task, and its functions with the innermost first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Stack {
    comm: Arc<[u8]>,
    functions: Vec<Arc<str>>,
}

impl Folded {
    /// Writes lines at this interval.
    pub fn every(every: Duration, unit: FoldedUnit) -> Self {
        let next = Instant::now() + every;
        Self { unit, every, next, counts: HashMap::new(), functions: 0, due: Vec::new(), due_since: 0 }
    }

    /// Adds to the count of a stack of a task of this name.
    pub fn add(&mut self, comm: &[u8], frames: Vec<Frame>, count: u64) {
        let functions = Vec::from_iter(frames.into_iter().map(|frame| frame.short));
        let length = functions.len();
        let counted = self.counts.entry(Stack { comm: comm.into(), functions }).or_default();
        self.functions += if *counted == 0 { length } else { 0 };
        *counted += count;
    }

    /// Whether lines are to be written before more stacks are added.
    pub fn is_due(&self) -> bool {
        let are_many = self.counts.len() >= MAX_STACKS || self.functions >= MAX_FUNCTIONS;
        !self.due.is_empty() || are_many || self.next <= Instant::now()
    }

    /// Writes the lines that are due, as far as there is room. At the end all of them are.
    pub fn write(&mut self, lines: &mut LineBuffer, is_end: bool) {
        if self.due.is_empty() && (is_end || self.is_due()) {
            self.next = Instant::now() + self.every;
            self.due_since = boot_time();
            self.due = self.counts.drain().collect();
            self.functions = 0;
            self.due.sort_unstable_by(|a, b| b.cmp(a));
        }
        while let Some((stack, count)) = self.due.pop_if(|_| !lines.is_full()) {
            let origin = Origin::at(self.due_since);
            let functions = stack.functions.iter().map(|name| name.as_bytes());
            match self.unit {
                FoldedUnit::Samples => lines.folded_stack(&origin, &stack.comm, functions, count),
                FoldedUnit::Nanoseconds => lines.folded_time(&origin, &stack.comm, functions, count),
            }
        }
    }

    /// Whether all lines that are due are written. At the end all of them are due.
    pub fn is_written(&self, is_end: bool) -> bool {
        self.due.is_empty() && (!is_end || self.counts.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_due_early_if_different_stacks_have_many_functions() {
        let mut folded = Folded::every(Duration::from_secs(3600), FoldedUnit::Samples);
        let name: Arc<str> = "f".into();
        let frames = |depth| vec![Frame { name: Arc::clone(&name), short: Arc::clone(&name) }; depth];
        (0..2000).for_each(|_| folded.add(b"sh", frames(1000), 1));
        assert!(!folded.is_due());
        (1..999).for_each(|depth| folded.add(b"sh", frames(depth), 1));
        assert!(!folded.is_due());
        (1001..1100).for_each(|depth| folded.add(b"sh", frames(depth), 1));
        assert!(folded.is_due());
        let mut lines = LineBuffer::with_room(100 << 20);
        folded.write(&mut lines, false);
        assert!(folded.is_written(true) && !folded.is_due());
    }

    #[test]
    fn stacks_added_while_the_buffer_is_full_are_written_at_the_end() {
        let mut folded = Folded::every(Duration::ZERO, FoldedUnit::Samples);
        let functions = |name: &str| vec![Frame { name: name.into(), short: name.into() }];
        ["a", "b"].iter().for_each(|name| folded.add(b"sh", functions(name), 1));
        let mut lines = LineBuffer::with_room(1);
        folded.write(&mut lines, false);
        folded.add(b"sh", functions("c"), 1);
        let mut written = lines.events();
        assert_eq!(written, 1);
        while !folded.is_written(true) {
            lines.reset(1000);
            folded.write(&mut lines, true);
            written += lines.events();
        }
        assert_eq!((written, lines.as_bytes()), (3, &b"sh;c 1\n"[..]));
    }
}
