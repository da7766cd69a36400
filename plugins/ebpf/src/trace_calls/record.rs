//! A record of the programs: `struct call_record` in `bpf/calls.bpf.c`, and the pieces after it.

use trace_ebpf::{RecordBytes, Unfinished};

// The bits of `known`.
const IS_COMPAT: u32 = 1;
const BEGIN_UNSEEN: u32 = 2;
const UNFINISHED: u32 = 4;
const CUT_RECORD: u32 = 8;

/// A system call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallRecord<'a> {
    /// When it began, in nanoseconds since boot; when it returned, if its beginning was not seen.
    pub time: u64,
    /// `None` if its beginning or its return was not seen.
    pub duration: Option<u64>,
    /// The lost records of this CPU before it.
    pub lost: u64,
    /// `None` if it has not returned.
    pub result: Option<i64>,
    pub arguments: [u64; 6],
    pub cpu: u32,
    pub pid: u32,
    pub tid: u32,
    pub comm: &'a [u8],
    pub number: u32,
    /// Whether it is a call of the 32-bit interface.
    pub is_compat: bool,
    /// Whether only its return was seen.
    pub is_resumed: bool,
    /// Whether not all of its data found room.
    pub is_cut: bool,
    /// What its arguments lead to.
    pub pieces: Vec<Piece<'a>>,
}

/// Something that an argument leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The index of the step of the plan.
    pub step: usize,
    pub part: Part,
    pub state: State,
    /// Whether it was read when the call returned.
    pub is_late: bool,
    /// Its address, or a number.
    pub extra: u64,
    pub bytes: &'a [u8],
}

/// What of its step a piece is: `enum part`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Itself,
    /// Of a message.
    Name,
    /// The length of a buffer.
    Vector,
    /// In a buffer, or one of several.
    Data,
    /// Of a message.
    Control,
}

/// How much of it is there: `enum state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Whole,
    /// The memory could not be read.
    Unread,
    /// There is more than was asked for.
    Short,
    /// There was no room for the rest.
    CutOff,
}

const PARTS: [Part; 5] = [Part::Itself, Part::Name, Part::Vector, Part::Data, Part::Control];
const STATES: [State; 4] = [State::Whole, State::Unread, State::Short, State::CutOff];

impl<'a> CallRecord<'a> {
    /// Parses a record. `None` if the bytes are not a record.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut bytes = RecordBytes::new(bytes);
        let (time, duration, lost) = (bytes.u64()?, bytes.u64()?, bytes.u64()?);
        let result = bytes.u64()?.cast_signed();
        let mut arguments = [0; 6];
        for argument in &mut arguments {
            *argument = bytes.u64()?;
        }
        let (cpu, pid, tid, call) = (bytes.u32()?, bytes.u32()?, bytes.u32()?, bytes.u32()?);
        let (filled, known) = (bytes.u32()?, bytes.u32()?);
        let comm = bytes.text(16)?;
        let is = |flag: u32| known & flag != 0;
        let returned = !is(UNFINISHED);
        Some(Self {
            time,
            duration: (returned && !is(BEGIN_UNSEEN)).then_some(duration),
            lost,
            result: returned.then_some(result),
            arguments,
            cpu,
            pid,
            tid,
            comm,
            number: call,
            is_compat: is(IS_COMPAT),
            is_resumed: is(BEGIN_UNSEEN),
            is_cut: is(CUT_RECORD),
            pieces: pieces(bytes.take(filled)?),
        })
    }
}

fn pieces(bytes: &[u8]) -> Vec<Piece<'_>> {
    let mut bytes = RecordBytes::new(bytes);
    std::iter::from_fn(|| piece(&mut bytes)).collect()
}

fn piece<'a>(rest: &mut RecordBytes<'a>) -> Option<Piece<'a>> {
    let [step, part, state, late] = rest.take(4)? else { return None };
    let (length, extra) = (rest.u32()?, rest.u64()?);
    let bytes = rest.take(length)?;
    rest.take(length.wrapping_neg() & 7)?;
    let (part, state) = (*PARTS.get(usize::from(*part))?, *STATES.get(usize::from(*state))?);
    Some(Piece { step: usize::from(*step), part, state, is_late: *late != 0, extra, bytes })
}

