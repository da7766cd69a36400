//! What bears a session's name in the kernel.
//!
//! The host knows no trace sub-system. But whatever a session makes in tracefs is named after the session, so it can be
//! found there by whoever knows that name.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use trace_hook_api::Environment;

/// The lists of events that are defined by whoever wants them, one a line. Opened with O_TRUNC they would lose them all.
const LISTS: [&str; 3] = ["kprobe_events", "uprobe_events", "dynamic_events"];

/// What a session of this name has in the kernel's tracefs.
pub struct KernelObjects<'a> {
    session: &'a str,
    /// Where there is no tracefs, there are no objects.
    tracefs: Option<PathBuf>,
}

impl<'a> KernelObjects<'a> {
    /// Those of the session with this name.
    pub fn of(session: &'a str, environment: &Environment) -> Self {
        let places = ["kernel/tracing", "kernel/debug/tracing"].map(|place| environment.sysfs.join(place));
        let tracefs = places.into_iter().find(|place| place.join("instances").is_dir());
        Self { session, tracefs }
    }

    /// One of them in words, if there is any.
    pub fn any(&self) -> Option<String> {
        let instance = self.instances().next().map(|path| {
            format!("the tracing instance {}", path.file_name().unwrap_or_default().to_string_lossy())
        });
        instance.or_else(|| {
            let in_list = |list| self.events(list).into_iter().next().map(|event| (event, list));
            LISTS.into_iter().find_map(in_list).map(|(event, list)| format!("{event} in {list}"))
        })
    }

    /// Removes them all.
    ///
    /// # Errors
    ///
    /// What is in the way of the first that is left.
    pub fn remove(&self) -> io::Result<()> {
        // An event cannot be removed while it is enabled in an instance.
        let instances = self.instances().map(fs::remove_dir).collect::<Vec<_>>();
        let events =
            LISTS.into_iter().flat_map(|list| self.events(list).into_iter().map(move |event| (list, event)));
        let events = events.map(|(list, event)| self.remove_event(list, &event)).collect::<Vec<_>>();
        instances.into_iter().chain(events).collect()
    }

    fn instances(&self) -> impl Iterator<Item = PathBuf> {
        let entries = self.tracefs.as_ref().and_then(|tracefs| fs::read_dir(tracefs.join("instances")).ok());
        let is_its = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(self.session))
        };
        entries.into_iter().flatten().flatten().map(|entry| entry.path()).filter(is_its)
    }

    /// The events of this list, as `SYSTEM/EVENT`. Its lines are `p:SYSTEM/EVENT PLACE ARGUMENT...`.
    fn events(&self, list: &str) -> Vec<String> {
        let text = self.tracefs.as_ref().and_then(|tracefs| fs::read(tracefs.join(list)).ok());
        let text = String::from_utf8_lossy(text.as_deref().unwrap_or_default()).into_owned();
        let names = text.lines().filter_map(|line| line.split_once(':')?.1.split_whitespace().next());
        names.filter(|name| name.contains(self.session)).map(str::to_owned).collect()
    }

    fn remove_event(&self, list: &str, event: &str) -> io::Result<()> {
        let Some(tracefs) = &self.tracefs else { return Ok(()) };
        // It need not be enabled.
        let _ = fs::write(tracefs.join("events").join(event).join("enable"), "0");
        File::options().append(true).open(tracefs.join(list))?.write_all(format!("-:{event}\n").as_bytes())
    }
}
