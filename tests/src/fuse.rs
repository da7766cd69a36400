use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread;

use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// A FUSE file system of an unprivileged user with one file, which it says belongs to root. Dropping it unmounts it.
pub struct Fuse {
    point: PathBuf,
}

/// Numbers of requests (linux/fuse.h).
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const READ: u32 = 15;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const READDIR: u32 = 28;
const RELEASEDIR: u32 = 29;
const BATCH_FORGET: u32 = 42;

const ROOT: u64 = 1;
const FILE: u64 = 2;
/// The size of `struct fuse_in_header`.
const HEADER: usize = 40;

impl Fuse {
    /// Mounts it there, with this file. `None` if this kernel has no FUSE.
    pub fn mount(point: &Path, name: &str, content: Vec<u8>) -> Option<Self> {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").ok()?;
        let options =
            format!("fd={},rootmode=40000,user_id=65534,group_id=65534,allow_other", device.as_raw_fd());
        mount(Some("test"), point, Some("fuse.test"), MsFlags::MS_NODEV, Some(options.as_str())).ok()?;
        let name = name.to_owned();
        // It ends after the last process has closed its files there.
        thread::spawn(move || serve(device, &name, &content));
        Some(Self { point: point.to_owned() })
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let _ = umount2(&self.point, MntFlags::MNT_DETACH);
    }
}

/// Answers until it is unmounted.
fn serve(mut device: File, name: &str, content: &[u8]) {
    let mut request = vec![0; 1 << 20];
    while let Ok(length) = device.read(&mut request) {
        let word = |at: usize| u64::from_ne_bytes(request[at..at + 8].try_into().expect("eight bytes"));
        let (kind, node) = ((word(0) >> 32) as u32, word(16));
        let attributes = |node: u64| attributes(node, content.len() as u64);
        let answer = match kind {
            FORGET | BATCH_FORGET => continue,
            // struct fuse_init_out: version 7.31, and largest sizes.
            INIT => words(&[7 | 31 << 32, 0, 1 << 49, 0, 0, 0, 0, 0]),
            // struct fuse_attr_out
            GETATTR => [words(&[0, 0]), attributes(node)].concat(),
            // struct fuse_entry_out
            LOOKUP if request[HEADER..length].strip_suffix(b"\0") == Some(name.as_bytes()) => {
                [words(&[FILE, 0, 0, 0, 0]), attributes(FILE)].concat()
            }
            // struct fuse_open_out
            OPEN | OPENDIR => words(&[0, 0]),
            READ => {
                // struct fuse_read_in
                let start = content.len().min(word(HEADER + 8) as usize);
                let size = word(HEADER + 16) as u32 as usize;
                content[start..content.len().min(start + size)].to_vec()
            }
            READDIR if word(HEADER + 8) == 0 => entry(name),
            READDIR | RELEASE | RELEASEDIR | FLUSH => Vec::new(),
            other => {
                let errno = match other {
                    LOOKUP => libc::ENOENT,
                    // The server would rather not be recognised.
                    STATFS => libc::EIO,
                    _ => libc::ENOSYS,
                };
                refuse(&mut device, word(8), errno);
                continue;
            }
        };
        let header = words(&[(HEADER_OUT + answer.len()) as u64, word(8)]);
        let _ = device.write_all(&[header, answer].concat());
    }
}

/// The size of `struct fuse_out_header`.
const HEADER_OUT: usize = 16;

fn refuse(device: &mut File, request: u64, errno: i32) {
    let error = u64::from((-errno).cast_unsigned());
    let _ = device.write_all(&words(&[HEADER_OUT as u64 | error << 32, request]));
}

/// `struct fuse_attr`: everything belongs to root, and only root can write to it.
fn attributes(node: u64, size: u64) -> Vec<u8> {
    let kind = if node == ROOT { libc::S_IFDIR } else { libc::S_IFREG };
    let mode = u64::from(kind | 0o755) << 32;
    words(&[node, size, size.div_ceil(512), 0, 0, 0, 0, mode, 1, 0, 4096])
}

/// `struct fuse_dirent`
fn entry(name: &str) -> Vec<u8> {
    let kind = u64::from(libc::DT_REG) << 32;
    let mut entry = [words(&[FILE, 1, name.len() as u64 | kind]), name.as_bytes().to_vec()].concat();
    entry.resize(entry.len().next_multiple_of(8), 0);
    entry
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}
