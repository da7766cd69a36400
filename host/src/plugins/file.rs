//! A plugin's code, read once and sealed.

use std::ffi::CStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::elf;
use crate::error::{Error, Result};

/// A plugin file that looks like one, as a private copy.
///
/// The copy is what is checked and what is loaded, however the file changes meanwhile; a file that is overwritten in
/// place kills every process that has it mapped, the copy does not.
pub struct PluginFile {
    /// The file's name without `lib` and `.so`.
    pub name: String,
    /// Where it was read.
    pub path: PathBuf,
    code: File,
}

const MEMFD_NAME: &CStr = c"trace-hook-plugin";

impl PluginFile {
    /// Reads the file and checks what can be checked without running it.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or is no plugin for this machine.
    pub fn read(path: &Path) -> Result<Self> {
        let name = name_of(path);
        let code = open_regular_file(path).and_then(sealed_copy).and_then(|code| check(&code).map(|()| code));
        let code = code.map_err(|problem| Error::Plugin {
            plugin: name.clone(),
            problem: format!("{} {problem}", path.display()),
        })?;
        Ok(Self { name, path: path.to_owned(), code })
    }

    /// A path that leads to the private copy, in this process and the ones it forks.
    pub fn code_path(&self) -> PathBuf {
        use std::os::fd::AsRawFd;
        PathBuf::from(format!("/proc/self/fd/{}", self.code.as_raw_fd()))
    }
}

impl AsFd for PluginFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.code.as_fd()
    }
}

/// The plugin's name: that of its file, without what every file has.
pub fn name_of(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.strip_prefix("lib").unwrap_or(&stem).to_owned()
}

fn open_regular_file(path: &Path) -> Result<File, String> {
    let cannot = |error: io::Error| format!("cannot be read: {error}");
    // Opening a FIFO would wait for a writer without O_NONBLOCK.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(cannot)?;
    match file.metadata().map_err(cannot)?.is_file() {
        true => Ok(file),
        false => Err("is not a regular file".to_owned()),
    }
}

fn sealed_copy(mut file: File) -> Result<File, String> {
    copied(&mut file).map_err(|error| format!("cannot be copied to memory: {error}"))
}

fn copied(file: &mut File) -> io::Result<File> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut copy = File::from(memfd_create(MEMFD_NAME, flags)?);
    io::copy(file, &mut copy)?;
    let seals =
        SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(copy)
}

fn check(code: &File) -> Result<(), String> {
    // SAFETY: the file is sealed against writing, growing and shrinking, so what is mapped stays as it is and there.
    let bytes = unsafe { Mmap::map(code) }.map_err(|error| format!("cannot be mapped: {error}"))?;
    elf::check(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_named_after_its_file() {
        assert_eq!(name_of(Path::new("/x/libftrace.so")), "ftrace");
        assert_eq!(name_of(Path::new("ftrace.so")), "ftrace");
        assert_eq!(name_of(Path::new("lib.so")), "");
    }
}
