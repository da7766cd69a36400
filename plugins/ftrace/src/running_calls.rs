//! The system calls that threads are in.

use std::collections::HashMap;

use trace_tasks::Pid;
use tracefs::RecentMap;

/// The calls of at least this many threads are remembered. A call of a killed thread never returns, and its id may not be
/// reused for a long time.
pub const REMEMBERED: usize = 1 << 15;

/// The call that each thread is in, with what the hook knows of it.
///
/// A call that was running when records were lost may have returned meanwhile. So a return after a gap is not assigned to it.
#[derive(Debug)]
pub struct RunningCalls<C> {
    threads: RecentMap<Pid, Begun<C>>,
    gaps: u64,
}

#[derive(Debug)]
struct Begun<C> {
    call: C,
    /// The number of gaps before it.
    gaps: u64,
}

impl<C> Default for RunningCalls<C> {
    fn default() -> Self {
        Self { threads: RecentMap::new(REMEMBERED), gaps: 0 }
    }
}

impl<C> RunningCalls<C> {
    /// The thread begins a call. Returns calls that are forgotten to make room for it, with their threads.
    pub fn begin(&mut self, thread: Pid, call: C) -> impl Iterator<Item = (Pid, C)> + use<C> {
        let forgotten: HashMap<Pid, Begun<C>> = self.threads.make_room();
        self.threads.insert(thread, Begun { call, gaps: self.gaps });
        forgotten.into_iter().map(|(thread, begun)| (thread, begun.call))
    }

    /// The thread is in no call any more. Returns the call whose return was not seen.
    pub fn forget(&mut self, thread: Pid) -> Option<C> {
        self.threads.remove(&thread).map(|begun| begun.call)
    }

    /// The call that the thread is in, if no records were lost since it began.
    pub fn get_mut(&mut self, thread: Pid) -> Option<&mut C> {
        let begun = self.threads.get_mut(&thread)?;
        (begun.gaps == self.gaps).then_some(&mut begun.call)
    }

    /// The thread returns from a call, which `is_returning` recognises.
    ///
    /// # Errors
    ///
    /// The beginning of that call was not seen. The error has the call that the thread was in before, if any, whose return
    /// was not seen.
    pub fn end(&mut self, thread: Pid, is_returning: impl FnOnce(&C) -> bool) -> Result<C, Option<C>> {
        match self.threads.remove(&thread) {
            Some(begun) if begun.gaps == self.gaps && is_returning(&begun.call) => Ok(begun.call),
            other => Err(other.map(|begun| begun.call)),
        }
    }

    /// Some records are missing.
    pub fn lost(&mut self) {
        self.gaps += 1;
    }

    /// Removes all calls, with their threads.
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
        drop(running.begin(THREAD, call));
        running
    }

    #[test]
    fn return_belongs_to_the_call_before() {
        let mut running = running("read");
        assert_eq!(running.end(THREAD + 1, |_| true), Err(None));
        assert_eq!(running.end(THREAD, |call| *call == "read"), Ok("read"));
        assert_eq!(running.end(THREAD, |_| true), Err(None));
    }

    #[test]
    fn call_without_return_is_reported() {
        let mut running = running("write");
        assert_eq!(running.end(THREAD, |call| *call == "read"), Err(Some("write")));
        drop(running.begin(THREAD, "read"));
        assert_eq!(running.forget(THREAD), Some("read"));
        assert_eq!(running.forget(THREAD), None);
    }

    #[test]
    fn after_a_gap_no_return_belongs_to_a_call_before() {
        let mut running = running("read");
        running.lost();
        assert_eq!(running.get_mut(THREAD), None);
        assert_eq!(running.end(THREAD, |call| *call == "read"), Err(Some("read")));
        drop(running.begin(THREAD, "read"));
        assert_eq!(running.get_mut(THREAD), Some(&mut "read"));
        assert_eq!(running.end(THREAD, |call| *call == "read"), Ok("read"));
    }

    #[test]
    fn calls_before_a_gap_are_still_reported() {
        let mut running = running("read");
        running.lost();
        assert_eq!(running.forget(THREAD), Some("read"));
        drop(running.begin(THREAD, "write"));
        running.lost();
        assert_eq!(running.drain().collect::<Vec<_>>(), [(THREAD, "write")]);
    }

    #[test]
    fn number_of_calls_is_bounded_and_each_is_reported() {
        let mut running = RunningCalls::default();
        let threads = 10 * REMEMBERED as Pid;
        let mut reported = 0;
        for thread in 0..threads {
            reported += running.begin(thread, "read").count();
            assert!(running.threads.len() <= 2 * REMEMBERED);
        }
        assert_eq!(reported + running.drain().count(), threads as usize);
    }
}
