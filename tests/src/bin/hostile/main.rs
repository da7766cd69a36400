//! A hostile traced process: `hostile STEP [+ STEP…]` prints its pid, waits for a line on standard input, does the steps,
//! prints `done`, and for each further line touches new memory, runs the functions of `run` again, and prints `done` again.
//!
//! - `map FILE`: maps a file as code
//! - `run MS FILE…`: does so with each FILE, and calls the function at its offset 0x100 for this long
//! - `lease FILE`: the same, with a write lease on it, so that opening it blocks until the lease is broken
//! - `foreign FILE`: mounts a FUSE file system in its own user namespace, and maps a file on it, with the content of FILE
//! - `shared FILE`: the same in the initial user namespace, for every user
//! - `silent FILE…`: maps each FILE, and does not answer when the kernel asks whether it may be opened (fanotify(7))
//! - `slow MS FILE`: lets FILE be opened only after this time
//! - `files N DIRECTORY`: maps N files as code, which it creates in DIRECTORY
//! - `threads N`: has N more threads
//! - `forks N`: forks N children, one after the other, each of which uses some milliseconds of CPU time
//! - `breeds MS`: has a child that forks another one each time after this time, which ends at once
//! - `children N`: has N children, which sleep until it ends
//! - `maps N DIRECTORY`: has N mappings of one file in DIRECTORY, whose path is as long as a path can be

mod fuse;

use std::ffi::c_void;
use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Write, stdin, stdout};
use std::mem::transmute;
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use nix::fcntl::AT_FDCWD;
use nix::libc;
use nix::sys::fanotify::{
    EventFFlags, Fanotify, FanotifyResponse, InitFlags, MarkFlags, MaskFlags, Response,
};
use nix::sys::mman::{MapFlags, ProtFlags, mmap};
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::waitpid;
use nix::time::ClockId;
use nix::unistd::{ForkResult, chdir, fork, pause};

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    say(&std::process::id().to_string())?;
    stdin().read_line(&mut String::new())?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let _kept = words.split(|word| *word == "+").map(perform).collect::<io::Result<Vec<File>>>()?;
    say("done")?;
    for _ in stdin().lines() {
        black_box(vec![1_u8; 1 << 20]);
        FUNCTIONS.lock().map_err(|_| io::ErrorKind::Other)?.iter().try_for_each(run_for)?;
        say("done")?;
    }
    Ok(())
}

/// Does a step. Returns a file that it keeps open.
fn perform(step: &[&str]) -> io::Result<File> {
    match step {
        ["map", file] => map(file),
        ["run", milliseconds, files @ ..] => run(milliseconds, files),
        ["lease", file] => lease(file),
        ["foreign", file] => map(&fuse::mount(Path::new(file), fuse::Kind::Foreign)?),
        ["shared", file] => map(&fuse::mount(Path::new(file), fuse::Kind::Shared)?),
        ["silent", file, files @ ..] => silent(file, files),
        ["slow", milliseconds, file] => slow(milliseconds, file),
        ["files", count, directory] => files(count, directory),
        ["maps", count, directory] => maps(count, directory),
        ["threads", count] => threads(count),
        ["forks", count] => forks(count),
        ["children", count] => children(count),
        ["breeds", milliseconds] => breeds(milliseconds),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn say(text: &str) -> io::Result<()> {
    writeln!(stdout(), "{text}")?;
    stdout().flush()
}

fn map(file: impl AsRef<Path>) -> io::Result<File> {
    let file = File::open(file)?;
    map_all(&file)?;
    Ok(file)
}

/// Maps a whole file as code.
fn map_all(file: &File) -> io::Result<NonNull<c_void>> {
    let length = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
    map_code(file, length, 0, ProtFlags::PROT_READ | ProtFlags::PROT_EXEC)
}

fn map_code(file: &File, length: usize, offset: i64, protection: ProtFlags) -> io::Result<NonNull<c_void>> {
    let length = NonZeroUsize::new(length).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: the kernel chooses an address that is not in use.
    Ok(unsafe { mmap(None, length, protection, MapFlags::MAP_PRIVATE, file, offset) }?)
}

/// A function that counts down, and how long it is run.
type Function = (extern "C" fn(u64), Duration);

/// Those of `run`.
static FUNCTIONS: Mutex<Vec<Function>> = Mutex::new(Vec::new());

fn run(milliseconds: &str, files: &[&str]) -> io::Result<File> {
    let time = Duration::from_millis(parse(milliseconds)?);
    for file in files {
        let code = map_all(&File::open(file)?)?;
        // SAFETY: the file is a synthetic library, which has this function at this place.
        let count_down =
            unsafe { transmute::<*mut u8, extern "C" fn(u64)>(code.cast::<u8>().as_ptr().add(0x100)) };
        let function = (count_down, time);
        run_for(&function)?;
        FUNCTIONS.lock().map_err(|_| io::ErrorKind::Other)?.push(function);
    }
    File::open("/dev/null")
}

fn run_for((count_down, time): &Function) -> io::Result<()> {
    let end = cpu_time()? + *time;
    while cpu_time()? < end {
        count_down(100_000);
    }
    Ok(())
}

fn lease(path: &str) -> io::Result<File> {
    // SAFETY: no handler is installed. The kernel asks for the lease by this signal, which would end the process.
    unsafe { signal(Signal::SIGIO, SigHandler::SigIgn) }?;
    let file = File::open(path)?;
    // SAFETY: the arguments are plain numbers.
    if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK) } != 0 {
        return Err(io::Error::last_os_error());
    }
    map_all(&file)?;
    Ok(file)
}

