//! A process that executes commands one by one, so that a test can trace it.
//!
//! It is another run of the test program, with [`ROLE`] set. Each test file that uses it has a test `test_process`, which
//! calls [`run_commands`]. The process marks the trace by calling getsid(2) with a number.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, getsid, gettid, pipe, read, write};

pub const ROLE: &str = "TRACEFS_TEST_ROLE";
const REPLY: &str = "reply ";

/// A running process that waits for commands. It is killed when dropped.
pub struct TestProcess {
    child: Child,
    commands: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl TestProcess {
    /// Runs only `test`: `test_process`, or another test that reads [`ROLE`].
    pub fn start(test: &str, role: &str) -> TestProcess {
        let mut child = Command::new(std::env::current_exe().expect("the test program's path"))
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a test process");
        let commands = child.stdin.take().expect("stdin");
        let replies = BufReader::new(child.stdout.take().expect("stdout"));
        let mut process = TestProcess { child, commands, replies };
        process.read_reply();
        process
    }

    pub fn new() -> TestProcess {
        TestProcess::start("test_process", "test_process")
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts a thread and returns its tid. Threads are numbered from 1.
    pub fn new_thread(&mut self) -> u32 {
        self.command("thread")
    }

    /// Makes a mark in thread `thread`; 0 is the main thread, which reads the commands.
    pub fn mark(&mut self, thread: usize, mark: i32) {
        self.command(&format!("mark {thread} {mark}"));
    }

    /// Makes `count` marks in the main thread, as fast as possible.
    pub fn marks(&mut self, first: i32, count: i32) {
        self.command(&format!("marks {first} {count}"));
    }

    /// Forks a child that makes a mark, and then forks a grandchild that makes the next one. Both have exited when this
    /// returns.
    pub fn fork_child_and_grandchild(&mut self, mark: i32) {
        self.command(&format!("fork {mark}"));
    }

    /// Forks a child that stays alive and executes `mark_child`. Returns its pid.
    pub fn fork_child(&mut self) -> u32 {
        self.command("child")
    }

    pub fn mark_child(&mut self, mark: i32) {
        self.command(&format!("mark-child {mark}"));
    }

    pub fn end_child(&mut self) {
        self.command("end-child");
    }

    /// Forks a grandchild whose parent exits, and which sleeps until it is killed. Returns its pid.
    pub fn new_orphan(&mut self) -> u32 {
        self.command("orphan")
    }

    /// Starts one thread after another, until `stop_spawning` or up to a few hundred. The threads do not exit.
    pub fn start_spawning(&mut self) {
        self.command("spawn");
    }

    pub fn stop_spawning(&mut self) {
        self.command("stop-spawning");
    }

    /// Kills the process and reaps it.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("reaped");
    }

    fn command(&mut self, command: &str) -> u32 {
        writeln!(self.commands, "{command}").expect("a command written to the test process");
        self.read_reply()
    }

    /// Skips the lines that the test harness prints.
    fn read_reply(&mut self) -> u32 {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.replies.read_line(&mut line).expect("a reply"), 0, "the test process has exited");
            if let Some((_, reply)) = line.split_once(REPLY) {
                return reply.trim().parse().expect("a number");
            }
        }
    }
}

impl Drop for TestProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

pub fn reply(number: u32) {
    println!("{REPLY}{number}");
}

/// Executes commands from standard input. Returns immediately in an ordinary test run.
pub fn run_commands() {
    if role().is_none() {
        return;
    }
    reply(0);
    let mut threads: Vec<(Sender<i32>, Receiver<()>)> = Vec::new();
    let mut child: Option<MarkingChild> = None;
    let mut spawner: Option<(Arc<AtomicBool>, JoinHandle<()>)> = None;
    for line in std::io::stdin().lines() {
        let line = line.expect("a command");
        let words: Vec<&str> = line.split(' ').collect();
        let number = |index: usize| words[index].parse::<i32>().expect("a number");
        let result = match words[0] {
            "thread" => {
                let (thread, id) = new_thread();
                threads.push(thread);
                id
            }
            "mark" if words[1] == "0" => {
                mark(number(2));
                0
            }
            "mark" => {
                let (sender, done) = &threads[words[1].parse::<usize>().expect("a thread") - 1];
                sender.send(number(2)).expect("sent");
                done.recv().expect("done");
                0
            }
            "marks" => {
                (number(1)..number(1) + number(2)).for_each(mark);
                0
            }
            "fork" => {
                fork_child_and_grandchild(number(1));
                0
            }
            "child" => child.insert(MarkingChild::fork()).pid.as_raw().cast_unsigned(),
            "mark-child" => {
                child.as_ref().expect("a child").mark(number(1));
                0
            }
            "end-child" => {
                child.take().expect("a child").end();
                0
            }
            "orphan" => orphan(),
            "spawn" => {
                let stop = Arc::new(AtomicBool::new(false));
                let (started, has_started) = channel();
                let thread_stop = Arc::clone(&stop);
                spawner = Some((stop, std::thread::spawn(move || spawn_until(&thread_stop, &started))));
                has_started.recv().expect("the first thread");
                0
            }
            "stop-spawning" => {
                let (stop, thread) = spawner.take().expect("a spawning thread");
                stop.store(true, Ordering::Relaxed);
                thread.join().expect("joined");
                0
            }
            other => panic!("unknown command {other}"),
        };
        reply(result);
    }
}

