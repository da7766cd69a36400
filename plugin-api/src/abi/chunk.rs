//! Lines on their way from a session to the host: text, and beside it what the host must know of each line as data.

use std::fmt;

use abi_stable::{StableAbi, std_types::RSlice};

use super::entry::{LineEntry, LineKind, Loss};
use crate::{LineBuffer, Progress, Result};

/// The lines of one read, valid until the session's next call. Frozen.
#[repr(C)]
#[derive(StableAbi)]
pub struct Chunk<'a> {
    /// Whole lines, each with its newline.
    pub text: RSlice<'a, u8>,
    /// One entry for each line of the text, in order.
    pub lines: RSlice<'a, LineEntry>,
    /// One entry for each line that reports a loss, in order.
    pub losses: RSlice<'a, Loss>,
    /// What to expect of the next read: 0 more, 1 nothing at the moment, 2 no further lines.
    pub progress: u8,
}

impl<'a> Chunk<'a> {
    pub(super) fn new(lines: &'a LineBuffer, progress: Progress) -> Self {
        Self {
            text: RSlice::from_slice(lines.as_bytes()),
            lines: RSlice::from_slice(lines.entries()),
            losses: RSlice::from_slice(lines.losses()),
            progress: match progress {
                Progress::More => 0,
                Progress::Idle => 1,
                Progress::Finished => 2,
            },
        }
    }

    /// Appends the lines to `lines`, if the chunk is consistent. The entries of the plugin are checked, not trusted.
    pub(super) fn take(&self, lines: &mut LineBuffer) -> Result<Progress> {
        let (text, entries, losses) = (self.text.as_slice(), self.lines.as_slice(), self.losses.as_slice());
        check_lines(text, entries)?;
        check_losses(entries, losses)?;
        let progress = match self.progress {
            0 => Progress::More,
            1 => Progress::Idle,
            2 => Progress::Finished,
            other => return Err(Fault::UnknownProgress(other).into()),
        };
        lines.append(text, entries, losses);
        Ok(progress)
    }
}

/// Checks that the entries describe exactly the lines of the text.
fn check_lines(text: &[u8], entries: &[LineEntry]) -> Result<(), Fault> {
    let mut newlines = memchr::memchr_iter(b'\n', text);
    let mut end = 0;
    for (index, entry) in entries.iter().enumerate() {
        let line = index + 1;
        end += entry.length();
        match newlines.next() {
            Some(newline) if newline + 1 == end => {}
            Some(newline) if newline + 1 < end => return Err(Fault::NewlineWithinLine { line }),
            _ => return Err(Fault::LineWithoutNewline { line }),
        }
        if LineKind::from_number(entry.kind).is_none() {
            return Err(Fault::UnknownKind { line, kind: entry.kind });
        }
    }
    match end == text.len() {
        true => Ok(()),
        false => Err(Fault::UndescribedText { described: end, length: text.len() }),
    }
}

fn check_losses(entries: &[LineEntry], losses: &[Loss]) -> Result<(), Fault> {
    let lines = entries.iter().filter(|entry| entry.kind() == LineKind::Loss).count();
    match lines == losses.len() {
        true => Ok(()),
        false => Err(Fault::UnequalLosses { lines, losses: losses.len() }),
    }
}

