//! One event as one line, in the format of the session.

use std::thread;

use crate::escape::{self, write_all};
use crate::view::{Evaluation, LineClock, Value, Viewer, write_name};
use crate::{Composite, Format, LineBuffer, LineKind, Loss};

/// When and where an event happened, and in which task.
///
/// Ids are those of the initial pid namespace.
///
/// ```
/// use trace_hook_api::{Origin, boot_time};
///
/// let origin = Origin::at(boot_time()).cpu(1).pid(4711).tid(4712).comm(b"bash");
/// assert_eq!(origin.tid, Some(4712));
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin<'a> {
    /// The time in nanoseconds since boot, by `CLOCK_BOOTTIME`. [`boot_time`](crate::boot_time) returns the current time.
    pub time: u64,
    /// The CPU, if the event has one.
    pub cpu: Option<u32>,
    /// The process (thread group), if known.
    pub pid: Option<u32>,
    /// The thread, if the event has one.
    pub tid: Option<u32>,
    /// The thread's name, unescaped.
    pub comm: &'a [u8],
}

impl<'a> Origin<'a> {
    /// Creates the origin of an event at this time, in nanoseconds since boot (`CLOCK_BOOTTIME`).
    pub fn at(time: u64) -> Self {
        Self { time, ..Self::default() }
    }

    /// Sets the CPU.
    pub fn cpu(mut self, cpu: impl Into<Option<u32>>) -> Self {
        self.cpu = cpu.into();
        self
    }

    /// Sets the process.
    pub fn pid(mut self, pid: impl Into<Option<u32>>) -> Self {
        self.pid = pid.into();
        self
    }

    /// Sets the thread.
    pub fn tid(mut self, tid: impl Into<Option<u32>>) -> Self {
        self.tid = tid.into();
        self
    }

    /// Sets the thread's name.
    pub fn comm(mut self, comm: &'a [u8]) -> Self {
        self.comm = comm;
        self
    }
}

/// The line of an event that is being written. See [`LineBuffer::event`].
///
/// Fields appear in the order of the calls. Dropping the value ends the line.
///
/// | | as text | as JSON |
/// |---|---|---|
/// | the origin | `            bash-4711    [001]   123.000456: ` | `"time":123.000456789,"cpu":1,"pid":4711,"tid":4711,"comm":"bash"` |
/// | the event's name | `open:` | `"event":"open"` |
/// | [`text`](Self::text) | `path="/etc/passwd"` | `"path":"/etc/passwd"` |
/// | [`word`](Self::word) | `flags=O_RDONLY` | `"flags":"O_RDONLY"` |
/// | [`number`](Self::number) | `result=-2` | `"result":-2` |
/// | [`address`](Self::address) | `caller=0xffff8000` | `"caller":"0xffff8000"` |
/// | [`duration`](Self::duration) | `waited=12.345us` | `"waited_ns":12345` |
/// | [`flag`](Self::flag) | `preempted` or nothing | `"preempted":true` |
/// | [`group`](Self::group) | the fields, as if there were no group | `"fields":{…}` |
/// | [`list`](Self::list) | `stack=main;work` | `"stack":["main","work"]` |
/// | [`texts`](Self::texts) | `argv=["ls","-l"]` | `"argv":["ls","-l"]` |
/// | [`composite`](Self::composite) | `timeout={tv_sec=1, tv_nsec=0}` | `"timeout":{"tv_sec":1,"tv_nsec":0}` |
pub struct EventLine<'a> {
    lines: &'a mut LineBuffer,
    time: u64,
    format: Format,
    /// The group that the fields belong to, where there is a view.
    group: String,
    writing: Writing,
    /// The event belongs to the last one, so the condition is not about it.
    belongs_to_last: bool,
}

/// How the items of a list are written as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ListForm {
    /// As words, separated by semicolons.
    Words,
    /// In quotes and brackets.
    Texts,
}

/// What becomes of the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    /// They are written.
    All,
    /// This column is written.
    Column(usize),
    /// This field is no column.
    NoColumn,
    /// They are only compared with the condition of the view.
    Nothing,
    /// The event is left out already.
    LeftOut,
}

