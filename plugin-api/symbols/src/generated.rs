//! Functions of code that a process has generated itself.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use crate::address_map::AddressMap;
use crate::memory_budget::{MemoryBudget, Reservation};

/// What is read at a time, in bytes. Longer lines and records are skipped.
const STEP: usize = 64 << 10;
/// What one call reads at most, in bytes: a moment.
const MAX_READ: u64 = 16 << 20;
/// Longer names are cut, in bytes.
const MAX_NAME: usize = 512;
/// What a function takes in memory beside its name, in bytes: a map's node is half full at least, and a function can be cut in two.
const FUNCTION: u64 = 128;
/// What is reserved at a time, in bytes.
const RESERVED: u64 = 4 << 10;

/// What a jitdump file begins with, `JiTD` in the machine's byte order.
const MAGIC: u32 = 0x4A69_5444;
/// How long the header of a record is, in bytes: type and length (32 bits each), and time.
const RECORD: usize = 16;
/// Where the name is behind it.
const NAME: usize = 40;
/// A function was generated, or moved to another address.
const LOAD: u32 = 0;
const MOVE: u32 = 1;

/// The functions that a process has generated, as far as it has listed them.
#[derive(Debug)]
pub struct GeneratedFunctions {
    functions: AddressMap<Name>,
    names: Vec<u8>,
    /// How much of the memory that is reserved is used.
    used: u64,
    reservation: Reservation,
    reserved: u64,
    exceeds_budget: bool,
}

/// Where in the names a name is.
#[derive(Debug, Clone, Copy)]
struct Name {
    begin: u32,
    length: u16,
}

/// How far a list was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    offset: u64,
    /// What follows belongs to a line that is too long.
    is_in_long_line: bool,
}

/// What a process lists of the code that it has generated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GeneratedCode<'a> {
    /// A function.
    Function {
        /// Where it is.
        addresses: Range<u64>,
        /// Its name.
        name: &'a [u8],
    },
    /// The function at an address was copied to others.
    Move {
        /// The address.
        from: u64,
        /// Where it is now.
        to: Range<u64>,
    },
}

impl Position {
    /// How many bytes were read.
    pub fn offset(self) -> u64 {
        self.offset
    }
}

impl GeneratedFunctions {
    /// None yet. `None`, if there is no memory left in the budget at all.
    pub fn new(budget: &Arc<MemoryBudget>) -> Option<Self> {
        Some(Self {
            functions: AddressMap::default(),
            names: Vec::new(),
            used: 0,
            reservation: budget.reserve(0)?,
            reserved: 0,
            exceeds_budget: false,
        })
    }

    /// The function at this address.
    pub fn at(&self, address: u64) -> Option<Cow<'_, str>> {
        let Name { begin, length } = *self.functions.at(address)?;
        let name = self.names.get(begin as usize..)?.get(..usize::from(length))?;
        Some(String::from_utf8_lossy(name))
    }

    /// Whether functions were left out because they exceed the memory budget.
    pub fn exceeds_budget(&self) -> bool {
        self.exceeds_budget
    }

    /// Takes what was read. Later functions replace earlier ones.
    pub fn apply(&mut self, change: GeneratedCode<'_>) {
        match change {
            GeneratedCode::Function { addresses, name } => self.add(addresses, name),
            GeneratedCode::Move { from, to } => {
                if let Some(name) = self.functions.at(from).copied().filter(|_| self.has_room(FUNCTION)) {
                    self.functions.insert(to, name);
                }
            }
        }
    }

    fn add(&mut self, range: Range<u64>, name: &[u8]) {
        let name = &name[..name.len().min(MAX_NAME)];
        let begin = u32::try_from(self.names.len()).ok();
        let (Some(begin), false) = (begin, name.is_empty() || range.is_empty()) else { return };
        // A vector that grows takes as much again.
        if self.has_room(FUNCTION + 3 * name.len() as u64) {
            self.names.extend_from_slice(name);
            self.functions.insert(range, Name { begin, length: name.len() as u16 });
        }
    }

    fn has_room(&mut self, bytes: u64) -> bool {
        if self.used + bytes > self.reserved {
            if !self.reservation.grow(RESERVED) {
                self.exceeds_budget = true;
                return false;
            }
            self.reserved += RESERVED;
        }
        self.used += bytes;
        true
    }
}

