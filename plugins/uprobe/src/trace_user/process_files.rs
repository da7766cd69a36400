//! The programs and libraries of the traced processes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use trace_hook_api::{Capability, Environment, HookError, Result, did_you_mean};
use trace_tasks::{Blocked, BlockingCalls, CallTarget, FuseFileSystems, ListLength, Pid};

use super::binary::{self, Binary};
use super::file_search::MAX_CPU_TIME;
use super::function_selector::BinaryPattern;
use super::left_out::LeftOut;
use super::mapped_files::{AllFiles, FileIdentity, MappedFile, mapped_files};
use super::quoted::quoted;

/// How long a call that opens or reads a file may block.
const TIME_LIMIT: Duration = Duration::from_millis(500);

/// How long lists of mappings are read that are longer than usual, and how long the files are searched that are only in these.
const LONG_LISTS_TIME: Duration = Duration::from_millis(150);

/// How long the files of one process are searched, and those of all processes: files that take long must not hold up a session.
/// Usually, each takes a few milliseconds at most.
const PROCESS_TIME: Duration = Duration::from_millis(500);
const WHOLE_TIME: Duration = Duration::from_secs(5);

/// The programs and libraries of the traced processes: those that are mapped, and those that can be opened by path.
pub struct ProcessFiles {
    environment: Environment,
    processes: Vec<Pid>,
    mapped: AllFiles,
    calls: Arc<Mutex<BlockingCalls>>,
    /// Files that are still open.
    open: RefCell<HashMap<(u64, u64), Weak<Binary>>>,
    left_out: RefCell<LeftOut>,
    spent: RefCell<SearchTimes>,
}

/// How long files were searched.
#[derive(Debug, Default)]
struct SearchTimes {
    whole: Duration,
    of_long_lists: Duration,
    of_processes: HashMap<Pid, Duration>,
}

/// A file to search.
#[derive(Debug, Clone, Copy)]
pub enum Candidate<'a> {
    Mapped(&'a MappedFile),
    /// At this path in the root directory of a process.
    InRootOf(Pid, &'a Path),
}

/// Reads the mappings of processes.
struct Reading<'a> {
    environment: &'a Environment,
    calls: &'a Mutex<BlockingCalls>,
    fuse: FuseFileSystems,
    found: AllFiles,
    /// For each process that cannot be read, the error, unless it does not answer.
    failures: Vec<Option<HookError>>,
}

impl Reading<'_> {
    /// Adds the files of a process, if its list is not longer.
    fn read_usual(&mut self, process: Pid, left_out: &mut LeftOut) -> bool {
        self.read(process, ListLength::Usual, false, left_out)
    }

    /// Adds the files of a process with a longer list. Returns false if these are not all.
    fn read_long(&mut self, process: Pid, length: ListLength, left_out: &mut LeftOut) -> bool {
        self.read(process, length, true, left_out)
    }

    fn read(&mut self, process: Pid, length: ListLength, is_long: bool, left_out: &mut LeftOut) -> bool {
        let (root, fuse) = (self.environment.procfs.clone(), self.fuse.clone());
        let read = move || mapped_files(&root, &fuse, process, length);
        match call(self.calls, CallTarget::Process(process), read) {
            Ok(Ok(found)) => {
                if !found.are_all && !is_long {
                    return false;
                }
                for path in &found.on_fuse {
                    left_out.add(format_args!("{}: it is on a FUSE file system", path.display()));
                }
                // The program of one process can be a library of another.
                let files =
                    found.files.into_iter().map(|file| MappedFile { is_of_long_list: is_long, ..file });
                let refused = files.filter(|file| !self.found.add(file.clone())).count();
                if refused > 0 && !is_long {
                    left_out
                        .add(format_args!("{refused} files of process {process}: there are too many in all"));
                }
                return found.are_all && (refused == 0 || !is_long);
            }
            Ok(Err(error)) => {
                let error = forbidden(&format!("read the mappings of process {process}"), &error);
                left_out.add(format_args!("the files of process {process}: {error}"));
                self.failures.push(Some(error));
            }
            Err(blocked) => {
                left_out.add(format_args!("the files of process {process}: {blocked}"));
                self.failures.push(None);
            }
        }
        true
    }
}

