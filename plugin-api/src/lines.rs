use std::iter;

use crate::view::Viewer;
use crate::{Format, LineEntry, LineKind, Loss, View, boot_time};

/// The longest line, in bytes. What exceeds it is cut off.
const LONGEST_LINE: usize = u32::MAX as usize;

/// Lines on their way to the host: their text, and beside it one [`LineEntry`] for each line.
///
/// | to add | use |
/// |---|---|
/// | an event with fields | [`event`](Self::event) |
/// | an event that is a finished line | [`push`](Self::push), [`push_at`](Self::push_at) |
/// | an event whose text is formatted in place | [`write_event`](Self::write_event) |
/// | a row below an event | [`continuation`](Self::continuation) |
/// | a report of lost events | [`lost`](Self::lost) |
#[derive(Debug, Default)]
pub struct LineBuffer {
    /// Complete lines up to `end`; behind it, a line that is being written.
    text: Vec<u8>,
    end: usize,
    entries: Vec<LineEntry>,
    losses: Vec<Loss>,
    /// The time of the last line.
    time: u64,
    room: usize,
    format: Format,
    view: Option<Box<Viewer>>,
    /// The events that the view has left out.
    left_out: u64,
}

impl LineBuffer {
    /// Creates an empty buffer that is full at about `room` bytes.
    pub fn with_room(room: usize) -> Self {
        Self { room, ..Self::default() }
    }

    /// Sets the format of the lines.
    pub fn in_format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// Sets how the lines are presented.
    pub fn in_view(mut self, view: &View) -> Self {
        self.view = (!view.is_default()).then(|| Box::new(Viewer::of(view)));
        self
    }

    /// Returns how many events were left out so far, because of the condition of the [view](Self::in_view).
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Returns the format that was [requested](crate::Request::format).
    pub fn format(&self) -> Format {
        self.format
    }

    /// Removes all lines, and sets how many bytes are wanted.
    pub fn reset(&mut self, room: usize) {
        self.text.clear();
        self.end = 0;
        self.entries.clear();
        self.losses.clear();
        self.room = room;
        if let Some(view) = &mut self.view {
            view.clock.synchronize();
        }
    }

    /// Adds an event that happens now and is this line.
    ///
    /// See [`push_at`](Self::push_at).
    pub fn push(&mut self, line: impl AsRef<[u8]>) {
        self.push_at(boot_time(), line);
    }

    /// Adds an event that is this line, with its time in nanoseconds since boot (`CLOCK_BOOTTIME`).
    ///
    /// A missing newline at the end is added. A newline *inside* becomes `\n`, so that the event is one line. Other control
    /// characters are kept: text from a traced program belongs into [`event`](Self::event) and
    /// [`EventLine::text`](crate::EventLine::text), which escape it.
    ///
    /// ```
    /// use trace_hook_api::LineBuffer;
    ///
    /// let mut lines = LineBuffer::with_room(4096);
    /// lines.push_at(5_000_000_000, "one\ntwo");
    /// assert_eq!(lines.as_bytes(), b"one\\ntwo\n");
    /// assert_eq!(lines.entries()[0].time(), 5_000_000_000);
    /// ```
    pub fn push_at(&mut self, time: u64, line: impl AsRef<[u8]>) {
        let line = line.as_ref();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let text = self.begin_line();
        for (number, part) in line.split(|byte| *byte == b'\n').enumerate() {
            if number > 0 {
                text.extend_from_slice(b"\\n");
            }
            text.extend_from_slice(part);
        }
        self.end_line(LineKind::Event, time);
    }

    /// Adds one event whose text `write` appends in place, with its time in nanoseconds since boot (`CLOCK_BOOTTIME`).
    ///
    /// The first line is the event; further lines are its continuations. A missing newline at the end is added. Nothing is
    /// added if `write` appends nothing.
    ///
    /// ```
    /// use trace_hook_api::LineBuffer;
    ///
    /// let mut lines = LineBuffer::with_room(4096);
    /// lines.write_event(5_000_000_000, |text| text.extend_from_slice(b"stack:\n => leaf\n => main\n"));
    /// assert_eq!((lines.entries().len(), lines.events()), (3, 1));
    /// ```
    ///
    /// # Panics
    ///
    /// If `write` removes text that was in the buffer before.
    pub fn write_event(&mut self, time: u64, write: impl FnOnce(&mut Vec<u8>)) {
        write(self.begin_line());
        assert!(self.text.len() >= self.end, "the closure given to write_event must only append");
        if self.text.len() == self.end {
            return;
        }
        if self.text.last() != Some(&b'\n') {
            self.text.push(b'\n');
        }
        self.time = time;
        let begin = self.end;
        let mut kind = LineKind::Event;
        for newline in memchr::memchr_iter(b'\n', &self.text[begin..]) {
            let end = begin + newline + 1;
            let length = u32::try_from(end - self.end).unwrap_or(u32::MAX);
            self.entries.push(LineEntry::new(kind, time, length));
            self.end = end;
            kind = LineKind::Continuation;
        }
    }

    /// Returns whether the buffer is full, so that no more lines should be added in this call.
    pub fn is_full(&self) -> bool {
        self.end >= self.room
    }

    /// Returns how many more bytes should be added in this call.
    pub fn room(&self) -> usize {
        self.room.saturating_sub(self.end)
    }

