//! The code of the processes that wait.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use trace_stacks::{CodeMap, Modules, ObserveTasks, OwnedMapping};
use trace_tasks::Pid;

use super::record::Memory;

/// How many of them are kept. Those that were not used for the longest time go first.
const MAX_MEMORIES: usize = 2000;

/// What is known of the code in the memories of processes.
#[derive(Debug, Default)]
pub struct MappedCode(Mutex<Memories>);

#[derive(Debug, Default)]
struct Memories {
    known: HashMap<Memory, Known>,
    /// In the order in which they are to be dropped.
    order: VecDeque<Memory>,
    /// Those whose mappings are being read, and since when.
    reading: HashMap<Memory, Instant>,
}

#[derive(Debug)]
struct Known {
    code: Arc<CodeMap>,
    is_used: bool,
}

/// The code of a memory.
#[derive(Debug)]
pub enum Code {
    Known(Arc<CodeMap>),
    /// It is being read since this time.
    Reading(Instant),
    Unknown,
}

impl MappedCode {
    /// Notes that the mappings will be read. What was not read of a program that the process executed before never will be.
    /// Returns false if they are going to be read anyway.
    pub fn expect(&self, memory: Memory) -> bool {
        let mut memories = self.memories();
        memories.reading.retain(|other, _| other.process != memory.process || *other == memory);
        memories.reading.insert(memory, Instant::now()).is_none()
    }

    /// The code of a memory.
    pub fn of(&self, memory: Memory) -> Code {
        let mut memories = self.memories();
        if let Some(since) = memories.reading.get(&memory) {
            return Code::Reading(*since);
        }
        memories.known.get_mut(&memory).map_or(Code::Unknown, |known| {
            known.is_used = true;
            Code::Known(Arc::clone(&known.code))
        })
    }

    fn set(&self, memory: Memory, code: CodeMap) {
        let mut memories = self.memories();
        if memories.reading.remove(&memory).is_some() {
            memories.add(memory, code);
        }
    }

    fn memories(&self) -> MutexGuard<'_, Memories> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memories {
    fn add(&mut self, memory: Memory, code: CodeMap) {
        // A process that ends while its mappings are read has none: what was read before is better.
        if code.is_empty() && self.known.contains_key(&memory) {
            return;
        }
        let is_new = self.known.insert(memory, Known { code: Arc::new(code), is_used: false }).is_none();
        if is_new {
            self.order.push_back(memory);
        }
        while self.known.len() > MAX_MEMORIES {
            let Some(oldest) = self.order.pop_front() else { return };
            let is_used = self.known.get_mut(&oldest).is_some_and(|known| std::mem::take(&mut known.is_used));
            if is_used {
                self.order.push_back(oldest);
            } else {
                self.known.remove(&oldest);
            }
        }
    }
}

/// Takes what the observer reads.
pub struct CodeReader {
    pub code: Arc<MappedCode>,
    pub modules: Arc<Modules>,
}

impl ObserveTasks for CodeReader {
    type Tasks = Memory;

    fn process(memory: &Memory) -> Pid {
        memory.process
    }

    fn take(&mut self, memory: &Memory, mappings: Vec<OwnedMapping>) {
        let mut code = CodeMap::default();
        for mapping in &mappings {
            code.map(memory.process, &mapping.borrowed(), &self.modules);
        }
        self.code.set(*memory, code);
    }
}

/// How long waits are held back until the code is read.
pub const LONGEST_READ: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(process: Pid, number: u64) -> Memory {
        Memory { process, number }
    }

    #[test]
    fn an_executed_program_makes_unread_code_unknown() {
        let code = MappedCode::default();
        assert!(code.expect(memory(1, 10)) && !code.expect(memory(1, 10)));
        assert!(code.expect(memory(2, 10)) && code.expect(memory(1, 11)));
        code.set(memory(1, 10), CodeMap::default());
        assert!(matches!(code.of(memory(1, 10)), Code::Unknown));
        assert!(matches!(code.of(memory(2, 10)), Code::Reading(_)));
        code.set(memory(1, 11), CodeMap::default());
        assert!(matches!(code.of(memory(1, 11)), Code::Known(_)));
    }

    #[test]
    fn memories_in_use_are_kept_and_others_are_bounded() {
        let code = MappedCode::default();
        for number in 0..3 * MAX_MEMORIES as u64 {
            code.expect(memory(1, number));
            code.set(memory(1, number), CodeMap::default());
            assert!(matches!(code.of(memory(1, 0)), Code::Known(_)), "{number}");
        }
        let memories = code.memories();
        assert_eq!((memories.known.len(), memories.order.len()), (MAX_MEMORIES, MAX_MEMORIES));
    }
}
