//! What plugins fork and leave behind.
//!
//! A worker may end and leave processes, in process groups and sessions of their own. As a *child subreaper* (prctl(2))
//! this process becomes the parent of all of them, and ends them. A worker is one, too: should its supervisor be gone, it
//! ends what is left itself.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

/// A plugin that forks faster than we kill does so for ever. But a process that is killed closes its files first, and the
/// kernel may need some tenths of a second for those of a tracing instance.
const PATIENCE: Duration = Duration::from_secs(2);
/// A process that is killed is gone soon, and there is nothing to wait for it with.
const NAP: Duration = Duration::from_micros(200);

static ADOPTING: AtomicBool = AtomicBool::new(false);
static WORKERS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// From now on, every process that a worker leaves becomes a child of this one.
pub fn adopt() {
    // Where it was ignored at spawn, the kernel would not tell how a worker ended.
    // SAFETY: `SIG_DFL` runs no code of ours.
    let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
    // Children from before were those of a shell that has become this process by `exec`: not ours to end, nor are theirs.
    if !has_children() {
        ADOPTING.store(set_child_subreaper(true).is_ok(), Ordering::Relaxed);
    }
}

/// The same in a worker, which has no workers of its own.
pub fn adopt_in_worker() {
    workers().clear();
    adopt();
}

/// This child is a worker, whose end is not to be forced from here.
pub fn is_worker(pid: Pid) {
    workers().push(pid);
}

/// This worker has ended. With the last one, everything is ended that they have left.
pub fn has_ended(pid: Pid) {
    let mut workers = workers();
    workers.retain(|worker| *worker != pid);
    let is_last = workers.is_empty();
    drop(workers);
    if is_last {
        end_left_over();
    }
}

/// Ends everything that ended workers have left.
pub fn end_left_over() {
    let began = Instant::now();
    while ADOPTING.load(Ordering::Relaxed) && has_children() && began.elapsed() < PATIENCE {
        let left: Vec<Pid> = children().into_iter().filter(|child| !workers().contains(child)).collect();
        if left.is_empty() {
            return;
        }
        // All of them first: one might fork another as long as it lives.
        for pid in &left {
            log::info!("ending process {pid}, which a plugin has left");
            let _ = kill(*pid, Signal::SIGKILL);
        }
        // What they had forked is adopted with their end, and found next time.
        for pid in left {
            while waitpid(pid, Some(WaitPidFlag::WNOHANG)) == Ok(WaitStatus::StillAlive)
                && began.elapsed() < PATIENCE
            {
                std::thread::sleep(NAP);
            }
        }
    }
}

fn has_children() -> bool {
    let any = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::All, any) != Err(Errno::ECHILD)
}

/// The children of all threads (proc_tid_children(5)). A kernel without that file keeps what plugins leave.
fn children() -> Vec<Pid> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().filter_map(pid).collect::<Vec<_>>()).collect()
}

fn pid(word: &str) -> Option<Pid> {
    word.parse().ok().map(Pid::from_raw)
}

fn workers() -> MutexGuard<'static, Vec<Pid>> {
    WORKERS.lock().unwrap_or_else(PoisonError::into_inner)
}
