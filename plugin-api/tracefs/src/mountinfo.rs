//! The mount table of a process, `/proc/PID/mountinfo` (proc_pid_mountinfo(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// The fields of a line that are used here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Mount {
    /// The type of the file system: `tracefs`, `debugfs`…
    pub(crate) kind: Vec<u8>,
    /// The directory of the file system that is mounted: `/`, except for bind mounts.
    pub(crate) root: PathBuf,
    /// The mount point, as a path of the process that the table belongs to.
    pub(crate) point: PathBuf,
}

/// All mounts of a table. Invalid lines are skipped.
pub(crate) fn mounts(table: &[u8]) -> impl Iterator<Item = Mount> + '_ {
    table.split(|&byte| byte == b'\n').filter_map(mount)
}

/// `36 35 98:0 /root /point options [optional fields…] - kind source options`
fn mount(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&byte| byte == b' ');
    let root = fields.nth(3)?;
    let point = fields.next()?;
    fields.find(|&field| field == b"-")?;
    let kind = fields.next()?;
    Some(Mount { kind: kind.to_vec(), root: unescaped(root), point: unescaped(point) })
}

/// Blanks, tabs, newlines and backslashes in paths are written as `\` and three octal digits.
fn unescaped(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        match after {
            [a, b, c, after @ ..] if first == b'\\' && is_octal_byte(*a, *b, *c) => {
                bytes.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}

fn is_octal_byte(a: u8, b: u8, c: u8) -> bool {
    matches!(a, b'0'..=b'3') && matches!(b, b'0'..=b'7') && matches!(c, b'0'..=b'7')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStrExt;

    fn only(line: &str) -> Mount {
        let mut all = mounts(line.as_bytes());
        let mount = all.next().expect("a mount");
        assert_eq!(all.next(), None);
        mount
    }

    #[test]
    fn lines_are_parsed_with_and_without_optional_fields() {
        let plain = only("42 23 0:13 / /sys/kernel/tracing rw,relatime - tracefs none rw\n");
        assert_eq!(plain.kind, b"tracefs");
        assert_eq!(plain.root, PathBuf::from("/"));
        assert_eq!(plain.point, PathBuf::from("/sys/kernel/tracing"));
        let shared = only("42 23 0:13 / /t rw shared:7 master:1 unbindable - tracefs none rw");
        assert_eq!(shared.point, PathBuf::from("/t"));
        assert_eq!(shared.kind, b"tracefs");
    }

    #[test]
    fn escapes_are_decoded() {
        let mount = only("1 1 0:1 /a\\134b /with\\040blank\\011tab\\012line - tracefs x y");
        assert_eq!(mount.root, PathBuf::from("/a\\b"));
        assert_eq!(mount.point, PathBuf::from("/with blank\ttab\nline"));
    }

    #[test]
    fn invalid_lines_are_skipped() {
        assert_eq!(mounts(b"\n\n1 2 3\nno dash at all in this line\n").count(), 0);
    }

    fn escaped(path: &[u8]) -> Vec<u8> {
        path.iter()
            .flat_map(|&byte| match byte {
                b' ' | b'\t' | b'\n' | b'\\' => format!("\\{byte:03o}").into_bytes(),
                _ => vec![byte],
            })
            .collect()
    }

    proptest! {
        #[test]
        fn paths_round_trip(path in prop::collection::vec(1u8.., 1..40)) {
            let mut line = b"1 2 0:3 / ".to_vec();
            line.extend(escaped(&path));
            line.extend(b" rw - tracefs none rw\n");
            let mount = mounts(&line).next().expect("a mount");
            prop_assert_eq!(mount.point.as_os_str().as_bytes(), &path[..]);
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(table in prop::collection::vec(any::<u8>(), 0..200)) {
            mounts(&table).count();
        }
    }
}
