//! The files that traced programs run code of.

use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::libc;
use trace_symbols::{MemoryBudget, SymbolTable};

use super::vdso;
use crate::perf_event::Mapping;

/// Each file that is held open until it is needed takes a descriptor. Twice as many are known at most.
const MOST: usize = 500;

/// What the symbols of all files may take, in bytes. Symbols for which nothing is left are not read.
const SYMBOL_MEMORY: u64 = 256 << 20;

/// For so long nothing is shown that needs the symbols of a file. After that it is shown without.
const PATIENCE: Duration = Duration::from_millis(500);
/// For so long it is waited in place.
const MOMENT: Duration = Duration::from_millis(10);

/// All files met so far. They are opened when they are met: later the process may be gone, and with it the only view in
/// which the file has that name.
#[derive(Debug)]
pub struct Modules {
    procfs: PathBuf,
    /// Processes in whose view a file is looked for if the one that maps it is gone already.
    relatives: Vec<u32>,
    known: Mutex<Known>,
    budget: Arc<MemoryBudget>,
}

/// Files that were met lately. One that was not asked for while so many others were is forgotten, and not before: between
/// the time when a file is met and the time when its name is wanted, others come.
#[derive(Debug, Default)]
struct Known {
    recent: HashMap<Identity, Arc<Module>>,
    older: HashMap<Identity, Arc<Module>>,
}

/// What tells a file from others, also from one that has its place after it was deleted.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Identity {
    device: (u32, u32),
    inode: (u64, u64),
    path: Vec<u8>,
}

/// A file with code.
#[derive(Debug)]
pub struct Module {
    /// The last part of its path.
    pub name: String,
    /// Until its symbols are read.
    file: Mutex<Option<File>>,
    reading: OnceLock<Reading>,
    symbols: OnceLock<Option<SymbolTable>>,
    budget: Arc<MemoryBudget>,
    /// `[heap]`, `//anon`, and code that a program makes itself are not.
    pub is_file: bool,
}

/// The symbols of a file are being read, by a thread of its own: the file may be huge, or its disk slow.
#[derive(Debug)]
struct Reading {
    began: Instant,
    /// Closed when it is done.
    done: Mutex<Receiver<Infallible>>,
}

impl Modules {
    pub fn new(procfs: &Path, relatives: Vec<u32>) -> Self {
        Self {
            procfs: procfs.to_owned(),
            relatives,
            known: Mutex::default(),
            budget: MemoryBudget::new(SYMBOL_MEMORY),
        }
    }

    /// The file of a mapping of this process. If it was not met before, or could not be opened then, it is opened now.
    pub fn meet(&self, process: u32, mapping: &Mapping<'_>) -> Arc<Module> {
        let module = self.module(mapping);
        let mut file = module.file();
        if file.is_none() && module.reading.get().is_none() && !module.is_settled() {
            *file = self.open(process, mapping);
        }
        drop(file);
        module
    }

    /// The file of a mapping, opened or not.
    pub fn module(&self, mapping: &Mapping<'_>) -> Arc<Module> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = Identity {
            device: mapping.device,
            inode: (mapping.inode, mapping.generation),
            path: mapping.path.to_owned(),
        };
        known.module(identity, &self.budget)
    }

    fn open(&self, process: u32, mapping: &Mapping<'_>) -> Option<File> {
        let end = mapping.address.wrapping_add(mapping.length);
        let itself = format!("{process}/map_files/{:x}-{end:x}", mapping.address);
        if let Ok(file) = open(&self.procfs.join(itself), None) {
            return Some(file);
        }
        let path = Path::new(std::ffi::OsStr::from_bytes(mapping.path)).strip_prefix("/").ok()?;
        let views = [process].into_iter().chain(self.relatives.iter().copied());
        views
            .map(|process| self.procfs.join(format!("{process}/root")).join(path))
            .find_map(|path| open(&path, Some(mapping.inode)).ok())
    }
}

impl Known {
    fn module(&mut self, identity: Identity, budget: &Arc<MemoryBudget>) -> Arc<Module> {
        if let Some(module) = self.recent.get(&identity) {
            return Arc::clone(module);
        }
        let older = self.older.remove(&identity);
        let module = older.unwrap_or_else(|| Arc::new(Module::named(&identity.path, budget)));
        if self.recent.len() >= MOST {
            self.older = std::mem::take(&mut self.recent);
        }
        self.recent.insert(identity, Arc::clone(&module));
        module
    }
}

