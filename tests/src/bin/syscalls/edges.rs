//! Calls with arguments that are hard to read or to show, and calls that do not simply return.

use std::ffi::CString;
use std::io;

use nix::libc;

use crate::call;

const NONE: i64 = 0;
const HERE: i32 = libc::AT_FDCWD;
const PAGE: usize = 4096;

/// The tests expect these calls in this order.
pub fn bytes() -> io::Result<()> {
    call!(SYS_openat, HERE, c"a\"b\n\x1b[2J\xff\\", libc::O_RDONLY);
    let long = CString::new("x".repeat(4090))?;
    call!(SYS_openat, HERE, long.as_c_str(), libc::O_RDONLY);
    let longer = CString::new("y".repeat(5000))?;
    call!(SYS_openat, HERE, longer.as_c_str(), libc::O_RDONLY);
    call!(SYS_renameat2, HERE, long.as_c_str(), HERE, long.as_c_str(), 0);
    // A string without end at the edge of mapped memory.
    let place = map(2 * PAGE);
    call!(SYS_munmap, place + PAGE as i64, PAGE);
    // SAFETY: the memory was mapped for this, and nothing else uses it.
    unsafe { std::ptr::write_bytes((place + PAGE as i64 - 3) as *mut u8, b'z', 3) };
    call!(SYS_openat, HERE, place + PAGE as i64 - 3, libc::O_RDONLY);
    call!(SYS_write, 1, place + PAGE as i64 - 3, 10);
    // Memory that is mapped, but not there yet.
    let file = std::fs::File::open("/proc/self/exe")?;
    let fresh = call!(
        SYS_mmap,
        NONE,
        PAGE,
        libc::PROT_READ,
        libc::MAP_PRIVATE,
        std::os::fd::AsRawFd::as_raw_fd(&file),
        0
    );
    call!(SYS_madvise, fresh, PAGE, libc::MADV_DONTNEED);
    call!(SYS_openat, HERE, fresh, libc::O_RDONLY);
    Ok(())
}

fn map(size: usize) -> i64 {
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    call!(SYS_mmap, NONE, size, access, kind, -1, 0)
}

/// A call that unmaps its own arguments.
pub fn vanishing() -> io::Result<()> {
    let place = map(PAGE);
    // SAFETY: the memory was mapped for this, and nothing else uses it.
    unsafe { *(place as *mut [i64; 2]) = [0, 200_000_000] };
    let thread = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        call!(SYS_munmap, place, PAGE);
    });
    call!(SYS_nanosleep, place, NONE);
    thread.join().map_err(|_| io::ErrorKind::Other)?;
    call!(SYS_munmap, place, PAGE);
    Ok(())
}

/// Executes a program with so many arguments of ten bytes.
pub fn arguments(count: &str) -> io::Result<()> {
    let count: usize = count.parse().map_err(io::Error::other)?;
    let texts: Vec<CString> =
        (0..count).map(|number| CString::new(format!("{number:09}")).unwrap_or_default()).collect();
    let pointers: Vec<*const libc::c_char> =
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
    // The kernel takes up to a quarter of the stack for arguments, and 6 MiB at most.
    let mut stack = [64u64 << 20; 2];
    call!(SYS_setrlimit, libc::RLIMIT_STACK, &mut stack);
    let none = [std::ptr::null::<libc::c_char>()];
    call!(SYS_execve, c"/bin/true", pointers.as_ptr(), none.as_ptr());
    Ok(())
}

/// Executes a program, as the child of a process that has never touched the memory of the arguments.
pub fn untouched() -> io::Result<()> {
    let child = call!(SYS_clone, libc::SIGCHLD, NONE, NONE, NONE, NONE);
    if child == 0 {
        let mut words = [c"true".as_ptr(), c"an argument".as_ptr(), std::ptr::null()];
        call!(SYS_execve, c"/bin/true", &mut words, NONE);
        call!(SYS_exit_group, 1);
    }
    call!(SYS_wait4, child, NONE, 0, NONE);
    Ok(())
}

