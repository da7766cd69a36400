//! A FUSE file system with one file, `file` (linux/fuse.h).

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::mount::{MsFlags, mount as mount_file_system};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{ForkResult, fork, getgid, getuid};

/// Who may use the file system.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Processes of its own user namespace.
    Foreign,
    /// Every process.
    Shared,
}

/// Mounts the file system in an own mount namespace. Returns the path of its file.
pub fn mount(content: &Path, kind: Kind) -> io::Result<PathBuf> {
    let content = fs::read(content)?;
    let (user, group) = (getuid(), getgid());
    match kind {
        Kind::Foreign => {
            unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
            fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
            fs::write("/proc/self/setgroups", "deny")?;
            fs::write("/proc/self/gid_map", format!("0 {group} 1"))?;
        }
        Kind::Shared => unshare(CloneFlags::CLONE_NEWNS)?,
    }
    let none: Option<&str> = None;
    mount_file_system(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)?;
    let device = File::options().read(true).write(true).open("/dev/fuse")?;
    let others = if kind == Kind::Shared { ",allow_other" } else { "" };
    let options = format!("fd={},rootmode=40000,user_id=0,group_id=0{others}", device.as_raw_fd());
    mount_file_system(Some("test"), "/mnt", Some("fuse"), MsFlags::empty(), Some(options.as_str()))?;
    // The server is another process, which lives until this one has closed its files.
    // SAFETY: this process has one thread.
    if let ForkResult::Child = unsafe { fork() }? {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        serve(device, &content);
        std::process::exit(0);
    }
    Ok("/mnt/file".into())
}

const ROOT: u64 = 1;
const THE_FILE: u64 = 2;

fn serve(mut device: File, content: &[u8]) {
    let mut buffer = vec![0; 1 << 20];
    while let Ok(length) = device.read(&mut buffer) {
        let request = &buffer[..length];
        let number = |at: usize| u64::from_ne_bytes(*request[at..].first_chunk().unwrap());
        let operation = u32::from_ne_bytes(*request[4..].first_chunk().unwrap());
        let (unique, node) = (number(8), number(16));
        let answer = match operation {
            // FORGET, INTERRUPT, BATCH_FORGET
            2 | 36 | 42 => continue,
            // LOOKUP
            1 if request[40..].starts_with(b"file\0") => {
                Ok([numbers(&[THE_FILE, 1, 0, 0, 0]), attributes(THE_FILE, content)].concat())
            }
            1 => Err(libc::ENOENT),
            // GETATTR
            3 => Ok([numbers(&[0, 0]), attributes(node, content)].concat()),
            // OPEN, OPENDIR
            14 | 27 => Ok(numbers(&[0, 0])),
            // READ
            15 => {
                let start = content.len().min(number(48) as usize);
                let end = content.len().min(start + number(56) as u32 as usize);
                Ok(content[start..end].to_vec())
            }
            // FLUSH, RELEASE
            25 | 18 => Ok(Vec::new()),
            // INIT: version 7.19, and sizes
            26 => Ok([7_u32, 19, 65_536, 0, 12 << 16 | 16, 65_536].map(u32::to_ne_bytes).concat()),
            _ => Err(libc::ENOSYS),
        };
        let (error, body) = match answer {
            Ok(body) => (0, body),
            Err(error) => (-error, Vec::new()),
        };
        let head = [(16 + body.len() as u32).to_ne_bytes(), error.to_ne_bytes()].concat();
        let answer = [head, unique.to_ne_bytes().to_vec(), body].concat();
        if device.write_all(&answer).is_err() {
            return;
        }
    }
}

/// `struct fuse_attr`.
fn attributes(node: u64, content: &[u8]) -> Vec<u8> {
    let (mode, size) = match node {
        ROOT => (libc::S_IFDIR | 0o755, 4096),
        _ => (libc::S_IFREG | 0o755, content.len() as u64),
    };
    let rest = [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0].map(u32::to_ne_bytes).concat();
    [numbers(&[node, size, size.div_ceil(512), 0, 0, 0]), rest].concat()
}

fn numbers(numbers: &[u64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
}
