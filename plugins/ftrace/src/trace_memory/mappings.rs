//! The file that an address in a program belongs to.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::time::Duration;

use trace_hook_api::{Environment, log};
use trace_tasks::{BlockingCalls, CallTarget, ListLength, MappedRange, Pid, visit_code};

/// How long reading the mappings of a process may block.
const TIME_LIMIT: Duration = Duration::from_millis(100);

/// With more processes than this, only those are remembered that allocated in the last interval.
const MAX_IDLE_PROCESSES: usize = 4096;

/// The executable mappings of processes, from procfs.
///
/// procfs has them only while the process exists. So they are read when a process is first asked for, and kept. Between two
/// calls of [`allow_reading`](Self::allow_reading), no process is read twice.
#[derive(Debug)]
pub struct Mappings {
    procfs: PathBuf,
    known: HashMap<Pid, Process>,
    calls: BlockingCalls,
    /// Whether it was reported that mappings are not known.
    is_reported: bool,
    /// The number of calls of `allow_reading`.
    readings: u64,
}

/// The mappings of a process, as they were when they were last read.
#[derive(Debug, Default)]
struct Process {
    code: Vec<Mapping>,
    /// The value of `readings` when they were read. `None`: not in this interval.
    read_at: Option<u64>,
    /// Whether an address of it was looked up in this interval.
    is_used: bool,
    /// It has too many mappings, or reading them blocks. They are not read again in this interval.
    is_costly: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mapping {
    addresses: Range<u64>,
    offset: u64,
    /// Empty for anonymous memory.
    name: Vec<u8>,
}

impl Mappings {
    pub fn new(environment: &Environment) -> Self {
        Self {
            procfs: environment.procfs.clone(),
            known: HashMap::new(),
            calls: BlockingCalls::within(environment.patient(TIME_LIMIT)),
            is_reported: false,
            readings: 0,
        }
    }

    /// All records so far have been read: processes may have new mappings in what follows.
    pub fn allow_reading(&mut self) {
        self.readings += 1;
    }

    /// The file and the offset in it, such as `/usr/bin/cc+0x5120`; the address alone for anonymous memory. `None` if it is not
    /// known yet: the process may have added mappings since they were read, or ended before that.
    pub fn place(&mut self, process: Pid, address: u64) -> Option<Vec<u8>> {
        let (procfs, readings) = (&self.procfs, self.readings);
        let known = self.known.entry(process).or_default();
        known.is_used = true;
        // It may run another program than in the last interval.
        let is_old = known.read_at.is_none();
        let found = known.place(address).filter(|_| !is_old);
        if found.is_some() || known.read_at == Some(readings) || (known.is_costly && !is_old) {
            return found;
        }
        known.read_at = Some(readings);
        let procfs = procfs.clone();
        let read = self.calls.call(&[CallTarget::Process(process)], move || code_of(&procfs, process));
        let (code, are_all) = read.unwrap_or_default();
        known.is_costly = !are_all;
        if !are_all && !std::mem::replace(&mut self.is_reported, true) {
            log::warn!(
                "some callers are shown as addresses: process {process} has too many mappings, or they cannot be read in time"
            );
        }
        // If it has ended, the mappings it had are still right.
        if !code.is_empty() {
            known.code = code;
        }
        known.place(address)
    }

    /// An interval has ended. Forgets processes that were not used in it and have ended.
    pub fn end_interval(&mut self) {
        let is_there = |process: Pid| self.procfs.join(process.to_string()).exists();
        let keep_idle = self.known.len() <= MAX_IDLE_PROCESSES;
        self.known
            .retain(|pid, process| std::mem::take(&mut process.is_used) || (keep_idle && is_there(*pid)));
        self.known.values_mut().for_each(|process| process.read_at = None);
    }

