//! The memory mappings of a process, `/proc/PID/maps` (proc_pid_maps(5)).

use std::borrow::Cow;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::{ControlFlow, Range};

/// How much of a list is read, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListLength {
    /// 64 KiB: enough to recognize most of those that take long.
    Short,
    /// 256 KiB: the lists of most programs are shorter. Read the lists of all processes this far first: one with many children
    /// that have long lists must not delay the others.
    Usual,
    /// 16 MiB. A list with 65,530 mappings, the kernel's limit, is shorter, unless the paths are unusually long.
    Most,
}

impl ListLength {
    fn bytes(self) -> u64 {
        match self {
            Self::Short => 64 << 10,
            Self::Usual => 256 << 10,
            Self::Most => 16 << 20,
        }
    }
}

/// How long the lines of executable mappings are together, in bytes: some 8,000 lines.
const MAX_CODE_LENGTH: usize = 1 << 20;
/// What is read at a time, in bytes.
const STEP: usize = 64 << 10;

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedRange<'a> {
    /// Its addresses. The end is never below the start.
    pub addresses: Range<u64>,
    /// `rwxp`, or `s` at the end where it is shared; `-` for a missing permission.
    pub permissions: &'a [u8],
    /// Its offset in the file, in bytes.
    pub offset: u64,
    /// The major and minor number of the file's device; zeros without a file.
    pub device: (u32, u32),
    /// The inode of the file; 0 without a file.
    pub inode: u64,
    /// The path for the process, followed by ` (deleted)` if the file was unlinked. Without a file, empty or a name of the kernel
    /// such as `[stack]`.
    pub path: Cow<'a, [u8]>,
}

impl MappedRange<'_> {
    /// Whether it is executable.
    pub fn is_code(&self) -> bool {
        self.permissions.contains(&b'x')
    }
}

/// Visits the executable mappings of a list, which is read as a stream, until the visitor breaks. Returns whether these are all: a process
/// can have so many mappings, with paths so long, that its list has hundreds of megabytes.
///
/// # Errors
///
/// The list cannot be read. A process that has ended has an empty one.
pub fn visit_code(
    list: impl Read,
    limit: ListLength,
    mut visit: impl FnMut(&MappedRange<'_>) -> ControlFlow<()>,
) -> io::Result<bool> {
    let limit = limit.bytes();
    let mut list = BufReader::with_capacity(STEP, list.take(limit));
    let (mut line, mut length, mut code_length) = (Vec::new(), 0, 0);
    while list.read_until(b'\n', &mut line)? > 0 {
        length += line.len() as u64;
        let range = mapped_range(line.strip_suffix(b"\n").unwrap_or(&line));
        if let Some(range) = range.filter(MappedRange::is_code) {
            code_length += line.len();
            // The last line may be cut.
            if code_length > MAX_CODE_LENGTH || length >= limit {
                return Ok(false);
            }
            if visit(&range).is_break() {
                return Ok(false);
            }
        }
        line.clear();
    }
    Ok(length < limit)
}

/// The mappings of a list. Invalid lines are skipped.
pub fn mapped_ranges(maps: &[u8]) -> impl Iterator<Item = MappedRange<'_>> {
    maps.split(|byte| *byte == b'\n').filter_map(mapped_range)
}

/// `55e0d000-55e0f000 r-xp 00002000 fd:01 1234    /usr/bin/cat`
fn mapped_range(line: &[u8]) -> Option<MappedRange<'_>> {
    let mut words = line.splitn(6, |byte| *byte == b' ');
    let (from, to) = pair(words.next()?, b'-')?;
    let permissions = words.next()?;
    let offset = hex(words.next()?)?;
    let (major, minor) = pair(words.next()?, b':')?;
    let inode = str::from_utf8(words.next()?).ok()?.parse().ok()?;
    Some(MappedRange {
        addresses: (from <= to).then_some(from..to)?,
        permissions,
        offset,
        device: (major.try_into().ok()?, minor.try_into().ok()?),
        inode,
        path: path(words.next().unwrap_or_default()),
    })
}

/// Decodes a path. The kernel escapes only newlines (`show_map_vma` in fs/proc/task_mmu.c).
fn path(padded: &[u8]) -> Cow<'_, [u8]> {
    const NEWLINE: &[u8] = b"\\012";
    let padding = padded.iter().take_while(|byte| **byte == b' ').count();
    let escaped = &padded[padding..];
    // Few paths have one, and the list is long.
    if !escaped.contains(&b'\\') {
        return Cow::Borrowed(escaped);
    }
    let mut path = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((first, after)) = rest.split_first() {
        let newline = rest.strip_prefix(NEWLINE);
        path.push(if newline.is_some() { b'\n' } else { *first });
        rest = newline.unwrap_or(after);
    }
    Cow::Owned(path)
}

fn pair(word: &[u8], separator: u8) -> Option<(u64, u64)> {
    let at = word.iter().position(|byte| *byte == separator)?;
    Some((hex(&word[..at])?, hex(&word[at + 1..])?))
}

