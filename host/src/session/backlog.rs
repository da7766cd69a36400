//! Lines that are on their way from the session to the trace file.

use std::io::{self, BufRead};

use memchr::memchr;

use super::trace_file::PACKET;

/// How much text waits here at most, which is what a session makes in one go. Whatever is more is the session's to keep.
const LIMIT: usize = 256 << 10;

/// Text in whole lines, taken off in packets.
#[derive(Debug, Default)]
pub struct Backlog {
    text: Vec<u8>,
    taken: usize,
}

impl Backlog {
    /// How many more bytes there is room for.
    pub fn room(&self) -> usize {
        LIMIT.saturating_sub(self.text.len() - self.taken)
    }

    pub fn is_empty(&self) -> bool {
        self.taken == self.text.len()
    }

    /// Adds whole lines.
    pub fn add(&mut self, lines: &[u8]) {
        if self.taken > 0 {
            self.text.drain(..self.taken);
            self.taken = 0;
        }
        self.text.extend_from_slice(lines);
    }

    /// Adds whole lines that were taken off before, and come first again.
    pub fn put_back(&mut self, lines: &[u8]) {
        self.text.splice(..self.taken, lines.iter().copied());
        self.taken = 0;
    }

    /// Adds lines from a file, as many as there is room for. `false`: there are no more.
    pub fn take_from(&mut self, lines: &mut impl BufRead) -> io::Result<bool> {
        let mut line = Vec::new();
        while self.room() > 0 {
            line.clear();
            if lines.read_until(b'\n', &mut line)? == 0 {
                return Ok(false);
            }
            self.add(&line);
        }
        Ok(true)
    }

    /// Takes off everything.
    pub fn take_all(&mut self) -> Vec<u8> {
        let rest = self.text.split_off(self.taken);
        *self = Self::default();
        rest
    }

    /// The next line, or the next part of one that is too long for a packet. Empty: there is none.
    pub fn next_packet(&self) -> &[u8] {
        let waiting = &self.text[self.taken..];
        let longest = &waiting[..waiting.len().min(PACKET)];
        match memchr(b'\n', longest) {
            Some(end) => &longest[..=end],
            None => longest,
        }
    }

    /// Takes the packet off that [`Self::next_packet`] gave.
    pub fn take(&mut self, length: usize) {
        self.taken += length;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(backlog: &mut Backlog, at_most: usize) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        while !backlog.is_empty() && packets.len() < at_most {
            packets.push(backlog.next_packet().to_vec());
            backlog.take(packets[packets.len() - 1].len());
        }
        packets
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
            backlog.add(&first.concat());
            let mut packets = taken(&mut backlog, first.len());
            backlog.add(&second.concat());
            packets.extend(taken(&mut backlog, usize::MAX));
            let expected: Vec<&[u8]> = lines.iter().flat_map(|line| line.chunks(PACKET)).collect();
            prop_assert_eq!(packets, expected);
        }
    }
}
