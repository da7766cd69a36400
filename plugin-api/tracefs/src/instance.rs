//! A tracing instance: a ring buffer with events, filters and tasks of its own.

use std::fs::{self, File};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::dir::{Dir, is_plain_name};
use crate::error::{Error, Result};
use crate::lock::{Claim, claim};
use crate::mount::Tracefs;
use crate::stats::BufferStats;
use crate::teardown::{Leaving, tear_down};

/// A tracing instance (`instances/NAME`) that belongs to this process.
///
/// It is locked while it lives, so that [`Tracefs::sweep`] leaves it alone, and removed when
/// dropped. If this process dies without having removed it, even by SIGKILL, the kernel turns its
/// recording off at once, and the next sweep removes it.
///
/// Close what you opened in it (a [`RingBuffer`](crate::ring::RingBuffer)…) *before* removing or dropping it: the
/// kernel does not remove an instance of which a file is open. In a struct, declare them before
/// the instance.
#[derive(Debug)]
pub struct Instance {
    name: String,
    pub(crate) dir: Arc<Dir>,
    tracefs: Tracefs,
    /// The dead-man's switch: when the last descriptor of it is closed, the kernel stops recording.
    free_buffer: Option<File>,
    claim: Option<Claim>,
    /// An event was enabled through this instance, so it is too late to choose tasks.
    pub(crate) events_enabled: AtomicBool,
    /// The events whose records are printed: a system, or one event of it.
    pub(crate) requested: Mutex<Vec<(String, Option<String>)>>,
    /// Tasks were to be chosen and that has failed: enabling an event might record everyone.
    pub(crate) lacks_tasks: AtomicBool,
    /// Events at places in programs were defined for this instance.
    pub(crate) has_probes: AtomicBool,
    /// A task filter relies on the records of task:task_newtask.
    pub(crate) needs_new_tasks: AtomicBool,
}

