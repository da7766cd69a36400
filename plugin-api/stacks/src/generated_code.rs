//! Code that processes generate while they run, such as that of JIT compilers.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use trace_symbols::{GeneratedFunctions, Position, read_jit_dump, read_perf_map};
use trace_tasks::{ProcessRoots, Procfs};

use crate::mapping::Mapping;
use crate::modules::{BRIEF_WAIT, DELETED};
use crate::symbol_loader::SymbolLoader;

/// How long after one reading of the lists the next one begins at the earliest.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// The same as a multiple of the time that one takes.
const SHARE: u32 = 10;
/// What has no name so soon after a reading is not waited for.
const FRESH: Duration = Duration::from_millis(50);
/// How long samples wait for the lists of one process in all.
const PATIENCE: Duration = Duration::from_secs(3);
/// The same for the lists of all processes together.
const PATIENCE_WITH_ALL: Duration = Duration::from_secs(10);

/// How much older than its process a list may be: clocks are coarse, and can be set.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);

/// The functions that a process has generated. It lists them in a file `/tmp/perf-PID.map`, or in a jitdump file that it maps.
#[derive(Debug)]
pub struct GeneratedCode {
    process: u32,
    roots: Arc<ProcessRoots>,
    loader: Arc<SymbolLoader>,
    state: Mutex<State>,
    /// Notified when the lists are read.
    read: Condvar,
}

#[derive(Debug, Default)]
struct State {
    functions: Option<GeneratedFunctions>,
    is_reading: bool,
    read_at: Option<Instant>,
    /// When the lists are read again at the earliest.
    next: Option<Instant>,
    waited: Duration,
    lists: Lists,
}

/// How far the lists are read.
#[derive(Debug, Default, Clone)]
struct Lists {
    perf_map: Option<(Identity, Position)>,
    jit_dump: Option<(Arc<File>, Position)>,
}

/// The device and inode of a file.
type Identity = (u64, u64);

/// Whether a mapping can hold generated code.
pub fn is_generated(mapping: &Mapping<'_>) -> bool {
    const PREFIXES: [&[u8]; 7] =
        [b"//anon", b"[anon", b"[heap]", b"[stack", b"/memfd:", b"/dev/zero", b"/anon_hugepage"];
    PREFIXES.iter().any(|prefix| mapping.path.starts_with(prefix))
}

/// Whether a file that is mapped is a jitdump file by its name, `jit-PID.dump`.
pub fn is_jit_dump(path: &[u8]) -> bool {
    let path = path.strip_suffix(DELETED).unwrap_or(path);
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name.starts_with(b"jit-") && name.ends_with(b".dump")
}

impl GeneratedCode {
    /// None of it is known yet.
    pub fn of(process: u32, roots: Arc<ProcessRoots>, loader: Arc<SymbolLoader>) -> Self {
        Self { process, roots, loader, state: Mutex::default(), read: Condvar::new() }
    }

    /// Takes a jitdump file that the process has mapped.
    pub fn set_jit_dump(&self, file: File) {
        let mut state = self.state();
        let is_known =
            state.lists.jit_dump.as_ref().is_some_and(|(known, _)| identity(known) == identity(&file));
        if !is_known {
            state.lists.jit_dump = Some((Arc::new(file), Position::default()));
        }
    }

    /// The symbol of the function at this address.
    pub fn function(&self, address: u64) -> Option<String> {
        let state = self.state();
        Some(state.functions.as_ref()?.at(address)?.into())
    }

