//! A process that the tests trace: it takes commands on standard input, and answers on standard output.
//!
//! Every task that it creates, thread or process, takes commands in the same way from the task that created it. A task first
//! prints its id. The commands:
//!
//! - `calls N`: call `getppid` N times
//! - `marks FIRST N`: call `getsid` N times, with the numbers from FIRST on
//! - `invent N`: make N system calls with numbers that do not exist
//! - `spend MS`: use this much CPU time, three quarters of it in `spend_three`, the rest in `spend_one`
//! - `sleeps N`: sleep N times for a millisecond
//! - `opens N PATH`: open a file N times
//! - `writes FIRST N PATH`: write N blocks of 4 KiB to a device, one by one and without the page cache, from the block FIRST on
//! - `text HEX PATH`: write these bytes to a file, in one call
//! - `name HEX`: set the task's name to these bytes
//! - `touch N`: write to N pages of new memory, one by one, and keep them; answers the address of the first
//! - `scatter N`: write to one page of new memory from N places in the code, each time after the page was released
//! - `thread`, `child`: create a task; answers its id
//! - `in ID COMMAND`: pass a command to a task that this one created; answers its answer
//! - `end ID`: end a task that this one created
//! - `echo`: execute the program of this name instead of the whole process; answers its output
//! - `as PID N`: start a child that has this pid and emits N marks, one a millisecond; answers when it has exited
//! - `storm N`: fork N children that call `getppid` once and exit; answers their ids
//! - `network COMMAND`: see [`sockets`]

mod pid_reuse;
mod sockets;

use std::arch::asm;
use std::collections::HashMap;
use std::ffi::CString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Lines, Read, Write};
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use nix::libc::O_DIRECT;
use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, mprotect};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::sys::wait::waitpid;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{ForkResult, Pid, SysconfVar, fork, getppid, getsid, gettid, sysconf};

use sockets::Sockets;

fn main() -> io::Result<()> {
    // No process may remain when a test is killed.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    Task::default().serve(BufReader::new(io::stdin()), io::stdout())
}

/// A task, with those that it has created.
#[derive(Default)]
struct Task {
    members: HashMap<String, Member>,
    sockets: Sockets,
}

impl Task {
    fn serve(mut self, commands: impl BufRead, mut answers: impl Write) -> io::Result<()> {
        writeln!(answers, "{}", gettid())?;
        answers.flush()?;
        for command in commands.lines() {
            let answer = self.execute(&command?)?;
            writeln!(answers, "{answer}")?;
            answers.flush()?;
        }
        Ok(())
    }

    fn execute(&mut self, command: &str) -> io::Result<String> {
        let (verb, rest) = command.split_once(' ').unwrap_or((command, ""));
        match verb {
            "calls" => {
                for _ in 0..number(rest)? {
                    getppid();
                }
                Ok("done".to_owned())
            }
            "marks" => {
                let (first, count) = rest.split_once(' ').ok_or_else(|| invalid(rest))?;
                let (first, count) = (number(first)?, number(count)?);
                for number in first..first + count {
                    // No process has such an id, so the call fails; it is recorded all the same.
                    let _ = getsid(Some(Pid::from_raw(number as i32)));
                }
                Ok("done".to_owned())
            }
            "invent" => {
                for number in 0..number(rest)? as i64 {
                    // SAFETY: there is no such call, so it does nothing.
                    unsafe { nix::libc::syscall(100_000 + number) };
                }
                Ok("done".to_owned())
            }
            "spend" => spend(Duration::from_millis(number(rest)? as u64)),
            "sleeps" => {
                (0..number(rest)?).for_each(|_| sleep(Duration::from_millis(1)));
                Ok("done".to_owned())
            }
            "opens" => {
                let (count, path) = rest.split_once(' ').ok_or_else(|| invalid(rest))?;
                (0..number(count)?).try_for_each(|_| File::open(path).map(drop))?;
                Ok("done".to_owned())
            }
            "writes" => write_blocks(rest),
            "text" => {
                let (hex, path) = rest.split_once(' ').ok_or_else(|| invalid(rest))?;
                File::options().write(true).open(path)?.write_all(bytes(hex)?.as_bytes())?;
                Ok("done".to_owned())
            }
            "name" => {
                prctl::set_name(&bytes(rest)?)?;
                Ok("done".to_owned())
            }
            "touch" => touch(number(rest)?),
            "scatter" => scatter(number(rest)?),
            "as" => {
                let (pid, marks) = rest.split_once(' ').ok_or_else(|| invalid(rest))?;
                pid_reuse::marks_as(number(pid)? as i32, number(marks)?)
            }
            "thread" => self.make(Member::thread()?),
            "child" => self.make(Member::child()?),
            "in" => {
                let (id, command) = rest.split_once(' ').ok_or_else(|| invalid(rest))?;
                self.members.get_mut(id).ok_or_else(|| invalid(id))?.send(command)
            }
            "end" => {
                self.members.remove(rest).ok_or_else(|| invalid(rest))?.end()?;
                Ok("done".to_owned())
            }
            "echo" => Err(Command::new("echo").arg("done").exec()),
            "storm" => storm(number(rest)?),
            "network" => Ok(self.sockets.execute(rest)),
            _ => Err(invalid(command)),
        }
    }

