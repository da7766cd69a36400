use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use trace_tasks::Pid;

use super::catalog::{Catalog, Event, Printer, all_events, format_file, read};
use super::comm::Comm;
use super::context::{Common, Time};
use super::environment::Environment;
use super::names::Names;
use super::options::Options;
use super::text::array;
use super::write;
use super::{Error, EventFormat, Field, Shape, Unprintable};
use crate::dir::Dir;

/// Formats records as text, byte for byte as `trace_pipe` of the same instance does.
///
/// See the [module](super) for the differences from the kernel, and the reasons.
#[derive(Debug)]
pub struct Formatter {
    instance: Dir,
    tracefs: Arc<Dir>,
    common: Common,
    options: Options,
    catalog: Catalog,
    names: Names,
    environment: Environment,
}

impl Formatter {
    /// A formatter for the instance directory `instance` of the tracefs mounted on `tracefs`.
    ///
    /// The instance's `trace_clock` and `options` are read only here, so set them before.
    ///
    /// # Errors
    /// The format of `ftrace/print` cannot be read: this is not a tracefs.
    pub fn open(tracefs: &Path, instance: &Path) -> Result<Self, Error> {
        Self::with_procfs(tracefs, instance, Path::new("/proc"))
    }

    /// The same, with the procfs from which kernel symbols and task names are read. It must be of the initial pid
    /// namespace, like the pids in the trace.
    ///
    /// # Errors
    /// As [`Formatter::open`].
    pub fn with_procfs(tracefs: &Path, instance: &Path, procfs: &Path) -> Result<Self, Error> {
        let open = |path: &Path| {
            Dir::try_open(path).map_err(|errno| Error::Io { path: path.to_owned(), source: errno.into() })
        };
        let options = Options::read(instance);
        let (instance, tracefs) = (open(instance)?, Arc::new(open(tracefs)?));
        let release = fs::read_to_string(procfs.join("sys/kernel/osrelease")).unwrap_or_default();
        let mut catalog = Catalog::new(Arc::clone(&tracefs), options, &release);
        let print = catalog.load("ftrace", "print")?;
        let common = catalog.get(print).and_then(|event| Common::of(&event.format)).unwrap_or_default();
        Ok(Self {
            instance,
            common,
            options,
            catalog,
            names: Names::new(Arc::clone(&tracefs), procfs),
            environment: Environment::new(Arc::clone(&tracefs), procfs),
            tracefs,
        })
    }

    /// Reads the format of one event, unless it was read before, and returns its id.
    ///
    /// # Errors
    /// The format file cannot be read or parsed.
    pub fn load(&mut self, system: &str, event: &str) -> Result<u16, Error> {
        self.catalog.load(system, event)
    }

    /// Reads the format of one event, unless it was read before.
    ///
    /// # Errors
    /// The format file cannot be read or parsed.
    pub fn format_of(&mut self, system: &str, event: &str) -> Result<&EventFormat, Error> {
        let id = self.catalog.load(system, event)?;
        let missing = || Error::Io {
            path: self.tracefs.path().join("events").join(system).join(event),
            source: io::ErrorKind::NotFound.into(),
        };
        self.catalog.get(id).map(|event| &event.format).ok_or_else(missing)
    }

    /// Reads the formats of the events that are enabled in the instance, and returns their number.
    ///
    /// Other formats are read when a record needs them. Call this if events, such as probes, may have been removed by
    /// then.
    ///
    /// # Errors
    /// The instance's `set_event` cannot be read. A format that cannot be read is skipped.
    pub fn load_enabled(&mut self) -> Result<usize, Error> {
        self.catalog.load_enabled(&self.instance)
    }

    /// Logs a warning if the kernel hides the addresses of its functions, and the instance records stacks, or an enabled event
    /// prints functions. Without this call that is logged with the first function. Call it when the events are enabled.
    pub fn check_symbols(&mut self) {
        if self.environment.symbols_are_hidden() {
            let _ = self.load_enabled();
            if self.catalog.prints_symbols() {
                self.environment.symbols();
            }
        }
    }