impl LineBuffer {
    /// Begins the line of an event. Its name consists of lower-case letters, digits and `_`.
    ///
    /// ```
    /// use trace_hook_api::{LineBuffer, Origin};
    ///
    /// let mut lines = LineBuffer::with_room(4096);
    /// let origin = Origin::at(5_000_001_000).cpu(1).pid(7).tid(8).comm(b"cat");
    /// lines.event(&origin, "open").text("path", b"/tmp/\x1b[2J").number("result", 3);
    /// let line = str::from_utf8(lines.as_bytes()).unwrap();
    /// assert_eq!(line, "             cat-8       [001]     5.000001: open: path=\"/tmp/\\u{1b}[2J\" result=3\n");
    /// ```
    pub fn event(&mut self, origin: &Origin<'_>, name: &str) -> EventLine<'_> {
        let format = self.format();
        self.begin_line();
        EventLine::new(self, origin, format).begin(origin, name)
    }

    /// Adds the line of an event with these fields. Unlike with [`event`](Self::event), no field of an event is formatted that the view
    /// leaves out. If the view has a condition, the fields are given twice.
    ///
    /// ```
    /// use trace_hook_api::{LineBuffer, Origin};
    ///
    /// let mut lines = LineBuffer::with_room(4096);
    /// lines.add_event(&Origin::at(5_000_001_000), "open", |line| line.text("path", b"/etc").number("result", 3));
    /// assert_eq!(lines.as_bytes(), b"    5.000001: open: path=\"/etc\" result=3\n");
    /// ```
    pub fn add_event(
        &mut self,
        origin: &Origin<'_>,
        name: &str,
        fields: impl Fn(EventLine<'_>) -> EventLine<'_>,
    ) {
        if self.passes(origin, name, &fields) {
            drop(fields(self.event(origin, name)));
        }
    }

    /// Begins the line of an event that belongs to the last one, such as its stack: a view shows both or neither.
    pub fn event_of_last(&mut self, origin: &Origin<'_>, name: &str) -> EventLine<'_> {
        let format = self.format();
        self.begin_line();
        let mut line = EventLine::new(self, origin, format);
        line.belongs_to_last = true;
        line.begin(origin, name)
    }

    /// Returns whether an event with these fields meets the condition of the view, for a hook that writes its line otherwise than
    /// with [`event`](Self::event). If it does not, it is counted as left out.
    ///
    /// ```
    /// use trace_hook_api::{LineBuffer, Origin};
    ///
    /// let mut lines = LineBuffer::with_room(4096);
    /// if lines.passes(&Origin::at(5), "open", |line| line.number("result", 3)) {
    ///     lines.push_at(5, "opened 3");
    /// }
    /// assert_eq!(lines.events(), 1);
    /// ```
    pub fn passes(
        &mut self,
        origin: &Origin<'_>,
        name: &str,
        fields: impl FnOnce(EventLine<'_>) -> EventLine<'_>,
    ) -> bool {
        if !self.has_condition() {
            return true;
        }
        let left_out = self.left_out();
        let format = self.format();
        let mut line = EventLine::new(self, origin, format);
        line.writing = Writing::Nothing;
        drop(fields(line.begin(origin, name)));
        self.left_out() == left_out
    }

    /// Returns whether the view has a condition.
    pub fn has_condition(&mut self) -> bool {
        self.viewer().is_some_and(|view| view.condition.is_some())
    }

    /// Returns whether the view asks for single fields, so that every line must be written with [`event`](Self::event).
    pub fn has_columns(&mut self) -> bool {
        self.viewer().is_some_and(|view| view.columns.is_some())
    }

    fn has_left_out_last(&mut self) -> bool {
        self.viewer().is_some_and(|view| view.left_out_last)
    }

    /// Returns the time of a line that is not written with [`event`](Self::event), as the view says. `None`: as the hook likes.
    pub fn shown_time(&mut self, time: u64) -> Option<Vec<u8>> {
        let view = self.viewer().filter(|view| view.clock.is_chosen())?;
        let mut text = Vec::new();
        view.clock.write_text(time, &mut text);
        view.clock.finish();
        Some(text)
    }

    /// Returns whether the last event was left out. Then this one, which belongs to it, is counted as left out, too.
    pub fn is_left_out_with_last(&mut self) -> bool {
        let is_left_out = self.has_left_out_last();
        if is_left_out {
            self.leave_out();
        }
        is_left_out
    }

    /// Adds a line that reports lost events of a CPU. `None` means that their number is unknown. Adds nothing for 0 events.
    pub fn lost(&mut self, cpu: u32, count: impl Into<Option<u64>>) {
        let count = count.into();
        if count == Some(0) {
            return;
        }
        let format = self.format();
        let out = self.begin_line();
        match (format, count) {
            (Format::Text, Some(count)) => write_all(out, format_args!("CPU:{cpu} [LOST {count} EVENTS]")),
            (Format::Text, None) => write_all(out, format_args!("CPU:{cpu} [LOST EVENTS]")),
            (Format::Json, Some(count)) => {
                write_all(out, format_args!("{{\"event\":\"lost\",\"cpu\":{cpu},\"count\":{count}}}"));
            }
            (Format::Json, None) => write_all(out, format_args!("{{\"event\":\"lost\",\"cpu\":{cpu}}}")),
        }
        self.end_loss(Loss::new(cpu, count));
    }

    /// Adds an event that reports how often a task of this name was sampled with this stack. The functions are given innermost
    /// first. As text it is the folded format of flame graph tools: `COMM;OUTERMOST;…;INNERMOST COUNT`.
    pub fn folded_stack<'s>(
        &mut self,
        origin: &Origin<'_>,
        comm: &[u8],
        functions: impl DoubleEndedIterator<Item = &'s [u8]>,
        count: u64,
    ) {
        self.folded(origin, comm, functions, count, |line| line.number("count", count));
    }

    /// The same for the time that was spent with a stack. As text it is in microseconds.
    pub fn folded_time<'s>(
        &mut self,
        origin: &Origin<'_>,
        comm: &[u8],
        functions: impl DoubleEndedIterator<Item = &'s [u8]>,
        nanoseconds: u64,
    ) {
        let shown = nanoseconds / 1000;
        self.folded(origin, comm, functions, shown, |line| line.duration("duration", nanoseconds));
    }

    /// `amount` is shown as text, otherwise the field that `add` adds.
    fn folded<'s>(
        &mut self,
        origin: &Origin<'_>,
        comm: &[u8],
        functions: impl DoubleEndedIterator<Item = &'s [u8]>,
        amount: u64,
        add: impl for<'l> Fn(EventLine<'l>) -> EventLine<'l>,
    ) {
        if self.format() == Format::Json || self.has_columns() {
            add(self.event(origin, "stack").text("comm", comm).list("stack", functions));
            return;
        }
        let functions: Vec<&[u8]> = functions.collect();
        let passes =
            self.passes(origin, "stack", |line| add(line.text("comm", comm).list("stack", &functions)));
        if !passes {
            return;
        }
        let out = self.begin_line();
        // Readers of folded stacks take a line that begins with a blank for the continuation of another.
        let comm = match comm.strip_prefix(b" ") {
            Some(rest) => {
                out.extend_from_slice(b"\\u{20}");
                rest
            }
            None => comm,
        };
        escape::text(out, comm, Some(';'));
        for function in functions.into_iter().rev() {
            out.push(b';');
            escape::text(out, function, Some(';'));
        }
        write_all(out, format_args!(" {amount}"));
        self.end_line(LineKind::Event, origin.time);
    }