fn silent(path: &str, others: &[&str]) -> io::Result<File> {
    let file = map(path)?;
    let questions = Fanotify::init(InitFlags::FAN_CLASS_CONTENT, EventFFlags::O_RDONLY)?;
    for other in others {
        map(other)?;
    }
    for path in [path].iter().chain(others) {
        questions.mark(MarkFlags::FAN_MARK_ADD, MaskFlags::FAN_OPEN_PERM, AT_FDCWD, Some(*path))?;
    }
    // It is open until the process ends.
    std::mem::forget(questions);
    Ok(file)
}

fn slow(milliseconds: &str, path: &str) -> io::Result<File> {
    let delay = Duration::from_millis(parse(milliseconds)?);
    let questions = Fanotify::init(InitFlags::FAN_CLASS_CONTENT, EventFFlags::O_RDONLY)?;
    questions.mark(MarkFlags::FAN_MARK_ADD, MaskFlags::FAN_OPEN_PERM, AT_FDCWD, Some(path))?;
    thread::spawn(move || -> io::Result<()> {
        loop {
            for question in questions.read_events()? {
                thread::sleep(delay);
                if let Some(file) = question.fd() {
                    questions.write_response(FanotifyResponse::new(file, Response::FAN_ALLOW))?;
                }
            }
        }
    });
    File::open("/dev/null")
}

fn files(count: &str, directory: &str) -> io::Result<File> {
    let content = [0x7f; 4096];
    for number in 0..parse(count)? {
        let path = format!("{directory}/{number}");
        fs::write(&path, content)?;
        map(&path)?;
    }
    File::open(directory)
}

/// Neighbouring mappings differ in their permissions, so that the kernel does not merge them.
fn maps(count: &str, directory: &str) -> io::Result<File> {
    chdir(directory)?;
    let mut length = directory.len();
    while length + 300 < 4096 {
        let name = "n".repeat(250);
        fs::create_dir(&name)?;
        chdir(name.as_str())?;
        length += 251;
    }
    fs::write("file", [0; 8192])?;
    let file = File::open("file")?;
    for number in 0..parse(count)? {
        let code = if number % 2 == 0 { ProtFlags::PROT_EXEC } else { ProtFlags::empty() };
        map_code(&file, 4096, 0, ProtFlags::PROT_READ | code)?;
    }
    Ok(file)
}

fn threads(count: &str) -> io::Result<File> {
    for _ in 0..parse(count)? {
        thread::Builder::new().stack_size(64 << 10).spawn(|| {
            loop {
                thread::park();
            }
        })?;
    }
    File::open("/dev/null")
}

fn forks(count: &str) -> io::Result<File> {
    for _ in 0..parse(count)? {
        // SAFETY: this process has one thread, and the child calls nothing that needs another.
        match unsafe { fork() }? {
            ForkResult::Child => {
                let end = cpu_time()? + Duration::from_millis(3);
                while cpu_time()? < end {}
                std::process::exit(0);
            }
            ForkResult::Parent { child } => _ = waitpid(child, None)?,
        }
    }
    File::open("/dev/null")
}

fn breeds(milliseconds: &str) -> io::Result<File> {
    let rest = Duration::from_millis(parse(milliseconds)?);
    // SAFETY: this process has one thread, and the child calls nothing that needs another.
    if let ForkResult::Child = unsafe { fork() }? {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        loop {
            // SAFETY: as above.
            match unsafe { fork() }? {
                ForkResult::Child => std::process::exit(0),
                ForkResult::Parent { child } => _ = waitpid(child, None)?,
            }
            thread::sleep(rest);
        }
    }
    File::open("/dev/null")
}

fn children(count: &str) -> io::Result<File> {
    for _ in 0..parse(count)? {
        // SAFETY: this process has one thread, and the child calls nothing that needs another.
        if let ForkResult::Child = unsafe { fork() }? {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            pause();
            std::process::exit(0);
        }
    }
    File::open("/dev/null")
}

fn cpu_time() -> io::Result<Duration> {
    Ok(ClockId::CLOCK_THREAD_CPUTIME_ID.now()?.into())
}

fn parse(number: &str) -> io::Result<u64> {
    number.parse().map_err(|_| io::ErrorKind::InvalidInput.into())
}
