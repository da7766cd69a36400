//! The kernel's events of processes that join a cgroup.
//!
//! The session's own instance records what its tasks do. It is usually another task that moves a process to a cgroup, or starts one
//! in it. So these events have an instance of their own, which records them for all tasks. They are rare.

use std::ffi::OsStr;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use trace_hook_api::{HookError, Result, log};
use trace_tasks::{Cgroup, Pid, Procfs, in_initial_cgroup_namespace};
use tracefs::format::{EventFormat, Field, Formatter};
use tracefs::ring::{Layout, Page, RingBuffer};
use tracefs::{CGROUP_ATTACH, Instance, NEW_TASK, Tracefs};

use crate::tampering::{Consumption, Notices};

/// The condition for a record of a process that clone3(2) starts in a cgroup (`CLONE_INTO_CGROUP`), for which there is no other event.
const STARTED_IN_CGROUP: &str = "clone_flags & 0x200000000";

/// Reads the events.
#[derive(Debug)]
pub struct JoinEvents {
    ring: RingBuffer,
    layout: Layout,
    formatter: Formatter,
    attach: AttachEvent,
    /// The event of a process that is started in some cgroup, and its field with the pid.
    start: Option<(u16, Field)>,
    cgroups: Vec<Cgroup>,
    /// Whether the paths of the cgroups are known as the kernel records them.
    knows_paths: bool,
    procfs: Procfs,
    consumption: Consumption,
}

/// The fields of `cgroup:cgroup_attach_task` that are used.
#[derive(Debug)]
struct AttachEvent {
    id: u16,
    hierarchy: Field,
    cgroup: Field,
    path: Field,
    pid: Field,
}

/// What was recorded since the last time.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Joins {
    /// Processes, or threads of them, that were moved to a selected cgroup.
    pub attached: Vec<Pid>,
    /// Processes that were started in a cgroup, selected or not.
    pub started: Vec<Pid>,
    /// The number of records that are missing.
    pub lost: u64,
}

impl JoinEvents {
    /// Creates an instance with this name that records the events. `None` if the kernel does not have them. If other processes read
    /// them, that is reported to `notices`.
    pub fn open(
        tracefs: &Tracefs,
        name: &str,
        cgroups: &[Cgroup],
        procfs: &Path,
        notices: Notices,
    ) -> Option<(Instance, Self)> {
        let opened = Instance::create(tracefs, name).map_err(HookError::from).and_then(|instance| {
            let events = Self::enable(&instance, cgroups, procfs, notices)?;
            Ok((instance, events))
        });
        opened.inspect_err(|error| log::debug!("joiners are not reported at once: {error}")).ok()
    }

    fn enable(instance: &Instance, cgroups: &[Cgroup], procfs: &Path, notices: Notices) -> Result<Self> {
        let conditions: Vec<String> =
            cgroups.iter().map(|cgroup| format!("dst_root == {}", cgroup.hierarchy())).collect();
        let (system, event) = CGROUP_ATTACH;
        instance.set_filter(system, Some(event), &conditions.join(" || "))?;
        instance.enable_event(system, event)?;
        let mut formatter = Formatter::with_procfs(instance.tracefs().root(), instance.path(), procfs)?;
        let id = formatter.load(system, event)?;
        let attach = AttachEvent::new(id, formatter.format_of(system, event)?);
        let mut ring = RingBuffer::open(instance.path())?;
        ring.wake_at_first_record(true);
        Ok(Self {
            layout: ring.layout().clone(),
            ring,
            attach: attach.ok_or_else(|| HookError::new("cgroup:cgroup_attach_task has other fields"))?,
            start: Self::enable_starts(instance, cgroups, &mut formatter),
            formatter,
            cgroups: cgroups.to_vec(),
            knows_paths: in_initial_cgroup_namespace(procfs),
            procfs: Procfs::at(procfs),
            consumption: Consumption::of_joins(instance, notices),
        })
    }

    /// Processes can be started only in cgroups of version 2.
    fn enable_starts(
        instance: &Instance,
        cgroups: &[Cgroup],
        formatter: &mut Formatter,
    ) -> Option<(u16, Field)> {
        if cgroups.iter().all(|cgroup| cgroup.hierarchy() != 0) {
            return None;
        }
        let (system, event) = NEW_TASK;
        let enabled = instance
            .set_filter(system, Some(event), STARTED_IN_CGROUP)
            .and_then(|()| instance.enable_event(system, event));
        enabled.inspect_err(|error| log::debug!("{error}")).ok()?;
        let id = formatter.load(system, event).ok()?;
        Some((id, formatter.event(id)?.field("pid")?.clone()))
    }

