//! Finds the objects of a session in the kernel by their names.
//!
//! The host contains no code for any trace sub-system. But every object that a session creates in tracefs is named after
//! the session, so that name is enough to find it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::PathBuf;

use trace_hook_api::Environment;

/// The files that list dynamic events, one a line. Opening one with O_TRUNC removes all of its events.
const LISTS: [&str; 3] = ["kprobe_events", "uprobe_events", "dynamic_events"];

/// The objects of a session in the kernel's tracefs.
pub struct KernelObjects<'a> {
    session: &'a str,
    /// `None`: tracefs is not mounted, so there are no objects.
    tracefs: Option<PathBuf>,
}

impl<'a> KernelObjects<'a> {
    /// The objects of the session with this name.
    pub fn of(session: &'a str, environment: &Environment) -> Self {
        let places = ["kernel/tracing", "kernel/debug/tracing"].map(|place| environment.sysfs.join(place));
        let tracefs = places.into_iter().find(|place| place.join("instances").is_dir());
        Self { session, tracefs }
    }

    /// Describes one of the objects, if there is any.
    pub fn any(&self) -> Option<String> {
        let instance = self.instances().next().map(|path| {
            format!("the tracing instance {}", path.file_name().unwrap_or_default().to_string_lossy())
        });
        instance.or_else(|| {
            let in_list = |list| self.events(list).into_iter().next().map(|event| (event, list));
            LISTS.into_iter().find_map(in_list).map(|(event, list)| format!("{event} in {list}"))
        })
    }

    /// Removes all of the objects.
    ///
    /// # Errors
    ///
    /// The first object that could not be removed. The others are removed regardless.
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

    /// The session's events in this list, as `SYSTEM/EVENT`. A line is `p:SYSTEM/EVENT PLACE ARGUMENT...`.
    fn events(&self, list: &str) -> Vec<String> {
        let text = self.tracefs.as_ref().and_then(|tracefs| fs::read(tracefs.join(list)).ok());
        let text = String::from_utf8_lossy(text.as_deref().unwrap_or_default()).into_owned();
        let names = text.lines().filter_map(|line| line.split_once(':')?.1.split_whitespace().next());
        names.filter(|name| name.contains(self.session)).map(str::to_owned).collect()
    }

    fn remove_event(&self, list: &str, event: &str) -> io::Result<()> {
        let Some(tracefs) = &self.tracefs else { return Ok(()) };
        // Fails if the event is already disabled or gone, which is fine.
        let _ = fs::write(tracefs.join("events").join(event).join("enable"), "0");
        File::options().append(true).open(tracefs.join(list))?.write_all(format!("-:{event}\n").as_bytes())
    }
}
