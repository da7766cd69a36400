//! What a process has mapped into its memory, `/proc/PID/maps` (proc_pid_maps(5)).

use std::borrow::Cow;
use std::ops::Range;

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedRange<'a> {
    /// Where it is in the memory of the process; never one that ends before it begins.
    pub addresses: Range<u64>,
    /// `rwxp`, or `s` at the end where it is shared; `-` for what is not allowed.
    pub permissions: &'a [u8],
    /// Where in the file it begins, in bytes.
    pub offset: u64,
    /// Major and minor number of the file's device; zeros, where it is of no file.
    pub device: (u32, u32),
    /// That of the file; 0, where it is of none.
    pub inode: u64,
    /// The path as the process sees it, ` (deleted)` after it where the file has lost that name. Else nothing, or a name of the
    /// kernel's, such as `[stack]`.
    pub path: Cow<'a, [u8]>,
}

impl MappedRange<'_> {
    /// Whether the process may run it.
    pub fn is_code(&self) -> bool {
        self.permissions.contains(&b'x')
    }
}

/// The lines of a list; those that make no sense are left out.
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

/// Newlines are the one thing that the kernel escapes in it (`show_map_vma` in fs/proc/task_mmu.c).
fn path(padded: &[u8]) -> Cow<'_, [u8]> {
    const NEWLINE: &[u8] = b"\\012";
    let padding = padded.iter().take_while(|byte| **byte == b' ').count();
    let told = &padded[padding..];
    // Nearly none has one, and the list is long.
    if !told.contains(&b'\\') {
        return Cow::Borrowed(told);
    }
    let mut path = Vec::with_capacity(told.len());
    let mut rest = told;
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

/// Much of the list is such numbers: by way of the library, which takes text, the whole takes a third longer.
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
    fn a_line_tells_what_is_where() {
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
    fn what_makes_no_sense_is_left_out() {
        let maps = b"\n\n8000-7000 r-xp 0 0:0 0 /x\n7000 r-xp 0 0:0 0\n7000-8000 r-xp 0 0 0\nx\n1-2 r-xp 0 0:0 3 /y\n";
        assert_eq!(&*only(maps).unwrap().path, b"/y");
    }

    #[test]
    fn a_newline_in_a_path_is_one() {
        let of = |path: &str| only(format!("1-2 r-xp 0 0:0 3 {path}").as_bytes()).unwrap().path.into_owned();
        assert_eq!(of("/tmp/a\\012\\012b\\n"), b"/tmp/a\n\nb\\n");
        assert_eq!(of("/tmp/a\\01"), b"/tmp/a\\01");
    }

    #[test]
    fn our_own_code_is_told() {
        let maps = std::fs::read("/proc/self/maps").unwrap();
        let lines = maps.split_inclusive(|byte| *byte == b'\n').count();
        assert_eq!(mapped_ranges(&maps).count(), lines);
        let here = our_own_code_is_told as *const () as u64;
        let range = mapped_ranges(&maps).find(|range| range.addresses.contains(&here)).unwrap();
        assert!(range.is_code() && range.inode != 0 && range.path.starts_with(b"/"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(maps in prop::collection::vec(any::<u8>(), 0..200)) {
            mapped_ranges(&maps).count();
        }

        #[test]
        fn any_line_is_survived(maps in "[0-9a-f]{0,9}-[0-9a-f]{0,20} [rwxp -]{0,4}[ :0-9a-z/\\\\\n]{0,40}") {
            mapped_ranges(maps.as_bytes()).count();
        }

        #[test]
        fn any_range_comes_back(
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
