//! Executes programs, to be traced: `executor STEP`.
//!
//! - `threads N`: N threads, all of which execute `/bin/true` at the same time
//! - `memory N`: a thread executes this program with N - 1, until N is 0, each time with memory that the kernel has to free
//! - `exits N`: N threads, which end at the same time, and then the process with status 3
//! - `invalid`: a call of execve(2) with an address that is not mapped
//! - `unmaps N`: N calls of execve(2) with a missing file, whose name is unmapped and mapped again meanwhile

use std::ffi::CString;
use std::io;
use std::num::NonZeroUsize;
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use nix::libc;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous};
use nix::unistd::execv;

const PAGE: usize = 4096;

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["threads", count] => threads(number(count)?),
        ["memory", count] => memory(number(count)?)?,
        ["exits", count] => exits(number(count)?),
        ["invalid"] => execve(ptr::without_provenance(1)),
        ["unmaps", count] => unmaps(number(count)?)?,
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    }
    Ok(())
}

fn number(word: &str) -> io::Result<usize> {
    word.parse().map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn threads(count: usize) {
    let program: CString = c"/bin/true".to_owned();
    together(count, move || {
        let _ = execv(&program, &[&program]);
    });
}

fn memory(count: usize) -> io::Result<()> {
    const SIZE: NonZeroUsize = NonZeroUsize::new(64 << 20).expect("not zero");
    let Some(rest) = count.checked_sub(1) else { return Ok(()) };
    let (protection, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_PRIVATE);
    // SAFETY: a new mapping at any address, in its bounds. Small pages take longer to free.
    unsafe {
        let memory = mmap_anonymous(None, SIZE, protection, flags)?;
        madvise(memory, SIZE.get(), MmapAdvise::MADV_NOHUGEPAGE)?;
        (0..SIZE.get()).step_by(PAGE).for_each(|offset| memory.as_ptr().cast::<u8>().add(offset).write(1));
    }
    let program = CString::new(std::env::current_exe()?.into_os_string().into_encoded_bytes())?;
    let rest = CString::new(rest.to_string())?;
    let execute = move || execv(program.as_c_str(), &[program.as_c_str(), c"memory", rest.as_c_str()]);
    thread::spawn(execute).join().expect("it does not panic")?;
    Ok(())
}

fn exits(count: usize) {
    together(count, || {});
    std::process::exit(3);
}

/// Starts threads that do this when all of them have begun, and waits for them.
fn together(count: usize, work: impl Fn() + Send + Sync + 'static) {
    let (work, barrier) = (Arc::new(work), Arc::new(Barrier::new(count)));
    let start = || {
        let (work, barrier) = (Arc::clone(&work), Arc::clone(&barrier));
        thread::Builder::new().stack_size(64 << 10).spawn(move || {
            barrier.wait();
            work();
        })
    };
    let threads: Vec<_> = (0..count).map(|_| start().expect("a thread")).collect();
    threads.into_iter().for_each(|thread| thread.join().expect("it does not panic"));
}

fn execve(path: *const libc::c_char) {
    let none: [*const libc::c_char; 1] = [ptr::null()];
    // SAFETY: the kernel checks the address of the path, and returns an error if it is invalid.
    unsafe { libc::syscall(libc::SYS_execve, path, none.as_ptr(), none.as_ptr()) };
}

fn unmaps(count: usize) -> io::Result<()> {
    let length = NonZeroUsize::new(PAGE).expect("not zero");
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at any address.
    let page = unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_PRIVATE)? };
    let address = page.as_ptr() as usize;
    let ended = Arc::new(AtomicBool::new(false));
    let has_ended = Arc::clone(&ended);
    let mapper = thread::spawn(move || {
        while !has_ended.load(Ordering::Relaxed) {
            // SAFETY: the page belongs to this program, which reads it by calls of the kernel only.
            unsafe {
                libc::munmap(ptr::with_exposed_provenance_mut(address), PAGE);
                let page = libc::mmap(
                    ptr::with_exposed_provenance_mut(address),
                    PAGE,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                    -1,
                    0,
                );
                ptr::copy_nonoverlapping(c"/no/such/program".as_ptr(), page.cast(), 17);
            }
        }
    });
    (0..count).for_each(|_| execve(ptr::with_exposed_provenance(address)));
    ended.store(true, Ordering::Relaxed);
    mapper.join().expect("it does not panic");
    Ok(())
}
