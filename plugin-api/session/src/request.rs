//! The parts of a request that mean the same to all hooks.

use std::path::Path;

use trace_hook_api::{HookError, Request, Result};
use trace_tasks::{Cgroup, Follow, Procfs, SelectedProcesses};

/// The directory of the spool's file. It is meant for large temporary files and is usually not in memory (file-hierarchy(7)).
pub const SPOOL_DIRECTORY: &str = "/var/tmp";

/// The tasks that a request selects. This process and its parent, the host, are never among them.
///
/// # Errors
///
/// A cgroup has been removed.
pub fn selected_processes(request: &Request) -> Result<SelectedProcesses> {
    let (tasks, mut selection) = (&request.tasks, SelectedProcesses::new());
    let own = if tasks.exact { Follow::ALONE } else { Follow::FAMILY };
    tasks.pids.iter().for_each(|pid| selection.add(*pid, own));
    tasks.parents.iter().for_each(|pid| selection.add(*pid, Follow::CHILDREN));
    for directory in &tasks.cgroups {
        selection.add_cgroup(Cgroup::open(directory, &request.environment.procfs)?);
    }
    if tasks.all {
        selection.add_all();
    }
    let ourselves = Procfs::at(&request.environment.procfs).ourselves();
    ourselves.into_iter().for_each(|pid| selection.exclude(pid));
    Ok(selection)
}

/// Checks that there is memory for buffers of `kib_per_cpu` KiB.
///
/// The kernel allocates them CPU by CPU, and uses up the memory before it finds that it is not enough.
///
/// # Errors
///
/// There is not enough.
pub fn check_memory(kib_per_cpu: u64, procfs: &Path) -> Result<()> {
    let read = |file: &str| std::fs::read_to_string(procfs.join(file)).unwrap_or_default();
    let is_cpu = |line: &&str| {
        line.strip_prefix("cpu").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let cpus = read("stat").lines().filter(is_cpu).count() as u64;
    let meminfo = read("meminfo");
    let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let available = available.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    match available {
        Some(available) if kib_per_cpu.saturating_mul(cpus) > available => Err(HookError::new(format!(
            "buffers of {kib_per_cpu} KiB for {cpus} CPUs need more memory than the {available} KiB available; \
             give a smaller --buffer-size"
        ))),
        _ => Ok(()),
    }
}
