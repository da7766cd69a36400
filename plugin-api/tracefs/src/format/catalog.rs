use std::cell::OnceCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::btf::Btf;
use super::builtin::Builtin;
use super::options::Options;
use super::program::Program;
use super::syscall::{self, Syscall};
use super::{Error, EventFormat, Unprintable};
use crate::dir::Dir;

/// The events known so far, by id. Their formats are read when first needed.
#[derive(Debug)]
pub(super) struct Catalog {
    tracefs: Arc<Dir>,
    known: Vec<Option<Box<Event>>>,
    /// The format files that were asked for, with the ids of their events.
    loaded: HashMap<PathBuf, u16>,
    /// The format files of all events, by id. Empty until an id is requested that no enabled event has.
    files: HashMap<u16, PathBuf>,
    searched_at: Option<Instant>,
    /// The kernel's version, such as `6.12.3-generic`.
    release: Box<str>,
    /// Determined at the first system call.
    style: OnceCell<syscall::Style>,
    options: Options,
    btf: Btf,
}

/// An event and its printer.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) format: EventFormat,
    pub(super) system: Box<str>,
    /// Compiled on first use: reading fields does not need it, and it may require the kernel's whole BTF.
    printer: OnceCell<Printer>,
    /// The fields with names of tasks.
    pub(super) task_names: Box<[TaskNameField]>,
    pub(super) rename: Option<Rename>,
}

#[derive(Debug)]
pub(super) enum Printer {
    Syscall(Syscall),
    Builtin(Builtin),
    Program {
        /// The event's name and `: `.
        name: Box<[u8]>,
        program: Program,
    },
    /// Field by field, because the print format cannot be evaluated.
    Fields {
        name: Box<[u8]>,
        reason: Unprintable,
    },
}

/// A field with the name of a task, and the field with that task's id. Both are indices into the fields.
#[derive(Debug)]
pub(super) struct TaskNameField {
    pub(super) pid: usize,
    pub(super) name: usize,
}

/// The value of a field which indicates that the current task has a new name. The event does not contain the name.
#[derive(Debug)]
pub(super) struct Rename {
    pub(super) field: usize,
    pub(super) value: i64,
}

/// The least time between two searches of all events for an unknown id.
const SEARCH_INTERVAL: Duration = Duration::from_secs(1);

impl Catalog {
    pub(super) fn new(tracefs: Arc<Dir>, options: Options, release: &str) -> Self {
        Self {
            btf: Btf::beside(tracefs.path()),
            tracefs,
            known: Vec::new(),
            loaded: HashMap::new(),
            files: HashMap::new(),
            searched_at: None,
            release: release.into(),
            style: OnceCell::new(),
            options,
        }
    }

    /// The event if it has been read before.
    #[inline]
    pub(super) fn get(&self, id: u16) -> Option<&Event> {
        self.known.get(usize::from(id))?.as_deref()
    }

    /// Reads the format of one event, unless it has been read before.
    pub(super) fn load(&mut self, system: &str, event: &str) -> Result<u16, Error> {
        let file = format_file(system, event);
        if let Some(id) = self.loaded.get(&file) {
            return Ok(*id);
        }
        let id = self.load_file(&file)?;
        self.loaded.insert(file, id);
        Ok(id)
    }

    /// Loads the event with this id, if there is one and its format is readable.
    pub(super) fn load_by_id(&mut self, id: u16, instance: &Dir) {
        if self.get(id).is_some() {
            return;
        }
        if self.searched_at.is_none() {
            // It is probably one of the enabled events, which are few.
            let _ = self.load_enabled(instance);
        }
        let due = self.searched_at.is_none_or(|at| at.elapsed() >= SEARCH_INTERVAL);
        if self.get(id).is_none() && due && !self.files.contains_key(&id) {
            self.search();
        }
        if self.get(id).is_none()
            && let Some(path) = self.files.remove(&id)
            && let Err(error) = self.load_file(&path)
        {
            log::warn!("{error}; the event's records are printed as 'Unknown type'");
        }
    }

    /// Reads the formats of all events that are enabled in an instance, from its `set_event`.
    pub(super) fn load_enabled(&mut self, instance: &Dir) -> Result<usize, Error> {
        let text = read(instance, Path::new("set_event"))?;
        let mut count = 0;
        for (system, event) in text.lines().filter_map(|line| line.trim().split_once(':')) {
            count += usize::from(self.load_file(&format_file(system, event)).is_ok());
        }
        Ok(count)
    }

    /// Whether an event that has been read prints functions of the kernel. Those of `ftrace` need not be enabled, except stacks.
    pub(super) fn prints_symbols(&self) -> bool {
        let is_symbol = |text: &str| ["%ps", "%pS", "%pB"].iter().any(|conversion| text.contains(conversion));
        let prints_symbols = |event: &Event| match &*event.system {
            "ftrace" => event.format.name == "kernel_stack",
            _ => is_symbol(&event.format.print_fmt),
        };
        self.known.iter().flatten().any(|event| prints_symbols(event))
    }