    fn make(&mut self, mut member: Member) -> io::Result<String> {
        let id = member.answer()?;
        self.members.insert(id.clone(), member);
        Ok(id)
    }
}

/// A task that this one has created.
struct Member {
    commands: Box<dyn Write + Send>,
    answers: Lines<BufReader<Box<dyn Read + Send>>>,
    body: Body,
}

enum Body {
    Thread(JoinHandle<io::Result<()>>),
    Process(Child),
}

impl Member {
    fn thread() -> io::Result<Self> {
        let (its_commands, commands) = io::pipe()?;
        let (answers, its_answers) = io::pipe()?;
        let serve = move || Task::default().serve(BufReader::new(its_commands), its_answers);
        Ok(Self::new(commands, answers, Body::Thread(std::thread::spawn(serve))))
    }

    fn child() -> io::Result<Self> {
        let mut child =
            Command::new("/proc/self/exe").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let commands = child.stdin.take().expect("it is a pipe");
        let answers = child.stdout.take().expect("it is a pipe");
        Ok(Self::new(commands, answers, Body::Process(child)))
    }

    fn new(commands: impl Write + Send + 'static, answers: impl Read + Send + 'static, body: Body) -> Self {
        let answers: Box<dyn Read + Send> = Box::new(answers);
        Self { commands: Box::new(commands), answers: BufReader::new(answers).lines(), body }
    }

    fn send(&mut self, command: &str) -> io::Result<String> {
        writeln!(self.commands, "{command}")?;
        self.answer()
    }

    fn answer(&mut self) -> io::Result<String> {
        self.answers.next().ok_or(io::ErrorKind::UnexpectedEof)?
    }

    /// Closes its commands, which makes it exit, and waits for it.
    fn end(self) -> io::Result<()> {
        drop(self.commands);
        match self.body {
            Body::Thread(thread) => thread.join().expect("no thread panics"),
            Body::Process(mut process) => process.wait().map(drop),
        }
    }
}

/// A block, aligned as a device requires it.
#[repr(align(4096))]
struct Block([u8; 4096]);

fn write_blocks(arguments: &str) -> io::Result<String> {
    let [first, count, path] = arguments.split(' ').collect::<Vec<_>>()[..] else {
        return Err(invalid(arguments));
    };
    let device = File::options().write(true).custom_flags(O_DIRECT).open(path)?;
    let (first, count, block) = (number(first)?, number(count)?, Block([0; 4096]));
    for number in first..first + count {
        device.write_all_at(&block.0, (number * block.0.len()) as u64)?;
    }
    Ok("done".to_owned())
}

fn touch(pages: usize) -> io::Result<String> {
    let page = sysconf(SysconfVar::PAGE_SIZE)?.map_or(4096, |size| size as usize);
    let length = NonZeroUsize::new(pages * page).ok_or_else(|| invalid("0"))?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the mapping is new and not shared. It is never unmapped.
    let first = unsafe { mmap_anonymous(None, length, access, MapFlags::MAP_PRIVATE)? };
    // SAFETY: it is the memory above. This only selects the size of its pages.
    unsafe { madvise(first, length.get(), MmapAdvise::MADV_NOHUGEPAGE)? };
    for offset in (0..length.get()).step_by(page) {
        // SAFETY: the offset lies within the memory above.
        unsafe { first.cast::<u8>().add(offset).write_volatile(1) };
    }
    Ok(format!("{:x}", first.addr()))
}

