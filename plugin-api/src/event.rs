//! One event as one line, in whatever format the session was asked for.

use crate::escape::{self, write_all};
use crate::{Format, LineBuffer};

/// When and where an event happened, and to whom.
///
/// Ids are those of the initial pid namespace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin<'a> {
    /// Nanoseconds since boot, by `CLOCK_BOOTTIME`: [`boot_time`](crate::boot_time) is what it says now.
    ///
    /// A record of tracefs keeps the time that the kernel has stamped it with, by the clock of its tracing, which no time
    /// service corrects, and which may stand still while the machine sleeps.
    pub time: u64,
    /// The CPU, where the event has one.
    pub cpu: Option<u32>,
    /// The process (thread group), where it is known.
    pub pid: Option<u32>,
    /// The thread.
    pub tid: Option<u32>,
    /// The thread's name, as it is.
    pub comm: &'a [u8],
}

/// An event on its way into a line: see [`LineBuffer::event`].
///
/// Its fields come in the order in which they are given. Dropping it ends the line.
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
    out: &'a mut Vec<u8>,
    format: Format,
}

impl LineBuffer {
    /// Begins a line for an event of this name, which is of lower-case letters, digits and `_`.
    ///
    /// ```
    /// use trace_hook_api::{LineBuffer, Origin};
    ///
    /// let mut lines = LineBuffer::with_room(4096);
    /// let origin = Origin { time: 5_000_001_000, cpu: Some(1), pid: Some(7), tid: Some(8), comm: b"cat" };
    /// lines.event(&origin, "open").text("path", b"/tmp/\x1b[2J").number("result", 3);
    /// let line = str::from_utf8(lines.as_bytes()).unwrap();
    /// assert_eq!(line, "             cat-8       [001]     5.000001: open: path=\"/tmp/\\u{1b}[2J\" result=3\n");
    /// ```
    pub fn event(&mut self, origin: &Origin<'_>, name: &str) -> EventLine<'_> {
        let format = self.format();
        let out = self.text_mut();
        match format {
            Format::Text => text_origin(out, origin, name),
            Format::Json => json_origin(out, origin, name),
        }
        EventLine { out, format }
    }

    /// Adds the line that tells of a gap in the events of a CPU. None, where nothing was lost.
    pub fn lost(&mut self, cpu: u32, count: Option<u64>) {
        if count == Some(0) {
            return;
        }
        let format = self.format();
        let out = self.text_mut();
        match (format, count) {
            (Format::Text, Some(count)) => write_all(out, format_args!("CPU:{cpu} [LOST {count} EVENTS]\n")),
            (Format::Text, None) => write_all(out, format_args!("CPU:{cpu} [LOST EVENTS]\n")),
            (Format::Json, Some(count)) => {
                write_all(out, format_args!("{{\"event\":\"lost\",\"cpu\":{cpu},\"count\":{count}}}\n"));
            }
            (Format::Json, None) => write_all(out, format_args!("{{\"event\":\"lost\",\"cpu\":{cpu}}}\n")),
        }
    }

    /// Adds a line that says how often a task of this name was seen with this stack, whose functions come the innermost
    /// first. As text it is what tools for flame graphs read: `COMM;OUTERMOST;…;INNERMOST COUNT`.
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
        let out = self.text_mut();
        // A line that begins with a blank is no line of its own.
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
        write_all(out, format_args!(" {count}\n"));
    }

    /// Adds a line that goes on where the last event's line ended, such as a row of a picture: ` => ` and the text.
    ///
    /// In JSON, which has no room for what is only there to be seen, nothing.
    pub fn continuation(&mut self, text: &str) {
        if self.format() == Format::Text {
            let out = self.text_mut();
            out.extend_from_slice(b" => ");
            escape::text(out, text.as_bytes(), None);
            out.push(b'\n');
        }
    }
}