    /// Has what was added to the lists read, if that is due. Returns whether it is worthwhile to wait for it.
    pub fn refresh(self: &Arc<Self>) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        if !state.is_reading && state.next.is_none_or(|next| next <= now) {
            state.is_reading = true;
            let code = Arc::clone(self);
            self.loader.start(Box::new(move |loader| code.read(loader)));
        }
        let is_fresh = state.read_at.is_some_and(|read_at| now - read_at < FRESH);
        !is_fresh && state.waited < PATIENCE
    }

    /// Waits until the lists are read, for a short time.
    pub fn wait_briefly(&self) {
        let began = Instant::now();
        let waited = self.read.wait_timeout(self.state(), BRIEF_WAIT);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waited += began.elapsed();
        if self.loader.add_wait(began.elapsed()) >= PATIENCE_WITH_ALL {
            state.waited = PATIENCE;
        }
        drop(state);
        self.loader.proceed();
    }

    fn read(&self, loader: &SymbolLoader) {
        let (began, mut lists) = (Instant::now(), self.state().lists.clone());
        self.read_perf_map(loader, &mut lists);
        self.read_jit_dump(loader, &mut lists);
        let mut state = self.state();
        // Another file may have come meanwhile.
        let is_read = |(file, _): &(Arc<File>, Position)| {
            lists.jit_dump.as_ref().is_some_and(|(read, _)| Arc::ptr_eq(file, read))
        };
        let unread = state.lists.jit_dump.take().filter(|dump| !is_read(dump));
        lists.jit_dump = unread.or(lists.jit_dump);
        state.lists = lists;
        let now = Instant::now();
        state.next = Some(now + SHORTEST_INTERVAL.max((now - began).saturating_mul(SHARE)));
        (state.is_reading, state.read_at) = (false, Some(now));
        drop(state);
        self.read.notify_all();
    }

    fn read_perf_map(&self, loader: &SymbolLoader, lists: &mut Lists) {
        let Some(file) = self.perf_map() else { return };
        let (Some(identity), Ok(metadata)) = (identity(&file), file.metadata()) else { return };
        let continued = lists
            .perf_map
            .filter(|(known, position)| *known == identity && position.offset() <= metadata.len());
        if continued.is_none() && lists.perf_map.is_some() {
            // All functions are listed anew.
            self.state().functions = None;
            lists.jit_dump.iter_mut().for_each(|(_, position)| *position = Position::default());
        }
        let position = continued.map(|(_, position)| position).unwrap_or_default();
        let position =
            read_perf_map(&file, position, &mut |change| self.apply(loader, change)).unwrap_or(position);
        lists.perf_map = Some((identity, position));
    }

    fn read_jit_dump(&self, loader: &SymbolLoader, lists: &mut Lists) {
        if let Some((file, position)) = &mut lists.jit_dump {
            let read = read_jit_dump(file, *position, &mut |change| self.apply(loader, change));
            *position = read.unwrap_or(*position);
        }
    }

    fn apply(&self, loader: &SymbolLoader, change: trace_symbols::GeneratedCode<'_>) {
        let mut state = self.state();
        if state.functions.is_none() {
            state.functions = GeneratedFunctions::new(loader.budget());
        }
        if let Some(functions) = &mut state.functions {
            let exceeded = functions.exceeds_budget();
            functions.apply(change);
            if functions.exceeds_budget() && !exceeded {
                loader.leave_out(&format!("perf-{}.map", self.process));
            }
        }
    }

    /// The perf map, as the mount and pid namespaces of the process have it. As for perf, it belongs to the user of the process, or
    /// to root. An older one is of another process that had the same id.
    fn perf_map(&self) -> Option<File> {
        let status = fs::read(self.roots.procfs().join(format!("{}/status", self.process))).ok()?;
        let (id, user) = (last_id(&status)?, user(&status)?);
        let started = started(&Procfs::at(self.roots.procfs()), self.process)?;
        let path = format!("/tmp/perf-{id}.map");
        self.roots.open(self.process, Path::new(&path), |metadata| {
            let changed =
                UNIX_EPOCH.checked_add(Duration::from_secs(metadata.mtime().try_into().unwrap_or(0)));
            (metadata.uid() == user || metadata.uid() == 0)
                && changed.is_some_and(|changed| changed + CLOCK_TOLERANCE >= started)
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity(file: &File) -> Option<Identity> {
    file.metadata().ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

/// When a process was started.
fn started(procfs: &Procfs, process: u32) -> Option<SystemTime> {
    let age = Duration::from_nanos(Procfs::now().saturating_sub(procfs.started(process)?));
    SystemTime::now().checked_sub(age)
}

/// The id of a process in its own pid namespace (proc_pid_status(5)).
fn last_id(status: &[u8]) -> Option<u32> {
    field(status, "NSpid:")?.last()?.parse().ok()
}

/// Its effective user.
fn user(status: &[u8]) -> Option<u32> {
    field(status, "Uid:")?.nth(1)?.parse().ok()
}

fn field<'a>(status: &'a [u8], name: &str) -> Option<impl Iterator<Item = &'a str>> {
    let mut lines = status.split(|byte| *byte == b'\n');
    let line = lines.find_map(|line| line.strip_prefix(name.as_bytes()))?;
    Some(str::from_utf8(line).ok()?.split_ascii_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &[u8] = b"Name:\ta\nUid:\t1\t2\t3\t4\nNSpid:\t4711\t12\t1\n";

    #[test]
    fn the_perf_map_is_named_as_its_namespace_numbers_the_process() {
        assert_eq!((last_id(STATUS), user(STATUS)), (Some(1), Some(2)));
        assert_eq!((last_id(b"NSpid:\t7\n"), user(b"Uid:\t7\n"), last_id(b"")), (Some(7), None, None));
    }

    #[test]
    fn a_process_was_started_before_now() {
        let started = started(&Procfs::at(Path::new("/proc")), std::process::id()).unwrap();
        let age = SystemTime::now().duration_since(started).unwrap();
        assert!(age < Duration::from_secs(3600), "{age:?}");
    }

    #[test]
    fn generated_code_is_in_mappings_without_a_file() {
        let is_generated = |path| {
            let device = (0, 0);
            super::is_generated(&Mapping {
                address: 0,
                length: 1,
                offset: 0,
                device,
                inode: 0,
                generation: 0,
                path,
            })
        };
        assert!(is_generated(b"//anon") && is_generated(b"[anon:v8]") && is_generated(b"/memfd:a (deleted)"));
        assert!(!is_generated(b"/usr/bin/node") && !is_generated(b"[vdso]"));
        assert!(is_jit_dump(b"/tmp/jit-7.dump") && is_jit_dump(b"/tmp/jit-7.dump (deleted)"));
        assert!(!is_jit_dump(b"/tmp/jit-7.dump/a") && !is_jit_dump(b"/tmp/jit-7"));
    }

    #[test]
    fn what_never_has_a_name_is_waited_for_a_limited_time() {
        let roots = Arc::new(ProcessRoots::new(Path::new("/nowhere"), Path::new("/nowhere")));
        let code = Arc::new(GeneratedCode::of(1, roots, SymbolLoader::new(0)));
        let began = Instant::now();
        while code.refresh() || code.state().waited < PATIENCE {
            assert!(began.elapsed() < 20 * PATIENCE);
            code.wait_briefly();
        }
        assert_eq!(code.function(0x1000), None);
    }

    #[test]
    fn many_processes_are_not_waited_for_longer_than_a_few() {
        let roots = Arc::new(ProcessRoots::new(Path::new("/nowhere"), Path::new("/nowhere")));
        let loader = SymbolLoader::new(0);
        loader.add_wait(PATIENCE_WITH_ALL);
        let code = Arc::new(GeneratedCode::of(1, roots, loader));
        assert!(code.refresh());
        code.wait_briefly();
        assert!(!code.refresh());
    }
}
