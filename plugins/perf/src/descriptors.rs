//! The limit of open file descriptors. Each event of each task takes one.

use std::collections::HashMap;
use std::io;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use trace_hook_api::{Environment, HookError};
use trace_tasks::{Member, Pid};

use crate::access;

/// Descriptors that are not events: up to a thousand files whose symbols are needed, and those of the session itself. Half of a low
/// limit is left for them.
const OTHER_DESCRIPTORS: u64 = 1100;

/// The threads that can have events, those of the smallest families first: a selected process that has too many, with its
/// descendants, costs others nothing.
#[derive(Debug)]
pub struct Room {
    pub threads: Vec<(Pid, Member)>,
    /// A sentence about the other threads, if there are any.
    pub left_out: Option<String>,
}

impl Room {
    /// The threads that can have this many events each, where so many others are open. Raises the limit, if allowed.
    pub fn find(threads: &HashMap<Pid, Member>, events_each: usize, open: usize) -> Self {
        let needed = open + threads.len() * events_each;
        let most = raise_limit_for(needed).saturating_sub(open) / events_each.max(1);
        let mut threads = smallest_families_first(threads);
        // The error that follows says more than an empty trace.
        let least = usize::from(open == 0);
        let others = threads.split_off(most.max(least).min(threads.len()));
        let left_out = (!others.is_empty()).then(|| {
            format!(
                "{} threads are left out with what they start, those of the largest families: the threads need {needed} perf events, a file descriptor \
                 each, and the limit is {}; raise it (ulimit -n), or trace fewer processes",
                others.len(),
                limit()
            )
        });
        Self { threads, left_out }
    }
}

/// Raises the limit, if allowed, so that this many events can be open. Returns how many can.
fn raise_limit_for(events: usize) -> usize {
    let wanted: rlim_t = events as u64 + OTHER_DESCRIPTORS;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return events };
    if wanted > soft {
        // Without the privilege to raise the hard limit, the soft one can be raised up to it.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, wanted.max(hard), wanted.max(hard))
            .or_else(|_| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    }
    let others = OTHER_DESCRIPTORS.min(limit() / 2);
    usize::try_from(limit() - others).unwrap_or(usize::MAX).min(events)
}

fn limit() -> u64 {
    getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft)
}

/// The members of a family are a selected process and its descendants.
fn smallest_families_first(threads: &HashMap<Pid, Member>) -> Vec<(Pid, Member)> {
    let mut sizes = HashMap::<Pid, usize>::new();
    threads.values().for_each(|member| *sizes.entry(member.root).or_default() += 1);
    let mut threads: Vec<_> = threads.iter().map(|(thread, member)| (*thread, *member)).collect();
    threads.sort_unstable_by_key(|(thread, member)| (sizes[&member.root], member.root, *thread));
    threads
}

/// The error if one of these events cannot be opened.
pub fn explain(error: &io::Error, environment: &Environment) -> HookError {
    let is = |errno: Errno| error.raw_os_error() == Some(errno as i32);
    if is(Errno::EMFILE) || is(Errno::ENFILE) {
        return HookError::new(format!(
            "each perf event of a thread takes a file descriptor, and the limit is {}; raise it (ulimit -n), or trace fewer processes",
            limit()
        ));
    }
    access::refused(error, environment)
}

#[cfg(test)]
mod tests {
    use trace_tasks::Follow;

    use super::*;

    #[test]
    fn the_largest_family_is_the_last() {
        let thread = |thread, root| (thread, Member::new(thread, root, Follow::FAMILY));
        let threads = [thread(1, 1), thread(5, 1), thread(6, 1), thread(3, 3), thread(4, 3), thread(2, 2)];
        let sorted = smallest_families_first(&threads.into_iter().collect());
        assert_eq!(sorted.iter().map(|(thread, _)| *thread).collect::<Vec<_>>(), [2, 3, 4, 1, 5, 6]);
    }
}
