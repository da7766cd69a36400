//! Who is traced, by the ids that the kernel's records have.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use tracefs::{Member, Pid, Procfs, Targets};

/// All threads to be traced that live now. A user may give a process by the id of any of its threads, and the targets know
/// it by that: here it has its own.
pub fn members(targets: &Targets, procfs: &Procfs) -> HashMap<Pid, Member> {
    let mut members = targets.members(procfs);
    let mut processes = HashMap::new();
    let mut process =
        |task: Pid| *processes.entry(task).or_insert_with(|| process_of(procfs.root(), task).unwrap_or(task));
    for member in members.values_mut() {
        member.process = process(member.process);
        member.root = process(member.root);
    }
    members
}

/// The process that a thread belongs to (proc_pid_status(5)). None, if it is gone.
fn process_of(procfs: &Path, task: Pid) -> Option<Pid> {
    let status = fs::read(procfs.join(format!("{task}/status"))).ok()?;
    let process = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Tgid:"))?;
    str::from_utf8(process).ok()?.trim().parse().ok()
}