    /// The descriptors that poll as readable from the first record on.
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.ring.descriptors().collect()
    }

    /// Reads the records since the last time, for the last time if `is_last`.
    ///
    /// # Errors
    ///
    /// The kernel's buffer cannot be read.
    pub fn take(&mut self, is_last: bool) -> Result<Joins> {
        let Self { ring, layout, formatter, attach, start, cgroups, consumption, .. } = self;
        let mut joins = Joins::default();
        let is_below =
            |cgroup: &Cgroup, id: u64, path: &Path| match cgroup.path().filter(|_| self.knows_paths) {
                Some(above) => path.starts_with(above),
                None => cgroup.ids().contains(&id),
            };
        let is_selected = |hierarchy: i64, id: i64, path: &Path| {
            let mut in_hierarchy = cgroups.iter().filter(|cgroup| i64::from(cgroup.hierarchy()) == hierarchy);
            let id = id as u64;
            in_hierarchy.any(|cgroup| cgroup.id() == id || is_below(cgroup, id, path))
        };
        ring.collect(|page| {
            consumption.collected(page.cpu, page.records, page.damage.is_some());
            joins.lost += page.lost.map_or(0, |lost| lost.count.unwrap_or(1));
            let Ok(page) = Page::new(layout, page.bytes) else { return };
            for record in page.records() {
                let id = formatter.id(record.data);
                if id == Some(attach.id) {
                    joins.attached.extend(attach.read(record.data, is_selected));
                }
                let started = start.as_ref().filter(|(event, _)| id == Some(*event));
                let pid = started.and_then(|(_, pid)| pid.number(record.data));
                joins.started.extend(pid.map(|pid| pid as Pid));
            }
        })?;
        if consumption.is_due() || is_last {
            consumption.look();
        }
        Ok(joins)
    }

    /// Whether a process that was started in a cgroup, and is not a member of a selected one, was in one at its end. `None` if that
    /// cannot be known: it does not exist any more, or has ended and a selected cgroup has no path.
    pub fn was_in_selected(&self, process: Pid) -> Option<bool> {
        let path = self.procfs.cgroup_path(process)?;
        let version_2 = self.cgroups.iter().filter(|cgroup| cgroup.hierarchy() == 0);
        let was_in_any = is_in_any(version_2.map(Cgroup::path), &path);
        // If it were in one, it would be a member.
        was_in_any.or_else(|| self.procfs.is_alive(process).then_some(false))
    }
}

impl AttachEvent {
    fn new(id: u16, format: &EventFormat) -> Option<Self> {
        let field = |name| format.field(name).cloned();
        Some(Self {
            id,
            hierarchy: field("dst_root")?,
            cgroup: field("dst_id")?,
            path: field("dst_path")?,
            pid: field("pid")?,
        })
    }

    /// The task of a record, if the cgroup with this hierarchy, id and path is selected.
    fn read(&self, record: &[u8], is_selected: impl Fn(i64, i64, &Path) -> bool) -> Option<Pid> {
        let path = self.path.bytes(record)?.split(|byte| *byte == 0).next()?;
        let path = Path::new(OsStr::from_bytes(path));
        let selected = is_selected(self.hierarchy.number(record)?, self.cgroup.number(record)?, path);
        selected.then(|| self.pid.number(record)).flatten().map(|pid| pid as Pid)
    }
}

/// Whether the cgroup with this path is one of the selected, or is below one. `None` if that depends on a path that is not known.
fn is_in_any<'a>(mut selected: impl Iterator<Item = Option<&'a Path>> + Clone, path: &Path) -> Option<bool> {
    let is_in_any = selected.clone().flatten().any(|above| path.starts_with(above));
    (is_in_any || selected.all(|above| above.is_some())).then_some(is_in_any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_without_a_path_may_be_the_one_of_a_process() {
        let selected = |paths: [Option<&'static str>; 2]| paths.map(|path| path.map(Path::new)).into_iter();
        let both = selected([Some("/a"), Some("/b/c")]);
        assert_eq!(is_in_any(both.clone(), Path::new("/b/c/d")), Some(true));
        assert_eq!(is_in_any(both, Path::new("/b")), Some(false));
        let one = selected([None, Some("/b/c")]);
        assert_eq!(is_in_any(one.clone(), Path::new("/b/c")), Some(true));
        assert_eq!(is_in_any(one, Path::new("/b")), None);
    }
}