    /// Adds a line that continues the event before it, such as a row of a chart: ` => ` and the text.
    ///
    /// Adds nothing in JSON, where an event is one object.
    pub fn continuation(&mut self, text: &str) {
        let is_shown = !self.has_columns() && !self.has_left_out_last();
        if self.format() == Format::Text && is_shown {
            let out = self.begin_line();
            out.extend_from_slice(b" => ");
            escape::text(out, text.as_bytes(), None);
            self.end_continuation();
        }
    }
}

impl<'a> EventLine<'a> {
    fn new(lines: &'a mut LineBuffer, origin: &Origin<'_>, format: Format) -> Self {
        let (group, writing) = (String::new(), Writing::All);
        Self { lines, time: origin.time, format, group, writing, belongs_to_last: false }
    }
}

impl EventLine<'_> {
    /// Adds text from a traced program. It is escaped, and cannot break the line.
    pub fn text(mut self, name: &str, bytes: &[u8]) -> Self {
        if self.field(name, Value::Text(bytes)) {
            match self.format {
                Format::Text => self.quoted(bytes),
                Format::Json => escape::json(self.out(), bytes),
            }
        }
        self
    }

    /// Adds a word of the hook's own, such as the name of a flag or of an error.
    pub fn word(mut self, name: &str, word: &str) -> Self {
        if self.field(name, Value::Text(word.as_bytes())) {
            match self.format {
                Format::Text => self.colored(color_of(name), |out| escape::text(out, word.as_bytes(), None)),
                Format::Json => escape::json(self.out(), word.as_bytes()),
            }
        }
        self
    }

    /// Adds a whole number.
    pub fn number(mut self, name: &str, number: impl Into<i128>) -> Self {
        let number = number.into();
        if self.field(name, Value::Number(number)) {
            write_all(self.out(), format_args!("{number}"));
        }
        self
    }

    /// Adds a number with a fraction, with three digits after the decimal point.
    pub fn fraction(mut self, name: &str, number: f64) -> Self {
        // JSON has finite numbers only.
        let number = if number.is_finite() { number } else { 0.0 };
        if self.field(name, Value::Fraction(number)) {
            write_all(self.out(), format_args!("{number:.3}"));
        }
        self
    }

    /// Adds an address, or another number that is best read in hexadecimal.
    pub fn address(mut self, name: &str, address: u64) -> Self {
        if self.field(name, Value::Number(address.into())) {
            match self.format {
                Format::Text => write_all(self.out(), format_args!("{address:#x}")),
                Format::Json => write_all(self.out(), format_args!("\"{address:#x}\"")),
            }
        }
        self
    }

    /// Adds a duration in nanoseconds. In JSON its name ends in `_ns`.
    pub fn duration(mut self, name: &str, nanoseconds: u64) -> Self {
        if self.field(name, Value::Duration(nanoseconds)) {
            match self.format {
                Format::Text => {
                    let (micros, rest) = (nanoseconds / 1000, nanoseconds % 1000);
                    write_all(self.out(), format_args!("{micros}.{rest:03}us"));
                }
                Format::Json => write_all(self.out(), format_args!("{nanoseconds}")),
            }
        }
        self
    }

    /// Adds a flag. In text its name is there only if it is true.
    pub fn flag(mut self, name: &str, holds: bool) -> Self {
        if self.begin_field(name, Value::Flag(holds)) {
            match self.format {
                Format::Text if holds && self.writing == Writing::All => {
                    write_all(self.out(), format_args!(" {name}"))
                }
                Format::Text if holds => self.out().extend_from_slice(name.as_bytes()),
                Format::Text => {}
                Format::Json => {
                    self.name(name);
                    write_all(self.out(), format_args!("{holds}"));
                }
            }
        }
        self
    }

    /// Adds several words of the hook's own, such as the frames of a stack, innermost first.
    pub fn list<T: AsRef<[u8]>>(self, name: &str, items: impl IntoIterator<Item = T>) -> Self {
        self.items(name, ListForm::Words, items)
    }

    /// Adds several texts from a traced program, such as its arguments: each in quotes, so that an empty text, or one with blanks,
    /// can be distinguished from others.
    pub fn texts<T: AsRef<[u8]>>(self, name: &str, items: impl IntoIterator<Item = T>) -> Self {
        self.items(name, ListForm::Texts, items)
    }

    fn items<T: AsRef<[u8]>>(
        mut self,
        name: &str,
        form: ListForm,
        items: impl IntoIterator<Item = T>,
    ) -> Self {
        if self.lines.has_condition() {
            let items: Vec<T> = items.into_iter().collect();
            items.iter().for_each(|item| self.compare(name, Value::Text(item.as_ref())));
            return self.written_items(name, form, items);
        }
        self.written_items(name, form, items)
    }

    /// Adds a value that may have parts. As text it is written as by strace(1); in JSON it is an object or an array.
    ///
    /// ```
    /// # use trace_hook_api::{Composite, LineBuffer, Origin};
    /// # let mut lines = LineBuffer::with_room(4096);
    /// let pipe = Composite::list([Composite::Number(3), Composite::Number(4)]);
    /// lines.event(&Origin::at(5), "pipe").composite("fds", &pipe);
    /// assert_eq!(lines.as_bytes(), b"    0.000000: pipe: fds=[3, 4]\n");
    /// ```
    pub fn composite(mut self, name: &str, value: &Composite<'_>) -> Self {
        if self.lines.has_condition() {
            value.visit(name, &mut |name, value| self.compare(name, value));
        }
        if self.field(name, Value::Other) {
            match self.format {
                Format::Text => value.write_text(self.out()),
                Format::Json => {
                    value.write_json(self.out());
                    if self.writing == Writing::All {
                        value.write_json_companions(name, self.out());
                    }
                }
            }
        }
        self
    }

    fn written_items<T: AsRef<[u8]>>(
        mut self,
        name: &str,
        form: ListForm,
        items: impl IntoIterator<Item = T>,
    ) -> Self {
        if !self.field(name, Value::Other) {
            return self;
        }
        let (begin, separator, end) = match (self.format, form) {
            (Format::Text, ListForm::Words) => ("", b';', ""),
            (Format::Text, ListForm::Texts) | (Format::Json, _) => ("[", b',', "]"),
        };
        self.out().extend_from_slice(begin.as_bytes());
        for (number, item) in items.into_iter().enumerate() {
            if number > 0 {
                self.out().push(separator);
            }
            match (self.format, form) {
                (Format::Text, ListForm::Words) => escape::text(self.out(), item.as_ref(), Some(';')),
                (Format::Text, ListForm::Texts) => self.quoted(item.as_ref()),
                (Format::Json, _) => escape::json(self.out(), item.as_ref()),
            }
        }
        self.out().extend_from_slice(end.as_bytes());
        self
    }

    fn quoted(&mut self, bytes: &[u8]) {
        self.out().push(b'"');
        escape::text(self.out(), bytes, Some('"'));
        self.out().push(b'"');
    }

    /// Adds the buckets of a histogram as objects. Adds nothing in text.
    pub(crate) fn buckets(mut self, buckets: &[(u64, u64, u64)]) -> Self {
        if self.format == Format::Json && self.field("buckets", Value::Other) {
            for (number, (from, to, count)) in buckets.iter().enumerate() {
                let before = if number == 0 { '[' } else { ',' };
                let bucket = format_args!("{before}{{\"from_ns\":{from},\"to_ns\":{to},\"count\":{count}}}");
                write_all(self.out(), bucket);
            }
            self.out().extend_from_slice(if buckets.is_empty() { b"[]" } else { b"]" });
        }
        self
    }

    /// Adds fields whose names may also be those of other fields. In JSON they are an object within the object.
    pub fn group(mut self, name: &str, fields: impl FnOnce(Self) -> Self) -> Self {
        if self.view().is_some() {
            name.clone_into(&mut self.group);
        }
        let is_object = self.format == Format::Json && self.writing == Writing::All;
        if is_object {
            self.name(name);
            self.out().push(b'{');
        }
        let mut line = fields(self);
        // The event may have been left out meanwhile.
        if is_object && line.writing == Writing::All {
            line.out().push(b'}');
        }
        line.group.clear();
        line
    }

    /// Adds a field if there is a value for it.
    ///
    /// ```
    /// # use trace_hook_api::{LineBuffer, Origin};
    /// # let mut lines = LineBuffer::with_room(4096);
    /// let (cpu, error) = (Some(3), None);
    /// lines
    ///     .event(&Origin::at(5), "run")
    ///     .optional(cpu, |line, cpu| line.number("cpu", cpu))
    ///     .optional(error, |line, error| line.word("error", error));
    /// assert_eq!(lines.as_bytes(), b"    0.000000: run: cpu=3\n");
    /// ```
    pub fn optional<T>(self, value: Option<T>, add: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            Some(value) => add(self, value),
            None => self,
        }
    }

    /// Writes what all events have.
    fn begin(mut self, origin: &Origin<'_>, name: &str) -> Self {
        if self.view().is_none() {
            let (out, mut clock) = (self.lines.unfinished_line(), LineClock::default());
            match self.format {
                Format::Text => {
                    let time = |out: &mut Vec<u8>| clock.write_text(origin.time, out);
                    text_origin(out, origin, time, |out| out.extend_from_slice(name.as_bytes()));
                }
                Format::Json => json_origin(out, origin, name, |out| clock.write_json(origin.time, out)),
            }
            return self;
        }
        self.begin_in_view(origin, name)
    }

    fn begin_in_view(mut self, origin: &Origin<'_>, name: &str) -> Self {
        self.view().into_iter().for_each(Viewer::begin);
        let has_columns = self.view().is_some_and(|view| view.columns.is_some());
        let writing = self.writing;
        if writing == Writing::All && !has_columns {
            // The fields below are only compared with the condition.
            self.write_origin(origin, name);
            self.writing = Writing::Nothing;
        }
        let mut line = self.time_field(origin.time);
        for (name, number) in [("cpu", origin.cpu), ("pid", origin.pid), ("tid", origin.tid)] {
            line = line.optional(number, |line, number| line.number(name, number));
        }
        if origin.tid.is_some() {
            line = line.comm_field(origin.comm);
        }
        line = line.word("event", name);
        if line.writing != Writing::LeftOut && writing == Writing::All && !has_columns {
            line.writing = Writing::All;
        }
        line
    }

    fn write_origin(&mut self, origin: &Origin<'_>, name: &str) {
        let mut time = Vec::new();
        let format = self.format;
        if let Some(view) = self.view() {
            match format {
                Format::Text => view.clock.write_text(origin.time, &mut time),
                Format::Json => view.clock.write_json(origin.time, &mut time),
            }
        }
        let color = self.view().is_some_and(|view| view.color).then_some(Color::Name);
        let out = self.lines.unfinished_line();
        let time = |out: &mut Vec<u8>| out.extend_from_slice(&time);
        match format {
            Format::Text => {
                text_origin(out, origin, time, |out| {
                    write_colored(color, out, |out| out.extend_from_slice(name.as_bytes()))
                });
            }
            Format::Json => json_origin(out, origin, name, time),
        }
    }

    /// The time as a field of its own.
    fn time_field(mut self, time: u64) -> Self {
        if self.field("time", Value::Fraction(time as f64 / 1e9)) {
            let mut text = Vec::new();
            let format = self.format;
            if let Some(view) = self.view() {
                match format {
                    Format::Text => view.clock.write_text(time, &mut text),
                    Format::Json => view.clock.write_json(time, &mut text),
                }
            }
            self.out().extend_from_slice(&text);
        }
        self
    }

    /// The name of the task as a field of its own, as the origin shows it: without quotes.
    fn comm_field(mut self, comm: &[u8]) -> Self {
        if self.field("comm", Value::Text(comm)) {
            match self.format {
                Format::Text => escape::text(self.out(), comm, None),
                Format::Json => escape::json(self.out(), comm),
            }
        }
        self
    }

    /// Begins a field, and writes its name. Returns whether the value is to be written.
    fn field(&mut self, name: &str, value: Value<'_>) -> bool {
        let is_written = self.begin_field(name, value);
        if is_written {
            match value {
                Value::Duration(_) if self.format == Format::Json => self.name(&format!("{name}_ns")),
                _ => self.name(name),
            }
        }
        is_written
    }

    /// Begins a field. Returns whether it is to be written.
    fn begin_field(&mut self, name: &str, value: Value<'_>) -> bool {
        if self.view().is_none() {
            return true;
        }
        if self.writing != Writing::LeftOut && !self.belongs_to_last {
            self.note(name, value);
        }
        let Self { group, writing, lines, .. } = self;
        if let (Writing::All | Writing::Column(_) | Writing::NoColumn, Some(view)) =
            (*writing, lines.viewer())
            && let Some(columns) = &view.columns
        {
            *writing = columns.position(group, name).map_or(Writing::NoColumn, Writing::Column);
        }
        matches!(self.writing, Writing::All | Writing::Column(_))
    }

    /// Compares a value with the condition of the view. What follows is not written once the event cannot meet it.
    fn note(&mut self, name: &str, value: Value<'_>) {
        self.compare(name, value);
        let condition = self.lines.viewer().and_then(|view| view.condition.as_ref());
        if condition.is_some_and(|condition| condition.so_far() == Some(false)) {
            self.writing = Writing::LeftOut;
        }
    }

    fn compare(&mut self, name: &str, value: Value<'_>) {
        let Self { group, lines, .. } = self;
        if let Some(condition) = lines.viewer().and_then(|view| view.condition.as_mut()) {
            condition.note(group, name, value);
        }
    }

    fn view(&mut self) -> Option<&mut Viewer> {
        self.lines.viewer()
    }

    fn out(&mut self) -> &mut Vec<u8> {
        match self.writing {
            Writing::Column(position) => self.column(position),
            _ => self.lines.unfinished_line(),
        }
    }

    fn column(&mut self, position: usize) -> &mut Vec<u8> {
        let columns = self.lines.viewer().and_then(|view| view.columns.as_mut());
        columns.expect("a column is written only where there are columns").value(position)
    }

    /// Appends text in a color, if the view has colors.
    fn colored(&mut self, color: Option<Color>, write: impl FnOnce(&mut Vec<u8>)) {
        let color = color.filter(|_| self.view().is_some_and(|view| view.color));
        write_colored(color, self.out(), write);
    }

    fn name(&mut self, name: &str) {
        let is_column = matches!(self.writing, Writing::Column(_));
        match self.format {
            Format::Text if is_column => {}
            Format::Text => write_all(self.out(), format_args!(" {name}=")),
            Format::Json => {
                if !is_column && self.out().last() != Some(&b'{') {
                    self.out().push(b',');
                }
                write_name(name, self.out());
            }
        }
    }

    /// Ends the line, if the event meets the condition of the view.
    fn end_in_view(&mut self) {
        let is_only_asked = self.writing == Writing::Nothing;
        let format = self.format;
        let Some(view) = self.lines.viewer() else { return };
        let holds = match self.belongs_to_last {
            true => !view.left_out_last,
            false => view.condition.as_ref().is_none_or(Evaluation::outcome),
        };
        view.left_out_last = !holds;
        if !holds {
            return self.lines.leave_out();
        }
        if is_only_asked {
            return;
        }
        view.clock.finish();
        let mut row = Vec::new();
        match &view.columns {
            Some(columns) => columns.write(format, &mut row),
            None if format == Format::Json => row.push(b'}'),
            None => {}
        }
        self.lines.unfinished_line().extend_from_slice(&row);
        self.lines.end_line(LineKind::Event, self.time);
    }
}