    /// Adds an event of `system` whose format was read elsewhere, and returns its id.
    pub fn add(&mut self, system: &str, format: EventFormat) -> u16 {
        self.catalog.add(system, format)
    }

    /// The event with this id. Reads its format if it has not been read yet.
    pub fn event(&mut self, id: u16) -> Option<&EventFormat> {
        self.catalog.load_by_id(id, &self.instance);
        self.catalog.get(id).map(|event| &event.format)
    }

    /// The system and the name of the event with this id. Reads its format if it has not been read yet.
    pub fn name_of(&mut self, id: u16) -> Option<(&str, &str)> {
        self.catalog.load_by_id(id, &self.instance);
        self.catalog.get(id).map(|event| (&*event.system, event.format.name.as_str()))
    }

    /// The reason why the event with this id is printed field by field, if it is.
    pub fn unprintable(&mut self, id: u16) -> Option<&Unprintable> {
        self.event(id)?;
        match self.catalog.printer(self.catalog.get(id)?) {
            Printer::Fields { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// The id of the event of `record` (`common_type`).
    pub fn id(&self, record: &[u8]) -> Option<u16> {
        self.common.entry(record).map(|entry| entry.id)
    }

    /// The thread that wrote `record` (`common_pid`).
    pub fn pid(&self, record: &[u8]) -> Option<Pid> {
        self.common.entry(record).map(|entry| entry.pid)
    }

    /// Whether `record` was written in a hard or soft interrupt (`common_flags`).
    pub fn in_interrupt(&self, record: &[u8]) -> bool {
        self.interrupts(record) != 0
    }

    /// The kinds of interrupt (hard, soft, NMI) in which `record` was written, as a bit mask. 0 if there was none.
    pub fn interrupts(&self, record: &[u8]) -> u8 {
        self.common.entry(record).map_or(0, |entry| entry.interrupts())
    }

    /// The name of a thread, or `<...>` if it is unknown.
    pub fn comm(&mut self, thread: Pid) -> Comm {
        self.names.name(thread)
    }

    /// Reads the current name of a thread from procfs. After an execve(2) only the new name can be looked up, so call this
    /// early to get the right name for the records before it.
    pub fn look_up_comm(&mut self, thread: Pid) {
        self.names.read_comm(thread);
    }

    /// Appends the function at a kernel address, with the offset in it, as `%pS` prints it: `vfs_read+0x2d/0x380`. Appends the
    /// address if there is no symbol.
    pub fn write_symbol(&self, address: u64, out: &mut Vec<u8>) {
        self.environment.symbols().write(address, true, false, out);
    }

    /// Remembers the names of tasks in a record without printing it. [`Formatter::write_record`] does the same.
    pub fn learn(&mut self, record: &[u8]) {
        if let Some(entry) = self.common.entry(record)
            && let Some(event) = self.catalog.get(entry.id)
        {
            event.update_names(record, entry.pid, &mut self.names);
        }
    }

    /// Appends the text of `record`, which `cpu` wrote at `stamp`. It is one line for most events, and several for
    /// stack traces and for markers with newlines. The text always ends with a newline.
    pub fn write_record(&mut self, cpu: u32, stamp: u64, record: &[u8], out: &mut Vec<u8>) {
        self.write(cpu, Time::Stamp(stamp), record, out);
    }

    /// The same with this text in the place of the time.
    pub fn write_record_at(&mut self, cpu: u32, time: &[u8], record: &[u8], out: &mut Vec<u8>) {
        self.write(cpu, Time::Text(time), record, out);
    }

    fn write(&mut self, cpu: u32, time: Time<'_>, record: &[u8], out: &mut Vec<u8>) {
        let Some(entry) = self.common.entry(record) else {
            return out.extend_from_slice(b"Unknown type 0\n");
        };
        if self.options.context {
            entry.write_context(cpu, time, &self.options, &mut self.names, out);
        }
        if self.catalog.get(entry.id).is_none() {
            self.catalog.load_by_id(entry.id, &self.instance);
        }
        let Some(event) = self.catalog.get(entry.id) else {
            out.extend_from_slice(b"Unknown type ");
            write::decimal(out, u64::from(entry.id));
            return out.push(b'\n');
        };
        let printer = self.catalog.printer(event);
        event.write(printer, record, &self.options, &self.environment, out);
        if !matches!(printer, Printer::Builtin(_)) || out.last() != Some(&b'\n') {
            out.push(b'\n');
        }
        event.update_names(record, entry.pid, &mut self.names);
    }

    /// Appends the line that the kernel prints where records of `cpu` were overwritten (`print_trace_line` in
    /// `kernel/trace/trace.c`). Appends nothing if `count` is 0, which means that they were reported already.
    pub fn write_gap(cpu: u32, count: Option<u64>, out: &mut Vec<u8>) {
        if count == Some(0) {
            return;
        }
        out.extend_from_slice(b"CPU:");
        write::decimal(out, u64::from(cpu));
        out.extend_from_slice(b" [LOST ");
        if let Some(count) = count {
            write::decimal(out, count);
            out.push(b' ');
        }
        out.extend_from_slice(b"EVENTS]\n");
    }

    /// All events of this kernel that are printed field by field, with the reason, sorted by system and name.
    pub fn all_unprintable(&self) -> Vec<(String, String, Unprintable)> {
        let mut found = Vec::new();
        for (system, name) in all_events(&self.tracefs) {
            let Ok(text) = read(&self.tracefs, &format_file(&system, &name)) else { continue };
            let Ok(format) = EventFormat::parse(&text) else { continue };
            let event = self.catalog.event(format, &system);
            if let Printer::Fields { reason, .. } = self.catalog.printer(&event) {
                found.push((system, name, reason.clone()));
            }
        }
        found.sort_by(|left, right| (&left.0, &left.1).cmp(&(&right.0, &right.1)));
        found
    }
}

impl Event {
    /// Updates the names of tasks from a record.
    #[inline]
    fn update_names(&self, record: &[u8], pid: Pid, names: &mut Names) {
        let field = |index: usize| self.format.fields.get(index);
        for task_name in &self.task_names {
            let task = field(task_name.pid).and_then(|field| field.number(record));
            let name = field(task_name.name).and_then(|field| field.bytes(record));
            if let (Some(task), Some(name)) = (task, name) {
                names.insert(task as Pid, name);
            }
        }
        if let Some(rename) = &self.rename
            && field(rename.field).and_then(|field| field.number(record)) == Some(rename.value)
        {
            names.read_comm(pid);
        }
    }

    #[inline]
    fn write(
        &self,
        printer: &Printer,
        record: &[u8],
        options: &Options,
        environment: &Environment,
        out: &mut Vec<u8>,
    ) {
        match printer {
            Printer::Syscall(syscall) => syscall.write(record, out),
            Printer::Builtin(builtin) => builtin.write(record, options, environment, out),
            Printer::Program { name, program } => {
                out.extend_from_slice(name);
                program.run(record, environment, out);
            }
            Printer::Fields { name, .. } => {
                out.extend_from_slice(name.strip_suffix(b" ").unwrap_or(name));
                for field in self.format.own_fields() {
                    write_field(field, record, out);
                }
            }
        }
    }
}

/// Appends ` name=value`: signed numbers in decimal, others in hex, text unchanged, arrays as `{0x1,0x2}`.
fn write_field(field: &Field, record: &[u8], out: &mut Vec<u8>) {
    out.push(b' ');
    out.extend_from_slice(field.name.as_bytes());
    out.push(b'=');
    if let Some(value) = field.number(record) {
        if field.signed {
            return write::signed(out, value);
        }
        out.extend_from_slice(b"0x");
        return write::hex(out, value as u64);
    }
    let bytes = field.bytes(record).unwrap_or_default();
    if field.is_text() {
        return write::untrusted_text(out, write::until_nul(bytes));
    }
    let element = match field.shape {
        Shape::Array { element } if matches!(element, 2 | 4 | 8) => element,
        _ => 1,
    };
    array(bytes, element, out);
}
