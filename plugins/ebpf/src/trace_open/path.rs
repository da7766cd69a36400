//! The path that a name stands for, as the calling process sees it.

use trace_ebpf::Directory;

use super::record::OpenRecord;

/// openat2(2): the directory is the root, even for names that begin with a slash.
const RESOLVE_IN_ROOT: u64 = 0x10;

/// The path that a call opens. `..` and links are not resolved. `None` if its name could not be read.
pub fn of(record: &OpenRecord<'_>) -> Option<Vec<u8>> {
    let name = record.name?;
    match record.directory {
        Some(directory) if is_relative(record) => Some(within(&directory, name)),
        _ => Some(name.to_vec()),
    }
}

/// Whether the name of the call is relative to a directory.
pub fn is_relative(record: &OpenRecord<'_>) -> bool {
    record.name.is_some_and(|name| !name.starts_with(b"/")) || record.resolve & RESOLVE_IN_ROOT != 0
}

fn within(directory: &Directory<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = directory.path_below_root();
    if !name.starts_with(b"/") {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

#[cfg(test)]
mod tests {
    use trace_ebpf::Reach;

    use super::super::record::Kind;
    use super::*;

    fn record<'a>(name: &'a [u8], directory: Option<Directory<'a>>) -> OpenRecord<'a> {
        OpenRecord {
            time: 0,
            duration: None,
            lost: 0,
            cpu: 0,
            pid: 1,
            tid: 1,
            comm: b"cat",
            kind: Kind::Openat2,
            is_compat: false,
            dirfd: -100,
            flags: Some(0),
            mode: 0,
            resolve: 0,
            result: 0,
            name: Some(name),
            is_name_cut: false,
            directory,
        }
    }

    fn path(name: &str, reach: Reach, is_deleted: bool) -> String {
        let directory = Directory { names: b"work\0home\0", reach, is_deleted };
        String::from_utf8(of(&record(name.as_bytes(), Some(directory))).unwrap()).unwrap()
    }

    #[test]
    fn relative_name_is_appended_to_its_directory() {
        assert_eq!(path("a/b", Reach::Root, false), "/home/work/a/b");
        assert_eq!(path("../x", Reach::Root, false), "/home/work/../x");
        assert_eq!(path("", Reach::Root, false), "/home/work/");
        assert_eq!(path("a", Reach::Root, true), "/home/work (deleted)/a");
        assert_eq!(path("a", Reach::Elsewhere, false), "(unreachable)/home/work/a");
        assert_eq!(path("a", Reach::Cut, false), ".../home/work/a");
    }

    #[test]
    fn root_directory_is_one_slash() {
        let root = Directory { names: b"", reach: Reach::Root, is_deleted: false };
        assert_eq!(of(&record(b"etc", Some(root))).unwrap(), b"/etc");
    }

    #[test]
    fn absolute_name_is_the_path() {
        assert_eq!(path("/etc/passwd", Reach::Root, false), "/etc/passwd");
        assert_eq!(of(&record(b"x", None)).unwrap(), b"x");
    }

    #[test]
    fn resolve_in_root_makes_every_name_relative() {
        let directory = Directory { names: b"jail\0", reach: Reach::Root, is_deleted: false };
        let mut record = record(b"/etc/passwd", Some(directory));
        record.resolve = RESOLVE_IN_ROOT;
        assert_eq!(of(&record).unwrap(), b"/jail/etc/passwd");
    }

    #[test]
    fn unreadable_name_has_no_path() {
        let mut record = record(b"", None);
        record.name = None;
        assert_eq!(of(&record), None);
    }
}