impl Drop for EventLine<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            return self.lines.drop_unfinished_line();
        }
        if self.view().is_some() {
            return self.end_in_view();
        }
        if self.format == Format::Json {
            self.out().push(b'}');
        }
        self.lines.end_line(LineKind::Event, self.time);
    }
}

/// A color of text on a terminal.
#[derive(Debug, Clone, Copy)]
enum Color {
    /// The name of an event.
    Name,
    /// An error.
    Error,
}

fn color_of(field: &str) -> Option<Color> {
    (field == "error").then_some(Color::Error)
}

/// Appends text in a color (ECMA-48: SGR).
fn write_colored(color: Option<Color>, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let Some(color) = color else { return write(out) };
    out.extend_from_slice(match color {
        Color::Name => b"\x1b[36m",
        Color::Error => b"\x1b[31m",
    });
    write(out);
    out.extend_from_slice(b"\x1b[0m");
}

/// As the kernel writes it (`trace_print_context`), without the column of flags.
fn text_origin(
    out: &mut Vec<u8>,
    origin: &Origin<'_>,
    time: impl FnOnce(&mut Vec<u8>),
    name: impl FnOnce(&mut Vec<u8>),
) {
    if let Some(tid) = origin.tid {
        let begin = out.len();
        escape::text(out, origin.comm, None);
        let width = out.len() - begin;
        // An escaped name can be longer than the column. A line must not begin with one blank, as a row of a stack does.
        let missing = if width < 16 { 16 - width } else { 2 };
        out.extend(std::iter::repeat_n(b' ', missing));
        out[begin..].rotate_right(missing);
        write_all(out, format_args!("-{tid:<7} "));
    }
    if let Some(cpu) = origin.cpu {
        write_all(out, format_args!("[{cpu:03}] "));
    }
    time(out);
    out.extend_from_slice(b": ");
    name(out);
    out.push(b':');
}