impl ProcessFiles {
    /// The files of these processes, which are read by these calls. A process whose mappings cannot be read is left out.
    ///
    /// # Errors
    ///
    /// There are processes, and the mappings of none can be read.
    pub fn of(
        processes: Vec<Pid>,
        environment: &Environment,
        calls: Arc<Mutex<BlockingCalls>>,
    ) -> Result<Self> {
        let fuse = FuseFileSystems::new(&environment.procfs, &environment.sysfs);
        let mut reading =
            Reading { environment, calls: &calls, fuse, found: AllFiles::default(), failures: Vec::new() };
        let mut left_out = LeftOut::default();
        let is_long = |process: &Pid| !reading.read_usual(*process, &mut left_out);
        let long: Vec<Pid> = processes.iter().copied().filter(is_long).collect();
        let began = Instant::now();
        for process in long {
            let has_time = began.elapsed() < environment.patient(LONG_LISTS_TIME);
            let length = if has_time { ListLength::Most } else { ListLength::Usual };
            if !reading.read_long(process, length, &mut left_out) {
                left_out.add(format_args!("a part of the mappings of process {process}: it has too many"));
            }
        }
        let Reading { found: mapped, failures, .. } = reading;
        if failures.len() == processes.len() && !failures.is_empty() {
            let unreadable = || HookError::new(format!("no file can be searched: {left_out}"));
            return Err(failures.into_iter().flatten().next_back().unwrap_or_else(unreadable));
        }
        Ok(Self {
            environment: environment.clone(),
            processes,
            mapped,
            calls,
            open: RefCell::default(),
            left_out: RefCell::new(left_out),
            spent: RefCell::default(),
        })
    }

    /// Searches a mapped file, unless the search of the files of its processes, or of all files, has taken too long.
    /// The search gets the CPU time that it may take.
    pub fn search(&self, file: &MappedFile, search: impl FnOnce(Duration)) {
        let began = Instant::now();
        if let Some(reason) = self.spent.borrow().reason_to_leave_out(file, &self.environment) {
            return self.leave_out(file.path.display(), reason);
        }
        search(self.spent.borrow().time_for(file, &self.environment));
        self.spent.borrow_mut().add(file, began.elapsed());
    }

    /// A time limit for one of the files.
    pub fn patient(&self, limit: Duration) -> Duration {
        self.environment.patient(limit)
    }

    /// Whether there is no process.
    pub fn are_of_no_process(&self) -> bool {
        self.processes.is_empty()
    }

    /// The files that are mapped, and searched if need be.
    pub fn searched(&self) -> impl Iterator<Item = FileIdentity> {
        self.mapped.list.iter().map(|file| file.identity)
    }

    /// The calls that open and read the files.
    pub fn calls(&self) -> Arc<Mutex<BlockingCalls>> {
        Arc::clone(&self.calls)
    }