/// Most of the list is such numbers. With the standard library, which needs text, parsing takes a third longer.
fn hex(digits: &[u8]) -> Option<u64> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(u64::from);
    let number = || digits.iter().try_fold(0, |number, byte| Some(number << 4 | digit(byte)?));
    (1..=16).contains(&digits.len()).then(number)?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn only(line: &[u8]) -> Option<MappedRange<'_>> {
        let mut all = mapped_ranges(line);
        all.next().filter(|_| all.next().is_none())
    }

    #[test]
    fn lines_are_parsed() {
        let line = b"55e0d000-55e0f000 r-xp 00002000 fd:1f 1234                       /tmp/a b (deleted)\n";
        let expected = MappedRange {
            addresses: 0x55e0_d000..0x55e0_f000,
            permissions: b"r-xp",
            offset: 0x2000,
            device: (0xfd, 0x1f),
            inode: 1234,
            path: Cow::Borrowed(b"/tmp/a b (deleted)"),
        };
        assert_eq!(only(line), Some(expected));
        assert!(only(line).is_some_and(|range| range.is_code()));
        let stack = only(b"7000-8000 rw-p 00000000 00:00 0          [stack]").unwrap();
        assert_eq!((&*stack.path, stack.is_code()), (&b"[stack]"[..], false));
        for nameless in [&b"7000-8000 rw-p 00000000 00:00 0 "[..], b"7000-8000 rw-p 00000000 00:00 0"] {
            assert_eq!(&*only(nameless).unwrap().path, b"");
        }
    }

    #[test]
    fn invalid_lines_are_skipped() {
        let maps = b"\n\n8000-7000 r-xp 0 0:0 0 /x\n7000 r-xp 0 0:0 0\n7000-8000 r-xp 0 0 0\nx\n1-2 r-xp 0 0:0 3 /y\n";
        assert_eq!(&*only(maps).unwrap().path, b"/y");
    }

    #[test]
    fn newlines_in_paths_are_decoded() {
        let of = |path: &str| only(format!("1-2 r-xp 0 0:0 3 {path}").as_bytes()).unwrap().path.into_owned();
        assert_eq!(of("/tmp/a\\012\\012b\\n"), b"/tmp/a\n\nb\\n");
        assert_eq!(of("/tmp/a\\01"), b"/tmp/a\\01");
    }

    #[test]
    fn own_code_is_found() {
        let maps = std::fs::read("/proc/self/maps").unwrap();
        let lines = maps.split_inclusive(|byte| *byte == b'\n').count();
        assert_eq!(mapped_ranges(&maps).count(), lines);
        let here = own_code_is_found as *const () as u64;
        let range = mapped_ranges(&maps).find(|range| range.addresses.contains(&here)).unwrap();
        assert!(range.is_code() && range.inode != 0 && range.path.starts_with(b"/"));
    }

    /// An endless list of mappings. All are executable, or each hundredth is.
    struct Endless {
        all_are_code: bool,
        mappings: u64,
    }

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let is_code = self.all_are_code || self.mappings % 100 == 7;
            let permissions = if is_code { "r-xp" } else { "r--p" };
            let line = format!("{:x}-ffffffff {permissions} 0 0:0 3 /{}\n", self.mappings, "x".repeat(4000));
            self.mappings += 1;
            let length = line.len().min(buffer.len());
            buffer[..length].copy_from_slice(&line.as_bytes()[..length]);
            Ok(length)
        }
    }

    #[test]
    fn code_is_visited() {
        let mut found = Vec::new();
        let list = b"1-2 r-xp 0 0:0 3 /a\n3-4 rw-p 0 0:0 3 /a\ngarbage\n5-6 r-xp 0 0:0 3 /b";
        assert!(
            visit_code(&list[..], ListLength::Usual, |range| {
                found.push(range.addresses.start);
                ControlFlow::Continue(())
            })
            .unwrap()
        );
        assert_eq!(found, [1, 5]);
    }

    #[test]
    fn the_visitor_can_break() {
        let list = b"1-2 r-xp 0 0:0 3 /a\n5-6 r-xp 0 0:0 3 /b";
        let mut count = 0;
        let visit = |_: &MappedRange<'_>| {
            count += 1;
            ControlFlow::Break(())
        };
        assert!(!visit_code(&list[..], ListLength::Usual, visit).unwrap());
        assert_eq!(count, 1);
    }

    #[test]
    fn long_lists_are_cut() {
        for all_are_code in [true, false] {
            let mut length = 0;
            assert!(
                !visit_code(Endless { all_are_code, mappings: 0 }, ListLength::Most, |range| {
                    length += range.path.len();
                    ControlFlow::Continue(())
                })
                .unwrap()
            );
            assert!((10_000..=MAX_CODE_LENGTH).contains(&length), "{length}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_do_not_panic(maps in prop::collection::vec(any::<u8>(), 0..200)) {
            mapped_ranges(&maps).count();
        }

        #[test]
        fn arbitrary_lines_do_not_panic(maps in "[0-9a-f]{0,9}-[0-9a-f]{0,20} [rwxp -]{0,4}[ :0-9a-z/\\\\\n]{0,40}") {
            mapped_ranges(maps.as_bytes()).count();
        }

        #[test]
        fn mappings_round_trip(
            (from, to) in (any::<u64>(), any::<u64>()).prop_filter("in order", |(from, to)| from <= to),
            offset: u64,
            device: (u32, u32),
            inode: u64,
            path in prop::collection::vec((1u8..).prop_filter("it would be an escape", |byte| *byte != b'\\'), 0..300),
        ) {
            let path = [b"/", path.as_slice()].concat();
            let (major, minor) = device;
            let mut line = format!("{from:08x}-{to:08x} r-xs {offset:08x} {major:02x}:{minor:02x} {inode}    ").into_bytes();
            for byte in &path {
                match byte {
                    b'\n' => line.extend(b"\\012"),
                    byte => line.push(*byte),
                }
            }
            let expected =
                MappedRange { addresses: from..to, permissions: b"r-xs", offset, device, inode, path: Cow::Owned(path) };
            prop_assert_eq!(only(&line), Some(expected));
        }
    }
}
