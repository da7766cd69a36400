//! Which calls have not returned yet.

use std::collections::HashMap;

use trace_tasks::Pid;

/// Deeper than that the kernel sees no returns (`MAX_URETPROBE_DEPTH`, 64); what lies below has been left without one.
const DEEPEST: usize = 256;
/// Threads may end within a function. When there are so many, those are forgotten that live as well.
const MOST_THREADS: usize = 1 << 15;

/// The calls of each thread, the innermost last.
#[derive(Debug, Default)]
pub struct OpenCalls {
    threads: HashMap<Pid, Vec<Call>>,
}

#[derive(Debug)]
struct Call {
    function: u32,
    began: u64,
}

impl OpenCalls {
    /// A function is called.
    pub fn call(&mut self, thread: Pid, function: u32, now: u64) {
        if self.threads.len() >= MOST_THREADS {
            self.threads.clear();
        }
        let calls = self.threads.entry(thread).or_default();
        if calls.len() >= DEEPEST {
            calls.remove(0);
        }
        calls.push(Call { function, began: now });
    }

    /// A function returns. How long it took, if its call is known. Calls within it that never returned, such as those
    /// that an exception ended, are over as well.
    pub fn returns(&mut self, thread: Pid, function: u32, now: u64) -> Option<u64> {
        let calls = self.threads.get_mut(&thread)?;
        let at = calls.iter().rposition(|call| call.function == function)?;
        let began = calls.get(at)?.began;
        calls.truncate(at);
        if calls.is_empty() {
            self.threads.remove(&thread);
        }
        now.checked_sub(began)
    }

    /// Some events are lost: calls and returns may be among them.
    pub fn forget(&mut self) {
        self.threads.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_return_belongs_to_its_call() {
        let mut calls = OpenCalls::default();
        calls.call(1, 7, 100);
        calls.call(1, 7, 110);
        calls.call(2, 7, 115);
        calls.call(1, 8, 120);
        assert_eq!(calls.returns(1, 8, 125), Some(5));
        assert_eq!(calls.returns(1, 7, 130), Some(20));
        assert_eq!(calls.returns(1, 7, 150), Some(50));
        assert_eq!(calls.returns(1, 7, 160), None);
        assert_eq!(calls.returns(2, 7, 116), Some(1));
        assert!(calls.threads.is_empty());
    }

    #[test]
    fn a_call_without_a_return_is_over_with_its_caller() {
        let mut calls = OpenCalls::default();
        calls.call(1, 7, 100);
        calls.call(1, 8, 110);
        assert_eq!(calls.returns(1, 7, 120), Some(20));
        assert_eq!(calls.returns(1, 8, 130), None);
        calls.call(1, 7, 200);
        calls.forget();
        assert_eq!(calls.returns(1, 7, 210), None);
    }

    #[test]
    fn what_never_returns_takes_no_more_memory_than_it_must() {
        let mut calls = OpenCalls::default();
        (0..10_000).for_each(|n| calls.call(1, n, 0));
        assert_eq!(calls.threads[&1].len(), DEEPEST);
        (0..100_000).for_each(|thread| calls.call(thread, 1, 0));
        assert!(calls.threads.len() <= MOST_THREADS);
    }
}