    /// The programs.
    pub fn programs(&self) -> Vec<Candidate<'_>> {
        self.mapped(|file| file.identity.is_program)
    }

    /// All mapped files that are not the program of their process.
    pub fn libraries(&self) -> Vec<Candidate<'_>> {
        self.mapped(|file| !file.identity.is_program)
    }

    /// The files that match a pattern: those that are mapped, and, if the pattern is a path, what is there.
    pub fn matching<'a>(&'a self, pattern: &'a BinaryPattern) -> Vec<Candidate<'a>> {
        let mut found = self.mapped(|file| pattern.matches(&file.path));
        if let Some(path) = pattern.path() {
            found.extend(self.processes.iter().map(|process| Candidate::InRootOf(*process, path)));
        }
        found
    }

    fn mapped(&self, is_wanted: impl Fn(&MappedFile) -> bool) -> Vec<Candidate<'_>> {
        let mut wanted: Vec<&MappedFile> = self.mapped.list.iter().filter(|file| is_wanted(file)).collect();
        // In turns: the files of one process must not use up the time for those of others.
        wanted.sort_by_key(|file| (file.is_of_long_list, file.rank));
        wanted.into_iter().map(Candidate::Mapped).collect()
    }

    /// Opens a file. `None`, if it does not exist (any more), or is left out.
    pub fn open(&self, candidate: Candidate<'_>) -> Option<Arc<Binary>> {
        let (path, procfs) = (candidate.path().to_owned(), self.environment.procfs.clone());
        let opened = match candidate {
            Candidate::Mapped(file) => self.follow_a_link(file).and_then(|file| {
                let open = move || Binary::of(file, &path, &procfs);
                self.call(candidate.target(), open).map_err(io::Error::other).flatten()
            }),
            Candidate::InRootOf(process, _) => {
                let open = move || Binary::in_root_of(process, &path, &procfs);
                self.call(candidate.target(), open).map_err(io::Error::other).flatten()
            }
        };
        match opened {
            Ok(binary) => Some(self.deduplicated(binary)),
            Err(error) if is_gone(&error) => None,
            Err(error) => {
                self.leave_out(candidate.path().display(), explained(&error));
                None
            }
        }
    }

    /// Follows the first link to a file that can be followed.
    fn follow_a_link(&self, file: &MappedFile) -> io::Result<OwnedFd> {
        let mut failure = ErrorKind::NotFound.into();
        for (process, link) in &file.links {
            let link = link.clone();
            let followed = self.call(CallTarget::Process(*process), move || binary::follow(&link));
            match followed.map_err(io::Error::other).flatten() {
                Ok(file) => return Ok(file),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Reads an open file. Returns `None`, if the file is left out because it cannot be read in time.
    pub fn read<T: Send + 'static>(
        &self,
        candidate: Candidate<'_>,
        binary: Arc<Binary>,
        read: impl FnOnce(Arc<Binary>) -> T + Send + 'static,
    ) -> Option<T> {
        let result = self.call(candidate.target(), move || read(binary));
        result.map_err(|blocked| self.leave_out(candidate.path().display(), blocked)).ok()
    }

    /// Notes that something is not searched, or has no probes.
    pub fn leave_out(&self, what: impl Display, why: impl Display) {
        self.left_out.borrow_mut().add(format_args!("{what}: {why}"));
    }

    /// What is left out so far.
    pub fn left_out(&self) -> LeftOut {
        self.left_out.borrow().clone()
    }

    /// The error if no file matches a pattern, and some cannot be read.
    pub fn unknown(&self, pattern: &BinaryPattern, unreadable: &LeftOut) -> HookError {
        let text = pattern.text();
        let paths: Vec<_> = self.mapped.list.iter().map(|file| file.path.to_string_lossy()).collect();
        let hint = match text.contains('/') {
            true => did_you_mean(text, &paths),
            false => {
                let names: Vec<&str> = paths.iter().filter_map(|path| path.rsplit('/').next()).collect();
                did_you_mean(text, &names)
            }
        };
        let problem = match pattern.path() {
            Some(_) => "the traced processes have no such file",
            None => {
                "the traced processes have not loaded such a file; for one that is loaded later, give the whole path"
            }
        };
        let unreadable = match unreadable.is_empty() {
            true => String::new(),
            false => format!("; left out: {unreadable}"),
        };
        HookError::usage(format!("unknown binary {}: {problem}{unreadable}{hint}", quoted(text)))
    }

    fn call<T: Send + 'static>(
        &self,
        target: CallTarget,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Blocked> {
        self::call(&self.calls, target, call)
    }

    /// The same file as it was opened before, if it is still open.
    fn deduplicated(&self, binary: Binary) -> Arc<Binary> {
        let mut open = self.open.borrow_mut();
        if let Some(known) = open.get(&binary.identity).and_then(Weak::upgrade) {
            return known;
        }
        let binary = Arc::new(binary);
        open.insert(binary.identity, Arc::downgrade(&binary));
        binary
    }
}

impl SearchTimes {
    fn reason_to_leave_out(&self, file: &MappedFile, environment: &Environment) -> Option<&'static str> {
        let is_too_long = |spent: Duration, limit| spent >= environment.patient(limit);
        let has_taken_too_long = |process: &Pid| {
            self.of_processes.get(process).is_some_and(|spent| is_too_long(*spent, PROCESS_TIME))
        };
        if is_too_long(self.whole, WHOLE_TIME) {
            Some("searching all files takes too long")
        } else if file.is_of_long_list && is_too_long(self.of_long_lists, LONG_LISTS_TIME) {
            Some("its process has too many files")
        } else if file.all_processes().is_some_and(|mut all| all.all(|process| has_taken_too_long(&process)))
        {
            Some("searching the files of its process takes too long")
        } else {
            None
        }
    }

    fn time_for(&self, file: &MappedFile, environment: &Environment) -> Duration {
        match file.is_of_long_list {
            true => environment.patient(LONG_LISTS_TIME).saturating_sub(self.of_long_lists),
            false => environment.patient(MAX_CPU_TIME),
        }
    }

    fn add(&mut self, file: &MappedFile, time: Duration) {
        self.whole += time;
        for process in file.processes() {
            *self.of_processes.entry(process).or_default() += time;
        }
        if file.is_of_long_list {
            self.of_long_lists += time;
        }
    }
}