fn json_origin(out: &mut Vec<u8>, origin: &Origin<'_>, name: &str, time: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(b"{\"time\":");
    time(out);
    for (name, number) in [("cpu", origin.cpu), ("pid", origin.pid), ("tid", origin.tid)] {
        if let Some(number) = number {
            write_all(out, format_args!(",\"{name}\":{number}"));
        }
    }
    if origin.tid.is_some() {
        out.extend_from_slice(b",\"comm\":");
        escape::json(out, origin.comm);
    }
    write_all(out, format_args!(",\"event\":\"{name}\""));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventInfo, FieldInfo, TimeFormat, View, parse_condition};

    fn line(format: Format, write: impl FnOnce(EventLine<'_>) -> EventLine<'_>) -> String {
        let mut lines = LineBuffer::with_room(4096).in_format(format);
        let origin = Origin::at(123_000_456_789).cpu(1).pid(4711).tid(4712).comm(b"ba\nsh");
        drop(write(lines.event(&origin, "open")));
        String::from_utf8(lines.as_bytes().to_vec()).unwrap()
    }

    fn everything(line: EventLine<'_>) -> EventLine<'_> {
        line.text("path", b"a \"b\"\n")
            .word("flags", "O_RDONLY")
            .number("result", -2)
            .address("caller", 0xffff_8000)
            .duration("waited", 12_345)
            .flag("preempted", true)
            .flag("again", false)
            .fraction("share", 0.5)
            .list("stack", ["main", "a;b"])
            .texts("argv", ["", "a b", "\""])
            .group("fields", |line| line.number("pid", 7).word("comm", "x"))
            .group("others", |line| line.number("a\"b", 8))
    }

    #[test]
    fn as_text() {
        assert_eq!(
            line(Format::Text, everything),
            "          ba\\nsh-4712    [001]   123.000456: open: path=\"a \\\"b\\\"\\n\" flags=O_RDONLY result=-2 \
             caller=0xffff8000 waited=12.345us preempted share=0.500 stack=main;a\\u{3b}b argv=[\"\",\"a b\",\"\\\"\"] pid=7 comm=x a\"b=8\n"
        );
    }

    #[test]
    fn as_json() {
        let line = line(Format::Json, everything);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            object,
            serde_json::json!({
                "time": 123.000456789, "cpu": 1, "pid": 4711, "tid": 4712, "comm": "ba\nsh", "event": "open",
                "path": "a \"b\"\n", "flags": "O_RDONLY", "result": -2, "caller": "0xffff8000",
                "waited_ns": 12345, "preempted": true, "again": false, "share": 0.5, "stack": ["main", "a;b"],
                "argv": ["", "a b", "\""], "fields": { "pid": 7, "comm": "x" }, "others": { "a\"b": 8 },
            })
        );
        assert!(line.ends_with("}\n") && line.lines().count() == 1);
    }

    #[test]
    fn folded_stacks_have_the_format_of_flame_graph_tools() {
        let origin = Origin::at(5);
        let functions = || [&b"leaf"[..], b"a;b", b"main"].into_iter();
        let mut lines = LineBuffer::with_room(4096);
        lines.folded_stack(&origin, b"ba\nsh", functions(), 7);
        assert_eq!(lines.as_bytes(), b"ba\\nsh;main;a\\u{3b}b;leaf 7\n");
        let mut lines = LineBuffer::with_room(4096);
        lines.folded_stack(&origin, b" => x", [].into_iter(), 7);
        assert_eq!(lines.as_bytes(), b"\\u{20}=> x 7\n");
        let mut lines = LineBuffer::with_room(4096);
        lines.folded_time(&origin, b"sh", functions(), 7999);
        assert_eq!(lines.as_bytes(), b"sh;main;a\\u{3b}b;leaf 7\n");
        let mut lines = LineBuffer::with_room(4096).in_format(Format::Json);
        lines.folded_stack(&origin, b"sh", functions(), 7);
        let expected = serde_json::json!({
            "time": 5e-9, "event": "stack", "comm": "sh", "stack": ["leaf", "a;b", "main"], "count": 7,
        });
        assert_eq!(serde_json::from_slice::<serde_json::Value>(lines.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn losses_are_reported_in_the_format_of_the_session() {
        let mut lines = LineBuffer::with_room(4096);
        lines.lost(2, Some(17));
        lines.lost(2, Some(0));
        lines.continuation("a\nrow");
        assert_eq!(lines.as_bytes(), b"CPU:2 [LOST 17 EVENTS]\n => a\\nrow\n");
        let mut lines = LineBuffer::with_room(4096).in_format(Format::Json);
        lines.lost(2, Some(17));
        lines.continuation("a row");
        assert_eq!(lines.as_bytes(), b"{\"event\":\"lost\",\"cpu\":2,\"count\":17}\n");
    }

    fn events() -> [EventInfo; 1] {
        [EventInfo::new("open", "")
            .field(FieldInfo::text("path", ""))
            .field(FieldInfo::word("error", "").optional())
            .field(FieldInfo::duration("duration", ""))
            .field(FieldInfo::flag("preempted", ""))
            .field(FieldInfo::list("stack", ""))
            .field(FieldInfo::group("arguments", "", [FieldInfo::number("fd", "")]))]
    }

    /// A buffer with two events: one that fails, and one that does not.
    fn viewed(format: Format, view: &View) -> LineBuffer {
        let [mut lines, mut begun] =
            [(); 2].map(|()| LineBuffer::with_room(4096).in_format(format).in_view(view));
        for (time, path, error) in [(5_000_001_000, "/a", Some("ENOENT")), (6_000_000_000, "/b", None)] {
            let origin = Origin::at(time).cpu(1).pid(7).tid(8).comm(b"cat");
            fn fields<'l>(line: EventLine<'l>, path: &str, error: Option<&str>) -> EventLine<'l> {
                line.text("path", path.as_bytes())
                    .optional(error, |line, error| line.word("error", error))
                    .duration("duration", 1_500_000)
                    .flag("preempted", error.is_none())
                    .list("stack", ["main", path])
                    .group("arguments", |line| line.number("fd", 3).number("pid", 9))
            }
            lines.add_event(&origin, "open", |line| fields(line, path, error));
            lines.continuation(path);
            drop(fields(begun.event(&origin, "open"), path, error));
            begun.continuation(path);
        }
        assert_eq!(lines.as_bytes(), begun.as_bytes());
        assert_eq!((lines.events(), lines.left_out()), (begun.events(), begun.left_out()));
        lines
    }

    fn text_of(lines: &LineBuffer) -> &str {
        str::from_utf8(lines.as_bytes()).unwrap()
    }

    fn where_is(expression: &str) -> View {
        View { condition: Some(parse_condition(expression, &events()).unwrap()), ..View::default() }
    }

    #[test]
    fn events_that_do_not_meet_the_condition_are_left_out() {
        let all = viewed(Format::Text, &View::default());
        let [first, second] = ["/a", "/b"].map(|path| {
            let is_of = |line: &&str| line.contains(path);
            text_of(&all).split_inclusive('\n').filter(is_of).collect::<String>()
        });
        for (expression, expected) in [
            ("error == ENOENT", &first),
            ("error != ENOENT", &second),
            ("!error", &second),
            ("preempted", &second),
            ("path ~ /a*", &first),
            ("stack == /b", &second),
            ("time < 5.5", &first),
            ("comm == cat && fd == 3 && path == \"/b\"", &second),
        ] {
            let lines = viewed(Format::Text, &where_is(expression));
            assert_eq!(text_of(&lines), expected, "{expression}");
            assert_eq!((lines.events(), lines.left_out()), (1, 1), "{expression}");
        }
        for (expression, events) in [
            ("duration > 1ms", 2),
            ("duration > 2ms", 0),
            ("cpu == 1 && event == open", 2),
            ("pid == 9", 0),
            ("pid == 7", 2),
            ("error || preempted", 2),
            ("error && preempted", 0),
        ] {
            let lines = viewed(Format::Json, &where_is(expression));
            assert_eq!((lines.events(), lines.left_out()), (events, 2 - events), "{expression}");
            assert!(
                text_of(&lines).lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
            );
        }
    }

    #[test]
    fn lines_that_are_written_otherwise_can_ask() {
        let mut lines = LineBuffer::with_room(4096).in_view(&where_is("fd == 3"));
        for fd in [2, 3] {
            let passes = lines
                .passes(&Origin::at(5), "open", |line| line.group("arguments", |line| line.number("fd", fd)));
            assert_eq!((passes, lines.is_left_out_with_last()), (fd == 3, fd != 3));
            lines.event_of_last(&Origin::at(6), "stack").list("stack", ["main"]);
        }
        assert_eq!((lines.as_bytes(), lines.left_out()), (&b"    0.000000: stack: stack=main\n"[..], 3));
    }

    #[test]
    fn columns_are_in_the_order_that_was_asked_for() {
        let columns = ["path", "comm", "error", "arguments.fd", "preempted", "tid", "duration"];
        let view = View { columns: columns.map(str::to_owned).to_vec(), ..View::default() };
        let lines = viewed(Format::Text, &view);
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let rows: Vec<Vec<String>> = text_of(&lines).lines().map(words).collect();
        assert_eq!(
            rows,
            [
                ["\"/a\"", "cat", "ENOENT", "3", "-", "8", "1500.000us"],
                ["\"/b\"", "cat", "-", "3", "preempted", "8", "1500.000us"],
            ]
        );
        let json = viewed(Format::Json, &view);
        let second = text_of(&json).lines().nth(1).unwrap();
        assert_eq!(
            second,
            r#"{"path":"/b","comm":"cat","fd":3,"preempted":true,"tid":8,"duration_ns":1500000}"#
        );
        assert_eq!(lines.events(), 2);
    }

    #[test]
    fn columns_and_a_condition_go_together() {
        let view = View { columns: vec!["time".to_owned()], ..where_is("error") };
        let lines = viewed(Format::Text, &view);
        assert_eq!((text_of(&lines), lines.left_out()), ("    5.000001\n", 1));
    }

    #[test]
    fn times_are_shown_as_asked_for() {
        let view = View { time: TimeFormat::Delta, ..View::default() };
        let lines = viewed(Format::Text, &view);
        assert!(text_of(&lines).contains("[001]     +0.999999: open: path=\"/b\""), "{}", text_of(&lines));
        let lines = viewed(Format::Json, &view);
        assert!(text_of(&lines).contains(r#"{"time":0.999999000,"#), "{}", text_of(&lines));
    }

    #[test]
    fn names_and_errors_are_colored() {
        let lines = viewed(Format::Text, &View { color: true, ..View::default() });
        let first = text_of(&lines).lines().next().unwrap();
        assert!(first.contains(" \u{1b}[36mopen\u{1b}[0m: path="), "{first:?}");
        assert!(first.contains(" error=\u{1b}[31mENOENT\u{1b}[0m duration="), "{first:?}");
    }
}
