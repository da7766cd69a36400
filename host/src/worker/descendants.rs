//! Processes that plugins fork and leave behind.
//!
//! A worker may end and leave processes, in process groups and sessions of their own. As a *child subreaper* (prctl(2))
//! the supervisor becomes the parent of all of them, and kills them. A worker is a subreaper too: if its supervisor has
//! died, it kills them itself.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::patience::patient;
use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::Pid;

/// A limit for plugins that fork faster than their processes are killed. A killed process closes its files first, for
/// which the kernel may need some tenths of a second where they are those of a tracing instance.
const KILL_LIMIT: Duration = Duration::from_secs(2);
/// Between two checks of a killed process, which ends soon and cannot be polled.
const CHECK_INTERVAL: Duration = Duration::from_micros(200);

static ADOPTING: AtomicBool = AtomicBool::new(false);
static WORKERS: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Makes this process the parent of every process that a worker leaves.
pub fn adopt() {
    // Where SIGCHLD was ignored at spawn, the kernel would not report how a worker ended.
    // SAFETY: `SIG_DFL` installs no handler.
    let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
    // Earlier children were those of a shell that has become this process by `exec`: they must not be killed.
    if !has_children() {
        ADOPTING.store(set_child_subreaper(true).is_ok(), Ordering::Relaxed);
    }
}

/// The same in a worker, which has no workers of its own.
pub fn adopt_in_worker() {
    workers().clear();
    adopt();
}

/// Notes that this child is a worker, which is not to be killed from here.
pub fn worker_started(pid: Pid) {
    workers().push(pid);
}

/// Notes that this worker has ended. After the last one, all processes that they left are killed.
pub fn worker_ended(pid: Pid) {
    let mut workers = workers();
    workers.retain(|worker| *worker != pid);
    let is_last = workers.is_empty();
    drop(workers);
    if is_last {
        kill_abandoned();
    }
}

/// Kills all processes that ended workers have left.
pub fn kill_abandoned() {
    let began = Instant::now();
    while ADOPTING.load(Ordering::Relaxed) && has_children() && began.elapsed() < patient(KILL_LIMIT) {
        let left: Vec<Pid> = children().into_iter().filter(|child| !workers().contains(child)).collect();
        if left.is_empty() {
            return;
        }
        // Kills all of them before waiting for any: one that is alive may fork another.
        for pid in &left {
            log::info!("killing process {pid}, which a plugin has left behind");
            let _ = kill(*pid, Signal::SIGKILL);
        }
        // Their own children are adopted when they end, and found in the next round.
        for pid in left {
            while waitpid(pid, Some(WaitPidFlag::WNOHANG)) == Ok(WaitStatus::StillAlive)
                && began.elapsed() < patient(KILL_LIMIT)
            {
                std::thread::sleep(CHECK_INTERVAL);
            }
        }
    }
}

fn has_children() -> bool {
    let any = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::All, any) != Err(Errno::ECHILD)
}

/// The children of all threads (proc_tid_children(5)). On a kernel without that file they are not found.
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
