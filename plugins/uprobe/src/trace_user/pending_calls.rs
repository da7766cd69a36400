//! Calls that have not returned yet.

use std::collections::HashMap;

use trace_tasks::Pid;

/// The kernel records returns of 64 nested calls (`MAX_URETPROBE_DEPTH`), so that calls that are deeper have no return.
const MAX_DEPTH: usize = 256;
/// Threads can end within a function. With this many threads all are dropped, also those that are alive.
const MAX_THREADS: usize = 1 << 15;

/// The calls of each thread, the innermost last.
#[derive(Debug, Default)]
pub struct PendingCalls {
    threads: HashMap<Pid, Vec<Call>>,
}

#[derive(Debug)]
struct Call {
    function: u32,
    began: u64,
}

impl PendingCalls {
    /// Adds a call.
    pub fn call(&mut self, thread: Pid, function: u32, now: u64) {
        if self.threads.len() >= MAX_THREADS {
            self.threads.clear();
        }
        let calls = self.threads.entry(thread).or_default();
        if calls.len() >= MAX_DEPTH {
            calls.remove(0);
        }
        calls.push(Call { function, began: now });
    }

    /// Removes the call of a function that returns, and with it the calls within it that have not returned, such as those
    /// that an exception has ended. Returns how long it took, if the call is known.
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

    /// To be called if events were lost: calls and returns can be among them.
    pub fn clear(&mut self) {
        self.threads.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_are_matched_with_their_calls() {
        let mut calls = PendingCalls::default();
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
    fn a_call_without_a_return_ends_with_its_caller() {
        let mut calls = PendingCalls::default();
        calls.call(1, 7, 100);
        calls.call(1, 8, 110);
        assert_eq!(calls.returns(1, 7, 120), Some(20));
        assert_eq!(calls.returns(1, 8, 130), None);
        calls.call(1, 7, 200);
        calls.clear();
        assert_eq!(calls.returns(1, 7, 210), None);
    }

    #[test]
    fn calls_that_never_return_take_bounded_memory() {
        let mut calls = PendingCalls::default();
        (0..10_000).for_each(|n| calls.call(1, n, 0));
        assert_eq!(calls.threads[&1].len(), MAX_DEPTH);
        (0..100_000).for_each(|thread| calls.call(thread, 1, 0));
        assert!(calls.threads.len() <= MAX_THREADS);
    }
}