    /// Returns the text of all lines.
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..self.end]
    }

    /// Returns one entry for each line, in order.
    pub fn entries(&self) -> &[LineEntry] {
        &self.entries
    }

    /// Returns one entry for each line that reports lost events, in order.
    pub fn losses(&self) -> &[Loss] {
        &self.losses
    }

    /// Returns the number of events. Continuations and reports of losses are not events.
    pub fn events(&self) -> u64 {
        self.entries.iter().filter(|entry| entry.kind() == LineKind::Event).count() as u64
    }

    /// Returns an iterator over the lines: the entry and the text of each.
    pub fn iter(&self) -> impl Iterator<Item = (&LineEntry, &[u8])> {
        let mut rest = self.as_bytes();
        let mut entries = self.entries.iter();
        iter::from_fn(move || {
            let entry = entries.next()?;
            let (line, after) = rest.split_at_checked(entry.length())?;
            rest = after;
            Some((entry, line))
        })
    }

    /// What is to be considered beyond the format, if anything.
    pub(crate) fn viewer(&mut self) -> Option<&mut Viewer> {
        self.view.as_deref_mut()
    }

    /// Leaves out the line that was begun.
    pub(crate) fn leave_out(&mut self) {
        self.drop_unfinished_line();
        self.left_out += 1;
    }

    /// Begins a line: returns the text to append it to. An unfinished line before it is dropped.
    pub(crate) fn begin_line(&mut self) -> &mut Vec<u8> {
        self.drop_unfinished_line();
        &mut self.text
    }

    /// Returns the text of the line that is being written, behind all others.
    pub(crate) fn unfinished_line(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// Ends the line that was begun, with a newline.
    pub(crate) fn end_line(&mut self, kind: LineKind, time: u64) {
        self.text.truncate(self.end.saturating_add(LONGEST_LINE - 1));
        self.text.push(b'\n');
        let length = u32::try_from(self.text.len() - self.end).unwrap_or(u32::MAX);
        self.entries.push(LineEntry::new(kind, time, length));
        self.end = self.text.len();
        self.time = time;
    }

    /// Ends the line that was begun and reports a loss.
    pub(crate) fn end_loss(&mut self, loss: Loss) {
        self.end_line(LineKind::Loss, self.time);
        self.losses.push(loss);
    }

    /// Ends the line that was begun and belongs to the event before it.
    pub(crate) fn end_continuation(&mut self) {
        self.end_line(LineKind::Continuation, self.time);
    }

    pub(crate) fn drop_unfinished_line(&mut self) {
        self.text.truncate(self.end);
    }

    /// Appends lines that the entries describe exactly.
    pub(crate) fn append(&mut self, text: &[u8], entries: &[LineEntry], losses: &[Loss]) {
        self.begin_line().extend_from_slice(text);
        self.end = self.text.len();
        self.entries.extend_from_slice(entries);
        self.losses.extend_from_slice(losses);
        self.time = entries.last().map_or(self.time, LineEntry::time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origin;

    fn kinds(lines: &LineBuffer) -> Vec<(LineKind, u64, &[u8])> {
        lines.iter().map(|(entry, line)| (entry.kind(), entry.time(), line)).collect()
    }

    #[test]
    fn every_line_has_its_newline() {
        let mut lines = LineBuffer::with_room(8);
        lines.push("a");
        lines.push("b\n");
        assert_eq!(lines.as_bytes(), b"a\nb\n");
        assert_eq!(lines.room(), 4);
        lines.push("long");
        assert!(lines.is_full());
    }

    #[test]
    fn pushed_text_is_one_line() {
        let mut lines = LineBuffer::default();
        lines.push("one\ntwo\n\n");
        lines.push("");
        assert_eq!(lines.as_bytes(), b"one\\ntwo\\n\n\n");
        assert_eq!(lines.events(), 2);
    }

    #[test]
    fn each_line_has_its_kind_and_time() {
        let mut lines = LineBuffer::with_room(4096);
        lines.lost(1, None);
        lines.push_at(5, " => looks like a row of a stack");
        lines.write_event(6, |text| text.extend_from_slice(b"event\n => row"));
        lines.continuation("another row");
        lines.lost(2, Some(3));
        lines.write_event(7, |_| ());
        drop(lines.event(&Origin::at(8), "open"));
        assert_eq!(
            kinds(&lines),
            [
                (LineKind::Loss, 0, &b"CPU:1 [LOST EVENTS]\n"[..]),
                (LineKind::Event, 5, b" => looks like a row of a stack\n"),
                (LineKind::Event, 6, b"event\n"),
                (LineKind::Continuation, 6, b" => row\n"),
                (LineKind::Continuation, 6, b" => another row\n"),
                (LineKind::Loss, 6, b"CPU:2 [LOST 3 EVENTS]\n"),
                (LineKind::Event, 8, b"    0.000000: open:\n"),
            ]
        );
        assert_eq!(lines.losses(), [Loss::new(1, None), Loss::new(2, Some(3))]);
        lines.reset(10);
        assert!(lines.as_bytes().is_empty() && lines.entries().is_empty() && lines.losses().is_empty());
    }

    #[test]
    fn a_line_that_was_never_finished_is_dropped() {
        let mut lines = LineBuffer::with_room(4096);
        lines.push_at(1, "before");
        std::mem::forget(lines.event(&Origin::at(2), "forgotten"));
        assert_eq!(lines.as_bytes(), b"before\n");
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            lines.event(&Origin::at(3), "half").group("fields", |_| panic!("as a hook might"));
        }));
        assert!(panicked.is_err());
        lines.push_at(4, "after");
        assert_eq!(lines.as_bytes(), b"before\nafter\n");
        assert_eq!(lines.entries().len(), 2);
    }

    #[test]
    #[should_panic(expected = "must only append")]
    fn write_event_rejects_a_closure_that_removes_text() {
        let mut lines = LineBuffer::with_room(4096);
        lines.push_at(1, "before");
        lines.write_event(2, Vec::clear);
    }
}