impl Instance {
    /// Makes an instance and locks it. Nothing is recorded before [`start`](Instance::start).
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::InstanceExists`], or the file the kernel refused.
    pub fn create(tracefs: &Tracefs, name: &str) -> Result<Instance> {
        if !is_plain_name(name) {
            return Err(Error::InvalidName { name: name.to_owned() });
        }
        let path = tracefs.instance_path(name);
        let claim = loop {
            make(&path)?;
            // A sweeper may take the new directory for an orphan before we have locked it: it then
            // holds the lock while removing it, and we make it anew.
            match claim(&path) {
                Ok(Some(claim)) => break claim,
                Ok(None) => {}
                Err(error) => {
                    // There is nothing in it yet that could keep it from going.
                    let _ = fs::remove_dir(&path);
                    return Err(error);
                }
            }
        };
        let mut instance = Instance {
            name: name.to_owned(),
            dir: Arc::clone(&claim.dir),
            tracefs: tracefs.clone(),
            free_buffer: None,
            claim: Some(claim),
            events_enabled: AtomicBool::new(false),
            requested: Mutex::default(),
            lacks_tasks: AtomicBool::new(false),
            has_probes: AtomicBool::new(false),
            needs_new_tasks: AtomicBool::new(false),
        };
        instance.stop()?;
        instance.arm_dead_mans_switch()?;
        Ok(instance)
    }

    /// The name it was created with.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The tracefs it is in.
    pub fn tracefs(&self) -> &Tracefs {
        &self.tracefs
    }

    /// Starts recording: what happens after this returns is recorded.
    pub fn start(&self) -> Result<()> {
        self.dir.write("tracing_on", "1")
    }

    /// Stops recording. What was recorded stays readable.
    pub fn stop(&self) -> Result<()> {
        self.dir.write("tracing_on", "0")
    }

    /// Sets the size of the ring buffer, in KiB *per CPU*. The kernel rounds it up to whole pages.
    pub fn set_buffer_size(&self, kib_per_cpu: u64) -> Result<()> {
        self.dir.write("buffer_size_kb", &kib_per_cpu.to_string())
    }

    /// Sets one of the files in `options/` (Documentation/trace/ftrace.rst, "trace_options").
    pub fn set_option(&self, name: &str, on: bool) -> Result<()> {
        self.dir.write(Path::new("options").join(name), if on { "1" } else { "0" })
    }

    /// The clocks that this kernel offers for the time stamps.
    pub fn clocks(&self) -> Result<Vec<String>> {
        let listed = self.dir.read("trace_clock")?;
        // `[local] global counter uptime perf mono mono_raw boot tai x86-tsc`: the one in brackets is in use.
        Ok(listed.split_ascii_whitespace().map(|name| name.trim_matches(['[', ']']).to_owned()).collect())
    }

    /// Sets the clock of the time stamps: "local", "global", "mono", "boot"… (Documentation/trace/ftrace.rst,
    /// "trace_clock"). This empties the buffer.
    ///
    /// It takes 16 to 20 ms, for which the kernel waits: it holds `trace_types_lock` for two grace periods of RCU, one after
    /// the other (`tracing_set_clock` and `tracing_reset_online_cpus` in kernel/trace/trace.c). Meanwhile whatever else takes
    /// that lock waits, too: making instances, options, the first use of `set_event_pid`, enabling of events.
    pub fn set_clock(&self, name: &str) -> Result<()> {
        self.dir.write("trace_clock", name)
    }

    /// The kernel's counts of what this instance recorded and lost.
    pub fn buffer_stats(&self) -> BufferStats {
        BufferStats::new(&self.dir)
    }

    /// Whether an option in `options/` is on. `false` where the kernel does not have it.
    pub fn has_option(&self, name: &str) -> bool {
        self.dir.read(Path::new("options").join(name)).is_ok_and(|value| value.trim() == "1")
    }

    /// How many events were lost so far on all CPUs: overwritten before they were read, or dropped.
    pub fn lost_events(&self) -> Result<u64> {
        Ok(self.buffer_stats().per_cpu()?.iter().map(|(_, counts)| counts.lost()).sum())
    }

    /// Removes the instance with all that was recorded in it.
    ///
    /// This waits for a short while, about two seconds, for others to close what they opened in it.
    ///
    /// # Errors
    /// [`Error::InstanceBusy`]: nothing is recorded any more, the buffer is freed, and a later
    /// [`Tracefs::sweep`] will remove the rest.
    pub fn remove(self) -> Result<()> {
        Self::remove_all([self])
    }

    /// Removes several, which takes less time than one after the other.
    ///
    /// # Errors
    /// As with one; for each that is busy it is waited that long. All that can be removed are.
    pub fn remove_all(instances: impl IntoIterator<Item = Instance>) -> Result<()> {
        let mut instances: Vec<_> = instances.into_iter().collect();
        tear_down(instances.iter_mut().filter_map(Instance::leave).collect())
    }

    /// `disable_on_free` makes the kernel turn recording off when the last descriptor of
    /// `free_buffer` is closed, whoever closes it.
    fn arm_dead_mans_switch(&mut self) -> Result<()> {
        self.set_option("disable_on_free", true)?;
        self.free_buffer = Some(self.dir.open_file("free_buffer", OFlag::O_WRONLY)?);
        Ok(())
    }

    /// `None` if it has been removed.
    fn leave(&mut self) -> Option<Leaving<'_>> {
        Some(Leaving {
            claim: self.claim.take()?,
            free_buffer: self.free_buffer.take(),
            has_probes: self.has_probes.load(Ordering::Relaxed),
            tracefs: &self.tracefs,
            name: &self.name,
        })
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let Some(leaving) = self.leave() else { return };
        if let Err(error) = tear_down(vec![leaving]) {
            log::error!("{error}");
        }
    }
}

impl Tracefs {
    pub(crate) fn instance_path(&self, name: &str) -> std::path::PathBuf {
        self.root().join("instances").join(name)
    }
}

fn make(path: &Path) -> Result<()> {
    fs::create_dir(path).map_err(|source| match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EEXIST) => Error::InstanceExists { path: path.to_path_buf() },
        _ => Error::io("make the tracing instance", path, source),
    })
}
