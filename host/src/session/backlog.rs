//! Lines that are on their way from the session to the trace file.

use std::io::{self, BufRead};

use trace_hook_api::LineBuffer;

use super::lines::Lines;
use super::trace_file::PACKET;

/// How much text waits here at most: as much as a session gives in one read. All other text is kept by the session.
const LIMIT: usize = 256 << 10;

/// Whole lines, taken off in packets.
#[derive(Debug, Default)]
pub struct Backlog {
    lines: Lines,
}

impl Backlog {
    /// How many more bytes there is room for.
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

    /// Adds lines that were taken off before, and come first again.
    pub fn put_back(&mut self, lines: Lines) {
        let later = std::mem::replace(&mut self.lines, lines);
        self.lines.append(later);
    }

    /// Adds lines from a file, as many as there is room for. `are_events` says for each line of the file whether an event
    /// begins with it. `false`: there are no more.
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

    /// Takes off everything.
    pub fn take_all(&mut self) -> Lines {
        self.lines.take_all()
    }

    /// The next line, or the next part of one that is too long for a packet, and whether it belongs to a line that begins
    /// an event.
    pub fn next_packet(&self) -> Option<(&[u8], bool)> {
        let (text, line) = self.lines.first()?;
        Some((&text[..text.len().min(PACKET)], line.is_event))
    }

    /// Takes the packet off that [`Self::next_packet`] gave.
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