/// An inconsistency of a chunk. Lines are counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    LineWithoutNewline { line: usize },
    NewlineWithinLine { line: usize },
    UnknownKind { line: usize, kind: u32 },
    UndescribedText { described: usize, length: usize },
    UnequalLosses { lines: usize, losses: usize },
    UnknownProgress(u8),
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a read of the session is inconsistent: ")?;
        match *self {
            Self::LineWithoutNewline { line } => write!(f, "line {line} does not end in a newline"),
            Self::NewlineWithinLine { line } => write!(f, "line {line} contains a newline before its end"),
            Self::UnknownKind { line, kind } => write!(f, "line {line} is of the unknown kind {kind}"),
            Self::UndescribedText { described, length } => {
                write!(f, "its entries describe {described} bytes, but its text has {length}")
            }
            Self::UnequalLosses { lines, losses } => {
                write!(f, "{lines} of its lines report losses, but it has {losses} loss entries")
            }
            Self::UnknownProgress(progress) => write!(f, "its progress is {progress}; expected 0, 1 or 2"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk<'a>(text: &'a [u8], lines: &'a [LineEntry], losses: &'a [Loss], progress: u8) -> Chunk<'a> {
        Chunk { text: text.into(), lines: lines.into(), losses: losses.into(), progress }
    }

    fn entry(kind: u32, length: u32) -> LineEntry {
        LineEntry { time: 7, length, kind }
    }

    /// The message of the error for this chunk, which must leave the buffer as it is.
    fn complaint(text: &[u8], lines: &[LineEntry], losses: &[Loss], progress: u8) -> String {
        let mut buffer = LineBuffer::with_room(100);
        let error = chunk(text, lines, losses, progress).take(&mut buffer).unwrap_err();
        assert!(buffer.as_bytes().is_empty() && buffer.entries().is_empty() && buffer.losses().is_empty());
        error.message().to_owned()
    }

    #[test]
    fn consistent_chunk_is_appended_as_it_is() {
        let mut sent = LineBuffer::with_room(100);
        sent.push_at(5, "one");
        sent.lost(3, Some(9));
        sent.write_event(8, |text| text.extend_from_slice(b"two\n => three\n"));
        let mut received = LineBuffer::with_room(100);
        for progress in [Progress::More, Progress::Idle, Progress::Finished] {
            received.reset(100);
            assert_eq!(Chunk::new(&sent, progress).take(&mut received), Ok(progress));
            assert_eq!(received.as_bytes(), sent.as_bytes());
            assert_eq!(received.entries(), sent.entries());
            assert_eq!(received.losses(), [Loss::new(3, Some(9))]);
            assert_eq!(received.events(), 2);
        }
    }

    #[test]
    fn inconsistent_chunk_is_an_error() {
        let one = [entry(0, 2)];
        assert!(complaint(b"a", &[entry(0, 1)], &[], 0).contains("line 1 does not end in a newline"));
        assert!(complaint(b"a\n", &[entry(0, 0)], &[], 0).contains("line 1 does not end in a newline"));
        assert!(complaint(b"a\n", &[entry(0, u32::MAX)], &[], 0).contains("line 1 contains a newline"));
        assert!(complaint(b"", &one, &[], 0).contains("line 1 does not end in a newline"));
        assert!(complaint(b"a\nb\n", &[entry(0, 4)], &[], 0).contains("line 1 contains a newline"));
        assert!(
            complaint(b"a\nb\n", &one, &[], 0).contains("its entries describe 2 bytes, but its text has 4")
        );
        assert!(
            complaint(b"a\nhalf", &one, &[], 0).contains("its entries describe 2 bytes, but its text has 6")
        );
        assert!(complaint(b"a\n", &[entry(3, 2)], &[], 0).contains("unknown kind 3"));
        assert!(complaint(b"a\n", &[entry(2, 2)], &[], 0).contains("1 of its lines report losses"));
        assert!(complaint(b"a\n", &one, &[Loss::new(0, None)], 0).contains("it has 1 loss entries"));
        assert!(complaint(b"a\n", &one, &[], 3).contains("its progress is 3"));
    }

    prop_compose! {
        fn entries()(raw in prop::collection::vec((any::<u64>(), 0u32..6, 0u32..4), 0..8)) -> Vec<LineEntry> {
            raw.into_iter().map(|(time, length, kind)| LineEntry { time, length, kind }).collect()
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_whole_lines_in_order(
            text in "[a\n]{0,12}",
            lines in entries(),
            losses in prop::collection::vec((any::<u32>(), any::<u64>(), any::<u32>()), 0..3),
            progress in 0u8..4,
        ) {
            let losses: Vec<Loss> =
                losses.into_iter().map(|(cpu, count, is_counted)| Loss { count, cpu, is_counted }).collect();
            let mut buffer = LineBuffer::with_room(100);
            match chunk(text.as_bytes(), &lines, &losses, progress).take(&mut buffer) {
                Ok(_) => {
                    let parts: Vec<&[u8]> = buffer.iter().map(|(_, line)| line).collect();
                    let split: Vec<&[u8]> = text.as_bytes().split_inclusive(|byte| *byte == b'\n').collect();
                    prop_assert_eq!(parts, split);
                    prop_assert!(text.is_empty() || text.ends_with('\n'));
                }
                Err(_) => prop_assert!(buffer.as_bytes().is_empty()),
            }
        }

        #[test]
        fn what_a_buffer_holds_is_always_accepted(
            pieces in prop::collection::vec((0u8..5, prop::collection::vec(any::<u8>(), 0..9), any::<u64>()), 0..12),
        ) {
            let mut sent = LineBuffer::with_room(100);
            for (way, bytes, time) in &pieces {
                match way {
                    0 => sent.push_at(*time, bytes),
                    1 => sent.write_event(*time, |text| text.extend_from_slice(bytes)),
                    2 => sent.lost(*time as u32, Some(*time)),
                    3 => sent.continuation(&String::from_utf8_lossy(bytes)),
                    _ => drop(sent.event(&crate::Origin::at(*time), "event").text("text", bytes)),
                }
            }
            let mut received = LineBuffer::with_room(100);
            prop_assert!(Chunk::new(&sent, Progress::Idle).take(&mut received).is_ok());
            prop_assert_eq!(received.entries(), sent.entries());
        }
    }
}
