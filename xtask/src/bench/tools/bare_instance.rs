//! The floor: a recording like a session's, made with only the necessary writes to tracefs.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::ring_counts::Counts;
use crate::error::{Explain, Result};

const INSTANCES: &str = "/sys/kernel/tracing/instances";
const CALLS: &str = "/sys/kernel/tracing/events/syscalls";
/// The prefix of our instances' names. The id of this process and a number follow.
const PREFIX: &str = "xtask_bench_";

/// What to record.
pub struct Recording {
    pids: Vec<u32>,
    /// Only these system calls, or all if empty.
    calls: &'static [&'static str],
    /// Whether their returns are recorded as well.
    returns: bool,
}

impl Recording {
    /// All system calls of these processes.
    pub fn of(pids: Vec<u32>) -> Self {
        Self { pids, calls: &[], returns: false }
    }

    /// All system calls of every process.
    pub fn of_anybody() -> Self {
        Self::of(Vec::new())
    }

    /// Only these calls.
    pub fn only(self, calls: &'static [&'static str]) -> Self {
        Self { calls, ..self }
    }

    /// The returns of the calls as well.
    pub fn with_returns(self) -> Self {
        Self { returns: true, ..self }
    }

    /// The arguments of a manager that records the same.
    pub fn arguments(&self) -> String {
        let pids: Vec<_> = self.pids.iter().map(u32::to_string).collect();
        let calls: String = self.calls.iter().map(|call| format!(" --syscall {call}")).collect();
        let returns = if self.returns { " --exit" } else { "" };
        format!("--pid {}{calls}{returns}", pids.join(" "))
    }

    fn lines_of_pids(&self) -> String {
        self.pids.iter().map(|pid| format!("{pid}\n")).collect()
    }

    /// The kernel has one switch for all calls with their returns, but none for calls only, which are enabled one by one.
    fn events(&self) -> Result<Vec<String>> {
        let kinds = if self.returns { &["sys_enter_", "sys_exit_"][..] } else { &["sys_enter_"] };
        if !self.calls.is_empty() {
            let events = |call| kinds.iter().map(move |kind| format!("{kind}{call}"));
            return Ok(self.calls.iter().flat_map(events).collect());
        }
        let is_wanted = |event: &String| kinds.iter().any(|kind| event.starts_with(kind));
        let mut events = Vec::new();
        for event in fs::read_dir(CALLS).explain(|| format!("cannot read {CALLS}"))? {
            events.extend(event?.file_name().into_string().ok().filter(is_wanted));
        }
        Ok(events)
    }
}

/// An instance that is recording, until it is dropped.
pub struct BareInstance {
    path: PathBuf,
    /// The kernel stops recording when this is closed, also if this process is killed.
    switch: Option<File>,
}

impl BareInstance {
    /// Creates it; returns the time that took.
    pub fn start(recording: &Recording) -> Result<(Self, Duration)> {
        let (events, pids) = (recording.events()?, recording.lines_of_pids());
        let began = Instant::now();
        let mut bare = Self::make()?;
        bare.write("options/disable_on_free", "1")?;
        bare.switch = Some(bare.open("free_buffer")?);
        bare.write("options/event-fork", "1")?;
        // One write, because each write waits for all CPUs.
        if !pids.is_empty() {
            bare.write("set_event_pid", &pids)?;
        }
        for event in events {
            bare.write(&format!("events/syscalls/{event}/enable"), "1")?;
        }
        bare.write("tracing_on", "1")?;
        Ok((bare, began.elapsed()))
    }

    /// Creates it, with a buffer of this size for each CPU.
    pub fn roomy(recording: &Recording, kib: u32) -> Result<Self> {
        let bare = Self::start(recording)?.0;
        bare.write("buffer_size_kb", &kib.to_string())?;
        Ok(bare)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The kernel's counts of its events.
    pub fn counts(&self) -> Result<Counts> {
        Counts::of(&self.path)
    }

    /// Removes it; returns the time that only the removal took.
    pub fn stop(mut self) -> Result<Duration> {
        self.switch = None;
        let began = Instant::now();
        drop(self);
        Ok(began.elapsed())
    }

    fn make() -> Result<Self> {
        let path = Path::new(INSTANCES).join(name());
        fs::create_dir(&path).explain(|| format!("cannot make {}", path.display()))?;
        Ok(Self { path, switch: None })
    }

    fn open(&self, file: &str) -> Result<File> {
        let file = self.path.join(file);
        OpenOptions::new().write(true).open(&file).explain(|| format!("cannot open {}", file.display()))
    }

    fn write(&self, file: &str, words: &str) -> Result<()> {
        self.open(file)?.write_all(words.as_bytes()).explain(|| format!("cannot write {words} to {file}"))
    }
}

impl Drop for BareInstance {
    fn drop(&mut self) {
        self.switch = None;
        if let Err(error) = fs::remove_dir(&self.path) {
            eprintln!("xtask: cannot remove {}: {error}", self.path.display());
        }
    }
}

/// The number of instances with this prefix.
pub fn count_instances(prefix: &str) -> Result<usize> {
    let instances = fs::read_dir(INSTANCES).explain(|| format!("cannot read {INSTANCES}"))?;
    let is_meant = |name: OsString| name.to_string_lossy().starts_with(prefix);
    Ok(instances.flatten().filter(|instance| is_meant(instance.file_name())).count())
}

/// Removes the instances of a killed run.
pub fn sweep() -> Result<()> {
    for instance in fs::read_dir(INSTANCES).explain(|| format!("cannot read {INSTANCES}"))? {
        let instance = instance?;
        let name = instance.file_name();
        let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('_').next());
        if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            fs::remove_dir(instance.path())
                .explain(|| format!("cannot remove {}", instance.path().display()))?;
        }
    }
    Ok(())
}

fn name() -> String {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    format!("{PREFIX}{}_{}", process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}
