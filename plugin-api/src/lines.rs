use crate::Format;

/// Whole lines of text on their way to the host.
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    room: usize,
    format: Format,
}

impl LineBuffer {
    /// An empty buffer that wants about `room` bytes.
    pub fn with_room(room: usize) -> Self {
        Self { bytes: Vec::new(), room, format: Format::Text }
    }

    /// The same for lines of this format.
    pub fn in_format(mut self, format: Format) -> Self {
        self.format = format;
        self
    }

    /// What the lines are to look like: what was [asked for](crate::Request::format).
    pub fn format(&self) -> Format {
        self.format
    }

    /// Empties the buffer, and asks for about `room` bytes.
    pub fn reset(&mut self, room: usize) {
        self.bytes.clear();
        self.room = room;
    }

    /// Adds one line. A newline at its end is supplied where it is missing.
    ///
    /// It is one line, whatever is in it: a newline *inside* becomes `\n`. Other control characters stay, though they are
    /// none of a line's: give what comes from a traced program with [`event`](Self::event) and
    /// [`EventLine::text`](crate::EventLine::text), which escape them.
    pub fn push(&mut self, line: impl AsRef<[u8]>) {
        let line = line.as_ref();
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        for (number, part) in line.split(|byte| *byte == b'\n').enumerate() {
            if number > 0 {
                self.bytes.extend_from_slice(b"\\n");
            }
            self.bytes.extend_from_slice(part);
        }
        self.bytes.push(b'\n');
    }

    /// The text itself, for those who format in place. Leave whole lines in it, each with its newline.
    pub fn text_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Whether the host wants no more lines in this call.
    pub fn is_full(&self) -> bool {
        self.bytes.len() >= self.room
    }

    /// How many more bytes the host wants in this call.
    pub fn room(&self) -> usize {
        self.room.saturating_sub(self.bytes.len())
    }

    /// What has been pushed.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_is_pushed_is_one_line() {
        let mut lines = LineBuffer::default();
        lines.push("one\ntwo\n\n");
        lines.push("");
        assert_eq!(lines.as_bytes(), b"one\\ntwo\\n\n\n");
    }
}