/// Reads what was added to a perf map, with lines such as `7f0012340 1c0 name`: the start and the size in hexadecimal digits
/// (tools/perf/Documentation/jit-interface.txt). The last line is read once it ends.
///
/// Reads some MiB at most. Returns how far.
///
/// # Errors
///
/// The file cannot be read.
pub fn read_perf_map(
    file: &File,
    mut position: Position,
    visit: &mut impl FnMut(GeneratedCode<'_>),
) -> io::Result<Position> {
    let end = file.metadata()?.len().min(position.offset.saturating_add(MAX_READ));
    let mut buffer = vec![0; STEP];
    while position.offset < end {
        let count = file.read_at(&mut buffer, position.offset)?;
        let Some(last) = buffer[..count].iter().rposition(|byte| *byte == b'\n') else {
            // Either a part of a line that is too long, or the last line.
            if count < STEP {
                break;
            }
            position = Position { offset: position.offset + count as u64, is_in_long_line: true };
            continue;
        };
        let lines = buffer[..last].split(|byte| *byte == b'\n');
        let is_rest = std::mem::take(&mut position.is_in_long_line);
        lines.skip(is_rest.into()).filter_map(function).for_each(&mut *visit);
        position.offset += last as u64 + 1;
    }
    Ok(position)
}

/// Reads what was added to a jitdump file (tools/perf/Documentation/jitdump-specification.txt).
///
/// Reads some MiB at most. Returns how far.
///
/// # Errors
///
/// The file cannot be read, or is not a jitdump file.
pub fn read_jit_dump(
    file: &File,
    mut position: Position,
    visit: &mut impl FnMut(GeneratedCode<'_>),
) -> io::Result<Position> {
    let length = file.metadata()?.len();
    // The code in the records is not read.
    let mut buffer = vec![0; RECORD + NAME + MAX_NAME];
    if position.offset == 0 {
        let count = file.read_at(&mut buffer, 0)?;
        let [magic, header] = [0, 8].map(|at| word(&buffer[..count], at));
        if magic != Some(MAGIC) {
            return Err(io::Error::other("not a jitdump file of this machine"));
        }
        position.offset = header.unwrap_or(0).max(RECORD as u32).into();
    }
    let mut read = 0;
    while read < MAX_READ {
        let count = file.read_at(&mut buffer, position.offset)?;
        read += count as u64;
        let (Some(kind), Some(size)) = (word(&buffer[..count], 0), word(&buffer[..count], 4)) else { break };
        let Some(record) = buffer[..count].get(RECORD..count.min(size as usize)) else { break };
        // The end is written later, or never.
        if position.offset + u64::from(size) > length {
            break;
        }
        match kind {
            LOAD => loaded(record).map(&mut *visit),
            MOVE => moved(record).map(&mut *visit),
            _ => None,
        };
        position.offset += u64::from(size);
    }
    Ok(position)
}

/// The fields: process, thread (32 bits each), virtual address, code address, size, index (64 bits each), name.
fn loaded(record: &[u8]) -> Option<GeneratedCode<'_>> {
    let (address, size) = (long(record, 16)?, long(record, 24)?);
    let name = record.get(NAME..)?.split(|byte| *byte == 0).next()?;
    Some(GeneratedCode::Function { addresses: address..address.saturating_add(size), name })
}

/// The fields: process, thread (32 bits each), virtual address, old and new address, size, index (64 bits each).
fn moved(record: &[u8]) -> Option<GeneratedCode<'_>> {
    let (from, to, size) = (long(record, 16)?, long(record, 24)?, long(record, 32)?);
    Some(GeneratedCode::Move { from, to: to..to.saturating_add(size) })
}