impl<'a> Candidate<'a> {
    /// Its path, as its process sees it.
    pub fn path(self) -> &'a Path {
        match self {
            Self::Mapped(file) => &file.path,
            Self::InRootOf(_, path) => path,
        }
    }

    /// What it takes to open and read it.
    fn target(self) -> CallTarget {
        match self {
            Self::Mapped(file) => CallTarget::FileSystem(file.identity.device),
            Self::InRootOf(process, _) => CallTarget::Process(process),
        }
    }
}

/// Calls for the files of all processes of a session.
pub fn blocking_calls(environment: &Environment) -> Arc<Mutex<BlockingCalls>> {
    Arc::new(Mutex::new(BlockingCalls::within(environment.patient(TIME_LIMIT))))
}

fn call<T: Send + 'static>(
    calls: &Mutex<BlockingCalls>,
    target: CallTarget,
    call: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Blocked> {
    calls.lock().unwrap_or_else(PoisonError::into_inner).call(&[target], call)
}

/// Checks that a session can open the files that processes have mapped. That takes a privilege even for the own process
/// (proc_pid_map_files(5)).
///
/// # Errors
///
/// The privilege that is missing.
pub fn check(environment: &Environment) -> Result<()> {
    let lacking = |lacking| HookError::new(format!("to open the files that processes run, {lacking}"));
    environment.check_any(&[Capability::CheckpointRestore, Capability::SysAdmin]).map_err(lacking)
}

/// The error for a process that takes privileges (proc_pid_map_files(5)).
fn forbidden(action: &str, error: &io::Error) -> HookError {
    HookError::new(format!(
        "cannot {action}: {error}; this needs CAP_SYS_PTRACE, and CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN"
    ))
}

/// The process has ended, or has unmapped the file.
fn is_gone(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOENT | Errno::ESRCH | Errno::ENOTDIR))
}

fn explained(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE) => {
            format!("{error}; name the BINARY, or raise the limit of open files (ulimit -n)")
        }
        Some(Errno::EPERM) => format!("{error}; this needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN"),
        _ => error.to_string(),
    }
}
