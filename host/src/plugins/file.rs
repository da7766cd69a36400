//! A plugin's code, protected from changes after it was checked.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigHandler, Signal, signal};

use super::check_before_loading::{Trust, check_elf, open_trusted};
use crate::error::{Error, Result};
use crate::patience::patient;
use crate::worker::PluginCode;

/// A plugin file that passed the checks before loading.
///
/// The code cannot change between its check and its use, nor afterwards: overwriting a file in place would crash every
/// process that has it mapped. At first, a lease keeps other processes from writing to the file. A session uses a
/// private copy, so that the file can be replaced while it runs.
pub struct PluginFile {
    /// The file's name without `lib` and `.so`.
    pub name: String,
    /// The path that it was read from.
    pub path: PathBuf,
    code: File,
    is_copy: bool,
}

/// Larger files are rejected, because they are copied to memory.
const LARGEST: u64 = 1 << 28;

/// How long to wait for a process that has the file open for writing.
const WRITER_LIMIT: Duration = Duration::from_secs(1);

const MEMFD_NAME: &CStr = c"trace-hook-plugin";

impl PluginFile {
    /// Opens the file and checks what can be checked without running it.
    ///
    /// As long as the value exists, other processes that open the file for writing wait, so it should be dropped soon.
    ///
    /// # Errors
    ///
    /// The file cannot be read, is not to be trusted, or is not a plugin for this machine.
    pub fn open(path: &Path, trust: Trust) -> Result<Self> {
        let code = open_trusted(path, trust).map_err(|problem| complaint(path, &problem))?;
        Self::with_code(path, code)
    }

    /// Returns the plugin whose code is in this file, which was opened at that path.
    ///
    /// # Errors
    ///
    /// It is not a plugin for this machine.
    pub fn with_code(path: &Path, code: File) -> Result<Self> {
        let cannot_read = |error| complaint(path, &format!("cannot be read: {error}"));
        if code.metadata().map_err(cannot_read)?.len() > LARGEST {
            return Err(complaint(path, "is too large for a plugin"));
        }
        let mut plugin = Self { name: name_of(path), path: path.to_owned(), code, is_copy: false };
        match lease_in_time(&plugin.code, patient(WRITER_LIMIT)) {
            Ok(()) => {}
            // As with executables (ETXTBSY), a file that may still be incomplete is not run.
            Err(Errno::EAGAIN) => {
                return Err(complaint(path, "is open for writing; try again when that is done"));
            }
            // Not every file system supports leases, and only root or the owner of the file can take one.
            Err(_) => plugin = plugin.copied()?,
        }
        match check_elf(&plugin.code) {
            Ok(()) => Ok(plugin),
            Err(problem) => Err(complaint(path, &problem)),
        }
    }

    /// Replaces the file by a private copy, which can be kept for as long as needed.
    ///
    /// # Errors
    ///
    /// There is no memory for it.
    pub fn copied(mut self) -> Result<Self> {
        if !self.is_copy {
            let copy = sealed_copy(&mut self.code);
            self.code =
                copy.map_err(|error| complaint(&self.path, &format!("cannot be copied to memory: {error}")))?;
            self.is_copy = true;
        }
        Ok(self)
    }

    /// The error for a plugin that has the same name as another one.
    pub fn same_name_as(&self, other: &Self) -> Error {
        complaint(&self.path, &format!("is not used: {} has the same name", other.path.display()))
    }

    /// The code, for a worker to load.
    pub fn code(&self) -> PluginCode<'_> {
        PluginCode { name: &self.name, path: &self.path, file: self.code.as_fd() }
    }
}

/// The plugin's name: the file name without `lib` and `.so`.
pub fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.strip_prefix("lib").filter(|name| !name.is_empty()).unwrap_or(&stem).to_owned()
}

fn complaint(path: &Path, problem: &str) -> Error {
    Error::Plugin { plugin: name_of(path), problem: format!("{} {problem}", path.display()) }
}

/// Takes a lease. Waits while another process writes to the file.
fn lease_in_time(file: &File, limit: Duration) -> nix::Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        match lease(file) {
            Err(Errno::EAGAIN) if Instant::now() < deadline => sleep(Duration::from_millis(1)),
            taken => return taken,
        }
    }
}

/// Takes a read lease (fcntl(2)): until the file is closed, no process can open it for writing or truncate it. Fails if
/// a process has it open for writing (EAGAIN), and on file systems without leases.
fn lease(file: &File) -> nix::Result<()> {
    // The kernel sends this signal if a process waits to write. The lease is released soon anyway.
    // SAFETY: `SIG_IGN` installs no handler.
    unsafe { signal(Signal::SIGIO, SigHandler::SigIgn) }?;
    // SAFETY: the call takes and returns plain numbers, and the descriptor is open.
    Errno::result(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_RDLCK) }).map(drop)
}

fn sealed_copy(file: &mut File) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut copy = File::from(memfd_create(MEMFD_NAME, flags)?);
    file.rewind()?;
    io::copy(file, &mut copy)?;
    // F_SEAL_FUTURE_WRITE is enough, because the copy is not mapped. F_SEAL_WRITE fails with EBUSY while the kernel has
    // a reference to one of the pages, for example when it migrates them.
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_FUTURE_WRITE;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;

    #[test]
    fn a_leased_file_cannot_be_opened_for_writing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.so");
        std::fs::write(&path, "code").unwrap();
        let file = File::open(&path).unwrap();
        lease(&file).unwrap();
        let open = |flags: i32| OpenOptions::new().write(true).custom_flags(flags).open(&path);
        assert_eq!(open(libc::O_NONBLOCK).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(file);
        assert!(open(0).is_ok());
    }

    #[test]
    fn a_file_that_is_open_for_writing_cannot_be_leased() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.so");
        let writer = File::create(&path).unwrap();
        let file = File::open(&path).unwrap();
        assert_eq!(lease_in_time(&file, Duration::ZERO), Err(Errno::EAGAIN));
        drop(writer);
        lease(&file).unwrap();
    }

    #[test]
    fn a_plugin_is_named_after_its_file() {
        assert_eq!(name_of(Path::new("/x/libftrace.so")), "ftrace");
        assert_eq!(name_of(Path::new("ftrace.so")), "ftrace");
        assert_eq!(name_of(Path::new("lib.so")), "lib");
    }
}
