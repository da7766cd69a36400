//! Opens files in many ways, to be traced: `opener STEP [DIRECTORY]` prints its pid, waits for a line on standard
//! input, and runs the step.
//!
//! - `each`: one call of each kind, in DIRECTORY, which has a directory `sub` and a file `file`
//! - `how`: openat2 in DIRECTORY, with arguments that are not resident, and with invalid addresses
//! - `uring`: through io_uring, an existing file and a missing one, from `/etc`
//! - `flood N`: N failing calls, as fast as possible
//! - `storm N`: N children, each of which tries to open a file of its own and exits
//! - `into N CGROUP`: N children, which clone3(2) starts in a cgroup, and each of which tries to open a file of its own
//! - `moved N CGROUP`: N children, each of which moves itself to a cgroup, tries to open a file of its own and exits
//! - `execs N CGROUP`: N children, each of which is started in a cgroup, or moves itself to it, and executes this program, which tries
//!   to open a file of its own (`opener one PATH`, which does not wait)
//! - `denied`: a call that a seccomp filter answers with an error, and one that it answers with a signal

#[cfg(target_arch = "x86_64")]
use std::arch::asm;
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::{self, Write, stdin, stdout};
use std::os::fd::AsRawFd;

use io_uring::{IoUring, opcode, types};
use nix::fcntl::{OFlag, open};
use nix::libc::{self, c_long, c_void};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, chdir, chroot, execv, fork};

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let ["one", path] = words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        openat(libc::AT_FDCWD, &c_string(path.to_owned()), libc::O_RDONLY);
        return Ok(());
    }
    writeln!(stdout(), "{}", std::process::id())?;
    stdout().flush()?;
    stdin().read_line(&mut String::new())?;
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["each", directory] => each(directory),
        ["how", directory] => how(directory),
        ["uring"] => uring(),
        ["flood", count] => flood(count),
        ["storm", count] => storm(count),
        ["into", count, cgroup] => into(count, cgroup),
        ["moved", count, cgroup] => moved(count, cgroup),
        ["execs", count, cgroup] => execs(count, cgroup),
        ["denied"] => denied(),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// The test expects these calls in this order.
fn each(directory: &str) -> io::Result<()> {
    openat(libc::AT_FDCWD, &c_string(format!("{directory}/file")), libc::O_RDONLY | libc::O_CLOEXEC);
    openat(libc::AT_FDCWD, c"/no/such/file", libc::O_RDWR);
    chdir(directory)?;
    openat(libc::AT_FDCWD, c"file", libc::O_WRONLY | libc::O_APPEND);
    openat(libc::AT_FDCWD, c"../here", libc::O_PATH);
    let sub = File::open("sub")?;
    openat(sub.as_raw_fd(), c"within", libc::O_RDONLY | libc::O_CREAT);
    openat(999, c"file", libc::O_RDONLY);
    openat2(sub.as_raw_fd(), c"/within");
    openat(libc::AT_FDCWD, c"a\"b\n\x1b[2J\xff", libc::O_RDONLY);
    let name = not_in_memory(b"file\0")?;
    // SAFETY: the name ends with a NUL.
    unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, name, libc::O_RDONLY) };
    // SAFETY: the kernel checks the address, and refuses it.
    unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, 8, libc::O_RDONLY) };
    openat(libc::AT_FDCWD, &c_string("x".repeat(5000)), libc::O_RDONLY);
    fs::create_dir("gone")?;
    chdir("gone")?;
    fs::remove_dir("../gone")?;
    openat(libc::AT_FDCWD, c"file", libc::O_RDONLY);
    chdir(directory)?;
    architecture_specific()?;
    chroot(directory)?;
    openat(libc::AT_FDCWD, c"file", libc::O_RDONLY);
    chdir("/sub")?;
    openat(libc::AT_FDCWD, c"within", libc::O_RDONLY);
    openat(libc::AT_FDCWD, c"/file", libc::O_RDONLY);
    Ok(())
}

fn openat(directory: i32, name: &CStr, flags: i32) {
    // SAFETY: the name ends with a NUL. The test reads the result from the trace.
    unsafe { libc::syscall(libc::SYS_openat, directory, name.as_ptr(), flags, 0o640 as c_long) };
}

fn openat2(directory: i32, name: &CStr) {
    let how = [0u64, 0, libc::RESOLVE_IN_ROOT];
    // SAFETY: the name ends with a NUL, and the size is that of the arguments.
    unsafe { libc::syscall(libc::SYS_openat2, directory, name.as_ptr(), how.as_ptr(), size_of_val(&how)) };
}

