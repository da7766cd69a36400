//! What a request means to any hook, whatever of the kernel's it records with.

use std::path::Path;

use trace_hook_api::{HookError, Request, Result};
use tracefs::{Follow, Pid, Procfs, Targets};

/// Where a spool's file goes: what is meant to be large, and need not fit into memory (file-hierarchy(7)).
pub const SPOOL_DIRECTORY: &str = "/var/tmp";

/// Whose events a request is for. Never those of this process and of its parent, the host.
pub fn targets(request: &Request) -> Targets {
    let (tasks, mut targets) = (&request.tasks, Targets::new());
    let own = if tasks.exact { Follow::ALONE } else { Follow::FAMILY };
    tasks.pids.iter().for_each(|pid| targets.add(*pid as Pid, own));
    tasks.parents.iter().for_each(|pid| targets.add(*pid as Pid, Follow::CHILDREN));
    Procfs::at(&request.environment.procfs).ourselves().into_iter().for_each(|pid| targets.except(pid));
    targets
}

/// Checks that there is memory for buffers of so many KiB for each CPU.
///
/// The kernel looks at one CPU at a time, and takes the memory for the first even if there is none for the second.
///
/// # Errors
///
/// There is not.
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