/// So many threads, one of which executes a program; in as many processes, one after the other.
pub fn execs(count: &str) -> io::Result<()> {
    let count: usize = count.parse().map_err(io::Error::other)?;
    for _ in 0..count {
        let child = call!(SYS_clone, libc::SIGCHLD, NONE, NONE, NONE, NONE);
        if child == 0 {
            let _ = std::thread::spawn(|| {
                let arguments = [c"true".as_ptr(), std::ptr::null()];
                call!(SYS_execve, c"/bin/true", arguments.as_ptr(), NONE);
            })
            .join();
            call!(SYS_exit_group, 1);
        }
        call!(SYS_wait4, child, NONE, 0, NONE);
    }
    Ok(())
}

/// So many threads, all of which execute a program at the same time.
pub fn race(count: &str) -> io::Result<()> {
    let count: usize = count.parse().map_err(io::Error::other)?;
    let start = std::sync::Arc::new(std::sync::Barrier::new(count));
    let thread = |_| {
        let start = std::sync::Arc::clone(&start);
        std::thread::Builder::new().stack_size(16 * PAGE).spawn(move || {
            start.wait();
            let mut words = [c"true".as_ptr(), std::ptr::null()];
            call!(SYS_execve, c"/bin/true", &mut words, NONE);
        })
    };
    let threads: Vec<_> = (0..count).map(thread).collect::<io::Result<_>>()?;
    threads.into_iter().for_each(|thread| _ = thread.join());
    Err(io::Error::last_os_error())
}

/// A signal interrupts a sleep, which is then restarted, and a read, which is not.
pub fn interrupted() -> io::Result<()> {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: all zeros are an action; the handler does nothing.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: the action lives until the call returns.
    unsafe { libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()) };
    let mut soon = [0i64, 0, 0, 20_000];
    let mut pause = [10i64, 0];
    let mut left = [0i64, 0];
    call!(SYS_setitimer, 0, &mut soon, NONE);
    call!(SYS_nanosleep, &mut pause, &mut left);
    let mut pipe = [0i32; 2];
    call!(SYS_pipe2, &mut pipe, 0);
    let mut soon = [0i64, 0, 0, 20_000];
    call!(SYS_setitimer, 0, &mut soon, NONE);
    let mut room = [0u8; 10];
    call!(SYS_read, pipe[0], &mut room, 10);
    Ok(())
}

/// Waits for good.
pub fn waits() -> io::Result<()> {
    let mut pipe = [0i32; 2];
    call!(SYS_pipe2, &mut pipe, 0);
    let mut room = [0u8; 10];
    call!(SYS_read, pipe[0], &mut room, 10);
    Ok(())
}

/// Calls of the 32-bit interface, with arguments below 4 GiB.
#[cfg(target_arch = "x86_64")]
pub fn compat() -> io::Result<()> {
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
    let place = call!(SYS_mmap, NONE, PAGE, libc::PROT_READ | libc::PROT_WRITE, kind, -1, 0);
    // SAFETY: the memory was mapped for this, and nothing else uses it.
    unsafe {
        std::ptr::copy_nonoverlapping(c"/no/such/file".as_ptr(), place as *mut libc::c_char, 14);
        *((place + 64) as *mut [i32; 2]) = [0, 1000];
        *((place + 128) as *mut [u32; 4]) = [place as u32, 3, place as u32 + 4, 4];
    }
    // open, nanosleep, writev to a descriptor that is not open
    compat_call(5, place, 0, 0);
    compat_call(162, place + 64, 0, 0);
    compat_call(146, 999, place + 128, 2);
    Ok(())
}

#[cfg(target_arch = "x86_64")]
fn compat_call(number: i64, first: i64, second: i64, third: i64) {
    // SAFETY: the kernel reads only what the arguments point to; rbx, which the compiler reserves, is restored.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first}",
            "int 0x80",
            "xchg rbx, {first}",
            first = inout(reg) first => _,
            inout("rax") number => _,
            in("rcx") second,
            in("rdx") third,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub fn compat() -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
