//! A tracing instance: a ring buffer with its own events, filters and tasks.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::OFlag;

use crate::clock::RecordClock;
use crate::dir::{Dir, is_plain_name};
use crate::error::{Error, Result};
use crate::events::stacks_of_option;
use crate::lock::{Claim, claim};
use crate::mount::Tracefs;
use crate::own_events::OwnEvents;
use crate::stats::BufferStats;
use crate::teardown::{Teardown, tear_down};

/// A tracing instance (`instances/NAME`) that belongs to this process.
///
/// It is locked while it exists, so that [`Tracefs::sweep`] skips it, and removed when dropped. If this process dies without
/// removing it, even by SIGKILL, the kernel stops its recording at once, and the next sweep removes it.
///
/// Close its files (those of a [`RingBuffer`](crate::ring::RingBuffer), for example) *before* removing or dropping it: the
/// kernel does not remove an instance with an open file. In a struct, declare them before the instance.
#[derive(Debug)]
pub struct Instance {
    name: String,
    pub(crate) dir: Arc<Dir>,
    tracefs: Tracefs,
    /// When its last descriptor is closed, the kernel stops recording.
    free_buffer: Option<File>,
    claim: Option<Claim>,
    /// An event was enabled, so tasks can no longer be chosen.
    pub(crate) events_enabled: AtomicBool,
    /// The events whose records are printed, and those that have filters or triggers.
    pub(crate) own_events: OwnEvents,
    /// Choosing tasks has failed: enabling an event might record all tasks.
    pub(crate) lacks_tasks: AtomicBool,
    /// Probes were defined for this instance.
    pub(crate) has_probes: AtomicBool,
    /// A task filter relies on the records of task:task_newtask.
    pub(crate) needs_new_tasks: AtomicBool,
    /// A filter was set for task:task_newtask.
    pub(crate) filters_new_tasks: AtomicBool,
    /// A filter was set for sched:sched_process_exit.
    pub(crate) filters_task_ends: AtomicBool,
}

impl Instance {
    /// Creates an instance and locks it. Nothing is recorded before [`start`](Instance::start).
    ///
    /// # Errors
    /// [`Error::InvalidName`], [`Error::InstanceExists`], or the operation that the kernel refused.
    pub fn create(tracefs: &Tracefs, name: &str) -> Result<Instance> {
        if !is_plain_name(name) {
            return Err(Error::InvalidName { name: name.to_owned() });
        }
        let path = tracefs.instance_path(name);
        let claim = loop {
            create_directory(&path)?;
            // Before it is locked, a sweep may treat the new directory as orphaned. It then holds the lock until the
            // directory is removed, and the directory is created again.
            match claim(&path) {
                Ok(Some(claim)) => break claim,
                Ok(None) => {}
                Err(error) => {
                    // Nothing is open in it yet, so it can be removed.
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
            own_events: OwnEvents::default(),
            lacks_tasks: AtomicBool::new(false),
            has_probes: AtomicBool::new(false),
            needs_new_tasks: AtomicBool::new(false),
            filters_new_tasks: AtomicBool::new(false),
            filters_task_ends: AtomicBool::new(false),
        };
        instance.stop()?;
        instance.stop_at_process_end()?;
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

    /// Starts recording: events after the return of this call are recorded.
    pub fn start(&self) -> Result<()> {
        self.dir.write("tracing_on", "1")
    }

    /// Stops recording. The recorded events stay readable.
    pub fn stop(&self) -> Result<()> {
        self.dir.write("tracing_on", "0")
    }

    /// Sets the size of the ring buffer, in KiB *per CPU*. The kernel rounds it up to whole pages.
    pub fn set_buffer_size(&self, kib_per_cpu: u64) -> Result<()> {
        self.dir.write("buffer_size_kb", &kib_per_cpu.to_string())
    }

    /// Sets one of the files in `options/` (Documentation/trace/ftrace.rst, "trace_options").
    pub fn set_option(&self, name: &str, on: bool) -> Result<()> {
        if let Some(stacks) = stacks_of_option(name).filter(|_| on) {
            self.own_events.request("ftrace", Some(stacks));
        }
        self.dir.write(Path::new("options").join(name), if on { "1" } else { "0" })
    }

    /// Sets the clock of the time stamps: "local", "global", "mono", "boot"… (Documentation/trace/ftrace.rst,
    /// "trace_clock"). This empties the buffer.
    ///
    /// This takes 16 to 40 ms, because the kernel waits for two RCU grace periods for each of the instance's buffers, one after
    /// the other, and holds `trace_types_lock` meanwhile (`tracing_set_clock` and `tracing_reset_online_cpus` in
    /// kernel/trace/trace.c). All who open a file of any instance then wait for that lock.
    pub fn set_clock(&self, name: &str) -> Result<()> {
        self.dir.write("trace_clock", name)
    }

    /// Opens the clock of the time stamps. The instance cannot be removed while it is open.
    ///
    /// # Errors
    /// The kernel's file cannot be opened.
    pub fn clock(&self) -> Result<RecordClock> {
        RecordClock::open(&self.dir)
    }

    /// The kernel's counts of the recorded and lost events.
    pub fn buffer_stats(&self) -> BufferStats {
        BufferStats::new(&self.dir)
    }

    /// Whether an option in `options/` is on. `false` if the kernel does not have it.
    pub fn has_option(&self, name: &str) -> bool {
        self.dir.read(Path::new("options").join(name)).is_ok_and(|value| value.trim() == "1")
    }

    /// The number of events lost so far on all CPUs: overwritten before they were read, or dropped.
    pub fn lost_events(&self) -> Result<u64> {
        Ok(self.buffer_stats().per_cpu()?.iter().map(|(_, counts)| counts.lost()).sum())
    }

    /// Removes the instance with all its records.
    ///
    /// If another process has a file of it open, this waits up to two seconds for the file to be closed.
    ///
    /// # Errors
    /// [`Error::InstanceBusy`]: recording has stopped and the buffer is freed, but the directory stays until a later
    /// [`Tracefs::sweep`].
    pub fn remove(self) -> Result<()> {
        Self::remove_all([self])
    }

    /// Removes several instances, which is faster than one after the other.
    ///
    /// # Errors
    /// As for [`remove`](Self::remove), which waits for each busy instance. All others are removed.
    pub fn remove_all(instances: impl IntoIterator<Item = Instance>) -> Result<()> {
        let mut instances: Vec<_> = instances.into_iter().collect();
        tear_down(instances.iter_mut().filter_map(Instance::teardown).collect())
    }

    /// With `disable_on_free`, the kernel stops recording when the last descriptor of `free_buffer` is closed, which happens at
    /// the latest when this process ends.
    fn stop_at_process_end(&mut self) -> Result<()> {
        self.set_option("disable_on_free", true)?;
        self.free_buffer = Some(self.dir.open_file("free_buffer", OFlag::O_WRONLY)?);
        Ok(())
    }

    /// `None` if it was removed already.
    fn teardown(&mut self) -> Option<Teardown<'_>> {
        Some(Teardown {
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
        let Some(teardown) = self.teardown() else { return };
        if let Err(error) = tear_down(vec![teardown]) {
            log::error!("{error}");
        }
    }
}

impl Tracefs {
    pub(crate) fn instance_path(&self, name: &str) -> std::path::PathBuf {
        self.root().join("instances").join(name)
    }
}

fn create_directory(path: &Path) -> Result<()> {
    fs::create_dir(path).map_err(|source| match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EEXIST) => Error::InstanceExists { path: path.to_path_buf() },
        _ => Error::io("create the tracing instance", path, source),
    })
}