    /// Forgets all other processes.
    pub fn keep_only(&mut self, processes: &BTreeSet<Pid>) {
        self.known.retain(|process, _| processes.contains(process));
    }
}

/// The code that a process has mapped, and whether this is all of it. None, if it has ended. This can block.
fn code_of(procfs: &Path, process: Pid) -> (Vec<Mapping>, bool) {
    let mut code = Vec::new();
    let maps = File::open(procfs.join(process.to_string()).join("maps"));
    let visited = maps.and_then(|maps| {
        visit_code(maps, ListLength::Most, |range| {
            code.push(Mapping::from(range));
            ControlFlow::Continue(())
        })
    });
    (code, visited.unwrap_or(true))
}

impl Process {
    fn place(&self, address: u64) -> Option<Vec<u8>> {
        let mapping = self.code.iter().find(|mapping| mapping.addresses.contains(&address))?;
        Some(match mapping.name.as_slice() {
            [] => bare(address),
            name => {
                let place =
                    format!("+{:#x}", (address - mapping.addresses.start).wrapping_add(mapping.offset));
                [name, place.as_bytes()].concat()
            }
        })
    }
}

/// An address without a file.
pub fn bare(address: u64) -> Vec<u8> {
    format!("{address:#x}").into_bytes()
}

impl From<&MappedRange<'_>> for Mapping {
    fn from(range: &MappedRange<'_>) -> Self {
        Self { addresses: range.addresses.clone(), offset: range.offset, name: range.path.to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A synthetic procfs, and what is found in it.
    struct Kernel(tempfile::TempDir, Mappings);

    impl Kernel {
        fn new() -> Self {
            let procfs = tempfile::tempdir().unwrap();
            let mappings = Mappings::new(&Environment::new(procfs.path(), "/sys"));
            Self(procfs, mappings)
        }

        fn run(&self, process: Pid, maps: &str) {
            let directory = self.0.path().join(process.to_string());
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("maps"), maps).unwrap();
        }

        fn end(&self, process: Pid) {
            fs::remove_dir_all(self.0.path().join(process.to_string())).unwrap();
        }

        #[track_caller]
        fn assert(&mut self, process: Pid, address: u64, place: Option<&str>) {
            let found = self.1.place(process, address);
            assert_eq!(found.map(|place| String::from_utf8(place).unwrap()).as_deref(), place);
        }
    }

    const CAT: &str = "1000-3000 r-xp 00005000 fe:00 1234      /usr/bin/my\\012cat
4000-5000 rw-p 00000000 fe:00 1234     /usr/bin/my\\012cat
6000-7000 rwxp 00000000 00:00 0 
";
    const NEW: &str = "4000-5000 r-xp 00000000 fe:00 9 /usr/lib/new.so\n";

    #[test]
    fn address_is_a_place_in_a_file() {
        let mut kernel = Kernel::new();
        kernel.run(7, CAT);
        kernel.assert(7, 0x1120, Some("/usr/bin/my\ncat+0x5120"));
        kernel.assert(7, 0x6120, Some("0x6120"));
        kernel.assert(7, 0x4120, None);
        kernel.assert(8, 0x1120, None);
    }

    #[test]
    fn process_is_read_once_until_reading_is_allowed() {
        let mut kernel = Kernel::new();
        kernel.run(7, CAT);
        kernel.assert(7, 0x1120, Some("/usr/bin/my\ncat+0x5120"));
        kernel.run(7, NEW);
        kernel.1.allow_reading();
        kernel.assert(7, 0x4120, Some("/usr/lib/new.so+0x120"));
        kernel.run(7, CAT);
        kernel.assert(7, 0x1120, None);
        kernel.1.allow_reading();
        kernel.assert(7, 0x1120, Some("/usr/bin/my\ncat+0x5120"));
    }

    #[test]
    fn mappings_outlive_their_process() {
        let mut kernel = Kernel::new();
        kernel.run(7, CAT);
        kernel.assert(7, 0x1120, Some("/usr/bin/my\ncat+0x5120"));
        kernel.1.end_interval();
        kernel.1.end_interval();
        kernel.end(7);
        kernel.1.allow_reading();
        kernel.assert(7, 0x4120, None);
        kernel.assert(7, 0x1121, Some("/usr/bin/my\ncat+0x5121"));
        kernel.1.end_interval();
        kernel.assert(7, 0x1122, Some("/usr/bin/my\ncat+0x5122"));
        kernel.1.end_interval();
        kernel.1.end_interval();
        assert!(kernel.1.known.is_empty());
    }

    #[test]
    fn process_may_run_another_program_in_the_next_interval() {
        let mut kernel = Kernel::new();
        kernel.run(7, CAT);
        kernel.assert(7, 0x1120, Some("/usr/bin/my\ncat+0x5120"));
        kernel.1.end_interval();
        kernel.run(7, &CAT.replace("cat", "dog"));
        kernel.assert(7, 0x1120, Some("/usr/bin/my\ndog+0x5120"));
    }

    #[test]
    fn long_list_is_read_once_in_an_interval() {
        let mut kernel = Kernel::new();
        let long = format!("{}{CAT}", "9000-a000 r-xp 0 fe:00 9 /usr/lib/new.so\n".repeat(100_000));
        kernel.run(7, &long);
        kernel.assert(7, 0x9120, Some("/usr/lib/new.so+0x120"));
        kernel.assert(7, 0x1120, None);
        kernel.run(7, CAT);
        kernel.1.allow_reading();
        kernel.assert(7, 0x1120, None);
        kernel.1.end_interval();
        kernel.assert(7, 0x1120, Some("/usr/bin/my\ncat+0x5120"));
    }

    #[test]
    fn number_of_processes_is_bounded() {
        let mut kernel = Kernel::new();
        for interval in 0..3 {
            for process in 0..MAX_IDLE_PROCESSES as Pid + 1 {
                kernel.assert(interval * 10_000 + process, 0x1120, None);
            }
            kernel.1.end_interval();
            assert!(kernel.1.known.len() <= MAX_IDLE_PROCESSES + 1);
        }
        kernel.1.keep_only(&BTreeSet::from([20_000]));
        assert_eq!(kernel.1.known.len(), 1);
    }
}
