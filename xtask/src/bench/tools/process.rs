//! Memory and CPU time of a running process, from procfs.

use std::fs;
use std::iter;
use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::error::{Explain, Result};

/// A figure of a process's memory in procfs.
pub struct Figure {
    /// The name in the output.
    pub name: &'static str,
    /// The file of `/proc/PID`.
    pub file: &'static str,
    /// The prefix of its line.
    pub key: &'static str,
}

impl Figure {
    /// In megabytes. The kernel's `kB` are KiB.
    pub fn of(&self, pid: u32) -> Result<f64> {
        let text = proc(pid, self.file)?;
        let line = text.lines().find_map(|line| line.strip_prefix(self.key));
        let line = line.ok_or_else(|| format!("no {} of {pid}", self.key))?;
        let kibibytes: f64 = line.trim_end_matches("kB").trim().parse()?;
        Ok(kibibytes * 1024.0 / 1e6)
    }
}

/// A process and its children.
pub fn family(pid: u32) -> Result<Vec<u32>> {
    let children = proc(pid, &format!("task/{pid}/children"))?;
    iter::once(Ok(pid)).chain(children.split_whitespace().map(|child| Ok(child.parse()?))).collect()
}

/// The worker of a manager.
pub fn worker(manager: u32) -> Result<u32> {
    family(manager)?.get(1).copied().ok_or_else(|| "the manager has no worker".into())
}

/// The CPU time that a process and its threads have used so far.
pub fn cpu_time(pid: u32) -> Result<Duration> {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.try_into()?))?;
    Ok(clock_gettime(clock)?.into())
}

fn proc(pid: u32, file: &str) -> Result<String> {
    let file = format!("/proc/{pid}/{file}");
    fs::read_to_string(&file).explain(|| format!("cannot read {file}"))
}