fn function(line: &[u8]) -> Option<GeneratedCode<'_>> {
    let mut words = line.splitn(3, |byte| *byte == b' ');
    let number = |word: &[u8]| {
        let digits = str::from_utf8(word).ok()?;
        u64::from_str_radix(digits.strip_prefix("0x").unwrap_or(digits), 16).ok()
    };
    let (start, size) = (number(words.next()?)?, number(words.next()?)?);
    let name = words.next()?;
    let name = name.strip_suffix(b"\r").unwrap_or(name);
    Some(GeneratedCode::Function { addresses: start..start.saturating_add(size), name })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn functions() -> GeneratedFunctions {
        GeneratedFunctions::new(&MemoryBudget::new(64 << 20)).unwrap()
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn record(kind: u32, numbers: &[u64], rest: &[u8]) -> Vec<u8> {
        let body = [
            &0_u64.to_ne_bytes()[..],
            &numbers.iter().flat_map(|n| n.to_ne_bytes()).collect::<Vec<_>>(),
            rest,
        ];
        let body = body.concat();
        let size = (RECORD + body.len()) as u32;
        [&kind.to_ne_bytes()[..], &size.to_ne_bytes(), &7_u64.to_ne_bytes(), &body].concat()
    }

    fn dump_header() -> Vec<u8> {
        [&[MAGIC, 1, 40, 62].map(u32::to_ne_bytes).concat()[..], &[0; 24]].concat()
    }

    #[test]
    fn a_perf_map_is_read_as_it_grows() {
        let mut file = file(b"1000 10 first one\n0x2000 0x20 second\ngarbage\n3000 0 empty\n4000 8 in");
        let mut functions = functions();
        let position =
            read_perf_map(&file, Position::default(), &mut |change| functions.apply(change)).unwrap();
        assert_eq!(functions.at(0x100f).as_deref(), Some("first one"));
        assert_eq!([0xfff, 0x1010, 0x3000, 0x4000].map(|address| functions.at(address)), [const { None }; 4]);
        file.write_all(b" two\n2010 8 third\n").unwrap();
        let position = read_perf_map(&file, position, &mut |change| functions.apply(change)).unwrap();
        assert_eq!(position.offset(), file.metadata().unwrap().len());
        let names =
            [0x200f, 0x2010, 0x2018, 0x4000].map(|address| functions.at(address).unwrap().into_owned());
        assert_eq!(names, ["second", "third", "second", "in two"]);
    }

    #[test]
    fn lines_that_are_too_long_are_skipped() {
        let long = "x".repeat(3 * STEP);
        let file = file(
            format!("1000 10 first\n2000 10 {long}\n3000 10 third\n4000 10 {}\n", &long[..1000]).as_bytes(),
        );
        let mut functions = functions();
        read_perf_map(&file, Position::default(), &mut |change| functions.apply(change)).unwrap();
        assert_eq!(functions.at(0x3000).as_deref(), Some("third"));
        assert_eq!(functions.at(0x2000), None);
        assert_eq!(functions.at(0x4000).unwrap().len(), MAX_NAME);
    }

    #[test]
    fn a_list_of_any_length_is_read_in_parts() {
        let file = file(b"1000 10 first\n");
        file.set_len(4 * MAX_READ).unwrap();
        let mut functions = functions();
        let (mut position, mut calls) = (Position::default(), 0);
        loop {
            let next = read_perf_map(&file, position, &mut |change| functions.apply(change)).unwrap();
            assert!(next.offset() - position.offset() <= MAX_READ + STEP as u64);
            if next == position {
                break;
            }
            (position, calls) = (next, calls + 1);
        }
        assert!(4 * MAX_READ - position.offset() < STEP as u64, "the last line has no end");
        assert!(calls >= 4 && functions.at(0x1000).is_some());
    }

    #[test]
    fn functions_stay_within_the_memory_budget() {
        let list: String =
            (0..10_000).map(|number| format!("{:x} 10 function_{number}\n", number * 16)).collect();
        let file = file(list.as_bytes());
        let mut functions = GeneratedFunctions::new(&MemoryBudget::new(1 << 20)).unwrap();
        read_perf_map(&file, Position::default(), &mut |change| functions.apply(change)).unwrap();
        assert!(functions.exceeds_budget() && functions.used < 1 << 20);
        assert!(functions.at(0).is_some() && functions.at(9_999 * 16).is_none());
    }

    #[test]
    fn a_jitdump_file_has_functions_that_are_loaded_and_moved() {
        let code = [&b"first\0"[..], &[0xcc; 2000]].concat();
        let mut dump = dump_header();
        dump.extend(record(LOAD, &[0, 0x1000, 0x20, 1], &code));
        dump.extend(record(4, &[1, 2, 3], b"unwinding"));
        dump.extend(record(LOAD, &[0, 0x2000, 0x20, 2], b"second\0"));
        dump.extend(record(MOVE, &[0, 0x1000, 0x3000, 0x20, 1], b""));
        let complete = dump.len() as u64;
        dump.extend(&record(LOAD, &[0, 0x4000, 0x20, 2], b"cut\0")[..50]);
        let mut functions = functions();
        let position =
            read_jit_dump(&file(&dump), Position::default(), &mut |change| functions.apply(change)).unwrap();
        assert_eq!(position.offset(), complete);
        let names = [0x1000, 0x201f, 0x3010].map(|address| functions.at(address).unwrap().into_owned());
        assert_eq!(names, ["first", "second", "first"]);
        assert!(functions.at(0x4000).is_none());
        assert!(
            read_jit_dump(&file(b"something else, not a dump"), Position::default(), &mut |change| functions
                .apply(change))
            .is_err()
        );
    }

    proptest! {
        #[test]
        fn any_list_is_read_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            text in "([0-9a-f]{0,17} ?[0-9a-f]{0,17} ?\\PC{0,4}\n?){0,9}",
            size in 0..200_u32,
        ) {
            let mut functions = functions();
            let _ = read_perf_map(&file(&bytes), Position::default(), &mut |change| functions.apply(change));
            let _ = read_perf_map(&file(text.as_bytes()), Position::default(), &mut |change| functions.apply(change));
            let dump = [&dump_header()[..], &size.to_ne_bytes(), &bytes].concat();
            let _ = read_jit_dump(&file(&dump), Position::default(), &mut |change| functions.apply(change));
            let record = [&dump_header()[..], &LOAD.to_ne_bytes(), &size.to_ne_bytes(), &bytes].concat();
            let _ = read_jit_dump(&file(&record), Position::default(), &mut |change| functions.apply(change));
            let _ = [0, 1, u64::MAX].map(|address| functions.at(address).is_some());
        }
    }
}
