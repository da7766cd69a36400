//! Processes that plugins fork and leave behind.
//!
//! A worker may end and leave processes, in process groups and sessions of their own. As a *child subreaper* (prctl(2))
//! the supervisor becomes the parent of all of them, and kills them. A worker is a subreaper too: if its supervisor has
//! died, or runs a command whose orphans it must not kill, it kills them itself.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::patience::patient;
use nix::errno::Errno;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpid};

/// A limit for plugins that fork faster than their processes are killed. A killed process closes its files first, for
/// which the kernel may need some tenths of a second where they are those of a tracing instance.
const KILL_LIMIT: Duration = Duration::from_secs(2);
/// Between two checks of a killed process, which ends soon and cannot be polled.
const CHECK_INTERVAL: Duration = Duration::from_micros(200);

static ADOPTING: AtomicBool = AtomicBool::new(false);
/// The children that are waited for elsewhere: workers, and a traced command.
static KNOWN: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Makes this process the parent of every process that a worker leaves.
pub fn adopt() {
    // Where SIGCHLD was ignored at spawn, the kernel would not report how a worker ended.
    // SAFETY: `SIG_DFL` installs no handler.
    let _ = unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) };
    // Earlier children were those of a shell that has become this process by `exec`: they must not be killed. The first
    // process of a pid namespace becomes the parent of all its orphans; when it ends, the kernel kills
    // them.
    if !has_children() && !is_first_of_namespace() {
        ADOPTING.store(set_child_subreaper(true).is_ok(), Ordering::Relaxed);
    }
}

/// The same in a worker, which has no workers of its own.
pub fn adopt_in_worker() {
    known().clear();
    adopt();
}

/// Leaves orphans to the caller from now on.
pub fn stop_adopting() {
    if ADOPTING.swap(false, Ordering::Relaxed) {
        let _ = set_child_subreaper(false);
    }
}

/// Notes that this child is a worker or a command, which is not to be killed from here.
pub fn child_started(pid: Pid) {
    known().push(pid);
}

/// Notes that this child has ended. After the last one, all processes that they left are killed.
pub fn child_ended(pid: Pid) {
    let mut known = known();
    known.retain(|child| *child != pid);
    let is_last = known.is_empty();
    drop(known);
    if is_last {
        kill_abandoned();
    }
}

/// Kills all processes that ended workers have left.
pub fn kill_abandoned() {
    let began = Instant::now();
    while ADOPTING.load(Ordering::Relaxed) && has_children() && began.elapsed() < patient(KILL_LIMIT) {
        let left: Vec<Pid> = children().into_iter().filter(|child| !known().contains(child)).collect();
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

/// Waits for the children that have ended, other than workers and a command. The first process of a pid namespace has to do this: orphans
/// become its children, and nothing else waits for them.
pub fn reap_orphans() {
    if !is_first_of_namespace() {
        return;
    }
    while let Some(child) = waitid(Id::All, observing()).ok().and_then(|status| status.pid()) {
        // A known child is waited for elsewhere, and then it is the next one's turn.
        if known().contains(&child) || waitpid(child, Some(WaitPidFlag::WNOHANG)).is_err() {
            return;
        }
    }
}

fn is_first_of_namespace() -> bool {
    getpid() == Pid::from_raw(1)
}

fn has_children() -> bool {
    waitid(Id::All, observing()) != Err(Errno::ECHILD)
}

/// Looks at a child, ended or not, and leaves it as it is.
fn observing() -> WaitPidFlag {
    WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT
}

/// The children of all threads (proc_tid_children(5)). On a kernel without that file they are not found.
fn children() -> Vec<Pid> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = threads.filter_map(|thread| fs::read_to_string(thread.path().join("children")).ok());
    let children = lists.flat_map(|list| list.split_whitespace().filter_map(own_pid).collect::<Vec<_>>());
    children.filter(|child| is_child(*child)).collect()
}

/// The id that a process has here, by its id in `/proc`, which may be that of an outer pid namespace.
fn own_pid(in_procfs: &str) -> Option<Pid> {
    let depth = ids_in_namespaces("self").len();
    let ids = ids_in_namespaces(in_procfs);
    // A kernel without pid namespaces does not list the ids.
    let id = if depth == 0 { in_procfs } else { ids.get(depth - 1)? };
    id.parse().ok().map(Pid::from_raw)
}

/// The ids that a process has in the pid namespaces from that of `/proc` inwards (`NSpid` in proc_pid_status(5)).
fn ids_in_namespaces(process: &str) -> Vec<String> {
    let status = fs::read(format!("/proc/{process}/status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status);
    let ids = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
    ids.split_whitespace().map(str::to_owned).collect()
}

/// A child that has not been waited for keeps its id, so that a signal cannot reach another process.
fn is_child(pid: Pid) -> bool {
    waitid(Id::Pid(pid), observing()).is_ok()
}

fn known() -> MutexGuard<'static, Vec<Pid>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}