/// The address of these bytes, in pages that are not resident until they are accessed. They are never unmapped.
fn not_in_memory(bytes: &[u8]) -> io::Result<*const c_void> {
    fs::write("names", bytes)?;
    let names = File::options().read(true).open("names")?;
    let (kind, access) = (libc::MAP_PRIVATE, libc::PROT_READ);
    // SAFETY: a new mapping, of a file that is not truncated.
    match unsafe { libc::mmap(std::ptr::null_mut(), 4096, access, kind, names.as_raw_fd(), 0) } {
        libc::MAP_FAILED => Err(io::Error::last_os_error()),
        address => Ok(address),
    }
}

fn how(directory: &str) -> io::Result<()> {
    chdir(directory)?;
    let how = [(libc::O_WRONLY | libc::O_APPEND) as u64, 0, 0].map(u64::to_ne_bytes).concat();
    for how in [not_in_memory(&how)?, std::ptr::without_provenance(8)] {
        // SAFETY: the name ends with a NUL; the kernel checks the address of the arguments, and refuses an invalid one.
        unsafe { libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, c"file".as_ptr(), how, 24) };
    }
    Ok(())
}

/// The system calls that only this architecture has.
#[cfg(target_arch = "x86_64")]
fn architecture_specific() -> io::Result<()> {
    // SAFETY: the names end with a NUL.
    unsafe {
        libc::syscall(libc::SYS_open, c"sub/old".as_ptr(), libc::O_RDONLY);
        libc::syscall(libc::SYS_creat, c"new".as_ptr(), 0o600);
    }
    // SAFETY: a new mapping, below 4 GiB; the name that is written fits into it.
    let name = unsafe {
        let (kind, access) =
            (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT, libc::PROT_READ | libc::PROT_WRITE);
        let address = libc::mmap(std::ptr::null_mut(), 4096, access, kind, -1, 0);
        std::ptr::copy_nonoverlapping(c"sub/compat".as_ptr(), address.cast(), 11);
        address
    };
    // `open` of the 32-bit interface, which a program might use to evade tracing.
    // SAFETY: it takes a name that ends with a NUL; the kernel changes rax, and r8 to r11, and nothing else.
    unsafe {
        asm!(
            "xchg rbx, {name}", "int 0x80", "xchg rbx, {name}",
            name = inout(reg) name => _, inout("rax") 5 => _, in("rcx") libc::O_RDONLY, in("rdx") 0,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    Ok(())
}

#[cfg(not(target_arch = "x86_64"))]
fn architecture_specific() -> io::Result<()> {
    Ok(())
}

fn uring() -> io::Result<()> {
    chdir("/etc")?;
    let mut ring = IoUring::new(8)?;
    for name in [c"passwd", c"/no/such/file"] {
        let at = types::Fd(libc::AT_FDCWD);
        let request = opcode::OpenAt::new(at, name.as_ptr()).flags(libc::O_RDONLY | libc::O_CLOEXEC).build();
        // SAFETY: the name lives for ever, and the kernel copies it.
        unsafe { ring.submission().push(&request) }.map_err(io::Error::other)?;
        ring.submit_and_wait(1)?;
        ring.completion().next().ok_or(io::ErrorKind::UnexpectedEof)?;
    }
    Ok(())
}

fn flood(count: &str) -> io::Result<()> {
    for _ in 0..number(count)? {
        openat(libc::AT_FDCWD, c"no/such/file", libc::O_RDONLY);
    }
    Ok(())
}

fn storm(count: &str) -> io::Result<()> {
    for child in 0..number(count)? {
        let name = c_string(format!("/no/such/file/{child}"));
        // SAFETY: the child makes two system calls; this process has only one thread.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => waitpid(child, None).map(drop)?,
            ForkResult::Child => {
                let _ = open(name.as_c_str(), OFlag::O_RDONLY, Mode::empty());
                // SAFETY: it does not return and runs no code of this program.
                unsafe { libc::_exit(0) }
            }
        }
    }
    Ok(())
}

fn into(count: &str, cgroup: &str) -> io::Result<()> {
    let cgroup = File::open(cgroup)?;
    for child in 0..number(count)? {
        let name = c_string(format!("/no/such/file/{child}"));
        match start_in(&cgroup)? {
            0 => {
                let _ = open(name.as_c_str(), OFlag::O_RDONLY, Mode::empty());
                // SAFETY: it does not return and runs no code of this program.
                unsafe { libc::_exit(0) }
            }
            child => _ = waitpid(Pid::from_raw(child), None)?,
        }
    }
    Ok(())
}

fn moved(count: &str, cgroup: &str) -> io::Result<()> {
    let members = File::options().write(true).open(format!("{cgroup}/cgroup.procs"))?;
    for child in 0..number(count)? {
        let name = c_string(format!("/no/such/file/{child}"));
        // SAFETY: the child makes three system calls; this process has only one thread.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => waitpid(child, None).map(drop)?,
            ForkResult::Child => {
                let moved = (&members).write_all(b"0");
                let _ = open(name.as_c_str(), OFlag::O_RDONLY, Mode::empty());
                // SAFETY: it does not return and runs no code of this program.
                unsafe { libc::_exit(i32::from(moved.is_err())) }
            }
        }
    }
    Ok(())
}

