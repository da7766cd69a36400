//! What a process has mapped as code (proc_pid_maps(5)).

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// What the kernel adds to the path of a file that has no name any more.
const DELETED: &str = " (deleted)";

/// A file that a process runs code of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedFile {
    /// The path that the process mapped it by, in the process's own file system.
    pub path: String,
    /// The device and the inode, as this list tells them.
    pub identity: String,
    /// Whether it is the program itself.
    pub is_program: bool,
    /// Leads to the file itself, whatever became of its name.
    pub link: PathBuf,
}

/// The files that a process runs code of. None, if it is gone.
///
/// # Errors
///
/// We may not look into the process.
pub fn mapped_files(procfs: &Path, process: i32) -> io::Result<Vec<MappedFile>> {
    let process = procfs.join(process.to_string());
    let maps = match fs::read(process.join("maps")) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error),
        maps => maps.unwrap_or_default(),
    };
    let program = fs::read_link(process.join("exe")).unwrap_or_default();
    let program = program.to_string_lossy();
    let maps = String::from_utf8_lossy(&maps);
    Ok(maps.lines().filter_map(|line| mapped_file(line, &process, &program)).collect())
}

/// `7f1c2a000000-7f1c2a028000 r-xp 00028000 fe:00 1234   /usr/lib/libc.so.6 (deleted)`
fn mapped_file(line: &str, process: &Path, program: &str) -> Option<MappedFile> {
    let mut words = line.splitn(6, ' ');
    let (range, mode, _offset) = (words.next()?, words.next()?, words.next()?);
    let (device, rest) = (words.next()?, words.next().zip(words.next())?);
    let (inode, path) = (rest.0, rest.1.trim_start());
    if inode == "0" || mode.as_bytes().get(2) != Some(&b'x') || !path.starts_with('/') {
        return None;
    }
    // The one character that the list escapes.
    let path = path.replace("\\012", "\n");
    let name = path.strip_suffix(DELETED).unwrap_or(&path);
    Some(MappedFile {
        path: name.to_owned(),
        identity: format!("{device} {inode}"),
        is_program: path == program,
        link: process.join("map_files").join(range_name(range)?),
    })
}

/// The list pads addresses with zeros, the names of the links do not.
fn range_name(range: &str) -> Option<String> {
    let (from, to) = range.split_once('-')?;
    let address = |text: &str| u64::from_str_radix(text, 16).ok();
    Some(format!("{:x}-{:x}", address(from)?, address(to)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(line: &str) -> Option<MappedFile> {
        mapped_file(line, Path::new("/proc/7"), "/opt/my app (deleted)")
    }

    #[test]
    fn code_of_files_is_found() {
        let file =
            parse("00400000-00401000 r-xp 00001000 fe:00 12345                  /opt/my app (deleted)")
                .unwrap();
        assert_eq!((file.path.as_str(), file.is_program), ("/opt/my app", true));
        assert_eq!(file.identity, "fe:00 12345");
        assert_eq!(file.link, Path::new("/proc/7/map_files/400000-401000"));
        let file = parse("7f1c2a000000-7f1c2a028000 r-xp 00028000 fe:00 9   /usr/lib/a\\012b.so").unwrap();
        assert_eq!((file.path.as_str(), file.is_program), ("/usr/lib/a\nb.so", false));
    }

    #[test]
    fn data_and_what_is_no_file_is_none() {
        assert_eq!(parse("00400000-00401000 r--p 00001000 fe:00 12345   /usr/bin/x"), None);
        assert_eq!(parse("00400000-00401000 r-xp 00000000 00:00 0   [vdso]"), None);
        assert_eq!(parse("00400000-00401000 r-xp 00000000 00:00 0 "), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn we_run_our_own_program() {
        let files = mapped_files(Path::new("/proc"), std::process::id().cast_signed()).unwrap();
        let program = files.iter().find(|file| file.is_program).unwrap();
        assert_eq!(Path::new(&program.path), std::env::current_exe().unwrap());
        assert!(files.iter().any(|file| file.path.contains("libc")));
    }

    proptest! {
        #[test]
        fn any_line_is_survived(line in "[0-9a-f]{0,9}-[0-9a-f]{0,20} [rwxp -]{0,4}[ :0-9a-z/]{0,40}") {
            let _ = parse(&line);
        }
    }
}
