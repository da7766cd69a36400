//! Lines that were read from the session and not yet written to the trace file.

use std::io::{self, BufRead};

use trace_hook_api::LineBuffer;

use super::lines::{Lines, Part};
use super::trace_file::PACKET;

/// The most text to keep here: that of one read. The session keeps all further text.
const LIMIT: usize = 256 << 10;

/// Whole lines, removed in packets.
#[derive(Debug, Default)]
pub struct Backlog {
    lines: Lines,
}

impl Backlog {
    /// The number of bytes that can still be added.
    pub fn room(&self) -> usize {
        LIMIT.saturating_sub(self.lines.text().len())
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Adds the lines of a read.
    pub fn add(&mut self, read: &LineBuffer) {
        self.lines.add_read(read);
    }

    /// Adds a line, or the remainder of one.
    pub fn add_line(&mut self, text: &[u8]) {
        self.lines.add(text, false);
    }

    /// Puts lines that were removed before back to the front.
    pub fn put_back(&mut self, lines: Lines) {
        let later = std::mem::replace(&mut self.lines, lines);
        self.lines.append(later);
    }

    /// Adds lines from a file, as many as there is room for. `are_events` contains for each line of the file whether it
    /// begins an event. `false`: there are no more lines.
    pub fn add_from_file(
        &mut self,
        file: &mut impl BufRead,
        are_events: &mut impl Iterator<Item = bool>,
    ) -> io::Result<bool> {
        let mut line = Vec::new();
        while self.room() > 0 {
            line.clear();
            if file.read_until(b'\n', &mut line)? == 0 {
                return Ok(false);
            }
            self.lines.add(&line, are_events.next().unwrap_or(true));
        }
        Ok(true)
    }

    /// Removes all lines.
    pub fn take_all(&mut self) -> Lines {
        self.lines.take_all()
    }

    /// All text.
    pub fn text(&self) -> &[u8] {
        self.lines.text()
    }

    /// Removes this many bytes of the text, and passes the lines on that they belong to.
    pub fn take_bytes(&mut self, bytes: usize, each: impl FnMut(Part)) {
        self.lines.take_bytes(bytes, each);
    }

    /// The next line, or the next part of one that is too long for a packet, and whether it belongs to a line that
    /// begins an event.
    pub fn next_packet(&self) -> Option<(&[u8], bool)> {
        let (text, line) = self.lines.first()?;
        Some((&text[..text.len().min(PACKET)], line.is_event))
    }

    /// Removes the packet that [`Self::next_packet`] returned.
    pub fn take(&mut self, length: usize) {
        self.lines.take(length);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(backlog: &mut Backlog, at_most: usize) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        while packets.len() < at_most
            && let Some((packet, _)) = backlog.next_packet()
        {
            packets.push(packet.to_vec());
            backlog.take(packets[packets.len() - 1].len());
        }
        packets
    }

    fn read(lines: &[Vec<u8>]) -> LineBuffer {
        let mut read = LineBuffer::with_room(usize::MAX);
        lines.iter().for_each(|line| read.push(line));
        read
    }

    proptest! {
        #[test]
        fn packets_are_the_lines_cut_where_they_are_too_long(
            lines in prop::collection::vec(prop::collection::vec(b'a'..=b'z', 0..10_000), 0..8),
            split in any::<prop::sample::Index>(),
        ) {
            let lines: Vec<Vec<u8>> = lines.into_iter().map(|mut line| { line.push(b'\n'); line }).collect();
            let (first, second) = lines.split_at(split.index(lines.len() + 1));
            let mut backlog = Backlog::default();
            backlog.add(&read(first));
            let mut packets = taken(&mut backlog, first.len());
            backlog.add(&read(second));
            packets.extend(taken(&mut backlog, usize::MAX));
            let expected: Vec<&[u8]> = lines.iter().flat_map(|line| line.chunks(PACKET)).collect();
            prop_assert_eq!(packets, expected);
        }
    }
}
