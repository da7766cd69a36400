//! The files with code that a process has mapped (proc_pid_maps(5)).

use std::ffi::OsStr;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use trace_tasks::{MappedRange, mapped_ranges};

/// What the kernel appends to the path of a deleted file.
const DELETED: &[u8] = b" (deleted)";

/// A file with code that a process has mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedFile {
    /// The path as the process sees it.
    pub path: PathBuf,
    /// Device and inode, as in this list.
    pub identity: ((u32, u32), u64),
    /// Whether it is the program of the process.
    pub is_program: bool,
    /// A link to the file, also if it was renamed or deleted.
    pub link: PathBuf,
}

/// The files with code that a process has mapped. None, if the process has ended.
///
/// # Errors
///
/// The kernel denies access to the process.
pub fn mapped_files(procfs: &Path, process: u32) -> io::Result<Vec<MappedFile>> {
    let process = procfs.join(process.to_string());
    let maps = match fs::read(process.join("maps")) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error),
        maps => maps.unwrap_or_default(),
    };
    let program = fs::read_link(process.join("exe")).unwrap_or_default();
    Ok(mapped_ranges(&maps).filter_map(|range| mapped_file(&range, &process, &program)).collect())
}

fn mapped_file(range: &MappedRange<'_>, process: &Path, program: &Path) -> Option<MappedFile> {
    if range.inode == 0 || !range.is_code() || !range.path.starts_with(b"/") {
        return None;
    }
    let name = range.path.strip_suffix(DELETED).unwrap_or(&range.path);
    // The list pads addresses with zeros, the names of the links have none.
    let link = format!("{:x}-{:x}", range.addresses.start, range.addresses.end);
    Some(MappedFile {
        path: OsStr::from_bytes(name).into(),
        identity: (range.device, range.inode),
        is_program: *range.path == *program.as_os_str().as_bytes(),
        link: process.join("map_files").join(link),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Option<MappedFile> {
        let range = mapped_ranges(line.as_bytes()).next()?;
        mapped_file(&range, Path::new("/proc/7"), Path::new("/opt/my app (deleted)"))
    }

    #[test]
    fn files_with_code_are_found() {
        let file =
            parse("00400000-00401000 r-xp 00001000 fe:00 12345                  /opt/my app (deleted)")
                .unwrap();
        assert_eq!((file.path.as_path(), file.is_program), (Path::new("/opt/my app"), true));
        assert_eq!(file.identity, ((0xfe, 0), 12345));
        assert_eq!(file.link, Path::new("/proc/7/map_files/400000-401000"));
        let file = parse("7f1c2a000000-7f1c2a028000 r-xp 00028000 fe:00 9   /usr/lib/a\\012b.so").unwrap();
        assert_eq!((file.path.as_path(), file.is_program), (Path::new("/usr/lib/a\nb.so"), false));
    }

    #[test]
    fn paths_can_be_other_than_utf8() {
        let line = b"00400000-00401000 r-xp 00001000 fe:00 12345   /opt/\xff";
        let range = mapped_ranges(line).next().unwrap();
        let program =
            |path| mapped_file(&range, Path::new("/proc/7"), Path::new(OsStr::from_bytes(path))).unwrap();
        assert_eq!(program(b"/opt/\xff").path.as_os_str().as_bytes(), b"/opt/\xff");
        assert!(program(b"/opt/\xff").is_program && !program(b"/opt/\xfe").is_program);
    }

    #[test]
    fn data_and_mappings_without_a_file_are_left_out() {
        assert_eq!(parse("00400000-00401000 r--p 00001000 fe:00 12345   /usr/bin/x"), None);
        assert_eq!(parse("00400000-00401000 r-xp 00000000 00:00 0   [vdso]"), None);
        assert_eq!(parse("00400000-00401000 r-xp 00000000 00:00 0 "), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn the_own_program_is_found() {
        let files = mapped_files(Path::new("/proc"), std::process::id()).unwrap();
        let program = files.iter().find(|file| file.is_program).unwrap();
        assert_eq!(program.path, std::env::current_exe().unwrap());
        assert!(files.iter().any(|file| file.path.to_string_lossy().contains("libc")));
    }
}