/// The machine code of a function that writes a byte to where its argument points.
#[cfg(target_arch = "x86_64")]
const WRITES: [u8; 4] = [0xc6, 0x07, 0x01, 0xc3];
#[cfg(target_arch = "aarch64")]
const WRITES: [u8; 8] = [0x00, 0x00, 0x00, 0x39, 0xc0, 0x03, 0x5f, 0xd6];

fn scatter(places: usize) -> io::Result<String> {
    let length = NonZeroUsize::new(places * WRITES.len()).ok_or_else(|| invalid("0"))?;
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the mapping is new and not shared. It is never unmapped.
    let (code, page) = unsafe {
        let one = NonZeroUsize::MIN;
        let code = mmap_anonymous(None, length, access, MapFlags::MAP_PRIVATE)?;
        (code, mmap_anonymous(None, one, access, MapFlags::MAP_PRIVATE)?)
    };
    let functions = code.cast::<[u8; WRITES.len()]>();
    for place in 0..places {
        // SAFETY: the memory above has room for so many.
        unsafe { functions.add(place).write(WRITES) };
    }
    // SAFETY: it is the memory above, which is not written to any more.
    unsafe { mprotect(code, length.get(), ProtFlags::PROT_READ | ProtFlags::PROT_EXEC)? };
    for place in 0..places {
        // SAFETY: it is the memory above. Its content is not used.
        unsafe { madvise(page, 1, MmapAdvise::MADV_DONTNEED)? };
        // SAFETY: the function was written above, and it may write to the page.
        unsafe {
            let function = functions.add(place).as_ptr();
            std::mem::transmute::<*mut [u8; WRITES.len()], extern "C" fn(*mut u8)>(function)(
                page.cast().as_ptr(),
            );
        }
    }
    Ok("done".to_owned())
}

/// Uses CPU time in two functions with a known share.
fn spend(time: Duration) -> io::Result<String> {
    let end = cpu_time()? + time;
    while cpu_time()? < end {
        spend_three(3 * ROUNDS);
        spend_one(ROUNDS);
    }
    Ok("done".to_owned())
}

/// Less than a tenth of a millisecond.
const ROUNDS: u64 = 10_000;

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn spend_three(rounds: u64) {
    count_down(rounds);
}

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn spend_one(rounds: u64) {
    count_down(rounds);
}

/// A loop that is not optimised away. In a debug build `black_box` would be a function of its own, in whose samples the caller is
/// often missing: stacks are read by frame pointers, and at its first instruction it has no frame yet.
#[inline(always)]
fn count_down(mut rest: u64) {
    while rest > 0 {
        rest -= 1;
        // SAFETY: no instruction.
        unsafe { asm!("/* {0} */", inout(reg) rest, options(nomem, nostack, preserves_flags)) };
    }
}

fn cpu_time() -> io::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

fn storm(count: usize) -> io::Result<String> {
    let children: Vec<Pid> = (0..count).map(|_| fork_one()).collect::<io::Result<_>>()?;
    for child in &children {
        waitpid(*child, None)?;
    }
    Ok(children.iter().map(Pid::to_string).collect::<Vec<_>>().join(" "))
}

fn fork_one() -> io::Result<Pid> {
    // SAFETY: the child makes two system calls and touches no memory of the other threads.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => Ok(child),
        ForkResult::Child => {
            getppid();
            // SAFETY: it does not return and runs no code of this program.
            unsafe { nix::libc::_exit(0) }
        }
    }
}

fn number(text: &str) -> io::Result<usize> {
    text.parse().map_err(|_| invalid(text))
}

fn bytes(hex: &str) -> io::Result<CString> {
    let digits: Vec<char> = hex.chars().collect();
    let byte = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).ok();
    let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
    bytes.and_then(|bytes| CString::new(bytes).ok()).ok_or_else(|| invalid(hex))
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("invalid command or argument '{text}'"))
}
