//! A file with code, protected from changes after it was checked.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsRawFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use trace_linkage::Linkage;

use crate::patience::patient;

/// A file that cannot change as long as this value exists.
///
/// Overwriting a file in place would crash every process that has it mapped. At first, a lease keeps other processes from
/// writing to the file. A session uses a private copy, so that the file can be replaced while it runs.
pub struct ProtectedFile {
    file: File,
    is_copy: bool,
}

/// Larger files are rejected, because they are copied to memory.
const LARGEST: u64 = 1 << 28;

/// How long to wait for a process that has the file open for writing.
const WRITER_LIMIT: Duration = Duration::from_secs(1);

const MEMFD_NAME: &CStr = c"trace-hook-plugin";

impl ProtectedFile {
    /// Protects this file with code. Other processes that open it for writing wait, so the value should be dropped soon.
    ///
    /// # Errors
    ///
    /// The problem, as text that follows the path in a message.
    pub fn new(file: File) -> Result<Self, String> {
        let cannot_read = |error| format!("cannot be read: {error}");
        if file.metadata().map_err(cannot_read)?.len() > LARGEST {
            return Err("is too large for a plugin".to_owned());
        }
        // A copy could be loaded all the same, which the mount option forbids.
        if fstatvfs(&file).is_ok_and(|file_system| file_system.flags().contains(FsFlags::ST_NOEXEC)) {
            return Err(
                "is on a file system that is mounted with noexec, from which no code may be loaded; mount \
                        it with exec, or move the file"
                    .to_owned(),
            );
        }
        let protected = Self { file, is_copy: false };
        match lease_in_time(&protected.file, patient(WRITER_LIMIT)) {
            Ok(()) => Ok(protected),
            // As with executables (ETXTBSY), a file that may still be incomplete is not run.
            Err(Errno::EAGAIN) => Err("is open for writing; try again when that is done".to_owned()),
            // Not every file system supports leases, and only root or the owner of the file can take one.
            Err(_) => protected.copied(),
        }
    }

    /// Replaces the file by a private copy, which can be kept for as long as needed. The copy has no libraries looked for in
    /// directories of its own choice.
    ///
    /// # Errors
    ///
    /// There is no memory for it. The text follows the path in a message.
    pub fn copied(mut self) -> Result<Self, String> {
        if !self.is_copy {
            let copy = sealed_copy(&mut self.file);
            self.file = copy.map_err(|error| format!("cannot be copied to memory: {error}"))?;
            self.is_copy = true;
        }
        Ok(self)
    }

    /// The file, or its copy.
    pub fn file(&self) -> &File {
        &self.file
    }
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
    // The dynamic loader would look there for libraries that were not checked, and takes a plugin's `$ORIGIN` for the
    // directory of the descriptor that it is loaded by.
    if let Ok(linkage) = Linkage::of(&copy)
        && linkage.has_search_path()
    {
        linkage.remove_search_path(&copy)?;
    }
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
}
