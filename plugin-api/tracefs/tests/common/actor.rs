//! A process to be traced that does what it is told, step by step.
//!
//! It is this very test program, started once more with [`ROLE`] set; each test file that uses it has a test
//! called `actor` that calls [`play`]. It leaves marks in the trace: getsid(2) with a number.

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
const ANSWER: &str = "answer ";

/// Started and not yet told anything. Killed when dropped.
pub struct Actor {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Actor {
    /// `test` is the test that plays the role: `actor`, or another one that reads [`ROLE`].
    pub fn start(test: &str, role: &str) -> Actor {
        let mut child = Command::new(std::env::current_exe().expect("our path"))
            .args(["--exact", test, "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("an actor");
        let orders = child.stdin.take().expect("stdin");
        let answers = BufReader::new(child.stdout.take().expect("stdout"));
        let mut actor = Actor { child, orders, answers };
        actor.answer();
        actor
    }

    pub fn new() -> Actor {
        Actor::start("actor", "actor")
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// A new thread of it; threads are numbered from 1. The answer is its id.
    pub fn new_thread(&mut self) -> i32 {
        self.order("thread")
    }

    /// Thread `thread` leaves a mark; 0 is the thread that takes the orders.
    pub fn mark(&mut self, thread: usize, mark: i32) {
        self.order(&format!("mark {thread} {mark}"));
    }

    /// The thread that takes the orders leaves so many marks, as fast as it can.
    pub fn marks(&mut self, first: i32, count: i32) {
        self.order(&format!("marks {first} {count}"));
    }

    /// It forks a child that leaves a mark, and that forks a grandchild that leaves the next one. Both are
    /// gone when this returns.
    pub fn fork_two(&mut self, mark: i32) {
        self.order(&format!("fork {mark}"));
    }

    /// It forks a child that stays, and obeys `mark_child`. The answer is its process id.
    pub fn keep_child(&mut self) -> i32 {
        self.order("child")
    }

    pub fn mark_child(&mut self, mark: i32) {
        self.order(&format!("mark-child {mark}"));
    }

    pub fn end_child(&mut self) {
        self.order("end-child");
    }

    /// It starts a process that is nobody's child and waits to be killed. The answer is its process id.
    pub fn new_orphan(&mut self) -> i32 {
        self.order("orphan")
    }

    /// It starts thread after thread, until it is told to stop or has a few hundred; all stay.
    pub fn start_spawning(&mut self) {
        self.order("spawn");
    }

    pub fn stop_spawning(&mut self) {
        self.order("stop-spawning");
    }

    /// Kills it and waits until it is gone for good.
    pub fn kill(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    fn order(&mut self, order: &str) -> i32 {
        writeln!(self.orders, "{order}").expect("an obedient actor");
        self.answer()
    }

    /// The harness of the test program writes other lines around ours.
    fn answer(&mut self) -> i32 {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.answers.read_line(&mut line).expect("an answer"), 0, "the actor has left");
            if let Some((_, answer)) = line.split_once(ANSWER) {
                return answer.trim().parse().expect("a number");
            }
        }
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

pub fn answer(number: i32) {
    println!("{ANSWER}{number}");
}

/// What the actor's process does; returns at once in an ordinary test run.
pub fn play() {
    if role().is_none() {
        return;
    }
    answer(0);
    let mut threads: Vec<(Sender<i32>, Receiver<()>)> = Vec::new();
    let mut child: Option<KeptChild> = None;
    let mut spawner: Option<(Arc<AtomicBool>, JoinHandle<()>)> = None;
    for line in std::io::stdin().lines() {
        let line = line.expect("an order");
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
                fork_two(number(1));
                0
            }
            "child" => child.insert(KeptChild::fork()).pid.as_raw(),
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
                let (begun, has_begun) = channel();
                spawner = Some((Arc::clone(&stop), std::thread::spawn(move || spawn_until(&stop, &begun))));
                has_begun.recv().expect("the first thread");
                0
            }
            "stop-spawning" => {
                let (stop, thread) = spawner.take().expect("a spawner");
                stop.store(true, Ordering::Relaxed);
                thread.join().expect("joined");
                0
            }
            other => panic!("unknown order {other}"),
        };
        answer(result);
    }
}

fn mark(number: i32) {
    let _ = getsid(Some(Pid::from_raw(number)));
}

fn new_thread() -> ((Sender<i32>, Receiver<()>), i32) {
    let (orders, inbox) = channel();
    let (outbox, done) = channel();
    let (id_out, id_in) = channel();
    std::thread::spawn(move || {
        id_out.send(gettid().as_raw()).expect("sent");
        while let Ok(number) = inbox.recv() {
            mark(number);
            outbox.send(()).expect("sent");
        }
    });
    ((orders, done), id_in.recv().expect("an id"))
}

fn fork_two(number: i32) {
    in_child(|| {
        mark(number);
        in_child(|| mark(number + 1));
    });
}

fn in_child(act: impl FnOnce()) {
    // SAFETY: the child makes plain system calls only, forks in the same way, and leaves by `_exit`; it
    // touches no lock and no allocator that another thread may have held.
    match unsafe { fork() }.expect("a child") {
        ForkResult::Parent { child } => drop(waitpid(child, None).expect("waited")),
        ForkResult::Child => {
            act();
            leave()
        }
    }
}

fn leave() -> ! {
    // SAFETY: `_exit` has no preconditions.
    unsafe { nix::libc::_exit(0) }
}

/// Kills a process that is not our child.
pub fn kill(pid: i32) {
    nix::sys::signal::kill(Pid::from_raw(pid), nix::sys::signal::SIGKILL).expect("killed");
    await_exit(pid);
}

/// Waits until a process has exited, whether or not its parent has noticed.
pub fn await_exit(pid: i32) {
    let status = format!("/proc/{pid}/status");
    while std::fs::read_to_string(&status).is_ok_and(|status| !status.contains("(zombie)")) {
        std::thread::yield_now();
    }
}

/// A grandchild whose parent exits at once; it tells its id through a pipe.
fn orphan() -> i32 {
    let (inbox, outbox) = pipe().expect("a pipe");
    in_child(|| {
        // SAFETY: as in `in_child`.
        if let Ok(ForkResult::Child) = unsafe { fork() } {
            let _ = write(&outbox, &nix::unistd::getpid().as_raw().to_ne_bytes());
            // The answers' reader must not wait for this process.
            for descriptor in 0..3 {
                // SAFETY: nothing in this process uses them any more.
                unsafe { nix::libc::close(descriptor) };
            }
            nix::unistd::pause();
            leave();
        }
    });
    let mut bytes = [0; 4];
    assert_eq!(read(&inbox, &mut bytes), Ok(4));
    i32::from_ne_bytes(bytes)
}

fn spawn_until(stop: &AtomicBool, begun: &Sender<()>) {
    for _ in 0..300 {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        std::thread::spawn(|| {
            loop {
                std::thread::park();
            }
        });
        let _ = begun.send(());
    }
}

struct KeptChild {
    pid: Pid,
    orders: OwnedFd,
    answers: OwnedFd,
}

impl KeptChild {
    fn fork() -> KeptChild {
        let (inbox, orders) = pipe().expect("a pipe");
        let (answers, outbox) = pipe().expect("a pipe");
        // SAFETY: as in `in_child`.
        match unsafe { fork() }.expect("a child") {
            ForkResult::Parent { child } => KeptChild { pid: child, orders, answers },
            ForkResult::Child => {
                drop((orders, answers));
                let mut bytes = [0; 4];
                while read(&inbox, &mut bytes) == Ok(4) {
                    mark(i32::from_ne_bytes(bytes));
                    let _ = write(&outbox, &[0]);
                }
                leave()
            }
        }
    }

    fn mark(&self, number: i32) {
        write(&self.orders, &number.to_ne_bytes()).expect("sent");
        assert_eq!(read(&self.answers, &mut [0]), Ok(1));
    }

    fn end(self) {
        drop(self.orders);
        waitpid(self.pid, None).expect("waited");
    }
}