/// The CPU of the record in these bytes, and the number of records that were lost there before it.
pub fn lost_before(bytes: &[u8]) -> Option<(u32, u64)> {
    let at = |offset: usize| bytes.get(offset..).map(RecordBytes::new);
    Some((at(CPU)?.u32()?, at(LOST)?.u64()?))
}

// Where fields are.
const LOST: usize = 16;
const CPU: usize = 80;
const FILLED: usize = 96;
const KNOWN: usize = 100;
const PIECES: usize = 120;
/// Where `is_open` of `struct call` is, behind the room for the pieces (`TEXT_SIZE` in bpf/calls.bpf.c).
const IS_OPEN: usize = PIECES + 2 * 4096 - 512;

/// When the call of this record began.
pub fn time(bytes: &[u8]) -> Option<u64> {
    RecordBytes::new(bytes).u64()
}

/// The record of a call that has not returned, from `struct call`. `None` if it has returned.
pub fn unfinished(mut call: Vec<u8>) -> Option<Unfinished> {
    let at = |call: &[u8], offset: usize| RecordBytes::new(call.get(offset..)?).u32();
    if at(&call, IS_OPEN)? == 0 {
        return None;
    }
    let filled = at(&call, FILLED)? as usize;
    let known = at(&call, KNOWN)? | UNFINISHED;
    call.truncate(PIECES + filled.min(IS_OPEN - PIECES));
    call[KNOWN..KNOWN + 4].copy_from_slice(&known.to_ne_bytes());
    // It is of an earlier record.
    call[LOST..LOST + 8].fill(0);
    Some(Unfinished { cpu: at(&call, CPU)?, bytes: call })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = CallRecord::of(&bytes);
            let _ = lost_before(&bytes);
        }
    }

    #[test]
    fn only_open_calls_are_unfinished() {
        let mut call = vec![1u8; IS_OPEN + 16];
        call[FILLED..FILLED + 4].copy_from_slice(&0u32.to_ne_bytes());
        call[KNOWN..KNOWN + 4].fill(0);
        let Unfinished { cpu, bytes } = unfinished(call.clone()).unwrap();
        let record = CallRecord::of(&bytes).unwrap();
        assert_eq!((cpu, record.result, record.lost), (0x0101_0101, None, 0));
        call[IS_OPEN..].fill(0);
        assert!(unfinished(call).is_none());
        assert!(unfinished(vec![1; 100]).is_none());
    }

    #[test]
    fn pieces_are_aligned() {
        let mut bytes: Vec<u8> =
            [1u64, 2, 3, -2i64 as u64, 10, 11, 12, 13, 14, 15].map(u64::to_ne_bytes).concat();
        bytes.extend([7u32, 8, 9, 257, 48, IS_COMPAT | CUT_RECORD].map(u32::to_ne_bytes).concat());
        bytes.extend(*b"cat\0rubbish\0\0\0\0\0");
        for (step, text) in [(1u8, b"/a\0\0\0\0\0\0"), (2, b"/bcdefg\0")] {
            let length = if step == 1 { 3u32 } else { 8 };
            bytes.extend([step, 0, 2, 0]);
            bytes.extend(length.to_ne_bytes());
            bytes.extend(5u64.to_ne_bytes());
            bytes.extend(text);
        }
        let record = CallRecord::of(&bytes).unwrap();
        assert_eq!(
            (record.comm, record.number, record.result, record.duration),
            (&b"cat"[..], 257, Some(-2), Some(2))
        );
        assert_eq!((record.is_compat, record.is_cut, record.is_resumed), (true, true, false));
        let texts: Vec<_> =
            record.pieces.iter().map(|piece| (piece.step, piece.bytes, piece.state)).collect();
        assert_eq!(texts, [(1, &b"/a\0"[..], State::Short), (2, b"/bcdefg\0", State::Short)]);
        assert_eq!(lost_before(&bytes), Some((7, 3)));
    }
}
