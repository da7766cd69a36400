//! The files with code that a process has mapped (proc_pid_maps(5)).

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use trace_tasks::{FuseFileSystems, ListLength, MappedRange, Pid, visit_code};

/// What the kernel appends to the path of a deleted file.
const DELETED: &[u8] = b" (deleted)";

/// How many files of one process are searched. No real program has that many.
const MAX_FILES: usize = 2000;

/// How many links to one file are known.
const MAX_LINKS: usize = 64;

/// What the files of all processes may take, in bytes.
const MAX_MEMORY: usize = 16 << 20;
/// Those that only processes with longer lists than usual have mapped may take this part of it.
const MAX_MEMORY_OF_LONG_LISTS: usize = MAX_MEMORY / 4;

/// A file with code that a process has mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappedFile {
    /// The path as the process sees it.
    pub path: PathBuf,
    /// The file, as this list has it.
    pub identity: FileIdentity,
    /// Links to the file, also if it was renamed or deleted. Each process has its own, and can make it unusable.
    pub links: Vec<(Pid, PathBuf)>,
    /// Whether only processes with longer lists of mappings than usual have mapped it.
    pub is_of_long_list: bool,
    /// How many files come before it in the lists of its processes, at least.
    pub rank: usize,
}

/// A file in the list of mappings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileIdentity {
    pub device: (u32, u32),
    inode: u64,
    /// Whether it is the program of the process.
    pub is_program: bool,
}

/// The mapped files of a process, each once.
#[derive(Debug, Default)]
pub struct MappedFiles {
    pub files: Vec<MappedFile>,
    /// Whether these are all.
    pub are_all: bool,
    /// Those on FUSE file systems, which are not among the others.
    pub on_fuse: Vec<PathBuf>,
}

/// The files with code that a process has mapped, as far as its list is read in this time. None, if the process has ended.
///
/// # Errors
///
/// The kernel denies access to the process.
pub fn mapped_files(
    procfs: &Path,
    fuse: &FuseFileSystems,
    process: Pid,
    length: ListLength,
    time: Duration,
) -> io::Result<MappedFiles> {
    let began = Instant::now();
    let directory = procfs.join(process.to_string());
    let maps = match File::open(directory.join("maps")) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error),
        Err(_) => return Ok(MappedFiles { are_all: true, ..MappedFiles::default() }),
        Ok(maps) => maps,
    };
    let program = fs::read_link(directory.join("exe")).unwrap_or_default();
    let (mut files, mut are_all) = (AllFiles::default(), true);
    let visited = visit_code(maps, length, |range| {
        if let Some(file) = mapped_file(range, process, &directory, &program) {
            are_all &= files.list.len() < MAX_FILES || files.is_known(&file);
            if are_all {
                files.add(MappedFile { rank: files.list.len(), ..file });
            }
        }
        match began.elapsed() < time {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        }
    });
    let visited = match visited {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Err(error),
        // The process has ended.
        Err(_) => true,
        Ok(visited) => visited,
    };
    let mut fuse_devices: HashSet<(u32, u32)> = fuse.of_process(process).into_iter().collect();
    let devices: HashSet<(u32, u32)> = files.list.iter().map(|file| file.identity.device).collect();
    fuse_devices.extend(devices.into_iter().filter(|device| fuse.is_listed(*device)));
    let is_on_fuse = |file: &MappedFile| fuse_devices.contains(&file.identity.device);
    let (on_fuse, files): (Vec<_>, Vec<_>) = files.list.into_iter().partition(is_on_fuse);
    let on_fuse = on_fuse.into_iter().map(|file| file.path).collect();
    Ok(MappedFiles { files, are_all: are_all && visited, on_fuse })
}

/// Files, each once.
#[derive(Debug, Default)]
pub struct AllFiles {
    pub list: Vec<MappedFile>,
    places: HashMap<FileIdentity, usize>,
    memory: usize,
    memory_of_long_lists: usize,
}