/// Opens an ordinary file, be it only one with this inode. Anything else, which a program may have put there, is not even
/// touched. Devices are not compared: some file systems tell the kernel's tracing another one than its callers.
fn open(path: &Path, inode: Option<u64>) -> io::Result<File> {
    let place = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?;
    let found = place.metadata()?;
    if !found.is_file() || inode.is_some_and(|inode| inode != found.ino()) {
        return Err(io::ErrorKind::NotFound.into());
    }
    File::open(format!("/proc/self/fd/{}", place.as_raw_fd()))
}

impl Module {
    fn named(path: &[u8], budget: &Arc<MemoryBudget>) -> Self {
        let vdso = (path == vdso::PATH).then(|| SymbolTable::read(&vdso::image()?[..], budget).ok());
        let path = path.strip_suffix(b" (deleted)").unwrap_or(path);
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        Self {
            name: String::from_utf8_lossy(name).into_owned(),
            file: Mutex::default(),
            reading: OnceLock::new(),
            symbols: vdso.map(OnceLock::from).unwrap_or_default(),
            budget: Arc::clone(budget),
            is_file: path.starts_with(b"/") && !path.starts_with(b"//"),
        }
    }

    /// Whether it pays to ask for a function later. Sees to it that the symbols are read.
    pub fn is_being_read(self: &Arc<Self>) -> bool {
        if self.is_settled() {
            return false;
        }
        // If there is none, it may be opened yet, when somebody else maps it.
        if let Some(file) = self.file().take() {
            self.begin_to_read(file);
        }
        !self.is_settled() && self.reading.get().is_some_and(|reading| reading.began.elapsed() < PATIENCE)
    }

    /// Waits for the symbols, but not for long.
    pub fn wait_a_moment(&self) {
        if let Some(reading) = self.reading.get() {
            let done = reading.done.lock().unwrap_or_else(PoisonError::into_inner);
            let _ = done.recv_timeout(MOMENT);
        }
    }

    /// Whether [`Self::function`] says for good what there is to say.
    pub fn is_settled(&self) -> bool {
        !self.is_file || self.symbols.get().is_some()
    }

    /// The name of the function at this place in the file, as it is in there, as far as the symbols were read.
    pub fn function(&self, offset: u64) -> Option<Cow<'_, str>> {
        self.symbols.get()?.as_ref()?.function_at_offset(offset)
    }

    fn begin_to_read(self: &Arc<Self>, file: File) {
        let (module, (not_done, done)) = (Arc::clone(self), channel::<Infallible>());
        let read = move || {
            let _ = module.symbols.set(SymbolTable::read(&file, &module.budget).ok());
            drop(not_done);
        };
        if std::thread::Builder::new().name("symbols".to_owned()).spawn(read).is_ok() {
            let _ = self.reading.set(Reading { began: Instant::now(), done: Mutex::new(done) });
        }
    }

    fn file(&self) -> MutexGuard<'_, Option<File>> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(inode: u64, generation: u64) -> Mapping<'static> {
        Mapping { address: 0, length: 1, offset: 0, device: (8, 1), inode, generation, path: b"/bin/a" }
    }

    #[test]
    fn a_file_in_the_place_of_a_deleted_one_is_another() {
        let modules = Modules::new(Path::new("/nowhere"), Vec::new());
        let first = modules.module(&mapping(1, 10));
        assert!(Arc::ptr_eq(&first, &modules.module(&mapping(1, 10))));
        assert!(!Arc::ptr_eq(&first, &modules.module(&mapping(1, 11))));
    }

    #[test]
    fn symbols_are_read_when_they_are_asked_for() {
        let module = Arc::new(Module::named(b"/proc/self/exe (deleted)", &MemoryBudget::new(SYMBOL_MEMORY)));
        assert!(!module.is_being_read() && !module.is_settled(), "it was not opened yet");
        *module.file() = Some(File::open("/proc/self/exe").unwrap());
        assert_eq!((module.name.as_str(), module.is_settled()), ("exe", false));
        assert!(module.is_being_read() || module.is_settled());
        (0..1000).take_while(|_| !module.is_settled()).for_each(|_| module.wait_a_moment());
        let size = std::fs::metadata("/proc/self/exe").unwrap().len();
        assert!((0..size).step_by(64).any(|offset| module.function(offset).is_some()));
        assert!(!module.is_being_read());
    }

    #[test]
    fn what_is_used_is_kept_and_the_rest_is_bounded() {
        let modules = Modules::new(Path::new("/nowhere"), Vec::new());
        let used = modules.module(&mapping(0, 0));
        let unused = Arc::downgrade(&modules.module(&mapping(1, 0)));
        for inode in 2..3 * MOST as u64 {
            modules.module(&mapping(inode, 0));
            assert!(Arc::ptr_eq(&used, &modules.module(&mapping(0, 0))));
            assert_eq!(unused.strong_count(), usize::from(inode < 2 * MOST as u64 - 1));
        }
    }
}
