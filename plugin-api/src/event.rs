//! One event as one line, in the format of the session.

use std::thread;

use crate::escape::{self, write_all};
use crate::{Format, LineBuffer, LineKind, Loss};

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
pub struct EventLine<'a> {
    lines: &'a mut LineBuffer,
    time: u64,
    format: Format,
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
        let out = self.begin_line();
        match format {
            Format::Text => text_origin(out, origin, name),
            Format::Json => json_origin(out, origin, name),
        }
        EventLine { lines: self, time: origin.time, format }
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
        if self.format() == Format::Json {
            self.event(origin, "stack").text("comm", comm).list("stack", functions).number("count", count);
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
        for function in functions.rev() {
            out.push(b';');
            escape::text(out, function, Some(';'));
        }
        write_all(out, format_args!(" {count}"));
        self.end_line(LineKind::Event, origin.time);
    }

    /// Adds a line that continues the event before it, such as a row of a chart: ` => ` and the text.
    ///
    /// Adds nothing in JSON, where an event is one object.
    pub fn continuation(&mut self, text: &str) {
        if self.format() == Format::Text {
            let out = self.begin_line();
            out.extend_from_slice(b" => ");
            escape::text(out, text.as_bytes(), None);
            self.end_continuation();
        }
    }
}

impl EventLine<'_> {
    /// Adds text from a traced program. It is escaped, and cannot break the line.
    pub fn text(mut self, name: &str, bytes: &[u8]) -> Self {
        self.name(name);
        match self.format {
            Format::Text => {
                self.out().push(b'"');
                escape::text(self.out(), bytes, Some('"'));
                self.out().push(b'"');
            }
            Format::Json => escape::json(self.out(), bytes),
        }
        self
    }

    /// Adds a word of the hook's own, such as the name of a flag or of an error.
    pub fn word(mut self, name: &str, word: &str) -> Self {
        self.name(name);
        match self.format {
            Format::Text => escape::text(self.out(), word.as_bytes(), None),
            Format::Json => escape::json(self.out(), word.as_bytes()),
        }
        self
    }

    /// Adds a whole number.
    pub fn number(mut self, name: &str, number: impl Into<i128>) -> Self {
        self.name(name);
        write_all(self.out(), format_args!("{}", number.into()));
        self
    }

    /// Adds a number with a fraction, with three digits after the decimal point.
    pub fn fraction(mut self, name: &str, number: f64) -> Self {
        self.name(name);
        // JSON has finite numbers only.
        let number = if number.is_finite() { number } else { 0.0 };
        write_all(self.out(), format_args!("{number:.3}"));
        self
    }

    /// Adds an address, or another number that is best read in hexadecimal.
    pub fn address(mut self, name: &str, address: u64) -> Self {
        self.name(name);
        match self.format {
            Format::Text => write_all(self.out(), format_args!("{address:#x}")),
            Format::Json => write_all(self.out(), format_args!("\"{address:#x}\"")),
        }
        self
    }

    /// Adds a duration in nanoseconds. In JSON its name ends in `_ns`.
    pub fn duration(mut self, name: &str, nanoseconds: u64) -> Self {
        match self.format {
            Format::Text => {
                self.name(name);
                let (micros, rest) = (nanoseconds / 1000, nanoseconds % 1000);
                write_all(self.out(), format_args!("{micros}.{rest:03}us"));
            }
            Format::Json => {
                self.name(&format!("{name}_ns"));
                write_all(self.out(), format_args!("{nanoseconds}"));
            }
        }
        self
    }

    /// Adds a flag. In text its name is there only if it is true.
    pub fn flag(mut self, name: &str, holds: bool) -> Self {
        match self.format {
            Format::Text if holds => write_all(self.out(), format_args!(" {name}")),
            Format::Text => {}
            Format::Json => {
                self.name(name);
                write_all(self.out(), format_args!("{holds}"));
            }
        }
        self
    }

    /// Adds several texts, such as the frames of a stack, innermost first.
    pub fn list<T: AsRef<[u8]>>(mut self, name: &str, items: impl IntoIterator<Item = T>) -> Self {
        self.name(name);
        let (begin, separator, end) = match self.format {
            Format::Text => ("", b';', ""),
            Format::Json => ("[", b',', "]"),
        };
        self.out().extend_from_slice(begin.as_bytes());
        for (number, item) in items.into_iter().enumerate() {
            if number > 0 {
                self.out().push(separator);
            }
            match self.format {
                Format::Text => escape::text(self.out(), item.as_ref(), Some(';')),
                Format::Json => escape::json(self.out(), item.as_ref()),
            }
        }
        self.out().extend_from_slice(end.as_bytes());
        self
    }

    /// Adds the buckets of a histogram as objects. Adds nothing in text.
    pub(crate) fn buckets(mut self, buckets: &[(u64, u64, u64)]) -> Self {
        if self.format == Format::Json {
            self.name("buckets");
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
        if self.format == Format::Text {
            return fields(self);
        }
        self.name(name);
        self.out().push(b'{');
        let mut line = fields(self);
        line.out().push(b'}');
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

    fn out(&mut self) -> &mut Vec<u8> {
        self.lines.unfinished_line()
    }

    fn name(&mut self, name: &str) {
        match self.format {
            Format::Text => write_all(self.out(), format_args!(" {name}=")),
            Format::Json => {
                if self.out().last() != Some(&b'{') {
                    self.out().push(b',');
                }
                escape::json(self.out(), name.as_bytes());
                self.out().push(b':');
            }
        }
    }
}

impl Drop for EventLine<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            return self.lines.drop_unfinished_line();
        }
        if self.format == Format::Json {
            self.out().push(b'}');
        }
        self.lines.end_line(LineKind::Event, self.time);
    }
}

/// As the kernel writes it (`trace_print_context`), without the column of flags.
fn text_origin(out: &mut Vec<u8>, origin: &Origin<'_>, name: &str) {
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
    let (seconds, micros) = (origin.time / 1_000_000_000, origin.time % 1_000_000_000 / 1000);
    write_all(out, format_args!("{seconds:>5}.{micros:06}: {name}:"));
}

fn json_origin(out: &mut Vec<u8>, origin: &Origin<'_>, name: &str) {
    let (seconds, nanoseconds) = (origin.time / 1_000_000_000, origin.time % 1_000_000_000);
    write_all(out, format_args!("{{\"time\":{seconds}.{nanoseconds:09}"));
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
            .group("fields", |line| line.number("pid", 7).word("comm", "x"))
            .group("others", |line| line.number("a\"b", 8))
    }

    #[test]
    fn as_text() {
        assert_eq!(
            line(Format::Text, everything),
            "          ba\\nsh-4712    [001]   123.000456: open: path=\"a \\\"b\\\"\\n\" flags=O_RDONLY result=-2 \
             caller=0xffff8000 waited=12.345us preempted share=0.500 stack=main;a\\u{3b}b pid=7 comm=x a\"b=8\n"
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
                "fields": { "pid": 7, "comm": "x" }, "others": { "a\"b": 8 },
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
}
