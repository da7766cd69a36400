//! What procfs tells of the tasks that lived before the recording began, in the kernel's own records.

use std::fs;
use std::path::Path;

use tracefs::mapped_path;

use crate::perf_event::{Body, Mapping, Record};

/// The name of a thread; nothing, if it is gone.
pub fn name(procfs: &Path, process: u32, thread: u32) -> Vec<u8> {
    let Ok(name) = fs::read(procfs.join(format!("{process}/task/{thread}/comm"))) else { return Vec::new() };
    let name = name.strip_suffix(b"\n").unwrap_or(&name);
    record(process, thread, Body::Named { name, is_exec: false })
}

/// The code in a process' memory, and what each piece of it is.
pub fn mappings(procfs: &Path, process: u32, mut met: impl FnMut(&Mapping<'_>)) -> Vec<u8> {
    let maps = fs::read(procfs.join(format!("{process}/maps"))).unwrap_or_default();
    let mut records = Vec::new();
    for line in maps.split(|byte| *byte == b'\n') {
        let line = mapped_path(line);
        if let Some(mapping) = mapping(&line) {
            met(&mapping);
            records.extend(record(process, process, Body::Mapped(mapping)));
        }
    }
    records
}

/// Of a time before all others.
fn record(process: u32, thread: u32, body: Body<'_>) -> Vec<u8> {
    Record { time: 0, cpu: 0, process, thread, id: 0, body }.to_bytes()
}

/// Reads `55e0d000-55e0f000 r-xp 00002000 fd:01 1234    /usr/bin/cat` (proc_pid_maps(5)). None, if it is no code.
fn mapping(line: &[u8]) -> Option<Mapping<'_>> {
    let mut words = line.splitn(6, |byte| *byte == b' ');
    let mut word = || words.next().and_then(|word| str::from_utf8(word).ok());
    let (begin, end) = word()?.split_once('-')?;
    let (begin, end) = (hex(begin)?, hex(end)?);
    word().filter(|access| access.contains('x'))?;
    let offset = hex(word()?)?;
    let (major, minor) = word()?.split_once(':')?;
    let device = (hex(major)? as u32, hex(minor)? as u32);
    let inode = word()?.parse().ok()?;
    let path = words.next().unwrap_or_default().trim_ascii_start();
    // As the kernel's records have it.
    let path = if path.is_empty() { b"//anon" } else { path };
    Some(Mapping {
        address: begin,
        length: end.checked_sub(begin)?,
        offset,
        device,
        inode,
        generation: 0,
        path,
    })
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::perf_event::Records;

    #[test]
    fn code_is_found_and_nothing_else() {
        let line = b"55e0d000-55e0f000 r-xp 00002000 fd:01 1234                       /tmp/a b (deleted)";
        let expected = Mapping {
            address: 0x55e0_d000,
            length: 0x2000,
            offset: 0x2000,
            device: (0xfd, 1),
            inode: 1234,
            generation: 0,
            path: b"/tmp/a b (deleted)",
        };
        assert_eq!(mapping(line), Some(expected));
        assert_eq!(mapping(b"7000-8000 rwxp 00000000 00:00 0 ").unwrap().path, b"//anon");
        assert_eq!(mapping(b"7000-8000 rw-p 00000000 00:00 0          [stack]"), None);
        assert_eq!(mapping(b"garbage"), None);
    }

    #[test]
    fn a_newline_in_a_path_is_one() {
        let procfs = tempfile::tempdir().unwrap();
        std::fs::create_dir(procfs.path().join("7")).unwrap();
        let maps =
            "1000-2000 r-xp 00000000 fe:00 1 /tmp/a\\012\\012b\\n\n3000-4000 r-xp 00000000 fe:00 1 /tmp/c\n";
        std::fs::write(procfs.path().join("7/maps"), maps).unwrap();
        let expected: [&[u8]; 2] = [b"/tmp/a\n\nb\\n", b"/tmp/c"];
        let mut met = Vec::new();
        let bytes = mappings(procfs.path(), 7, |mapping| met.push(mapping.path.to_vec()));
        assert_eq!(met, expected);
        let recorded = Records(&bytes).filter_map(|(_, record)| match record.body {
            Body::Mapped(mapping) => Some(mapping.path),
            _ => None,
        });
        assert_eq!(recorded.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn who_is_gone_has_no_name() {
        assert!(name(Path::new("/nowhere"), 1, 1).is_empty());
        let own = std::process::id();
        let bytes = name(Path::new("/proc"), own, own);
        let named = Records(&bytes)
            .any(|(_, record)| matches!(record.body, Body::Named { name, .. } if !name.is_empty()));
        assert!(named);
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in prop::collection::vec(any::<u8>(), 0..200)) {
            mapping(&line);
        }

        #[test]
        fn any_code_is_found(begin: u64, length: u64, offset: u64, path in "/[^\n]{0,300}") {
            let end = begin.saturating_add(length);
            let line = format!("{begin:x}-{end:x} r-xp {offset:08x} 00:2e 7 {path}");
            let found = mapping(line.as_bytes()).unwrap();
            prop_assert_eq!((found.address, found.length, found.offset), (begin, end - begin, offset));
            prop_assert_eq!(found.path, path.as_bytes());
            let bytes = record(1, 1, Body::Mapped(found));
            prop_assert_eq!(Records(&bytes).count(), 1);
        }
    }
}