    /// Reads a format file, by its path below tracefs.
    fn load_file(&mut self, path: &Path) -> Result<u16, Error> {
        let format = EventFormat::parse(&read(&self.tracefs, path)?)
            .map_err(|source| Error::Format { path: self.tracefs.path().join(path), source })?;
        let system = path.parent().and_then(Path::parent).and_then(Path::file_name).unwrap_or_default();
        Ok(self.add(&system.to_string_lossy(), format))
    }

    /// Adds an event. It replaces an event with the same id.
    pub(super) fn add(&mut self, system: &str, format: EventFormat) -> u16 {
        let id = format.id;
        let event = self.event(format, system);
        if self.known.len() <= usize::from(id) {
            self.known.resize_with(usize::from(id) + 1, || None);
        }
        if let Some(place) = self.known.get_mut(usize::from(id)) {
            *place = Some(Box::new(event));
        }
        id
    }

    /// The event of `system` that `format` describes.
    pub(super) fn event(&self, format: EventFormat, system: &str) -> Event {
        let task_names =
            if matches!(system, "sched" | "task") { task_name_fields(&format) } else { Box::default() };
        let rename = rename(&format);
        Event { format, system: system.into(), printer: OnceCell::new(), task_names, rename }
    }

    /// The event's printer.
    #[inline]
    pub(super) fn printer<'a>(&self, event: &'a Event) -> &'a Printer {
        event.printer.get_or_init(|| self.make_printer(&event.format, &event.system))
    }

    fn make_printer(&self, format: &EventFormat, system: &str) -> Printer {
        if system == "syscalls"
            && let Some(syscall) = Syscall::new(format, self.style(), self.options.verbose)
        {
            return Printer::Syscall(syscall);
        }
        if system == "ftrace"
            && let Some(builtin) = Builtin::new(format)
        {
            return Printer::Builtin(builtin);
        }
        let name = format!("{}: ", format.name).into_bytes().into();
        match Program::compile(format, &self.btf) {
            Ok(program) => Printer::Program { name, program: program.for_probe(format) },
            Err(reason) => Printer::Fields { name, reason },
        }
    }

    fn style(&self) -> syscall::Style {
        *self.style.get_or_init(|| {
            let openat = read(&self.tracefs, &format_file("syscalls", "sys_enter_openat"));
            syscall::Style::of(&openat.unwrap_or_default(), &self.release)
        })
    }

    /// Reads the ids of all events.
    fn search(&mut self) {
        let events = all_events(&self.tracefs);
        let with_id = events.filter_map(|(system, event)| {
            let id = read(&self.tracefs, &Path::new("events").join(&system).join(&event).join("id"));
            let format = format_file(&system, &event);
            // The system `ftrace` has no `id` files.
            let id = id.ok().and_then(|id| id.trim().parse().ok());
            Some((id.or_else(|| id_of_format(&self.tracefs, &format))?, format))
        });
        self.files = with_id.collect();
        self.searched_at = Some(Instant::now());
    }
}

fn id_of_format(tracefs: &Dir, file: &Path) -> Option<u16> {
    EventFormat::parse(&read(tracefs, file).ok()?).ok().map(|format| format.id)
}

/// The system and the name of every event.
pub(super) fn all_events(tracefs: &Dir) -> impl Iterator<Item = (String, String)> {
    let systems = tracefs.directories_in("events").unwrap_or_default();
    systems.into_iter().flat_map(|system| {
        let events = tracefs.directories_in(Path::new("events").join(&system)).unwrap_or_default();
        events.into_iter().map(move |event| (system.clone(), event))
    })
}

/// The path of an event's format below tracefs.
pub(super) fn format_file(system: &str, event: &str) -> PathBuf {
    Path::new("events").join(system).join(event).join("format")
}

/// The text of a file. Invalid UTF-8 is replaced.
pub(super) fn read(directory: &Dir, file: &Path) -> Result<String, Error> {
    let bytes = directory.contents(file);
    let bytes = bytes.map_err(|source| Error::Io { path: directory.path().join(file), source })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The pairs of fields with a name and an id of one task: `comm` and `pid`, `next_comm` and `next_pid`, `newcomm` and
/// `pid`.
fn task_name_fields(format: &EventFormat) -> Box<[TaskNameField]> {
    let index = |name: &str| format.fields.iter().position(|field| field.name == name);
    let pairs = format.fields.iter().enumerate().filter_map(|(name, field)| {
        let prefix = match field.name.as_str() {
            "comm" | "newcomm" => "",
            other => other.strip_suffix("comm").filter(|prefix| prefix.ends_with('_'))?,
        };
        Some(TaskNameField { pid: index(&format!("{prefix}pid"))?, name })
    });
    pairs.collect()
}

/// A successful `execve`, or `prctl(PR_SET_NAME)`.
fn rename(format: &EventFormat) -> Option<Rename> {
    let (field, value) = match format.name.as_str() {
        "sys_exit_execve" | "sys_exit_execveat" => ("ret", 0),
        "sys_enter_prctl" => ("option", 15),
        _ => return None,
    };
    let field = format.fields.iter().position(|known| known.name == field)?;
    Some(Rename { field, value })
}
