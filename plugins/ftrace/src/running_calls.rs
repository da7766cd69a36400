//! The system calls that threads are in.

use std::collections::HashMap;

use trace_tasks::Pid;

/// What is known of the call that each thread is in.
///
/// What was under way when records were lost may have returned meanwhile. So no return after that is taken for its.
#[derive(Debug)]
pub struct RunningCalls<C> {
    threads: HashMap<Pid, Begun<C>>,
    gaps: u64,
}

#[derive(Debug)]
struct Begun<C> {
    call: C,
    /// How many gaps there were before it.
    gaps: u64,
}

impl<C> Default for RunningCalls<C> {
    fn default() -> Self {
        Self { threads: HashMap::new(), gaps: 0 }
    }
}

impl<C> RunningCalls<C> {
    /// The thread begins a call.
    pub fn begins(&mut self, thread: Pid, call: C) {
        self.threads.insert(thread, Begun { call, gaps: self.gaps });
    }

    /// The thread is in no call any more. The one whose return was not seen.
    pub fn forget(&mut self, thread: Pid) -> Option<C> {
        self.threads.remove(&thread).map(|begun| begun.call)
    }

    /// The call that the thread is in for sure.
    pub fn get_mut(&mut self, thread: Pid) -> Option<&mut C> {
        let begun = self.threads.get_mut(&thread)?;
        (begun.gaps == self.gaps).then_some(&mut begun.call)
    }

    /// The thread returns from a call, which `is_it` tells from others.
    ///
    /// # Errors
    ///
    /// That call was not seen to begin. What the thread was in before, whose return was not seen.
    pub fn returns(&mut self, thread: Pid, is_it: impl FnOnce(&C) -> bool) -> Result<C, Option<C>> {
        match self.threads.remove(&thread) {
            Some(begun) if begun.gaps == self.gaps && is_it(&begun.call) => Ok(begun.call),
            other => Err(other.map(|begun| begun.call)),
        }
    }

    /// Some records are missing.
    pub fn lost(&mut self) {
        self.gaps += 1;
    }

    /// Takes all whose return was not seen, with their threads.
    pub fn drain(&mut self) -> impl Iterator<Item = (Pid, C)> {
        self.threads.drain().map(|(thread, begun)| (thread, begun.call))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THREAD: Pid = 7;

    fn running(call: &'static str) -> RunningCalls<&'static str> {
        let mut running = RunningCalls::default();
        running.begins(THREAD, call);
        running
    }

    #[test]
    fn a_return_is_that_of_the_call_before() {
        let mut running = running("read");
        assert_eq!(running.returns(THREAD + 1, |_| true), Err(None));
        assert_eq!(running.returns(THREAD, |call| *call == "read"), Ok("read"));
        assert_eq!(running.returns(THREAD, |_| true), Err(None));
    }

    #[test]
    fn what_was_not_seen_to_return_is_told() {
        let mut running = running("write");
        assert_eq!(running.returns(THREAD, |call| *call == "read"), Err(Some("write")));
        running.begins(THREAD, "read");
        assert_eq!(running.forget(THREAD), Some("read"));
        assert_eq!(running.forget(THREAD), None);
    }

    #[test]
    fn across_a_gap_no_return_belongs_to_a_call() {
        let mut running = running("read");
        running.lost();
        assert_eq!(running.get_mut(THREAD), None);
        assert_eq!(running.returns(THREAD, |call| *call == "read"), Err(Some("read")));
        running.begins(THREAD, "read");
        assert_eq!(running.get_mut(THREAD), Some(&mut "read"));
        assert_eq!(running.returns(THREAD, |call| *call == "read"), Ok("read"));
    }

    #[test]
    fn what_a_gap_has_cut_off_is_still_told() {
        let mut running = running("read");
        running.lost();
        assert_eq!(running.forget(THREAD), Some("read"));
        running.begins(THREAD, "write");
        running.lost();
        assert_eq!(running.drain().collect::<Vec<_>>(), [(THREAD, "write")]);
    }
}