impl AllFiles {
    /// Adds a file, or another link to it. Returns false if there is no room for it.
    pub fn add(&mut self, file: MappedFile) -> bool {
        let memory = file.memory();
        if let Some(known) = self.places.get(&file.identity).and_then(|place| self.list.get_mut(*place)) {
            let room = MAX_LINKS.saturating_sub(known.links.len());
            let others = file.links.into_iter().filter(|(process, _)| !known.has_link_of(*process));
            let others: Vec<_> = others.take(room).collect();
            known.links.extend(others);
            known.rank = known.rank.min(file.rank);
            return true;
        }
        let (used, limit) = match file.is_of_long_list {
            true => (&mut self.memory_of_long_lists, MAX_MEMORY_OF_LONG_LISTS),
            false => (&mut self.memory, MAX_MEMORY),
        };
        if *used + memory > limit {
            return false;
        }
        *used += memory;
        self.places.insert(file.identity, self.list.len());
        self.list.push(file);
        true
    }

    fn is_known(&self, file: &MappedFile) -> bool {
        self.places.contains_key(&file.identity)
    }
}

impl MappedFile {
    /// What it takes, in bytes, with further links.
    fn memory(&self) -> usize {
        let links = self.links.iter().map(|(_, link)| size_of::<(Pid, PathBuf)>() + link.as_os_str().len());
        size_of::<Self>() + self.path.as_os_str().len() + 2 * links.sum::<usize>()
    }

    /// The processes that have mapped it, as far as they are known.
    pub fn processes(&self) -> impl Iterator<Item = Pid> {
        self.links.iter().map(|(process, _)| *process)
    }

    /// All processes that have mapped it, if they are known.
    pub fn all_processes(&self) -> Option<impl Iterator<Item = Pid>> {
        (self.links.len() < MAX_LINKS).then(|| self.processes())
    }

    fn has_link_of(&self, process: Pid) -> bool {
        self.links.iter().any(|(other, _)| *other == process)
    }
}

fn mapped_file(
    range: &MappedRange<'_>,
    process: Pid,
    directory: &Path,
    program: &Path,
) -> Option<MappedFile> {
    if range.inode == 0 || !range.is_code() || !range.path.starts_with(b"/") {
        return None;
    }
    let name = range.path.strip_suffix(DELETED).unwrap_or(&range.path);
    // The list pads addresses with zeros, the names of the links have none.
    let link = format!("{:x}-{:x}", range.addresses.start, range.addresses.end);
    let is_program = *range.path == *program.as_os_str().as_bytes();
    Some(MappedFile {
        path: OsStr::from_bytes(name).into(),
        identity: FileIdentity { device: range.device, inode: range.inode, is_program },
        links: vec![(process, directory.join("map_files").join(link))],
        is_of_long_list: false,
        rank: 0,
    })
}

#[cfg(test)]
mod tests {
    use trace_tasks::mapped_ranges;

    use super::*;

    fn fuse() -> FuseFileSystems {
        FuseFileSystems::new(Path::new("/proc"), Path::new("/sys"))
    }

    fn parse(line: &str) -> Option<MappedFile> {
        let range = mapped_ranges(line.as_bytes()).next()?;
        mapped_file(&range, 7, Path::new("/proc/7"), Path::new("/opt/my app (deleted)"))
    }

    #[test]
    fn files_with_code_are_found() {
        let file =
            parse("00400000-00401000 r-xp 00001000 fe:00 12345                  /opt/my app (deleted)")
                .unwrap();
        assert_eq!(file.path.as_path(), Path::new("/opt/my app"));
        let identity = FileIdentity { device: (0xfe, 0), inode: 12345, is_program: true };
        assert_eq!(file.identity, identity);
        assert_eq!(file.links, [(7, "/proc/7/map_files/400000-401000".into())]);
        let file = parse("7f1c2a000000-7f1c2a028000 r-xp 00028000 fe:00 9   /usr/lib/a\\012b.so").unwrap();
        assert_eq!((file.path.as_path(), file.identity.is_program), (Path::new("/usr/lib/a\nb.so"), false));
    }

