//! Lines of the trace: their text, and the properties of each line, so that the text need not be parsed.

use std::collections::VecDeque;
use std::mem;

use trace_hook_api::{LineBuffer, LineKind};

/// Lines in the order in which they were recorded. The first and the last may be parts of a line.
#[derive(Debug, Default)]
pub struct Lines {
    text: Vec<u8>,
    /// The number of bytes that were removed from the beginning of the text.
    taken: usize,
    lines: VecDeque<Line>,
}

/// The properties of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// In bytes, including the newline.
    pub length: usize,
    /// Whether it begins an event. Other lines continue an event, or report a loss.
    pub is_event: bool,
}

/// A part of a line, or a whole one.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    pub line: Line,
    /// Whether the line ends with it.
    pub ends_line: bool,
}

impl Lines {
    /// Adds the lines of a read.
    pub fn add_read(&mut self, read: &LineBuffer) {
        self.forget_taken();
        self.text.extend_from_slice(read.as_bytes());
        let line = |entry: &trace_hook_api::LineEntry| Line {
            length: entry.length(),
            is_event: entry.kind() == LineKind::Event,
        };
        self.lines.extend(read.entries().iter().map(line));
    }

    /// Adds a line, or a part of one. A part that follows the first part of a line belongs to that line.
    pub fn add(&mut self, text: &[u8], is_event: bool) {
        match self.lines.back_mut() {
            _ if text.is_empty() => {}
            Some(last) if !self.text.ends_with(b"\n") => last.length += text.len(),
            _ => self.lines.push_back(Line { length: text.len(), is_event }),
        }
        self.text.extend_from_slice(text);
    }

    /// Adds all of these lines. If `self` ends with a part of a line, they begin with its next part.
    pub fn append(&mut self, others: Self) {
        let mut text = others.text();
        for line in &others.lines {
            let (part, after) = text.split_at(line.length);
            self.add(part, line.is_event);
            text = after;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn text(&self) -> &[u8] {
        &self.text[self.taken..]
    }

    /// The lines, without their text.
    pub fn iter(&self) -> impl Iterator<Item = Line> {
        self.lines.iter().copied()
    }

    /// How many events begin in these lines.
    pub fn events(&self) -> u64 {
        self.iter().filter(|line| line.is_event).count() as u64
    }

    /// The first line, or its remainder, if there is any.
    pub fn first(&self) -> Option<(&[u8], Line)> {
        let line = *self.lines.front()?;
        Some((&self.text()[..line.length], line))
    }

    /// Removes bytes from the beginning of the first line.
    pub fn take(&mut self, bytes: usize) {
        if let Some(first) = self.lines.front_mut() {
            self.taken += bytes;
            first.length -= bytes;
            if first.length == 0 {
                self.lines.pop_front();
            }
        }
    }

    /// Removes bytes from the beginning, and passes the lines on that they belong to.
    pub fn take_bytes(&mut self, bytes: usize, mut each: impl FnMut(Part)) {
        let mut left = bytes;
        while left > 0
            && let Some(&Line { length, is_event }) = self.lines.front()
        {
            let taken = length.min(left);
            self.take(taken);
            left -= taken;
            each(Part { line: Line { length: taken, is_event }, ends_line: taken == length });
        }
    }

    /// Removes the first line.
    pub fn take_first(&mut self) -> Vec<u8> {
        let first = self.first().map(|(text, _)| text.to_vec()).unwrap_or_default();
        self.take(first.len());
        first
    }

    /// Removes all lines.
    pub fn take_all(&mut self) -> Self {
        mem::take(self)
    }

    fn forget_taken(&mut self) {
        self.text.drain(..self.taken);
        self.taken = 0;
    }
}

impl PartialEq for Lines {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text() && self.lines == other.lines
    }
}

#[cfg(test)]
mod tests {
    use trace_hook_api::Origin;

    use super::*;

    #[test]
    fn pushed_line_that_looks_like_a_stack_frame_is_an_event() {
        let mut read = LineBuffer::with_room(4096);
        read.push(" => main");
        read.push("CPU:1 [LOST 12 EVENTS]");
        drop(read.event(&Origin::at(1), "open"));
        read.continuation(" => main");
        read.lost(1, Some(12));
        let mut lines = Lines::default();
        lines.add_read(&read);
        assert_eq!(
            lines.iter().map(|line| line.is_event).collect::<Vec<_>>(),
            [true, true, true, false, false]
        );
        assert_eq!(lines.events(), 3);
    }

    #[test]
    fn parts_become_one_line() {
        let mut lines = Lines::default();
        lines.add(b"be", true);
        lines.add(b"gin", false);
        let mut others = Lines::default();
        others.add(b"ning\n", false);
        others.add(b" => next\n", false);
        lines.append(others);
        assert_eq!(lines.first(), Some((&b"beginning\n"[..], Line { length: 10, is_event: true })));
        lines.take(2);
        assert_eq!((lines.text(), lines.events()), (&b"ginning\n => next\n"[..], 1));
        assert_eq!(lines.take_first(), b"ginning\n");
        assert_eq!((lines.text(), lines.events()), (&b" => next\n"[..], 0));
    }
}