fn mark(number: i32) {
    let _ = getsid(Some(Pid::from_raw(number)));
}

fn new_thread() -> ((Sender<i32>, Receiver<()>), u32) {
    let (marks, marks_to_make) = channel();
    let (done_sender, done) = channel();
    let (tid_sender, tid) = channel();
    std::thread::spawn(move || {
        tid_sender.send(gettid().as_raw().cast_unsigned()).expect("sent");
        while let Ok(number) = marks_to_make.recv() {
            mark(number);
            done_sender.send(()).expect("sent");
        }
    });
    ((marks, done), tid.recv().expect("a tid"))
}

fn fork_child_and_grandchild(number: i32) {
    in_child(|| {
        mark(number);
        in_child(|| mark(number + 1));
    });
}

fn in_child(work: impl FnOnce()) {
    // SAFETY: the child only makes system calls, forks in the same way, and exits by `_exit`. It uses no lock and no
    // allocator that another thread may have held during the fork.
    match unsafe { fork() }.expect("a child") {
        ForkResult::Parent { child } => drop(waitpid(child, None).expect("waited")),
        ForkResult::Child => {
            work();
            exit()
        }
    }
}

fn exit() -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { nix::libc::_exit(0) }
}

/// Kills a process that is not a child of this one.
pub fn kill(pid: u32) {
    nix::sys::signal::kill(Pid::from_raw(pid.cast_signed()), nix::sys::signal::SIGKILL).expect("killed");
    wait_for_exit(pid);
}

/// Waits until a process has exited, whether or not it has been reaped.
pub fn wait_for_exit(pid: u32) {
    let status = format!("/proc/{pid}/status");
    while std::fs::read_to_string(&status).is_ok_and(|status| !status.contains("(zombie)")) {
        std::thread::yield_now();
    }
}

/// Forks a grandchild whose parent exits immediately. It sends its pid through a pipe.
fn orphan() -> u32 {
    let (reader, writer) = pipe().expect("a pipe");
    in_child(|| {
        // SAFETY: as in `in_child`.
        if let Ok(ForkResult::Child) = unsafe { fork() } {
            let _ = write(&writer, &std::process::id().to_ne_bytes());
            // Otherwise the reader of the replies would get no end of file before this process exits.
            for descriptor in 0..3 {
                // SAFETY: nothing in this process uses the descriptors from here on.
                unsafe { nix::libc::close(descriptor) };
            }
            nix::unistd::pause();
            exit();
        }
    });
    let mut bytes = [0; 4];
    assert_eq!(read(&reader, &mut bytes), Ok(4));
    u32::from_ne_bytes(bytes)
}

fn spawn_until(stop: &AtomicBool, started: &Sender<()>) {
    for _ in 0..300 {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        });
        let _ = started.send(());
    }
}

/// A child that makes marks on request.
struct MarkingChild {
    pid: Pid,
    marks: OwnedFd,
    done: OwnedFd,
}

impl MarkingChild {
    fn fork() -> MarkingChild {
        let (marks_to_make, marks) = pipe().expect("a pipe");
        let (done, done_writer) = pipe().expect("a pipe");
        // SAFETY: as in `in_child`.
        match unsafe { fork() }.expect("a child") {
            ForkResult::Parent { child } => MarkingChild { pid: child, marks, done },
            ForkResult::Child => {
                drop((marks, done));
                let mut bytes = [0; 4];
                while read(&marks_to_make, &mut bytes) == Ok(4) {
                    mark(i32::from_ne_bytes(bytes));
                    let _ = write(&done_writer, &[0]);
                }
                exit()
            }
        }
    }

    fn mark(&self, number: i32) {
        write(&self.marks, &number.to_ne_bytes()).expect("sent");
        assert_eq!(read(&self.done, &mut [0]), Ok(1));
    }

    fn end(self) {
        drop(self.marks);
        waitpid(self.pid, None).expect("waited");
    }
}