fn execs(count: &str, cgroup: &str) -> io::Result<()> {
    let directory = File::open(cgroup)?;
    let members = File::options().write(true).open(format!("{cgroup}/cgroup.procs"))?;
    let program = c"/proc/self/exe";
    for number in 0..number(count)? {
        let name = c_string(format!("/no/such/file/{number}"));
        let is_moved = number % 2 == 0;
        // SAFETY: the child makes two system calls; this process has only one thread.
        let child = if is_moved { unsafe { libc::fork() } } else { start_in(&directory)? };
        match child {
            -1 => return Err(io::Error::last_os_error()),
            0 => {
                if !is_moved || (&members).write_all(b"0").is_ok() {
                    let _ = execv(program, &[c"opener", c"one", name.as_c_str()]);
                }
                // SAFETY: it does not return and runs no code of this program.
                unsafe { libc::_exit(1) }
            }
            child => match waitpid(Pid::from_raw(child), None)? {
                WaitStatus::Exited(_, 0) => {}
                other => return Err(io::Error::other(format!("a child ended: {other:?}"))),
            },
        }
    }
    Ok(())
}

/// Forks a child into the cgroup with this directory. Returns its id, and 0 in the child.
fn start_in(cgroup: &File) -> io::Result<i32> {
    /// clone3(2)
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    // SAFETY: all members are numbers, for which 0 is valid.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = CLONE_INTO_CGROUP;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.cgroup = cgroup.as_raw_fd() as u64;
    // SAFETY: as fork(2): the child has a copy of this process, which has only one thread.
    let child = unsafe { libc::syscall(libc::SYS_clone3, &raw const arguments, size_of_val(&arguments)) };
    match child {
        -1 => Err(io::Error::last_os_error()),
        child => Ok(child as i32),
    }
}

fn denied() -> io::Result<()> {
    extern "C" fn nothing(_: i32) {}
    // SAFETY: the handler does nothing.
    unsafe { signal(Signal::SIGSYS, SigHandler::Handler(nothing)) }?;
    prctl::set_no_new_privs()?;
    answer_openat()?;
    openat(libc::AT_FDCWD, c"/with/an/error", libc::O_RDONLY);
    openat(libc::AT_FDCWD, c"/with/a/signal", libc::O_WRONLY);
    Ok(())
}

/// From now on, every openat is denied: with EACCES if it opens for reading, with SIGSYS otherwise.
fn answer_openat() -> io::Result<()> {
    // The offsets in `struct seccomp_data` of the call's number, and of the lower half of the third argument (little
    // endian).
    const NUMBER: u32 = 0;
    const FLAGS: u32 = 32;
    let load = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    let jump = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    let answer = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, k, (jt, jf)| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        step(load, NUMBER, (0, 0)),
        step(jump, libc::SYS_openat as u32, (0, 4)),
        step(load, FLAGS, (0, 0)),
        step(jump, libc::O_RDONLY as u32, (0, 1)),
        step(answer, libc::SECCOMP_RET_ERRNO | libc::EACCES as u32, (0, 0)),
        step(answer, libc::SECCOMP_RET_TRAP, (0, 0)),
        step(answer, libc::SECCOMP_RET_ALLOW, (0, 0)),
    ];
    let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the filter and its steps live until the kernel has copied them.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn c_string(text: String) -> CString {
    CString::new(text).expect("no NUL in it")
}

fn number(text: &str) -> io::Result<u64> {
    text.parse().map_err(|_| io::ErrorKind::InvalidInput.into())
}