impl EventLine<'_> {
    /// Text from a traced program. Whatever its bytes are, it stays within its place.
    pub fn text(mut self, name: &str, bytes: &[u8]) -> Self {
        self.name(name);
        match self.format {
            Format::Text => {
                self.out.push(b'"');
                escape::text(self.out, bytes, Some('"'));
                self.out.push(b'"');
            }
            Format::Json => escape::json(self.out, bytes),
        }
        self
    }

    /// A word of our own, such as the name of a flag or of an error.
    pub fn word(mut self, name: &str, word: &str) -> Self {
        self.name(name);
        match self.format {
            Format::Text => escape::text(self.out, word.as_bytes(), None),
            Format::Json => escape::json(self.out, word.as_bytes()),
        }
        self
    }

    /// A whole number.
    pub fn number(mut self, name: &str, number: impl Into<i128>) -> Self {
        self.name(name);
        write_all(self.out, format_args!("{}", number.into()));
        self
    }

    /// A number with a fraction, with three digits after the point.
    pub fn fraction(mut self, name: &str, number: f64) -> Self {
        self.name(name);
        // JSON has no other numbers.
        let number = if number.is_finite() { number } else { 0.0 };
        write_all(self.out, format_args!("{number:.3}"));
        self
    }

    /// An address, or another number that is read in hex.
    pub fn address(mut self, name: &str, address: u64) -> Self {
        self.name(name);
        match self.format {
            Format::Text => write_all(self.out, format_args!("{address:#x}")),
            Format::Json => write_all(self.out, format_args!("\"{address:#x}\"")),
        }
        self
    }

    /// A time in nanoseconds. In JSON its name ends in `_ns`.
    pub fn duration(mut self, name: &str, nanoseconds: u64) -> Self {
        match self.format {
            Format::Text => {
                self.name(name);
                let (micros, rest) = (nanoseconds / 1000, nanoseconds % 1000);
                write_all(self.out, format_args!("{micros}.{rest:03}us"));
            }
            Format::Json => {
                self.name(&format!("{name}_ns"));
                write_all(self.out, format_args!("{nanoseconds}"));
            }
        }
        self
    }

    /// Something that holds or not. As text it is there or not.
    pub fn flag(mut self, name: &str, holds: bool) -> Self {
        match self.format {
            Format::Text if holds => write_all(self.out, format_args!(" {name}")),
            Format::Text => {}
            Format::Json => {
                self.name(name);
                write_all(self.out, format_args!("{holds}"));
            }
        }
        self
    }

    /// Several texts, such as the frames of a stack, the innermost first.
    pub fn list<T: AsRef<[u8]>>(mut self, name: &str, items: impl IntoIterator<Item = T>) -> Self {
        self.name(name);
        let (begin, separator, end) = match self.format {
            Format::Text => ("", b';', ""),
            Format::Json => ("[", b',', "]"),
        };
        self.out.extend_from_slice(begin.as_bytes());
        for (number, item) in items.into_iter().enumerate() {
            if number > 0 {
                self.out.push(separator);
            }
            match self.format {
                Format::Text => escape::text(self.out, item.as_ref(), Some(';')),
                Format::Json => escape::json(self.out, item.as_ref()),
            }
        }
        self.out.extend_from_slice(end.as_bytes());
        self
    }

    /// In JSON the classes of a histogram, as objects.
    pub(crate) fn buckets(mut self, buckets: &[(u64, u64, u64)]) -> Self {
        if self.format == Format::Json {
            self.name("buckets");
            for (number, (from, to, count)) in buckets.iter().enumerate() {
                let before = if number == 0 { '[' } else { ',' };
                let bucket = format_args!("{before}{{\"from_ns\":{from},\"to_ns\":{to},\"count\":{count}}}");
                write_all(self.out, bucket);
            }
            self.out.extend_from_slice(if buckets.is_empty() { b"[]" } else { b"]" });
        }
        self
    }

    /// Fields of their own, whose names may be those of other fields: in JSON an object within the object.
    pub fn group(mut self, name: &str, fields: impl FnOnce(Self) -> Self) -> Self {
        if self.format == Format::Text {
            return fields(self);
        }
        self.name(name);
        self.out.push(b'{');
        let line = fields(self);
        line.out.push(b'}');
        line
    }

    fn name(&mut self, name: &str) {
        match self.format {
            Format::Text => write_all(self.out, format_args!(" {name}=")),
            Format::Json => {
                if self.out.last() != Some(&b'{') {
                    self.out.push(b',');
                }
                escape::json(self.out, name.as_bytes());
                self.out.push(b':');
            }
        }
    }
}

impl Drop for EventLine<'_> {
    fn drop(&mut self) {
        self.out.extend_from_slice(match self.format {
            Format::Text => b"\n",
            Format::Json => b"}\n",
        });
    }
}

/// As the kernel writes it (`trace_print_context`), but for the column of its flags.
fn text_origin(out: &mut Vec<u8>, origin: &Origin<'_>, name: &str) {
    if let Some(tid) = origin.tid {
        let begin = out.len();
        escape::text(out, origin.comm, None);
        let width = out.len() - begin;
        // An escaped name can be longer than any that the kernel knows. Two blanks before it: it must not be taken for the row
        // of a stack, which has one.
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
        let origin =
            Origin { time: 123_000_456_789, cpu: Some(1), pid: Some(4711), tid: Some(4712), comm: b"ba\nsh" };
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
    fn folded_stacks_are_what_tools_for_flame_graphs_read() {
        let origin = Origin { time: 5, ..Origin::default() };
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
    fn gaps_are_told_in_the_same_format() {
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