    #[test]
    fn paths_can_be_other_than_utf8() {
        let line = b"00400000-00401000 r-xp 00001000 fe:00 12345   /opt/\xff";
        let range = mapped_ranges(line).next().unwrap();
        let file =
            |path| mapped_file(&range, 7, Path::new("/proc/7"), Path::new(OsStr::from_bytes(path))).unwrap();
        assert_eq!(file(b"/opt/\xff").path.as_os_str().as_bytes(), b"/opt/\xff");
        assert!(file(b"/opt/\xff").identity.is_program && !file(b"/opt/\xfe").identity.is_program);
    }

    #[test]
    fn data_and_mappings_without_a_file_are_left_out() {
        assert_eq!(parse("00400000-00401000 r--p 00001000 fe:00 12345   /usr/bin/x"), None);
        assert_eq!(parse("00400000-00401000 r-xp 00000000 00:00 0   [vdso]"), None);
        assert_eq!(parse("00400000-00401000 r-xp 00000000 00:00 0 "), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn each_file_is_listed_once_with_the_links_of_several_processes() {
        let mut files = AllFiles::default();
        let mut add = |process, inode| {
            let line = format!("1-2 r-xp 0 fe:00 {inode} /lib");
            let range = mapped_ranges(line.as_bytes()).next().unwrap();
            let file = mapped_file(&range, process, Path::new("/p"), Path::new("")).unwrap();
            files.add(file)
        };
        assert!((0..9).all(|process| add(process / 2, 1)) && add(7, 2));
        let processes =
            |file: &MappedFile| file.links.iter().map(|(process, _)| *process).collect::<Vec<_>>();
        assert_eq!(files.list.iter().map(processes).collect::<Vec<_>>(), [vec![0, 1, 2, 3, 4], vec![7]]);
    }

    #[test]
    fn the_memory_for_files_is_bounded_and_long_lists_leave_room_for_others() {
        let mut files = AllFiles::default();
        let mut add_many = |is_of_long_list: bool| {
            let file = |inode| {
                let line = format!("1-2 r-xp 0 fe:00 {inode} /{}", "n".repeat(4000));
                let range = mapped_ranges(line.as_bytes()).next().unwrap();
                let file = mapped_file(&range, 7, Path::new("/p"), Path::new("")).unwrap();
                MappedFile { is_of_long_list, ..file }
            };
            let begin = if is_of_long_list { 1 } else { 1_000_000 };
            (begin..begin + 10_000).map(file).filter(|file| files.add(file.clone())).count()
        };
        let (of_long_lists, others) = (add_many(true), add_many(false));
        assert!(
            (900..1050).contains(&of_long_lists) && (3800..4200).contains(&others),
            "{of_long_lists}, {others}"
        );
    }

    #[test]
    fn the_number_of_files_of_a_process_is_bounded() {
        let procfs = tempfile::tempdir().unwrap();
        fs::create_dir(procfs.path().join("7")).unwrap();
        let maps: String = (1..=MAX_FILES + 1).map(|inode| format!("1-2 r-xp 0 1:2 {inode} /a\n")).collect();
        fs::write(procfs.path().join("7/maps"), maps).unwrap();
        let found = mapped_files(procfs.path(), &fuse(), 7, ListLength::Most, Duration::MAX).unwrap();
        assert_eq!((found.files.len(), found.are_all), (MAX_FILES, false));
    }

    #[test]
    fn the_own_program_is_found() {
        let found =
            mapped_files(Path::new("/proc"), &fuse(), std::process::id(), ListLength::Usual, Duration::MAX)
                .unwrap();
        let program = found.files.iter().find(|file| file.identity.is_program).unwrap();
        assert_eq!(program.path, std::env::current_exe().unwrap());
        assert!(found.are_all);
        assert!(found.files.iter().any(|file| file.path.to_string_lossy().contains("libc")));
    }
}
